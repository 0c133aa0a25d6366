"""The fast path of a model, for inference. Compare se_torch/fast_path.py and se_tf/fast_path.py.

It runs the nodes of the network, not the modules, as one function that XLA compiles.
"""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any, Self, assert_never

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.core import Tracer

from se_jax.layers import (
    ACTIVATIONS,
    AppendZeros,
    AvgPool,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
    Mix,
    Shift,
    Shuffle,
    Times,
)
from se_jax.network import Network
from se_jax.params import checkpoint
from weights import Spec
from weights.change.fast_path import Precision, Preparation, expect, folded
from weights.change.folding import Folded
from weights.names.frameworks import FLAX
from weights.networks import operations as op
from weights.networks.network import Network as Nodes
from weights.networks.network import Node
from weights.networks.parameters import schema


@jax.tree_util.register_pytree_node_class
class Fast:
    """A network for inference, called as the model that it was made of: images (N, H, W, 3) to logits (N, classes).

    Any number and size of images, compiled once for each; the output has the dtype that the model had. Inside of
    another ``jax.jit`` it is compiled as a part of that, with that one's options. It is a pytree whose leaves are the
    parameters, so that it can be an argument of ``jax.jit`` and ``nnx.jit``, or be closed over.

    Attributes:
        spec: the record of the network.
        info: what the parameters expect and where they come from.
        done: what was done to the model; also what ``repr`` prints.
    """

    def __init__(self, spec: Spec, found: Folded, done: Preparation, dtype: np.dtype) -> None:
        self.spec, self.info, self.done = spec, found.params.info, done
        to = jnp.dtype(done.precision)
        self._arrays = {p.name: jnp.array(FLAX.encode(p, found.params[p.name]), to) for p in schema(found.network)}
        forward = partial(_forward, found.network, to=to, back=dtype)
        self._forward = jax.jit(forward, compiler_options=dict(_options()))
        self._part = jax.jit(forward)  # of what is traced, whose options are those of the outermost

    def __call__(self, x: Array) -> Array:
        made_here = jax.lax.full((), 0.0)  # traced inside of jax.jit, of constants too, where options cannot be given
        traced = any(isinstance(a, Tracer) for a in (x, next(iter(self._arrays.values())), made_here))
        return (self._part if traced else self._forward)(self._arrays, x)

    def tree_flatten(self) -> tuple[tuple[dict[str, Array]], tuple[object, ...]]:
        """The parameters, and all else, which is compared by hash."""
        return (self._arrays,), (self.spec, self.info, self.done, self._forward, self._part)

    @classmethod
    def tree_unflatten(cls, rest: tuple[Any, ...], arrays: tuple[dict[str, Array]]) -> Self:
        """The inverse."""
        made = object.__new__(cls)
        (made._arrays,) = arrays
        made.spec, made.info, made.done, made._forward, made._part = rest
        return made

    def __repr__(self) -> str:
        return f"Fast({self.done})"


def fast(model: Network, precision: Precision = "float32") -> Fast:
    """The fast path of a model: the same outputs, to rounding, sooner.

    BatchNorms are folded into convolutions in float64 and rounded once; XLA compiles the whole, for every shape of the
    input that it meets. On CPUs convolutions and matrix products are left to Eigen's kernels.

    Args:
        model: in inference mode; it is left as it is, and what is done to it later does not change the fast path.
        precision: of parameters and computation, "float32" or "bfloat16".

    Raises:
        InputError: it is no model of ``se_jax``, is in training mode, or has changed since it was built; or there is no
            such precision.
    """
    modules = [node for _, node in nnx.iter_graph(model)] if isinstance(model, Network) else []
    expect(model, Network, "se_jax", training=any(map(_trains, modules)))
    spec, params = checkpoint(model)
    found = folded(spec, params, precision)
    done = Preparation(
        network=spec.name,
        precision=precision,
        folded=len(found.convolutions),
        kept=len(found.kept),
        layout="NHWC",
        compiler="XLA, with Eigen's kernels" if _options() else "XLA",
    )
    return Fast(spec, found, done, next(iter(nnx.to_flat_state(nnx.state(model, nnx.Param))))[1].dtype)


def _trains(layer: object) -> bool:
    """Whether it is a layer that inference changes, in training mode."""
    match layer:
        case nnx.BatchNorm():
            return not layer.use_running_average
        case nnx.Dropout() | Mix():
            return not layer.deterministic
        case _:
            return False


EIGEN = {"xla_cpu_experimental_ynn_fusion_type": ""}
"""What XLA is told on CPUs: not to give convolutions and products to YNNPACK, with which these networks take longer."""


@cache
def _options() -> Mapping[str, str]:
    """``EIGEN`` where the network runs on a CPU, and XLA knows the option."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=EIGEN).lower(np.float32(0)).compile()
    except jax.errors.JaxRuntimeError:  # of another version, which has no such option
        return {}
    return EIGEN


def _forward(network: Nodes, arrays: Mapping[str, Array], x: Array, *, to: np.dtype, back: np.dtype) -> Array:
    values = {"data": x.astype(to)}
    for node in network.nodes:
        values[node.name] = _output(node, [values[name] for name in node.inputs], arrays)
    return values[network.output.name].astype(back)


def _output(node: Node, inputs: Sequence[Array], arrays: Mapping[str, Array]) -> Array:
    """What a node makes of its inputs."""
    x, *others = inputs

    def p(leaf: str) -> Array:
        return arrays[f"{node.module}.{leaf}"]

    match node.op:
        case op.Conv() as conv:
            y = _convolution(conv, x, p("weight"))
            return y + p("bias") if conv.bias else y
        case op.BatchNorm(eps):
            wide, weight, bias, mean, var = (
                a.astype(jnp.float32) for a in (x, p("weight"), p("bias"), p("running_mean"), p("running_var"))
            )
            return ((wide - mean) * (weight / jnp.sqrt(var + eps)) + bias).astype(x.dtype)
        case op.Linear(_, biased):
            return x @ p("weight") + p("bias") if biased else x @ p("weight")
        case op.Scale():
            (gate,) = others
            return x * (gate[:, None, None, :] if gate.ndim == 2 else gate)
        case op.Add():
            return x + others[0]
        case op.Mix():
            return 0.5 * x + 0.5 * others[0]
        case op.Concat():
            return jnp.concatenate(inputs, -1)
        case op.Act(function):
            return ACTIVATIONS[function]()(x)
        case op.Pool(what, kernel, stride, pad, after, rounding, counted):
            up = rounding == "up"
            if what == "max":
                return MaxPool(stride, pad, after, kernel=kernel, rounds_up=up)(x)
            return AvgPool(stride, pad, kernel=kernel, rounds_up=up, counted=counted)(x)
        case op.GlobalPool(what):
            return GlobalAvgPool()(x) if what == "avg" else GlobalMaxPool()(x)
        case op.Times(factor):
            return Times(factor)(x)
        case op.AppendZeros(channels):
            return AppendZeros(channels)(x)
        case op.Shift():
            return Shift()(x)
        case op.Shuffle(groups):
            return Shuffle(groups)(x)
        case op.Flatten():
            return Flatten()(x)
        case op.Dropout():
            return x
        case _:
            assert_never(node.op)


def _convolution(conv: op.Conv, x: Array, weight: Array) -> Array:
    return jax.lax.conv_general_dilated(
        x,
        weight,
        (conv.stride, conv.stride),
        conv.sides(*x.shape[1:3]),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=conv.groups,
    )
