"""Bugs that one square image of plausible values does not show, or that are lost in the size of other channels."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .changes import both, each
from .mutant import Mutant


def _first(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """Sets the first channel."""

    def changed(array: np.ndarray) -> np.ndarray:
        found = array.copy()
        found[0] = value
        return found

    return changed


def _scaled(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    """Scales the first channel."""

    def changed(array: np.ndarray) -> np.ndarray:
        found = array.astype(np.float64)
        found[0] *= factor
        return found

    return changed


MUTANTS = (
    Mutant(
        name="first-image-alone",
        what="the squeeze of the first image serves all images",
        at="stage1.0.se.pool",
        network="unit",
        code=("numpy", "torch", "jax", "tf"),
    ),
    Mutant(
        name="height-squared",
        what="the squeeze divides by the square of the height, as if maps were square",
        at="stage1.0.se.pool",
        network="unit",
        code=("numpy", "torch", "jax", "tf"),
    ),
    Mutant(
        name="eps-1.1e-5",
        what="eps is 1.1e-5",
        at="stem.bn1",
        spec=lambda spec: replace(spec, eps=1.1e-5),
    ),
    Mutant(
        name="dead-channel",
        what="a channel whose values are tiny is set to 0",
        at="stem.bn1",
        network="dead-channel",
        params=both(each(r"stem\.bn1\.weight", _first(0)), each(r"stem\.bn1\.bias", _first(0))),
    ),
    Mutant(
        name="small-gate-cut",
        what="gates below 5e-6 are 0",
        at="stage1.0.se",
        network="small-gates",
        code=("numpy", "torch", "jax", "tf"),
    ),
    Mutant(
        name="one-kernel-off",
        what="the kernel of one output channel is off by 2e-5",
        at="stage1.0.conv2",
        params=each(r"stage1\.0\.conv2\.weight", _scaled(1 + 2e-5)),
    ),
    Mutant(
        name="one-gamma-off",
        what="gamma of one channel is off by 5e-6",
        at="stage1.0.bn3",
        params=each(r"stage1\.0\.bn3\.weight", _scaled(1 + 5e-6)),
    ),
)
