"""Flax without ``jit``: one operation after the other, so that nothing is fused; all taps, gradients, and training."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from conformance.adapters import ADAPTERS
from conformance.adapters import jax as compiled
from conformance.adapters.jax import build, on, version
from conformance.reference.training import Batch, Recipe
from weights.params import Params

__all__ = ["NAME", "build", "gradients", "on", "taps", "train", "version"]

NAME = ADAPTERS["jax_eager"].title


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    with jax.disable_jit():
        return compiled.taps(model, x)


def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
    with jax.disable_jit():
        return compiled.gradients(model, x, cotangent, training)


def train(model: Any, batches: Iterable[Batch], recipe: Recipe) -> Params:
    with jax.disable_jit():
        return compiled.train(model, batches, recipe)
