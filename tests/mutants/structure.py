"""Bugs of structure: what is missing, what stands in the wrong place, what reads the wrong value."""

from dataclasses import replace

import numpy as np

from weights.networks.network import Network
from weights.networks.operations import Act, Conv
from weights.networks.sizes import shapes

from .changes import before, both, inputs, without
from .mutant import Arrays, Mutant, Nodes


def _shortcut_negated(nodes: Nodes) -> Nodes:
    """Each shortcut passes through a convolution that multiplies each channel by a number of its own."""
    sizes = shapes(Network("mutant", nodes))
    return before(r".*\.add", "sign", lambda n: Conv(sizes[n.name][0], 1, groups=sizes[n.name][0]), operand=1)(nodes)


def _with_signs(params: Arrays) -> Arrays:
    """With -1 for each channel of each shortcut; there are as many as the last convolution of the residual has."""
    ends = {name: array for name, array in params.items() if name.endswith(".conv3.weight")}
    return params | {n.replace("conv3", "add.sign"): -np.ones((len(a), 1, 1, 1)) for n, a in ends.items()}


MUTANTS = (
    Mutant(
        name="relu-missing",
        what="a ReLU inside the unit is missing",
        at="stage1.0.relu1",
        nodes=without(r"stage\d\.\d\.relu1"),
        code=("torch", "jax", "tf"),
    ),
    Mutant(
        name="relu-before-the-sum",
        what="the last ReLU of a unit stands before the sum",
        at="stage1.0.add",
        nodes=both(before(r".*\.add", "relu", lambda _: Act("relu")), without(r"stage\d\.\d")),
        code=("torch", "jax", "tf"),
    ),
    Mutant(
        name="sum-minus",
        what="the shortcut is subtracted",
        at="stage1.0.add",
        nodes=_shortcut_negated,
        params=_with_signs,
        code=("torch", "jax", "tf"),
    ),
    Mutant(
        name="projection-unnormalised",
        what="the projection has no BatchNorm",
        at="stage1.0.shortcut.bn",
        nodes=without(r".*\.shortcut\.bn"),
        code=("torch", "jax", "tf"),
    ),
    Mutant(
        name="pool-of-the-wrong-kind",
        what="an Inception module takes maxima for means",
        at="inception3a.pool",
        network="se-bn-inception",
        spec=lambda spec: replace(spec, modules=(replace(spec.modules[0], pool="max"), *spec.modules[1:])),
    ),
    Mutant(
        name="branch-reads-another",
        what="a branch of an Inception module goes on from its neighbour's reduction",
        at="inception3a.double1.conv",
        network="se-bn-inception",
        nodes=inputs(r".*double1\.conv", lambda names: (names[0].replace("reduce_double", "reduce3x3"),)),
        code=("torch", "jax", "tf"),
    ),
)
