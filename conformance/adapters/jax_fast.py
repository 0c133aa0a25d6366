"""Flax's fast path, ``se_jax.fast``: logits, in float32 or bfloat16."""

from collections.abc import Mapping
from typing import Any

import numpy as np

import se_jax
from conformance.adapters import ADAPTERS
from conformance.adapters.jax import version
from conformance.adapters.precision import fast as dtype
from weights.networks.network import graph
from weights.networks.spec import Spec

__all__ = ["NAME", "build", "dtype", "taps", "version"]

NAME = ADAPTERS["jax_fast"].title


def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    return se_jax.fast(se_jax.restore(spec, params), "bfloat16" if dtype == "bfloat16" else "float32")


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    return {graph(model.spec)[-1].name: np.asarray(model(x.transpose(0, 2, 3, 1)))}
