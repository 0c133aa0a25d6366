"""Networks of depthwise convolutions: MobileNet V1, V2 and V3 and EfficientNet, each with SE blocks or without.

V1 (https://arxiv.org/abs/1704.04861) stacks separable convolutions. The others are residual networks of inverted
bottlenecks (V2, https://arxiv.org/abs/1801.04381), which V3 (https://arxiv.org/abs/1905.02244) and EfficientNet
(https://arxiv.org/abs/1905.11946) have with SE blocks of their own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from weights import limits
from weights.networks.check import check_fields
from weights.networks.guess import block_at, common, explains, se_record
from weights.networks.network import Builder, Network, Node
from weights.networks.operations import (
    Act,
    Add,
    BatchNorm,
    Conv,
    Dropout,
    GlobalPool,
    Linear,
    Padding,
    Scale,
    Shape,
)
from weights.networks.recognition import excitation
from weights.networks.se import SE, Excitation, Position, excite
from weights.networks.spec import ShapeOf, Spec, check_stages, misfit

Function = Literal["relu", "relu6", "swish", "hard-swish"]

STEM = 3
"""The kernel of the first convolution, whose stride is 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Units of one width, of which the first has the stride."""

    out: int
    expanded: tuple[int, ...]  # of each unit, the channels of its depthwise convolution; its input's: no expansion
    kernel: int = 3
    stride: int = 1
    activation: Function | None = None  # None: the network's

    def __post_init__(self) -> None:
        check_fields(self, "stage")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSpec:
    """One unit with every width resolved; all frameworks read these, none computes them."""

    name: str
    in_channels: int
    expanded: int  # channels of the depthwise convolution
    out_channels: int
    kernel: int
    stride: int
    pad: Padding
    activation: Function
    linear: bool  # without an activation at its end
    residual: bool  # added to its input
    se: Excitation | None  # None: a plain unit
    position: Position  # of the SE block: "standard" or "3x3"
    eps: float

    @property
    def expands(self) -> bool:
        """Whether a 1x1 convolution stands before the depthwise one."""
        return self.expanded != self.in_channels


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileSpec(Spec):
    """Hyper-parameters of a network of depthwise convolutions.

    SE blocks stand at the end of a unit, before the sum ("standard"), or after its depthwise convolution with BatchNorm
    and activation ("3x3", whatever the kernel). V2, V3 and EfficientNet have the latter. The SENet paper does not say
    where MobileNet V1 has its blocks: at the end of each unit, its activation included, gives the published 4.7 M
    parameters and 572 M multiply-adds; after the depthwise convolutions they would be 4.6 M and 571 M.

    The same names, and mostly the same weights, are computed in two ways. TensorFlow pads as "same", with eps 1e-3;
    networks that were trained in PyTorch pad half the kernel on all sides ("symmetric"), with eps 1e-5. The latter is
    our default, as Caffe knows no other. "even" is Keras' MobileNet V1: before depthwise convolutions of stride 2 the
    zeros that "same" has at even sizes, whatever the size; elsewhere as "same".
    """

    family: ClassVar[str] = "mobile"
    stages: tuple[Stage, ...]
    stem: int = 32  # channels
    top: int | None = 1280  # of the 1x1 convolution before the pooling; None: there is none
    hidden: int | None = None  # of the fully connected layer between pooling and classifier; None: there is none
    activation: Function = "relu6"
    inverted: bool = True  # residual units that end linearly; otherwise MobileNet V1's: an activation, no sum
    padding: Literal["symmetric", "same", "even"] = "symmetric"
    reduced: Literal["map", "unit"] = "map"  # whose channels SE's reduction divides: the map's, or the unit's input's

    @property
    def title(self) -> str:
        """The paper of EfficientNet was the one to take swish."""
        return "EfficientNet" if self.activation == "swish" else "MobileNet"

    def check(self) -> None:
        """Kernels, the number of units, and that every SE block has a place."""
        if any(stage.kernel % 2 == 0 for stage in self.stages):
            raise misfit(self, "kernels are of odd size")
        if (units := sum(len(stage.expanded) for stage in self.stages)) > limits.BLOCKS:
            raise misfit(self, f"{units} units, expected {limits.BLOCKS:,} at most")
        if self.se and self.se.position not in ("standard", "3x3"):
            raise misfit(
                self, f"SE blocks at {self.se.position!r}: expected 'standard', the end of a unit, or '3x3', after "
                "its depthwise convolution"
            )  # fmt: skip
        check_stages(self, len(self.stages))

    @property
    def stem_pad(self) -> Padding:
        """Of the first convolution."""
        return STEM // 2 if self.padding == "symmetric" else "same"

    @property
    def units(self) -> tuple[tuple[UnitSpec, ...], ...]:
        """The units of each stage."""
        blocks = iter(self.blocks())
        return tuple(tuple(next(blocks) for _ in stage.expanded) for stage in self.stages)

    @property
    def features(self) -> tuple[int, ...]:
        """The stages whose outputs are the feature maps, counted from 1: the last ones of each stride from 4 on."""
        found: dict[int, int] = {}
        stride = 2
        for i, stage in enumerate(self.stages, 1):
            stride *= stage.stride
            found[stride] = i
        return tuple(i for stride, i in found.items() if stride > 2 or len(found) == 1)

    def blocks(self) -> Iterator[UnitSpec]:
        """Every unit, in order, with its widths resolved."""
        channels = self.stem
        for number, stage in enumerate(self.stages, 1):
            for i, expanded in enumerate(stage.expanded):
                stride = 1 if i else stage.stride
                position = self.se.position if self.se else "standard"
                scaled = expanded if position == "3x3" else stage.out
                se = None
                if self.se and (self.se.stages is None or number in self.se.stages):
                    se = self.se.excitation(scaled, self.se.hidden(scaled if self.reduced == "map" else channels))
                yield UnitSpec(
                    name=f"stage{number}.{i}",
                    in_channels=channels,
                    expanded=expanded,
                    out_channels=stage.out,
                    kernel=stage.kernel,
                    stride=stride,
                    pad=stage.kernel // 2 if self.padding == "symmetric" or stride == 1 else self.padding,
                    activation=stage.activation or self.activation,
                    linear=self.inverted,
                    residual=self.inverted and stride == 1 and channels == stage.out,
                    se=se,
                    position=position,
                    eps=self.eps,
                )
                channels = stage.out

    def body(self, g: Builder) -> tuple[str, ...]:
        """Stem and stages."""
        conv = Conv(self.stem, STEM, 2, self.stem_pad)
        x = g.conv_bn("data", "stem.conv", conv, self.eps, self.activation)
        maps = []
        for units in self.units:
            for block in units:
                x = unit(g, x, block)
            maps.append(x)
        return tuple(maps[i - 1] for i in self.features)

    def head(self, g: Builder, x: str) -> None:
        """A 1x1 convolution, pooling, in V3 a hidden layer, the classifier.

        V3's hidden layer (a 1x1 convolution of the pooled map, without BatchNorm) is a part of the classifier: without
        classes the output is the pooled features.
        """
        if self.top:
            x = g.conv_bn(x, "top.conv", Conv(self.top, 1), self.eps, self.activation)
        x = g("pool", GlobalPool("avg"), x)
        if not self.classes:
            return
        if self.hidden:
            x = g("hidden.fc", Linear(self.hidden), x)
            x = g("hidden.relu", Act(self.activation), x)
        if self.dropout:
            x = g("dropout", Dropout(self.dropout), x)
        g("logits", Linear(self.classes), x, module="fc")

    @classmethod
    def from_network(cls, network: Network) -> "MobileSpec | None":
        """Units by their depthwise convolutions, and what stands between these."""
        return guess(network)

    @classmethod
    def from_shapes(cls, shape: ShapeOf) -> "MobileSpec | None":
        """Widths and kernels by measuring; all else as in the published network that is likest in form."""
        stem, fc = shape("stem.conv", "conv"), shape("fc", "linear")
        stages: list[Stage] = []
        blocks: list[_Found] = []
        while units := tuple(_units(shape, f"stage{len(stages) + 1}")):
            kernel = units[0][0][2]
            stages.append(Stage(out=units[0][1], expanded=tuple(weight[0] for weight, _ in units), kernel=kernel))
            found = ((i, excitation(shape, f"stage{len(stages)}.{i}.se")) for i in range(len(units)))
            blocks += [_Found(len(stages), i, e) for i, e in found if e]
        if not stem or not stages:
            return None
        top, hidden = shape("top.conv", "conv"), shape("hidden.fc", "linear")
        plain = cls(
            name=cls.family,
            stages=tuple(stages),
            stem=stem[0],
            top=top[0] if top else None,
            hidden=hidden[0] if hidden else None,
            inverted=top is not None,
            se=None,
            classes=fc[0] if fc else 0,
            in_channels=stem[1],
        )
        like = next((model for model in PUBLISHED if _alike(model, plain, bool(blocks))), None)
        if like:
            drawn = zip(stages, like.stages, strict=True)
            copied = tuple(replace(a, stride=b.stride, activation=b.activation) for a, b in drawn)
            plain = replace(plain, stages=copied, activation=like.activation, padding=like.padding, eps=like.eps)
        else:
            plain = replace(plain, stages=tuple(replace(s, stride=2 if i else 1) for i, s in enumerate(stages)))
        spec = with_blocks(plain, blocks)
        if like and like.se and spec.se:
            return replace(spec, se=replace(spec.se, inner=like.se.inner, gate=like.se.gate))
        return spec


def unit(g: Builder, x: str, b: UnitSpec) -> str:
    """1x1 expansion, depthwise convolution, 1x1 projection; added to x where it is residual."""
    end, n, y = b.name, 1, x
    standard = b.se if b.position == "standard" else None

    def normalised(y: str, conv: str, op: Conv, *, output: str = "") -> str:
        y = g(f"{b.name}.{conv}", op, y)
        return g(output or f"{b.name}.bn{n}", BatchNorm(b.eps), y, module=f"{b.name}.bn{n}")

    if b.expands:
        y = g(f"{b.name}.relu1", Act(b.activation), normalised(y, "expand", Conv(b.expanded, 1)))
        n = 2
    depthwise = Conv(b.expanded, b.kernel, b.stride, b.pad, b.expanded)
    y = g(f"{b.name}.relu{n}", Act(b.activation), normalised(y, "depthwise", depthwise))
    if b.se and b.position == "3x3":
        y = excite(g, y, f"{b.name}.se", b.se)
    # The last node has the unit's name, whatever it is.
    n += 1
    last = b.linear and not standard and not b.residual
    project = "project" if b.expands else "pointwise"
    y = normalised(y, project, Conv(b.out_channels, 1), output=end if last else "")
    if not b.linear:
        y = g(f"{b.name}.relu{n}" if standard else end, Act(b.activation), y)
    if standard:
        y = excite(g, y, f"{b.name}.se", standard, "" if b.residual else end)
    return g(end, Add(), y, x) if b.residual else y


@dataclass(frozen=True, slots=True)
class _Found:
    """An SE block, and the unit that has it: its stage from 1 on, its number there from 0 on."""

    stage: int
    unit: int
    excitation: Excitation


def _units(shape: ShapeOf, stage: str) -> Iterator[tuple[Shape, int]]:
    """Of each unit of a stage the depthwise kernel's shape, and its out channels."""
    i = 0
    while depthwise := shape(f"{stage}.{i}.depthwise", "conv"):
        last = shape(f"{stage}.{i}.project", "conv") or shape(f"{stage}.{i}.pointwise", "conv")
        if not last:
            return
        yield depthwise, last[0]
        i += 1


def _alike(model: MobileSpec, plain: MobileSpec, excited: bool) -> bool:
    """Whether a published network has the form of a guess: its parts, and as many stages of the same kernels."""

    def form(spec: MobileSpec, se: bool) -> tuple[object, ...]:
        return spec.top is None, spec.hidden is None, se, tuple(stage.kernel for stage in spec.stages)

    return form(model, model.se is not None) == form(plain, excited)


def guess(network: Network) -> MobileSpec | None:
    """The record that a network may have been made from; None where no convolution is depthwise.

    Between two depthwise convolutions stand the projection of the one's unit and perhaps the next one's expansion.
    """
    scales = [(node, block_at(network, node)) for node in network.nodes if isinstance(node.op, Scale)]
    inner = {name for _, block in scales if block for name in block.nodes}
    convs = [(node, node.op) for node in network.nodes if isinstance(node.op, Conv) and node.name not in inner]
    depthwise = [i for i, (_, op) in enumerate(convs) if 1 < op.groups == op.out]
    if not depthwise or any(1 < op.groups < op.out for _, op in convs) or depthwise[-1] + 1 == len(convs):
        return None

    def function(conv: Node) -> Function | None:
        """The activation after a convolution and its BatchNorm."""
        x = conv.name
        for node in network.readers[x]:
            x = node.name if isinstance(node.op, BatchNorm) else x
        acts = [node.op.function for node in network.readers[x] if isinstance(node.op, Act) and node.name not in inner]
        return next((known for known in get_args(Function) if known in acts), None)

    usual = function(convs[0][0]) or "relu6"
    places = {node.name: place for place, node in enumerate(network.nodes)}
    stages: list[Stage] = []
    blocks: list[_Found] = []
    positions: list[Position] = []
    before = None
    for i in depthwise:
        conv, op = convs[i]
        end, last = convs[i + 1]
        until = places[convs[i + 2][0].name] if i + 2 < len(convs) else len(places)
        here = [(node, b) for node, b in scales if b and places[conv.name] < places[node.name] < until]
        act = function(conv)
        kind = last.out, max(op.window) | 1, act, bool(here)  # kernels are of odd size
        if kind == before and op.stride == 1:
            stages[-1] = replace(stages[-1], expanded=(*stages[-1].expanded, op.out))
        else:
            other = None if act == usual else act
            stages.append(Stage(out=last.out, expanded=(op.out,), kernel=kind[1], stride=op.stride, activation=other))
        before = kind
        for node, block in here[:1]:
            blocks.append(_Found(len(stages), len(stages[-1].expanded) - 1, block.excitation))
            positions.append("3x3" if places[node.name] < places[end.name] else "standard")
    top = next(iter(convs[depthwise[-1] + 2 :]), None)
    linears = [node.op for node in network.nodes if isinstance(node.op, Linear) and node.name not in inner]
    rates = [node.op.rate for node in network.nodes if isinstance(node.op, Dropout)]
    ends: dict[str, Any] = {"classes": linears[-1].out if linears else 0, "dropout": rates[-1] if rates else 0.0}
    plain = MobileSpec(
        name=MobileSpec.family,
        stages=tuple(stages),
        stem=convs[0][1].out,
        top=top[1].out if top else None,
        hidden=linears[0].out if len(linears) > 1 else None,
        activation=usual,
        inverted=function(convs[depthwise[0] + 1][0]) is None,
        se=None,
        **{**common(network), **ends},
    )
    return with_blocks(plain, blocks, positions[0] if positions else None)


def with_blocks(plain: MobileSpec, blocks: Sequence[_Found], position: Position | None = None) -> MobileSpec:
    """A network with the SE blocks that were found in it: their width by dividing, their place by their channels.

    Args:
        plain: the network without them.
        blocks: in order.
        position: where they stand, if that is known.
    """
    if not blocks:
        return plain
    units = [plain.units[found.stage - 1][found.unit] for found in blocks]
    of_map = [found.excitation for found in blocks]
    of_unit = [replace(e, channels=b.in_channels) for e, b in zip(of_map, units, strict=True)]
    at_end = all(e.channels == b.out_channels for e, b in zip(of_map, units, strict=True))
    position = position or ("standard" if at_end else "3x3")
    numbers = tuple(dict.fromkeys(found.stage for found in blocks))
    stages = numbers if len(numbers) < len(plain.stages) else None
    by_map, by_unit = (se_record(widths, position, stages) for widths in (of_map, of_unit))
    name = f"se-{plain.family}"
    if explains(by_unit, of_unit) and not explains(by_map, of_map):
        return replace(plain, name=name, se=by_unit, reduced="unit")
    return replace(plain, name=name, se=by_map, reduced="map")


def _times(first: int, *later: int) -> tuple[int, ...]:
    """Channels of the depthwise convolutions of a stage's units: six times those of each unit's input."""
    return tuple(6 * channels for channels in (first, *later))


_V1 = MobileSpec(
    name="mobilenet-v1",
    stages=(
        Stage(out=64, expanded=(32,)),
        Stage(out=128, expanded=(64, 128), stride=2),
        Stage(out=256, expanded=(128, 256), stride=2),
        Stage(out=512, expanded=(256, *(512,) * 5), stride=2),
        Stage(out=1024, expanded=(512, 1024), stride=2),
    ),
    top=None,
    inverted=False,
    se=None,
)
"""Of ReLU6, as those who have weights of it trained it (timm, Keras); its paper has ReLU."""

_DROPOUT = float(np.float32(0.2))  # a protobuf float, as EPS

_V2 = MobileSpec(
    name="mobilenet-v2",
    stages=(
        Stage(out=16, expanded=(32,)),
        Stage(out=24, expanded=_times(16, 24), stride=2),
        Stage(out=32, expanded=_times(24, 32, 32), stride=2),
        Stage(out=64, expanded=_times(32, 64, 64, 64), stride=2),
        Stage(out=96, expanded=_times(64, 96, 96)),
        Stage(out=160, expanded=_times(96, 160, 160), stride=2),
        Stage(out=320, expanded=_times(160)),
    ),
    dropout=_DROPOUT,
    se=None,
)

_V3_LARGE = MobileSpec(
    name="mobilenet-v3-large",
    stages=(
        Stage(out=16, expanded=(16,), activation="relu"),
        Stage(out=24, expanded=(64, 72), stride=2, activation="relu"),
        Stage(out=40, expanded=(72, 120, 120), kernel=5, stride=2, activation="relu"),
        Stage(out=80, expanded=(240, 200, 184, 184), stride=2),
        Stage(out=112, expanded=(480, 672)),
        Stage(out=160, expanded=(672, 960, 960), kernel=5, stride=2),
    ),
    stem=16,
    top=960,
    hidden=1280,
    activation="hard-swish",
    dropout=_DROPOUT,
    se=SE(reduction=4, rounding="to 8", gate="hard-sigmoid", position="3x3", stages=(3, 5, 6)),
)

_V3_SMALL = replace(
    _V3_LARGE,
    name="mobilenet-v3-small",
    stages=(
        Stage(out=16, expanded=(16,), stride=2, activation="relu"),
        Stage(out=24, expanded=(72, 88), stride=2, activation="relu"),
        Stage(out=40, expanded=(96, 240, 240), kernel=5, stride=2),
        Stage(out=48, expanded=(120, 144), kernel=5),
        Stage(out=96, expanded=(288, 576, 576), kernel=5, stride=2),
    ),
    top=576,
    hidden=1024,
    se=SE(reduction=4, rounding="to 8", gate="hard-sigmoid", position="3x3", stages=(1, 3, 4, 5)),
)

_B0 = MobileSpec(
    name="efficientnet-b0",
    stages=(
        Stage(out=16, expanded=(32,)),
        Stage(out=24, expanded=_times(16, 24), stride=2),
        Stage(out=40, expanded=_times(24, 40), kernel=5, stride=2),
        Stage(out=80, expanded=_times(40, 80, 80), stride=2),
        Stage(out=112, expanded=_times(80, 112, 112), kernel=5),
        Stage(out=192, expanded=_times(112, 192, 192, 192), kernel=5, stride=2),
        Stage(out=320, expanded=_times(192)),
    ),
    activation="swish",
    dropout=_DROPOUT,
    se=SE(reduction=4, inner="swish", position="3x3"),
    reduced="unit",
)


def _published() -> Iterator[MobileSpec]:
    yield _V1
    yield replace(_V1, name="se-mobilenet-v1", se=SE())
    yield _V2
    yield _V3_LARGE
    yield _V3_SMALL
    yield _B0
    yield replace(_B0, name="efficientnet-b0-plain", se=None, reduced="map")
    for spec in (_V2, _V3_LARGE, _V3_SMALL, _B0):
        yield replace(spec, name=f"tf-{spec.name}", padding="same", eps=1e-3)
    yield replace(_V1, name="tf-mobilenet-v1", padding="even", eps=1e-3)


PUBLISHED = tuple(_published())
"""As PyTorch's projects train them; and "tf-..." as TensorFlow and Keras have them."""
