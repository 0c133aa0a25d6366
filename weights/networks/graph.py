"""A network as a list of operations in topological order: what schema, cost, Caffe, ONNX and the reference read.

The operations are a small closed set; geometry is explicit and is Caffe's. Nodes stand in the order of the layers in
the published prototxts.
"""

from dataclasses import dataclass
from functools import lru_cache

from weights.errors import InputError
from weights.networks.spec import Bottleneck, Inception, Module, ResNet, Spec


@dataclass(frozen=True, slots=True)
class Conv:
    """Cross-correlation without bias; square kernel, the same padding on all four sides."""

    out: int
    kernel: int
    stride: int = 1
    pad: int = 0
    groups: int = 1


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Caffe's BatchNorm (stored statistics) and the Scale layer after it."""

    eps: float


@dataclass(frozen=True, slots=True)
class Relu: ...


@dataclass(frozen=True, slots=True)
class Sigmoid: ...


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Sizes round up: the last window may hang over the edge. Padding never wins."""

    kernel: int
    stride: int
    pad: int = 0
    after: int = 0  # that much more padding at the end of each axis


@dataclass(frozen=True, slots=True)
class AvgPool:
    """As MaxPool; divides by the window's size, padding included."""

    kernel: int
    stride: int
    pad: int = 0


@dataclass(frozen=True, slots=True)
class GlobalAvgPool:
    """(N, C, H, W) to (N, C)."""


@dataclass(frozen=True, slots=True)
class Linear:
    """(N, C) to (N, out), with bias."""

    out: int


@dataclass(frozen=True, slots=True)
class Scale:
    """inputs[0] (N, C, H, W) times inputs[1] (N, C), channel by channel."""


@dataclass(frozen=True, slots=True)
class Add: ...


@dataclass(frozen=True, slots=True)
class Concat:
    """Along the channels."""


@dataclass(frozen=True, slots=True)
class Dropout:
    """Drops with probability ``rate`` in training, copies in inference."""

    rate: float


Op = Conv | BatchNorm | Relu | Sigmoid | MaxPool | AvgPool | GlobalAvgPool | Linear | Scale | Add | Concat | Dropout


@dataclass(frozen=True, slots=True)
class Node:
    name: str  # also the name of its output, the tap
    op: Op
    inputs: tuple[str, ...]
    module: str  # the prefix of its parameters; the name, except that "logits" is computed by "fc"


class _Builder(list[Node]):
    def __call__(self, name: str, op: Op, *inputs: str, module: str = "") -> str:
        self.append(Node(name, op, inputs, module or name))
        return name


@lru_cache(maxsize=32)
def graph(spec: Spec) -> tuple[Node, ...]:
    """The nodes of a network, from input "data" to the output "logits" ("pool" without a classifier)."""
    g = _Builder()
    x = _resnet(g, spec) if isinstance(spec, ResNet) else _inception(g, spec)
    x = g("pool", GlobalAvgPool(), x)
    if spec.dropout and spec.classes:
        x = g("dropout", Dropout(spec.dropout), x)
    if spec.classes:
        g("logits", Linear(spec.classes), x, module="fc")
    return tuple(g)


def feature_nodes(spec: Spec) -> tuple[str, ...]:
    """The nodes whose outputs are the feature maps at strides 4, 8, 16, 32: the last ones of each stride."""
    blocks = list(spec.blocks())
    if isinstance(spec, ResNet):
        return tuple(stage[-1].name for stage in spec.stages)
    ends = [i for i, block in enumerate(blocks) if i + 1 == len(blocks) or blocks[i + 1].stride == 2]  # type: ignore[union-attr]
    return ("stem.relu3", *(blocks[i].name for i in ends))


def _resnet(g: _Builder, spec: ResNet) -> str:
    x = "data"
    for i, (out, kernel) in enumerate(spec.stem, 1):
        x = _stem_conv(g, x, i, Conv(out, kernel, 2 if i == 1 else 1, kernel // 2), spec.eps)
    x = g("stem.pool", MaxPool(3, 2), x)
    for block in spec.blocks():
        x = _bottleneck(g, x, block)
    return x


def _inception(g: _Builder, spec: Inception) -> str:
    x = "data"
    for i, (out, kernel) in enumerate(spec.stem, 1):
        x = _stem_conv(g, x, i, Conv(out, kernel, 2 if i == 1 else 1, kernel // 2), spec.eps)
        if i in (1, 3):
            x = g("stem.pool1" if i == 1 else "stem.pool2", MaxPool(3, 2), x)
    for block in spec.blocks():
        x = _module(g, x, block)
    return x


def _stem_conv(g: _Builder, x: str, i: int, conv: Conv, eps: float) -> str:
    x = g(f"stem.conv{i}", conv, x)
    x = g(f"stem.bn{i}", BatchNorm(eps), x)
    return g(f"stem.relu{i}", Relu(), x)


def _bottleneck(g: _Builder, x: str, b: Bottleneck) -> str:
    y = g(f"{b.name}.conv1", Conv(b.reduce, 1, b.strides[0]), x)
    y = g(f"{b.name}.bn1", BatchNorm(b.eps), y)
    y = g(f"{b.name}.relu1", Relu(), y)
    y = g(f"{b.name}.conv2", Conv(b.width, 3, b.strides[1], 1, b.groups), y)
    y = g(f"{b.name}.bn2", BatchNorm(b.eps), y)
    y = g(f"{b.name}.relu2", Relu(), y)
    y = g(f"{b.name}.conv3", Conv(b.out_channels, 1), y)
    y = g(f"{b.name}.bn3", BatchNorm(b.eps), y)
    if b.reduction:
        y = _se_block(g, y, f"{b.name}.se", b.out_channels, b.reduction)
    if b.shortcut:
        conv = Conv(b.out_channels, b.shortcut, max(b.strides), b.shortcut // 2)
        x = g(f"{b.name}.shortcut.conv", conv, x)
        x = g(f"{b.name}.shortcut.bn", BatchNorm(b.eps), x)
    y = g(f"{b.name}.add", Add(), y, x)
    return g(b.name, Relu(), y)


def _module(g: _Builder, x: str, m: Module) -> str:
    branches = []
    if m.conv1x1:
        branches.append(_unit(g, x, f"{m.name}.conv1x1", Conv(m.conv1x1, 1), m.eps))
    y = _unit(g, x, f"{m.name}.reduce3x3", Conv(m.conv3x3[0], 1), m.eps)
    branches.append(_unit(g, y, f"{m.name}.conv3x3", Conv(m.conv3x3[1], 3, m.stride, 1), m.eps))
    y = _unit(g, x, f"{m.name}.reduce_double", Conv(m.double3x3[0], 1), m.eps)
    y = _unit(g, y, f"{m.name}.double1", Conv(m.double3x3[1], 3, 1, 1), m.eps)
    branches.append(_unit(g, y, f"{m.name}.double2", Conv(m.double3x3[2], 3, m.stride, 1), m.eps))
    pad = 0 if m.stride == 2 else 1
    # One more at the end, or odd sizes would come out smaller than those of the convolutions. There Caffe refuses;
    # sizes that Caffe takes come out the same.
    after = 1 if m.stride == 2 else 0
    pool = MaxPool(3, m.stride, pad, after) if m.pool == "max" else AvgPool(3, m.stride, pad)
    y = g(f"{m.name}.pool", pool, x)
    branches.append(_unit(g, y, f"{m.name}.project", Conv(m.project, 1), m.eps) if m.project else y)
    if not m.reduction:
        return g(m.name, Concat(), *branches)
    y = g(f"{m.name}.concat", Concat(), *branches)
    return _se_block(g, y, f"{m.name}.se", m.out_channels, m.reduction, output=m.name)


def _unit(g: _Builder, x: str, name: str, conv: Conv, eps: float) -> str:
    x = g(f"{name}.conv", conv, x)
    x = g(f"{name}.bn", BatchNorm(eps), x)
    return g(name, Relu(), x)


def _se_block(g: _Builder, x: str, name: str, channels: int, reduction: int, output: str = "") -> str:
    s = g(f"{name}.pool", GlobalAvgPool(), x)
    s = g(f"{name}.fc1", Linear(channels // reduction), s)
    s = g(f"{name}.relu", Relu(), s)
    s = g(f"{name}.fc2", Linear(channels), s)
    s = g(f"{name}.gate", Sigmoid(), s)
    return g(output or name, Scale(), x, s)


def shapes(spec: Spec, height: int = 224, width: int = 224) -> dict[str, tuple[int, ...]]:
    """The shape of every node's output, and of "data", without the batch: (C, H, W) or (C,).

    The smallest image is 3x3, for Inception networks 7x7.

    Raises:
        InputError: the image is too small, or its size does not fit (an Inception module of stride 2 with average
            pooling meets an odd size: convolution and pooling round differently).
    """
    sizes: dict[str, tuple[int, ...]] = {"data": (3, height, width)}
    for node in graph(spec):
        c, *hw = sizes[node.inputs[0]]
        match node.op:
            case Conv(out, kernel, stride, pad):
                c, hw = out, [(n + 2 * pad - kernel) // stride + 1 for n in hw]
            case MaxPool(kernel, stride, pad, after):
                hw = [-(-(n + 2 * pad + after - kernel) // stride) + 1 for n in hw]
            case AvgPool(kernel, stride, pad):
                hw = [-(-(n + 2 * pad - kernel) // stride) + 1 for n in hw]
            case GlobalAvgPool():
                hw = []
            case Linear(out):
                c = out
            case Concat():
                found = [sizes[name] for name in node.inputs]
                if len({shape[1:] for shape in found}) > 1:
                    raise InputError(
                        f"{spec.name} cannot take {height}x{width}: the branches of {node.name} come out as "
                        f"{', '.join('x'.join(map(str, s[1:])) for s in found)}; "
                        "take sizes that are even at the stride-2 modules, such as multiples of 32"
                    )
                c = sum(shape[0] for shape in found)
            case _:
                pass
        if min(hw, default=1) < 1:
            raise InputError(f"{spec.name} cannot take {height}x{width}: nothing is left at {node.name}")
        sizes[node.name] = (c, *hw)
    return sizes
