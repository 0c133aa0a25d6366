"""BatchNorm: epsilon, momentum, and what the running statistics take in."""

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from flax import nnx

from weights import EPS
from weights.networks.running_statistics import FRACTION, caffe


def _batch(shape: tuple[int, ...] = (4, 2, 2, 1), mean: float = 1.0) -> np.ndarray:
    """Values (N, H, W, C) of a given mean, in float64."""
    x = np.random.default_rng(51).standard_normal(shape)
    return x - x.mean((0, 1, 2)) + mean


def _torch_statistics(x: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    layer: Any = torch.nn.BatchNorm2d(x.shape[-1], dtype=torch.float64, **options)
    layer(torch.from_numpy(x.transpose(0, 3, 1, 2)))
    return layer.running_mean.numpy(), layer.running_var.numpy()


def _keras_statistics(x: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    layer: Any = keras.layers.BatchNormalization(dtype="float64", **options)
    layer(tf.constant(x), training=True)
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()


def _flax_statistics(x: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    layer = nnx.BatchNorm(x.shape[-1], rngs=nnx.Rngs(0), **options)
    layer(jnp.asarray(x, jnp.float32))
    return np.asarray(layer.mean[...], np.float64), np.asarray(layer.var[...], np.float64)


def batch_norm_epsilon() -> float:
    assert float(np.float32(1e-5)) == EPS
    assert torch.nn.BatchNorm2d(1).eps == nnx.BatchNorm(1, rngs=nnx.Rngs(0)).epsilon == 1e-5
    own = keras.layers.BatchNormalization().epsilon
    assert own == 1e-3
    assert 1 - np.sqrt((1 + EPS) / (1 + 1e-5)) == pytest.approx(1.3e-13, rel=0.05)
    return 1 - np.sqrt((1 + EPS) / (1 + own))


def batch_norm_running_variance() -> float:
    x = _batch()
    biased, m = x.var(), x.size
    assert _torch_statistics(x, momentum=1.0)[1] == pytest.approx(biased * m / (m - 1), rel=1e-14)
    assert _keras_statistics(x, momentum=0.0)[1] == pytest.approx(biased, rel=1e-14)
    assert _flax_statistics(x, momentum=0.0)[1] == pytest.approx(biased, rel=1e-6)  # it keeps float32
    assert caffe(0.0)[0].unbiased
    return m / (m - 1) - 1


def batch_norm_momentum_meaning() -> float:
    x = _batch()
    (new,), _ = _torch_statistics(x, momentum=0.1)
    (kept,), _ = _keras_statistics(x, momentum=0.1)
    (also_kept,), _ = _flax_statistics(x, momentum=0.1)
    assert (new, kept, also_kept) == (pytest.approx(0.1), pytest.approx(0.9), pytest.approx(0.9))
    return kept - new


def batch_norm_momentum_default() -> float:
    x = _batch()
    (of_torch,), _ = _torch_statistics(x)
    (of_keras,), _ = _keras_statistics(x)
    (of_flax,), _ = _flax_statistics(x)
    assert (of_torch, of_keras, of_flax) == (pytest.approx(0.1), pytest.approx(0.01), pytest.approx(0.01, rel=1e-5))
    assert 1 - caffe(1000.0)[0].keep == pytest.approx(0.001, rel=0.01)
    return of_torch - of_keras


def batch_norm_caffe_sums() -> float:
    total, factor = 0.0, 0.0  # of a new layer
    total, factor = FRACTION * total + 1.0, FRACTION * factor + 1
    assert caffe(0.0)[0].keep * 0.0 + (1 - caffe(0.0)[0].keep) * 1.0 == total / factor == 1
    (of_torch,), _ = _torch_statistics(_batch())
    return total / factor - of_torch


def batch_norm_fast_variance() -> float:
    x = np.random.default_rng(0).standard_normal((64, 4, 4, 1)) + 1e4
    _, (fast,) = _flax_statistics(x, momentum=0.0)
    _, (slow,) = _flax_statistics(x, momentum=0.0, use_fast_variance=False)
    # Two squares of 1e8 in float32, each known to 8.
    assert slow == pytest.approx(x.var(), rel=1e-3)
    return abs(fast / x.var() - 1)


def batch_norm_statistics_in_float32() -> float:
    with jax.enable_x64(True):
        layer = nnx.BatchNorm(1, rngs=nnx.Rngs(0), dtype=jnp.float64, param_dtype=jnp.float64, momentum=0.0)
        layer(jnp.full((1, 2, 2, 1), 0.1))
        assert layer.mean[...].dtype == jnp.float32
        (mean,) = np.asarray(layer.mean[...], np.float64)
    assert _keras_statistics(np.full((1, 2, 2, 1), 0.1), momentum=0.0)[0] == pytest.approx(0.1, rel=1e-15)
    assert _torch_statistics(np.full((1, 2, 2, 1), 0.1), momentum=1.0)[0] == pytest.approx(0.1, rel=1e-15)
    return abs(mean / 0.1 - 1)


DEMONSTRATIONS = {
    "batch-norm-epsilon": batch_norm_epsilon,
    "batch-norm-running-variance": batch_norm_running_variance,
    "batch-norm-momentum-meaning": batch_norm_momentum_meaning,
    "batch-norm-momentum-default": batch_norm_momentum_default,
    "batch-norm-caffe-sums": batch_norm_caffe_sums,
    "batch-norm-fast-variance": batch_norm_fast_variance,
    "batch-norm-statistics-in-float32": batch_norm_statistics_in_float32,
}
