"""Bugs of the choices about an SE block: where it stands, what it squeezes, how wide it is, which gate it has."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from weights.networks.operations import GlobalPool, Linear
from weights.networks.spec import Spec

from .changes import before, both, each, inputs
from .mutant import Arrays, Mutant


def _se(**changes: Any) -> Callable[[Spec], Spec]:
    def changed(spec: Spec) -> Spec:
        assert spec.se
        return replace(spec, se=replace(spec.se, **changes))

    return changed


CHANNELS = 8
"""Of every SE block of the networks of one unit."""


_gate_before_the_bias = both(
    before(r".*\.se\.gate", "without", lambda _: Linear(CHANNELS)),
    before(r"stage1\.0\.se", "with", lambda _: Linear(CHANNELS), operand=1),
)
"""A matrix takes the bias away before the gate, and another one adds it behind the gate."""


def _with_the_biases_apart(params: Arrays) -> Arrays:
    bias, one = params["stage1.0.se.fc2.bias"], np.eye(CHANNELS)
    apart = {"gate.without.weight": one, "gate.without.bias": -bias, "with.weight": one, "with.bias": bias}
    return params | {f"stage1.0.se.{leaf}": array for leaf, array in apart.items()}


def _with_another_slope(params: Arrays) -> Arrays:
    """What turns min(max(x + 3, 0), 6) / 6 into min(max(0.2 x + 0.5, 0), 1): x times 1.2."""
    return params | {"stage1.0.se.gate.slope.weight": 1.2 * np.eye(CHANNELS)}


def _one_more(axis: int) -> Callable[[np.ndarray], np.ndarray]:
    """With another hidden unit, which has weights of its own."""
    return lambda array: np.concatenate([array, array.take([0], axis) / 2], axis)


MUTANTS = (
    Mutant(
        name="se-before-the-unit",
        what="the SE block stands before the first convolution, not before the sum",
        at="stage1.0.conv1",
        network="unit",
        spec=_se(position="pre"),
    ),
    Mutant(
        name="se-before-the-fork",
        what="an SE block before the first convolution scales the shortcut too",
        at="stage1.0.shortcut.conv",
        network="unit-pre",
        nodes=inputs(r"stage1\.0\.shortcut\.conv", lambda _: ("stage1.0.se",)),
        code=("torch", "jax", "tf"),
    ),
    Mutant(
        name="se-on-the-shortcut",
        what="the SE block stands on the shortcut, not on the residual branch",
        at="stage1.0.se.pool",
        network="unit",
        spec=_se(position="identity"),
    ),
    Mutant(
        name="se-before-the-projection",
        what="an SE block on the shortcut stands before the projection, not after it",
        at="stage1.0.shortcut.conv",
        network="unit-identity",
        spec=_se(position="identity-before"),
    ),
    Mutant(
        name="se-before-the-batch-norm",
        what="an SE block after the 3x3 stands before its BatchNorm and ReLU, not after them",
        at="stage1.0.bn2",
        network="unit-3x3",
        spec=_se(position="3x3-raw"),
    ),
    Mutant(
        name="se-after-the-last-1x1",
        what="an SE block after the 3x3 stands one convolution later",
        at="stage1.0.se.pool",
        network="unit-3x3",
        spec=_se(position="standard"),
    ),
    Mutant(
        name="hidden-width-rounded-up",
        what="the hidden width, 8 / 3, is rounded up, and the unit too many has weights of its own",
        at="stage1.0.se.fc1",
        network="unit",
        spec=_se(width=3),
        params=both(
            each(r".*\.se\.fc1\.(weight|bias)", _one_more(0)),
            each(r".*\.se\.fc2\.weight", _one_more(1)),
        ),
    ),
    Mutant(
        name="gate-before-the-bias",
        what="the gate comes before the bias of the second matrix",
        at="stage1.0.se.gate",
        network="unit",
        nodes=_gate_before_the_bias,
        params=_with_the_biases_apart,
        code=("torch", "jax", "tf"),
    ),
    Mutant(
        name="gate-relu",
        what="the gate is a ReLU, not a hard sigmoid",
        at="stage1.0.se.gate",
        network="unit-hard-sigmoid",
        spec=_se(gate="relu"),
    ),
    Mutant(
        name="hard-sigmoid-by-fifths",
        what="the hard sigmoid has slope 0.2, as Keras' had before Keras 3",
        at="stage1.0.se.gate",
        network="unit-hard-sigmoid",
        nodes=before(r".*\.se\.gate", "slope", lambda _: Linear(CHANNELS, bias=False)),
        params=_with_another_slope,
        code=("torch", "jax", "tf"),
    ),
    Mutant(
        name="squeeze-over-the-batch",
        what="the squeeze takes the means of all images together",
        at="stage1.0.se.pool",
        network="unit",
        code=("numpy", "torch", "jax", "tf"),
    ),
    Mutant(
        name="maximum-over-the-batch",
        what="the squeeze takes the maxima of all images together",
        at="stage1.0.se.pool",
        network="unit-max",
        code=("numpy", "torch", "jax", "tf"),
    ),
    Mutant(
        name="full-map-gate-averaged",
        what="the gates of all pixels are averaged, where there is no squeeze",
        at="stage1.0.se",
        network="unit-no-squeeze",
        nodes=before(r"stage1\.0\.se", "mean", lambda _: GlobalPool("avg"), operand=1),
        code=("torch", "jax", "tf"),
    ),
)
