"""Flax, compiled: every module's output, by ``nnx.capture``; gradients; training with ``optax.sgd``."""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import se_jax
from conformance.adapters import ADAPTERS
from conformance.adapters.devices import chosen
from conformance.adapters.places import places
from conformance.reference.training import Batch, Recipe
from weights.names.frameworks import FLAX
from weights.networks.parameters import schema
from weights.networks.spec import Spec
from weights.params import Params

NAME = ADAPTERS["jax"].title


def version() -> str:
    return f"flax {flax.__version__}, jax {jax.__version__}"


@contextmanager
def on(device: str, tf32: bool) -> Generator[None]:
    """Arrays are made on that device, and what is computed of them stays there."""
    place = chosen(device, _devices(), NAME, tf32)
    # By itself JAX takes the fastest that a device has, also for float32.
    precision = "tensorfloat32" if tf32 else "highest"
    with jax.default_matmul_precision(precision), jax.default_device(place) if device else nullcontext():
        yield


def _devices() -> dict[str, Any]:
    """All that JAX has, those that it takes by itself first."""
    found = jax.devices()
    with suppress(RuntimeError):  # JAX_PLATFORMS may leave the CPU out
        found = [*found, *jax.devices("cpu")]
    return {f"{place.platform}:{place.id}": place for place in found}


def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    with jax.enable_x64(dtype == "float64"):
        return se_jax.restore(spec, params, dtype)


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    with jax.enable_x64(x.dtype == np.float64):
        return _by_node(model, _forward(model, x.transpose(0, 2, 3, 1)))


def _by_node(model: Any, captured: Any) -> dict[str, np.ndarray]:
    found = {
        ".".join(map(str, path[:-1])): value for path, value in nnx.to_flat_state(captured) if path[-1] == "__call__"
    }
    nodes = places(model.spec.network(), found).items()
    return {node.name: nchw(found[path].get_value()[0]) for path, node in nodes}


@nnx.jit
def _forward(model: Any, x: Any) -> Any:
    return _captured(model, x)[1]


def _captured(model: Any, x: Any) -> Any:
    """The output, and every module's output."""
    return nnx.capture(model, nnx.Intermediate, method_outputs=nnx.Intermediate)(x)


def logits(model: Any, x: np.ndarray) -> np.ndarray:
    with jax.enable_x64(x.dtype == np.float64), jax.default_matmul_precision("highest"):
        return _array(_logits(model, x.transpose(0, 2, 3, 1)))


@nnx.jit
def _logits(model: Any, x: Any) -> Any:
    return model(x)


def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
    with jax.enable_x64(x.dtype == np.float64):
        if training:
            model.train()
        compute = _gradients if x.dtype == np.float64 else _gradients_and_taps
        (of_model, of_data), captured = compute(model, x.transpose(0, 2, 3, 1), cotangent)
        model.eval()
        shown = _by_node(model, captured) if captured is not None else {}
        found = {".".join(map(str, path)): value.get_value() for path, value in nnx.to_flat_state(of_model)}
        learned = [p for p in schema(model.spec) if p.learnable]
        return shown | {"data": nchw(of_data), **{p.name: FLAX.decode(p, _array(found[FLAX.key(p)])) for p in learned}}


_BOTH = (nnx.DiffState(0, nnx.Param), 1)


@nnx.jit
def _gradients(model: Any, x: Any, cotangent: Any) -> Any:
    def product(model: Any, x: Any) -> Any:
        return (model(x) * cotangent).sum()

    return nnx.grad(product, argnums=_BOTH)(model, jnp.asarray(x)), None


@nnx.jit
def _gradients_and_taps(model: Any, x: Any, cotangent: Any) -> Any:
    def product(model: Any, x: Any) -> Any:
        output, captured = _captured(model, x)
        return (output * cotangent).sum(), captured

    return nnx.grad(product, argnums=_BOTH, has_aux=True)(model, jnp.asarray(x))


def train(model: Any, batches: Iterable[Batch], recipe: Recipe) -> Params:
    wide = jax.tree.leaves(nnx.state(model, nnx.Param))[0].dtype == np.float64
    with jax.enable_x64(wide):
        decayed = optax.add_decayed_weights(recipe.weight_decay)
        descent = optax.chain(decayed, optax.sgd(recipe.learning_rate, recipe.momentum))
        optimizer = nnx.Optimizer(model, descent, wrt=nnx.Param)
        model.train()
        for step, (x, classes) in enumerate(batches):
            se_jax.set_statistics_rule(model, recipe.rule(step))
            _step(model, optimizer, x.transpose(0, 2, 3, 1), classes)
        model.eval()
        return se_jax.dump(model)


@nnx.jit
def _step(model: Any, optimizer: Any, x: Any, classes: Any) -> None:
    def loss(model: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(model(x), classes).mean()

    optimizer.update(model, nnx.grad(loss)(model))


def nchw(value: Any) -> np.ndarray:
    """A NumPy copy, maps (N, H, W, C) as (N, C, H, W), at least in float32."""
    array = _array(value)
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array


def _array(value: Any) -> np.ndarray:
    return np.asarray(value, np.promote_types(value.dtype, np.float32))
