"""Keras on TensorFlow, as a graph: every layer's output, recorded while it is traced; gradients; ``keras`` SGD."""

# pyright: reportUntypedFunctionDecorator=false
# TensorFlow has no types.

import os
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # otherwise pages of notes on how it was compiled, on stderr

import keras
import numpy as np
import tensorflow as tf

import se_tf
from conformance.adapters import ADAPTERS
from conformance.adapters.devices import chosen
from conformance.adapters.keras_layers import canonical, expect_backend, nchw, recording
from conformance.reference.training import Batch, Recipe
from weights.networks.spec import Spec
from weights.params import Params

NAME = ADAPTERS["tf"].title


def version() -> str:
    return f"keras {keras.__version__}, tensorflow {tf.__version__}"


@contextmanager
def on(device: str, tf32: bool) -> Generator[None]:
    """Variables are made on that device, and what is computed of them stays there."""
    # The CPU last, which TensorFlow takes where there is nothing else.
    found = sorted(tf.config.list_logical_devices(), key=lambda place: place.device_type == "CPU")
    places = {place.name.removeprefix("/device:").lower(): place.name for place in found}
    place = chosen(device, places, NAME, tf32)
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(tf32)
    try:
        with tf.device(place) if device else nullcontext():
            yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    expect_backend("tensorflow")
    return se_tf.restore(spec, params, dtype)


def taps(model: Any, x: np.ndarray, xla: bool = False) -> dict[str, np.ndarray]:
    @tf.function(autograph=False, jit_compile=xla)
    def forward(images: Any) -> dict[str, Any]:
        with recording(model) as found:
            model(images, training=False)
        return found

    found = forward(tf.constant(x.transpose(0, 2, 3, 1)))
    return {name: nchw(array(value)) for name, value in found.items()}


def logits(model: Any, x: np.ndarray) -> np.ndarray:
    return array(_logits(model, tf.constant(x.transpose(0, 2, 3, 1))))


@tf.function(autograph=False)
def _logits(model: Any, images: Any) -> Any:
    return model(images, training=False)


def gradients(
    model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False, *, xla: bool = False
) -> dict[str, np.ndarray]:
    @tf.function(autograph=False, jit_compile=xla)
    def backward(images: Any, cotangent: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            with recording(model) if x.dtype != np.float64 else nullcontext({}) as shown:
                output = model(images, training=training)
            product = tf.reduce_sum(output * tf.cast(cotangent, output.dtype))
        return shown, tape.gradient(product, [images, *_values(model)])

    shown, (of_data, *of_model) = backward(tf.constant(x.transpose(0, 2, 3, 1)), tf.constant(cotangent))
    found = {name: nchw(array(value)) for name, value in shown.items()}
    return found | {"data": nchw(array(of_data)), **canonical(model, map(array, of_model))}


def train(model: Any, batches: Iterable[Batch], recipe: Recipe) -> Params:
    floatx = keras.config.floatx()
    keras.config.set_floatx("float32")  # the optimizer holds its learning rate in it
    try:
        optimizer = keras.optimizers.SGD(recipe.learning_rate, recipe.momentum)
        optimizer.build(model.trainable_variables)
    finally:
        keras.config.set_floatx(floatx)
    step: Any = None
    for i, (x, classes) in enumerate(batches):
        if i == 0 or recipe.rule(i) != recipe.rule(i - 1):
            se_tf.set_statistics_rule(model, recipe.rule(i))
            step = _step(model, optimizer, recipe.weight_decay)  # traced anew: the rule is a constant of the graph
        step(tf.constant(x.transpose(0, 2, 3, 1)), tf.constant(classes))
    return se_tf.dump(model)


def _step(model: Any, optimizer: Any, weight_decay: float) -> Any:
    @tf.function(autograph=False)
    def step(images: Any, classes: Any) -> None:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits))
        found = tape.gradient(loss, _values(model))
        # Part of the gradient, so that momentum takes it in; Keras' own weight_decay stays outside of both.
        found = [g + tf.constant(weight_decay, g.dtype) * v for g, v in zip(found, _values(model), strict=True)]
        optimizer.apply(found)

    return step


def _values(model: Any) -> list[Any]:
    return [variable.value for variable in model.trainable_variables]


def array(value: Any) -> np.ndarray:
    """The tensor as an array, at least in float32."""
    return tf.cast(value, tf.float64 if value.dtype == tf.float64 else tf.float32).numpy()
