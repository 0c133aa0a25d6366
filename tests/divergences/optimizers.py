"""Steps of gradient descent: weight decay, momentum, and the precision of the learning rate."""

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest
import tensorflow as tf
import torch


def _torch_weight(
    gradients: tuple[float, ...], rates: tuple[float, ...], momentum: float = 0.9, decay: float = 0.0
) -> float:
    """What becomes of a weight of 1."""
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], rates[0], momentum, weight_decay=decay)
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.full((1,), gradient, dtype=torch.float64)
        optimizer.step()
    return weight.item()


def _keras_weight(
    gradients: tuple[float, ...], rates: tuple[float, ...], momentum: float = 0.9, decay: float = 0.0
) -> float:
    weight = keras.Variable(np.ones(1), dtype="float64")
    optimizer = keras.optimizers.SGD(rates[0], momentum, weight_decay=decay or None)
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.learning_rate = rate
        optimizer.apply([tf.constant([gradient], tf.float64)], [weight])
    return weight.numpy().item()


def _optax_weight(
    gradients: tuple[float, ...], rates: tuple[float, ...], momentum: float = 0.9, decay: float = 0.0
) -> float:
    with jax.enable_x64(True):
        weight = jnp.ones(1)
        schedule = lambda step: jnp.asarray(rates)[step]  # noqa: E731
        rule = optax.chain(optax.add_decayed_weights(decay), optax.sgd(schedule, momentum))
        state = rule.init(weight)
        for gradient in gradients:
            update, state = rule.update(jnp.full(1, gradient), state, weight)
            weight = optax.apply_updates(weight, update)
        return float(np.asarray(weight)[0])


def weight_decay_coupling() -> float:
    rate, momentum, decay = 0.1, 0.9, 0.1
    weight, velocity = 1.0, 0.0
    for _ in range(2):
        velocity = momentum * velocity + decay * weight
        weight -= rate * velocity
    step: dict[str, Any] = {"gradients": (0.0, 0.0), "rates": (rate, rate), "momentum": momentum}
    assert _torch_weight(**step, decay=decay) == pytest.approx(weight, abs=1e-14)
    assert _optax_weight(**step, decay=decay) == pytest.approx(weight, abs=1e-14)
    apart = _keras_weight(**step, decay=decay)
    assert apart == pytest.approx((1 - rate * decay) ** 2, abs=1e-8)  # its rate is a float32
    return apart - weight


def momentum_and_learning_rate() -> float:
    step: dict[str, Any] = {"gradients": (1.0, 1.0), "rates": (1.0, 0.1)}
    after = {"torch": 1 - 1 - 0.1 * 1.9, "keras": 1 - 1 - (0.9 + 0.1)}
    assert _torch_weight(**step) == pytest.approx(after["torch"], abs=1e-14)
    assert _optax_weight(**step) == pytest.approx(after["torch"], abs=1e-14)
    assert _keras_weight(**step) == pytest.approx(after["keras"], abs=1e-7)  # its rate is a float32
    return _torch_weight(**step) - _keras_weight(**step)


def learning_rate_in_float32() -> float:
    step: dict[str, Any] = {"gradients": (1.0,), "rates": (0.1,)}
    assert 1 - _torch_weight(**step) == pytest.approx(0.1, rel=1e-15)
    assert 1 - _optax_weight(**step) == pytest.approx(0.1, rel=1e-15)
    found = 1 - _keras_weight(**step)
    assert found == pytest.approx(float(np.float32(0.1)), rel=1e-15)
    return found / 0.1 - 1


DEMONSTRATIONS = {
    "weight-decay-coupling": weight_decay_coupling,
    "momentum-and-learning-rate": momentum_and_learning_rate,
    "learning-rate-in-float32": learning_rate_in_float32,
}
