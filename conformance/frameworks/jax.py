"""Flax, compiled: every module's output, by ``nnx.capture``."""

from collections.abc import Mapping
from typing import Any

import flax
import jax
import numpy as np
from flax import nnx

import se_jax
from weights.graph import graph
from weights.spec import Spec

NAME = "Flax"


def version() -> str:
    return f"flax {flax.__version__}, jax {jax.__version__}"


def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    with jax.enable_x64(dtype == "float64"):
        # Only shapes: drawing initial values, to be overwritten, compiles a program for every shape (half a minute).
        model = nnx.eval_shape(lambda: se_jax.build(spec, dtype))
        model.dropout = nnx.Dropout(spec.dropout, rngs=nnx.Rngs(0))
        se_jax.load(model, params)
        model.eval()
    return model


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    with jax.enable_x64(x.dtype == np.float64), jax.default_matmul_precision("highest"):
        captured = _forward(model, x.transpose(0, 2, 3, 1))
        found = {
            ".".join(map(str, path[:-1])): value for path, value in captured.flat_state() if path[-1] == "__call__"
        }
        return {
            node.name: nchw(found[node.module].get_value()[0]) for node in graph(model.spec) if node.module in found
        }


@nnx.jit
def _forward(model: Any, x: Any) -> Any:
    return nnx.capture(model, nnx.Intermediate, method_outputs=nnx.Intermediate)(x)[1]


def nchw(value: Any) -> np.ndarray:
    """A NumPy copy, maps (N, H, W, C) as (N, C, H, W)."""
    array = np.asarray(value)
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
