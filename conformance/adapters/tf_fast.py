"""Keras' fast path, ``se_tf.fast``: logits, in float32 or bfloat16."""

from collections.abc import Mapping
from typing import Any

import numpy as np

import se_tf
from conformance.adapters import ADAPTERS
from conformance.adapters.keras_layers import expect_backend
from conformance.adapters.precision import fast as dtype
from conformance.adapters.tf import on, version
from weights.networks.network import graph
from weights.networks.spec import Spec

__all__ = ["NAME", "build", "dtype", "on", "taps", "version"]

NAME = ADAPTERS["tf_fast"].title


def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    expect_backend("tensorflow")
    return se_tf.fast(se_tf.restore(spec, params, "float32"), "bfloat16" if dtype == "bfloat16" else "float32")


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    return {graph(model.spec)[-1].name: np.asarray(model(x.transpose(0, 2, 3, 1)))}
