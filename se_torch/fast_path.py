"""The fast path of a model, for inference. Compare se_jax/fast_path.py and se_tf/fast_path.py.

It runs the nodes of the network, not the modules, each with what follows it where one kernel does both.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, as everywhere

from se_torch.layers import (
    ACTIVATIONS,
    AppendZeros,
    BatchNorm,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    Mix,
    Shift,
    Shuffle,
    Times,
    avg_pool,
    max_pool,
)
from se_torch.network import Network, refuse_hooks
from se_torch.params import checkpoint
from weights import Info, Spec
from weights.change.fast_path import Precision, Preparation, expect, folded
from weights.networks import operations as op
from weights.networks.network import Network as Nodes
from weights.networks.network import Node
from weights.networks.operations import Activation
from weights.networks.sizes import shapes

Step = tuple[Callable[..., Tensor], tuple[str, ...], str]
"""A function, the names of its inputs, and that of its output."""


class Fast:
    """A network for inference, called as the model that it was made of: images (N, 3, H, W) to logits (N, classes).

    Any number and size of images; the output has the dtype that the model had, and no gradient.

    Attributes:
        spec: the record of the network.
        info: what the parameters expect and where they come from.
        done: what was done to the model; also what ``repr`` prints.
    """

    def __init__(self, spec: Spec, info: Info, steps: tuple[Step, ...], done: Preparation, dtype: torch.dtype) -> None:
        self.spec, self.info, self.done = spec, info, done
        self._steps, self._dtype = steps, dtype
        self._last = {name: i for i, (_, inputs, _) in enumerate(steps) for name in inputs}

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        to = getattr(torch, self.done.precision)
        with torch.autocast(x.device.type, enabled=False):
            values = {"data": x.to(to).contiguous(memory_format=torch.channels_last)}
            y = x
            for i, (function, inputs, name) in enumerate(self._steps):
                y = function(*(values[key] for key in inputs))
                for key in {*inputs}:
                    if self._last[key] == i:  # nobody needs it any more
                        del values[key]
                values[name] = y
        return y.to(self._dtype)

    def __repr__(self) -> str:
        return f"Fast({self.done})"


def fast(model: Network, precision: Precision = "float32") -> Fast:
    """The fast path of a model: the same outputs, to rounding, sooner.

    BatchNorms are folded into convolutions in float64 and rounded once; maps lie channels last; on CPUs oneDNN computes
    convolutions together with what follows them, with weights reordered beforehand. Nothing is compiled: any size runs
    at once.

    Args:
        model: in inference mode; it is left as it is, and what is done to it later does not change the fast path.
        precision: of parameters and computation, "float32" or "bfloat16".

    Raises:
        InputError: it is no model of ``se_torch``, is in training mode, has changed since it was built, or has hooks of
            forward passes; or there is no such precision.
    """
    matters = (BatchNorm, nn.BatchNorm2d, nn.SyncBatchNorm, nn.Dropout, Mix)
    modules = model.modules() if isinstance(model, nn.Module) else ()
    expect(model, Network, "se_torch", training=any(m.training for m in modules if isinstance(m, matters)))
    refuse_hooks(model, "fast: makes a fast path")
    spec, params = checkpoint(model)
    found = folded(spec, params, precision)
    weight = next(model.parameters())
    fused = weight.device.type == "cpu" and _has_kernels(precision)
    to = getattr(torch, precision)
    tensors = {name: torch.tensor(a, dtype=to, device=weight.device) for name, a in found.params.items()}
    done = Preparation(
        network=spec.name,
        precision=precision,
        folded=len(found.convolutions),
        kept=len(found.kept),
        layout="NHWC",
        compiler="oneDNN's kernels, with what follows a convolution in them" if fused else "PyTorch's kernels",
    )
    return Fast(spec, found.params.info, tuple(_steps(found.network, tensors, fused)), done, weight.dtype)


def _has_kernels(precision: Precision) -> bool:
    """Whether oneDNN is there, and computes in this precision on this processor."""
    if not torch.backends.mkldnn.is_available():
        return False
    return precision == "float32" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _steps(network: Nodes, tensors: Mapping[str, Tensor], fused: bool) -> Iterator[Step]:
    """What is to be done, in order: each node, with those behind it that one kernel does at once."""
    sizes = shapes(network)
    chains: dict[str, list[Node]] = {}  # by the last node, whose turn it is then
    taken: set[str] = set()
    for node in network.nodes:
        if node.name not in taken:
            chain = _chain(network, node, taken, fused)
            taken |= {link.name for link in chain}
            chains[chain[-1].name] = chain
    for name in network.by_name:
        if name in chains:
            node, *rest = chain = chains[name]
            others = [other for before, link in pairwise(chain) for other in link.inputs if other != before.name]
            yield _function(node, rest, tensors, sizes, fused), (*node.inputs, *others), name


def _chain(network: Nodes, node: Node, taken: set[str], fused: bool) -> list[Node]:
    """A node and those behind it that are done at once: nobody else reads what is between them."""
    chain = [node]
    while True:
        readers = network.readers[chain[-1].name]
        if len(readers) != 1 or readers[0].name in taken or not _joins(chain, readers[0], fused):
            return chain
        chain.append(readers[0])


def _joins(chain: list[Node], link: Node, fused: bool) -> bool:
    match [node.op for node in chain], link.op:
        case [op.Conv()], op.Act(function):
            return fused and function in _IN_KERNEL
        case [op.Conv()], op.Add():
            return fused and link.inputs[0] != link.inputs[1]
        case [op.Scale()], op.Add():
            return link.inputs[0] != link.inputs[1]
        case [op.Conv() | op.Scale(), op.Add()] | [op.Add()], op.Act("relu"):
            return True
        case _:
            return False


_IN_KERNEL: Mapping[Activation, tuple[str, list[float]]] = {
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
    "sigmoid": ("sigmoid", []),
    "swish": ("swish", []),
    "tanh": ("tanh", []),
}
"""What oneDNN calls the activations that it computes behind a convolution, and their constants."""


def _function(
    node: Node, rest: list[Node], tensors: Mapping[str, Tensor], sizes: Mapping[str, op.Shape], fused: bool
) -> Callable[..., Tensor]:
    """What computes a node and those of its chain, of the inputs of all."""

    def p(leaf: str) -> Tensor:
        return tensors[f"{node.module}.{leaf}"]

    ends_in_relu = bool(rest) and isinstance(rest[-1].op, op.Act)
    match node.op:
        case op.Conv() as conv if fused:
            bias = p("bias") if conv.bias else None
            return _fused_convolution(conv, p("weight"), bias, sizes[node.inputs[0]], [link.op for link in rest])
        case op.Conv() as conv:
            return _convolution(conv, p("weight"), p("bias") if conv.bias else None)
        case op.BatchNorm(eps):
            weight, bias, mean, var = p("weight"), p("bias"), p("running_mean"), p("running_var")
            return lambda x: F.batch_norm(x, mean, var, weight, bias, eps=eps)
        case op.Linear(_, biased):
            weight, bias = p("weight"), p("bias") if biased else None
            return lambda x: F.linear(x.movedim(1, -1), weight, bias).movedim(-1, 1)
        case op.Act(function):
            return ACTIVATIONS[function]()
        case op.Pool(what, kernel, stride, pad, after, rounding, counted):
            up = rounding == "up"
            if what == "max":
                return max_pool(stride, pad, after, kernel=kernel, rounds_up=up)
            return avg_pool(stride, pad, kernel=kernel, rounds_up=up, counted=counted)
        case op.GlobalPool(what):
            return GlobalAvgPool() if what == "avg" else GlobalMaxPool()
        case op.Scale():
            return _scale(bool(rest), ends_in_relu)
        case op.Add():
            return (lambda a, b: (a + b).relu_()) if ends_in_relu else torch.add
        case op.Mix():
            return Mix("even-even")
        case op.Times(factor):
            return Times(factor)
        case op.Concat():
            return lambda *maps: torch.cat(maps, 1)
        case op.AppendZeros(channels):
            return AppendZeros(channels)
        case op.Shift():
            return Shift()
        case op.Shuffle(groups):
            return Shuffle(groups)
        case op.Flatten():
            return Flatten()
        case op.Dropout():
            return nn.Identity()
        case _:
            assert_never(node.op)


def _convolution(conv: op.Conv, weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    weight = weight.contiguous(memory_format=torch.channels_last)
    stride, groups = conv.stride, conv.groups

    def run(x: Tensor) -> Tensor:
        x, pad = _padded(conv, x)
        return F.conv2d(x, weight, bias, stride, pad, groups=groups)

    return run


def _fused_convolution(
    conv: op.Conv, weight: Tensor, bias: Tensor | None, size: op.Shape, behind: list[op.Op]
) -> Callable[..., Tensor]:
    """By oneDNN, with the activation or the sum behind it."""
    stride, dilation, groups = [conv.stride] * 2, [1, 1], conv.groups
    sides = conv.sides(*size[1:])
    # For one image: a layout that suits many is reordered at every call for one, and the other way round costs little.
    expected = [1, *size]
    weight = torch.ops.mkldnn._reorder_convolution_weight(
        weight, [side[0] for side in sides], stride, dilation, groups, expected
    )
    apply = torch.ops.mkldnn._convolution_pointwise
    match behind:
        case [op.Add(), *relu]:
            activation = "relu" if relu else None

            def with_sum(x: Tensor, other: Tensor) -> Tensor:
                x, pad = _padded(conv, x)
                rest = (pad, stride, dilation, groups, "add", 1.0, activation, [], "")
                return apply.binary(x, _channels_last(other), weight, bias, *rest)

            return with_sum
        case [op.Act(function)]:
            name, constants = _IN_KERNEL[function]
        case _:
            name, constants = "none", []

    def run(x: Tensor) -> Tensor:
        x, pad = _padded(conv, x)
        return apply(x, weight, bias, pad, stride, dilation, groups, name, constants, "")

    return run


def _padded(conv: op.Conv, x: Tensor) -> tuple[Tensor, list[int]]:
    """The map as it goes into the convolution, and the zeros that this adds on both sides of each axis."""
    (top, bottom), (left, right) = conv.sides(*x.shape[2:])
    if (top, left) == (bottom, right):
        return _channels_last(x), [top, left]
    return _channels_last(F.pad(x, (left, right, top, bottom))), [0, 0]


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _scale(adds: bool, rectifies: bool) -> Callable[..., Tensor]:
    """A map times its gates, or with a sum behind it, or with a sum and a ReLU."""

    def gates(gate: Tensor) -> Tensor:
        return gate[:, :, None, None] if gate.ndim == 2 else gate

    if rectifies:
        return lambda x, gate, other: torch.addcmul(other, x, gates(gate)).relu_()
    if adds:
        return lambda x, gate, other: torch.addcmul(other, x, gates(gate))
    return lambda x, gate: x * gates(gate)
