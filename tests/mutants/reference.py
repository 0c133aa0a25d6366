"""Bugs in the code of the NumPy reference."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.reference import forward
from conformance.reference.forward import avg_pool, pool, run
from weights.networks.network import Network
from weights.networks.operations import Pool
from weights.networks.spec import Spec

from .mutant import Substitute, Substitutes


def rounds_down(op: Pool, x: np.ndarray) -> np.ndarray:
    return pool(replace(op, rounding="down"), x)


def divides_by_the_pixels_inside(op: Pool, x: np.ndarray) -> np.ndarray:
    return avg_pool(replace(op, counted=False), x)


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
