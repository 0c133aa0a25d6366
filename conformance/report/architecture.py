"""What a network is made of, stage by stage: operations, shapes, parameters, multiply-adds; as data and as a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, assert_never

from conformance.report.pages import rendered
from conformance.report.plots import spans
from weights.networks.network import Network, Node
from weights.networks.operations import (
    Act,
    Add,
    AppendZeros,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Linear,
    Mix,
    Op,
    Padding,
    Pool,
    Scale,
    Shape,
    Shift,
    Shuffle,
    Times,
)
from weights.networks.sizes import shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One node of a network.

    Attributes:
        name: of the node, and of its tap.
        what: its operation in words, "3x3 convolution, stride 2".
        inputs: names of the nodes that it reads, or "data".
        shape: of its output for one image, (C, H, W) or (C,).
        parameters: learnable scalars.
        macs: multiply-adds for one image.
        block: the SE block that it is part of, "" outside.
    """

    name: str
    what: str
    inputs: tuple[str, ...]
    shape: Shape
    parameters: int
    macs: int
    block: str


@dataclass(frozen=True, slots=True)
class Stage:
    """Layers with one first part of their names, "stage1"."""

    name: str
    layers: tuple[Layer, ...]

    @property
    def shape(self) -> Shape:
        """Of the last output."""
        return self.layers[-1].shape

    @property
    def parameters(self) -> int:
        """Learnable scalars."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def excitation(self) -> int:
        """Learnable scalars in SE blocks."""
        return sum(layer.parameters for layer in self.layers if layer.block)

    @property
    def macs(self) -> int:
        """Multiply-adds for one image."""
        return sum(layer.macs for layer in self.layers)


def stages(network: Network, size: tuple[int, int]) -> Iterator[Stage]:
    """The stages in order.

    Args:
        network: the network.
        size: height and width of the image.
    """
    sizes = shapes(network, *size)
    layers = [_layer(node, sizes) for node in network.nodes]
    for span in spans([layer.name for layer in layers]):
        yield Stage(span.name, tuple(layers[span.first : span.after]))


def _layer(node: Node, sizes: Mapping[str, Shape]) -> Layer:
    x, y = sizes[node.inputs[0]], sizes[node.name]
    leaves = node.op.leaves(x[0]).items()
    return Layer(
        name=node.name,
        what=in_words(node.op),
        inputs=node.inputs,
        shape=y,
        parameters=sum(prod(shape) for leaf, shape in leaves if not leaf.startswith("running_")),
        macs=node.op.macs(x, y),
        block=node.block,
    )


def in_words(op: Op) -> str:
    """An operation with its geometry."""
    match op:
        case Conv():
            return _joined(
                f"{_by(op.kernel)} convolution",
                f"stride {op.stride}" if op.stride != 1 else "",
                _padding(op.pad),
                f"{op.groups} groups" if op.groups != 1 else "",
                "bias" if op.bias else "",
            )
        case BatchNorm(eps):
            return f"BatchNorm, epsilon {eps:.4g}"
        case Act(function):
            return "ReLU" if function == "relu" else function
        case Pool():
            return _joined(
                f"{_by(op.kernel)} {op.what} pooling",
                f"stride {op.stride}",
                _padding(op.pad),
                f"sizes round {op.rounding}",
            )
        case GlobalPool(what):
            return f"global {what} pooling"
        case Linear(_, bias):
            return "fully connected" + ("" if bias else ", no bias")
        case Scale():
            return "channels times gate"
        case Add():
            return "sum"
        case Mix():
            return "mean of branches"
        case Times(factor):
            return f"times {factor:g}"
        case Concat():
            return "concatenation"
        case AppendZeros(channels):
            return f"{channels} channels of zeros appended"
        case Shift():
            return "shift by a pixel"
        case Shuffle(groups):
            return f"channels shuffled in {groups} groups"
        case Flatten():
            return "flatten"
        case Dropout(rate):
            return f"dropout {rate:g}"
        case _:
            assert_never(op)


def _by(kernel: int | tuple[int, int]) -> str:
    high, wide = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    return f"{high}x{wide}"


def _padding(pad: Padding) -> str:
    match pad:
        case 0:
            return ""
        case tuple():
            return f"padding {_by(pad)}"
        case _:
            return f"padding {pad}"


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def to_dict(found: Sequence[Stage]) -> list[dict[str, Any]]:
    """The same as data; docs/formats.md describes the fields."""
    return [
        {
            "name": layer.name,
            "what": layer.what,
            "inputs": list(layer.inputs),
            "shape": list(layer.shape),
            "parameters": layer.parameters,
            "macs": layer.macs,
            "block": layer.block,
        }
        for stage in found
        for layer in stage.layers
    ]


def to_html(title: str, facts: Sequence[tuple[str, str]], found: Sequence[Stage], size: tuple[int, int]) -> str:
    """A page, self-contained.

    Args:
        title: the network's name.
        facts: names and values, as of ``describe.facts``.
        found: the stages.
        size: height and width of the image that shapes and multiply-adds are of.
    """
    return rendered(
        "architecture.html",
        title=title,
        facts=facts,
        stages=found,
        size=size,
        parameters=sum(stage.parameters for stage in found),
        excitation=sum(stage.excitation for stage in found),
        macs=sum(stage.macs for stage in found),
    )
