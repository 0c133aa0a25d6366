"""Bugs in the code of the NumPy reference."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.reference import forward
from conformance.reference.forward import avg_pool, pool, run
from weights.networks.network import Network, Node
from weights.networks.operations import Pool, Scale
from weights.networks.spec import Spec

from .mutant import Substitute, Substitutes

OUTPUT = forward.output


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


def squeezes_the_first_image(x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x[:1].mean((2, 3)), x.shape[:2])


def divides_by_the_height_squared(x: np.ndarray) -> np.ndarray:
    return x.sum((2, 3)) / x.shape[2] ** 2


def cuts_small_gates(node: Node, inputs: Sequence[np.ndarray], *rest: Any, **options: Any) -> np.ndarray:
    if isinstance(node.op, Scale):
        inputs = inputs[0], np.where(inputs[1] < 5e-6, 0, inputs[1])
    return OUTPUT(node, inputs, *rest, **options)


SUBSTITUTES: Substitutes = {
    "pool-floor": (Substitute(forward, "pool", rounds_down),),
    "padding-not-counted": (Substitute(forward, "avg_pool", divides_by_the_pixels_inside),),
    "batch-statistics": (Substitute(forward, "run", with_batch_statistics),),
    "squeeze-in-float32": (Substitute(forward.GLOBAL_POOLS, "avg", squeezes_in_float32),),
    "first-image-alone": (Substitute(forward.GLOBAL_POOLS, "avg", squeezes_the_first_image),),
    "height-squared": (Substitute(forward.GLOBAL_POOLS, "avg", divides_by_the_height_squared),),
    "small-gate-cut": (Substitute(forward, "output", cuts_small_gates),),
    "squeeze-over-the-batch": (Substitute(forward.GLOBAL_POOLS, "avg", squeezes_the_batch),),
    "maximum-over-the-batch": (Substitute(forward.GLOBAL_POOLS, "max", takes_the_maxima_of_the_batch),),
}
