"""Bugs of the SE block: gate, squeeze, biases, where it stands. Those that are variants are changes of its record."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from weights.networks.network import Node
from weights.networks.operations import Scale
from weights.networks.spec import Spec

from .changes import each, without
from .mutant import Mutant, Nodes


def _se(**changes: Any) -> Callable[[Spec], Spec]:
    def changed(spec: Spec) -> Spec:
        assert spec.se
        return replace(spec, se=replace(spec.se, **changes))

    return changed


def _gate_twice(nodes: Nodes) -> Nodes:
    out: list[Node] = []
    for n in nodes:
        if isinstance(n.op, Scale):
            once = replace(n, name=f"{n.name}.once")
            out += [once, replace(n, inputs=(once.name, n.inputs[1]))]
        else:
            out.append(n)
    return tuple(out)


def _gate_on_the_shortcut(nodes: Nodes) -> Nodes:
    """Each gate scales the other operand of the sum, so it has to wait for it."""
    by_name = {n.name: n for n in nodes}
    out: list[Node] = []
    for n in nodes:
        if n.name.endswith(".add"):
            scale = by_name[n.inputs[0]]
            out.append(replace(scale, inputs=(n.inputs[1], scale.inputs[1])))
            out.append(replace(n, inputs=(scale.name, scale.inputs[0])))
        elif not isinstance(n.op, Scale):
            out.append(n)
    return tuple(out)


MUTANTS = (
    Mutant(
        name="se-biases-dropped",
        what="the SE block has no biases, as in the paper's equations",
        at="stage1.0.se.fc1",
        params=each(r".*\.se\.fc\d\.bias", np.zeros_like),
    ),
    Mutant(
        name="excitation-bias-dropped",
        what="one bias of an SE block is lost",
        at="stage2.0.se.fc2",
        params=each(r"stage2\.0\.se\.fc2\.bias", np.zeros_like),
    ),
    Mutant(
        name="axpy-exchanged",
        what="the gate scales the shortcut, as in OpenCV's Axpy",
        at="stage1.0.se",
        nodes=_gate_on_the_shortcut,
        code=("torch", "jax", "tf"),
    ),
    Mutant(
        name="se-after-the-sum",
        what="the SE block stands behind the sum",
        at="stage1.0.se.pool",
        spec=_se(position="post"),
    ),
    Mutant(
        name="gate-tanh",
        what="the gate is a tanh",
        at="stage1.0.se.gate",
        spec=_se(gate="tanh"),
    ),
    Mutant(
        name="gate-hard",
        what="the gate is a hard sigmoid",
        at="stage1.0.se.gate",
        spec=_se(gate="hard-sigmoid"),
    ),
    Mutant(
        name="gate-twice",
        what="the gate is applied twice",
        at="stage1.0.se",
        nodes=_gate_twice,
        code=("torch", "jax", "tf"),
    ),
    Mutant(
        name="squeeze-maximum",
        what="the squeeze takes the maximum",
        at="stage1.0.se.pool",
        spec=_se(squeeze="max"),
    ),
    Mutant(
        name="squeeze-relu-missing",
        what="the ReLU of the SE block is missing",
        at="stage1.0.se.relu",
        nodes=without(r".*\.se\.relu"),
        code=("torch", "jax", "tf"),
    ),
    Mutant(
        name="squeeze-in-float32",
        what="the squeeze is computed in float32",
        at="stage1.0.se.pool",
        code=("numpy", "torch", "jax", "tf"),
        hidden="it is float32 anyway",
    ),
)
