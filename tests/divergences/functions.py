"""Functions of single values: their slopes, their tails, their precision, and what drops out."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from flax import nnx


def relu_slope_at_zero() -> float:
    def of_torch(function: Callable[[Any], Any]) -> float:
        x: Any = torch.zeros((), requires_grad=True)
        function(x).backward()
        return x.grad.item()

    def of_tf(function: Callable[[Any], Any]) -> float:
        x = tf.zeros(())
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        slope: Any = tape.gradient(y, x)
        return slope.numpy().item()

    def of_jax(function: Callable[[Any], Any]) -> float:
        return float(jax.grad(function)(0.0))

    zero = of_torch(torch.relu), of_tf(tf.nn.relu), of_jax(jax.nn.relu)
    half = of_torch(lambda x: torch.maximum(x, torch.zeros(()))), of_jax(lambda x: jnp.maximum(x, 0))
    one = of_torch(lambda x: torch.clamp(x, min=0)), of_tf(lambda x: tf.maximum(x, 0.0))
    assert (zero, half, one) == ((0, 0, 0), (0.5, 0.5), (1, 1))
    return one[0] - zero[0]


def sigmoid_tail() -> float:
    x = -40.0
    exact = np.exp(x) / (1 + np.exp(x))
    with jax.enable_x64(True):
        of_jax = float(jax.nn.sigmoid(jnp.float64(x)))
    found = torch.sigmoid(torch.tensor(x, dtype=torch.float64)).item(), tf.sigmoid(tf.constant(x, tf.float64)).numpy()
    assert (*found, of_jax) == pytest.approx((exact, exact, exact), rel=1e-14)
    return 1 - (0.5 * np.tanh(0.5 * x) + 0.5) / exact


def keras_tanh_in_float64() -> float:
    # The backend is chosen before Keras is imported, hence another process.
    code = "import keras; x = keras.ops.convert_to_tensor(1.0, 'float64'); print(float(keras.ops.tanh(x)), x.dtype)"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    of_jax, dtype = done.stdout.split()
    assert dtype == "float64"
    of_tf: Any = keras.ops.tanh(tf.constant(1.0, tf.float64))
    assert of_tf.numpy() == pytest.approx(np.tanh(1), rel=1e-15)
    return abs(float(of_jax) / np.tanh(1) - 1)


def hard_sigmoid_slope() -> float:
    x: Any = torch.zeros((), dtype=torch.float64, requires_grad=True)
    torch.nn.functional.hardsigmoid(x).backward()
    with jax.enable_x64(True):
        of_jax = float(jax.grad(nnx.hard_sigmoid)(jnp.float64(0)))
    assert of_jax == pytest.approx(1 / 6, rel=1e-15)
    return abs(x.grad.item() * 6 - 1)


def global_maximum_of_equals() -> float:
    x: Any = torch.ones(2, 2, dtype=torch.float64, requires_grad=True)
    x.amax().backward()
    of_jax = np.asarray(jax.grad(jnp.max)(jnp.ones((2, 2))))
    y = tf.ones((2, 2))
    with tf.GradientTape() as tape:
        tape.watch(y)
        largest = tf.reduce_max(y)
    of_tf: Any = tape.gradient(largest, y)
    assert np.array_equal(x.grad.numpy(), of_jax)
    assert np.array_equal(of_jax, of_tf.numpy())
    return 1 - of_jax[0, 0].item()


def dropout_random_numbers() -> float:
    x = np.ones(10_000, np.float32)
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    found = [
        torch.nn.Dropout(0.5)(torch.from_numpy(x)).numpy(),
        keras.layers.Dropout(0.5)(x, training=True).numpy(),
        np.asarray(nnx.Dropout(0.5, rngs=nnx.Rngs(0))(jnp.asarray(x))),
    ]
    assert {float(value) for y in found for value in y} == {0, 2}
    return float(np.mean([(a != b).mean() for i, a in enumerate(found) for b in found[:i]]))


def tensor_float_32() -> float:
    # The switches; there is nothing to be seen on a CPU.
    assert tf.config.experimental.tensor_float_32_execution_enabled()
    assert torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    config: Any = jax.config
    assert config.jax_default_matmul_precision is None
    return 2.0 ** -(10 + 1)  # ten bits after the point are kept


DEMONSTRATIONS = {
    "relu-slope-at-zero": relu_slope_at_zero,
    "sigmoid-tail": sigmoid_tail,
    "keras-tanh-in-float64": keras_tanh_in_float64,
    "hard-sigmoid-slope": hard_sigmoid_slope,
    "global-maximum-of-equals": global_maximum_of_equals,
    "dropout-random-numbers": dropout_random_numbers,
    "tensor-float-32": tensor_float_32,
}
