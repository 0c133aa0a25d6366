"""Flax without ``jit``: one operation after the other, so that nothing is fused; all taps and gradients."""

from typing import Any

import jax
import numpy as np

from conformance.adapters import ADAPTERS
from conformance.adapters import jax as compiled
from conformance.adapters.jax import build, version

__all__ = ["NAME", "build", "gradients", "taps", "version"]

NAME = ADAPTERS["jax_eager"].title


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    with jax.disable_jit():
        return compiled.taps(model, x)


def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
    with jax.disable_jit():
        return compiled.gradients(model, x, cotangent, training)
