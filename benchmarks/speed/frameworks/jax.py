"""Flax: the network under ``nnx.jit``, the fast path, and the network written by hand."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import se_jax
from benchmarks.plain.jax import SEResNet50
from benchmarks.speed.frameworks import LEARNING_RATE, MOMENTUM, Asked


def network(way: str, asked: Asked) -> Any:
    if way == "peer":
        asked.expect_peer()
        return SEResNet50(rngs=nnx.Rngs(0))
    return se_jax.build(asked.spec)


def inference(way: str, asked: Asked) -> Callable[[], object]:
    model, x = network(way, asked), jnp.asarray(asked.x.transpose(0, 2, 3, 1))
    model.eval()
    if way == "fast":
        compute = se_jax.fast(model)
        return lambda: jax.block_until_ready(compute(x))
    forward = nnx.jit(lambda model, x: model(x))
    return lambda: jax.block_until_ready(forward(model, x))


def training(way: str, asked: Asked) -> Callable[[], object]:
    model = network(way, asked)
    model.train()
    optimizer = nnx.Optimizer(model, optax.sgd(LEARNING_RATE, MOMENTUM), wrt=nnx.Param)
    x, classes = jnp.asarray(asked.x.transpose(0, 2, 3, 1)), jnp.asarray(asked.classes)

    @nnx.jit
    def step(model: Any, optimizer: Any, x: Any, classes: Any) -> Any:
        def loss(model: Any) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(model(x), classes).mean()

        found, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        return found

    return lambda: float(step(model, optimizer, x, classes))
