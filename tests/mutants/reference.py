"""Bugs in the code of the NumPy reference."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.reference import forward
from conformance.reference.forward import avg_pool, pool, run
from weights.networks.network import Network
from weights.networks.operations import Pooling
from weights.networks.spec import Spec

from .mutant import Substitute, Substitutes


def rounds_down(what: Pooling, x: np.ndarray, kernel: int, *geometry: int) -> np.ndarray:
    stride = geometry[0]
    h, w = (size - (size - kernel) % stride for size in x.shape[2:])
    return pool(what, x[:, :, :h, :w], kernel, *geometry)


def divides_by_the_pixels_inside(x: np.ndarray, *geometry: int) -> np.ndarray:
    ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
    return avg_pool(x, *geometry) / avg_pool(ones, *geometry)


def with_batch_statistics(of: Network | Spec, params: Mapping[str, np.ndarray], x: np.ndarray) -> dict[str, Any]:
    return run(of, params, x, training=True)


def squeezes_in_float32(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32).mean((2, 3)).astype(x.dtype)


def squeezes_the_batch(x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x.mean((0, 2, 3)), x.shape[:2])


def takes_the_maxima_of_the_batch(x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x.max((0, 2, 3)), x.shape[:2])


SUBSTITUTES: Substitutes = {
    "pool-floor": (Substitute(forward, "pool", rounds_down),),
    "padding-not-counted": (Substitute(forward, "avg_pool", divides_by_the_pixels_inside),),
    "batch-statistics": (Substitute(forward, "run", with_batch_statistics),),
    "squeeze-in-float32": (Substitute(forward.GLOBAL_POOLS, "avg", squeezes_in_float32),),
    "squeeze-over-the-batch": (Substitute(forward.GLOBAL_POOLS, "avg", squeezes_the_batch),),
    "maximum-over-the-batch": (Substitute(forward.GLOBAL_POOLS, "max", takes_the_maxima_of_the_batch),),
}
