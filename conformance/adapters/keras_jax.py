"""The Keras file under the JAX backend, one operation after the other: all taps, and gradients.

In a process of its own, or where KERAS_BACKEND is jax: Keras has one backend for all of a process.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import jax
import keras
import numpy as np

from conformance.adapters import ADAPTERS, keras_layers
from conformance.adapters.jax import on
from conformance.adapters.keras_layers import nchw, recording
from weights.networks.spec import Spec

__all__ = ["NAME", "build", "gradients", "on", "taps", "version"]

NAME = ADAPTERS["keras_jax"].title


def version() -> str:
    return f"keras {keras.__version__}, jax {jax.__version__}"


def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    jax.config.update("jax_enable_x64", dtype == "float64")
    return keras_layers.load(spec, params, dtype, "jax")


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    with recording(model) as found:
        model(jax.numpy.asarray(x.transpose(0, 2, 3, 1)), training=False)
    return {name: nchw(_array(value)) for name, value in found.items()}


def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
    @jax.jit
    def backward(learned: Any, others: Any, images: Any) -> Any:
        def product(learned: Any, images: Any) -> Any:
            with recording(model) if x.dtype != np.float64 else nullcontext({}) as shown:
                output, _ = model.stateless_call(learned, others, images, training=training)
            return (output * cotangent).sum(), shown

        return jax.grad(product, (0, 1), has_aux=True)(learned, images)

    learned, others = ([v.value for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables))
    (of_model, of_data), shown = backward(learned, others, x.transpose(0, 2, 3, 1))
    found = {name: nchw(_array(value)) for name, value in shown.items()}
    of_params = keras_layers.canonical(model, [_array(value) for value in of_model])
    return found | {"data": nchw(_array(of_data)), **of_params}


def _array(value: Any) -> np.ndarray:
    return np.asarray(value, np.promote_types(value.dtype, np.float32))
