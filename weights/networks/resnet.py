"""Residual networks: SE-ResNet, SE-ResNeXt, SENet-154, plain ones, and those of torchvision's geometry."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from weights import limits
from weights.networks.guess import FoundBlock, block_at, common, convolutions, is_join, se_record, stem, trail
from weights.networks.network import Builder, Network, Node
from weights.networks.operations import Act, Add, BatchNorm, Conv, Pool, Scale
from weights.networks.recognition import consecutive, excitation
from weights.networks.se import SE, Excitation, Position, excite
from weights.networks.spec import ShapeOf, Spec, check_stages, misfit

Unit = Literal["bottleneck", "basic", "basic-relu"]
"""The residual branch: a bottleneck of 1x1, 3x3 and 1x1 (section 3.3 of He et al.); "basic", two 3x3; "basic-relu", two
3x3 with a ReLU behind the second one too, in front of the SE block and the sum, as timm's legacy_seresnet18 and -34."""

StemPool = Literal["caffe", "torchvision"]
"""The first pooling, of 3x3 with stride 2: Caffe's is not padded and its size rounds up; torchvision's is padded by 1
and rounds down. At even sizes both give n / 2, of windows that lie a pixel apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BottleneckSpec:
    """One residual unit with every width resolved; all frameworks read these, none computes them."""

    name: str
    in_channels: int
    reduce: int  # out channels of the first 1x1
    width: int  # out channels of the 3x3
    out_channels: int
    strides: tuple[int, int]  # of the first 1x1 and of the 3x3
    groups: int  # of the 3x3
    shortcut: int | None  # kernel size of the projection, or None for the identity
    se: Excitation | None  # None: a plain unit
    position: Position  # of the SE block
    eps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicSpec:
    """A residual unit of two 3x3, with every width resolved."""

    name: str
    in_channels: int
    width: int  # out channels of the first 3x3
    out_channels: int
    strides: tuple[int, int]  # of the two 3x3
    ends_in_relu: bool  # whether the branch does
    shortcut: int | None  # kernel size of the projection, or None for the identity
    se: Excitation | None  # None: a plain unit
    position: Position  # of the SE block
    eps: float


UnitSpec = BottleneckSpec | BasicSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetSpec(Spec):
    """Hyper-parameters of a residual network. Stage 1 has stride 1, the later ones 2."""

    family: ClassVar[str] = "resnet"
    depths: tuple[int, ...]  # blocks in each stage
    unit: Unit = "bottleneck"
    stem: tuple[tuple[int, int], ...] = ((64, 7),)  # (out channels, kernel) of each convolution; the first has stride 2
    stem_pool: StemPool = "caffe"
    reduce: tuple[int, ...] | None = (64, 128, 256, 512)  # of the first 1x1, per stage; None of basic units
    width: tuple[int, ...] = (64, 128, 256, 512)  # per stage, of bottlenecks' one 3x3 and of basic units' first
    out_channels: tuple[int, ...] = (256, 512, 1024, 2048)
    groups: int = 1
    stride_on_3x3: bool = False  # otherwise on the first 1x1, as in the original ResNet; basic units have no other
    shortcut: int = 1  # projection kernel where the stride is 2; always 1 where it is 1

    @property
    def title(self) -> str:
        """ResNeXt is a ResNet with groups."""
        return "ResNeXt" if self.groups > 1 else "ResNet"

    def check(self) -> None:
        """Lengths of the lists, what basic units have, groups, and stages."""
        if (self.unit == "bottleneck") != (self.reduce is not None):
            raise misfit(self, "bottlenecks have a first 1x1, of the widths reduce; basic units none, reduce is none")
        if self.unit != "bottleneck":
            self._check_basic()
        for field in ("reduce", "width", "out_channels"):
            if getattr(self, field) and len(getattr(self, field)) != len(self.depths):
                raise misfit(self, f"{field} has {len(getattr(self, field))} stages, depths has {len(self.depths)}")
        if sum(self.depths) > limits.BLOCKS:
            raise misfit(self, f"{sum(self.depths)} blocks, expected {limits.BLOCKS:,} at most")
        if self.shortcut % 2 == 0 or any(kernel % 2 == 0 for _, kernel in self.stem):
            raise misfit(self, "kernels are of odd size")
        for reduce, width in zip(self.reduce or self.width, self.width, strict=True):
            if reduce % self.groups or width % self.groups:
                raise misfit(self, f"groups is {self.groups}, which does not divide the widths {reduce} and {width}")
        check_stages(self, len(self.depths))

    def _check_basic(self) -> None:
        if not self.stride_on_3x3:
            raise misfit(self, "basic units have their stride in the first 3x3: stride_on_3x3 is true")
        if self.groups > 1:
            raise misfit(self, f"groups is {self.groups}, but basic units have none")
        if self.se and self.se.position in ("3x3", "3x3-raw"):
            raise misfit(self, f"position {self.se.position} is within a bottleneck; basic units have two 3x3")

    @property
    def stages(self) -> tuple[tuple[UnitSpec, ...], ...]:
        """The blocks of each stage."""
        blocks = iter(self.blocks())
        return tuple(tuple(next(blocks) for _ in range(depth)) for depth in self.depths)

    def blocks(self) -> Iterator[UnitSpec]:
        """Every residual unit, in order, with its widths resolved."""
        channels = self.stem[-1][0]
        for stage, depth in enumerate(self.depths):
            for i in range(depth):
                stride = 2 if stage > 0 and i == 0 else 1
                out = self.out_channels[stage]
                # The channels of the map that an SE block of each position rescales.
                scaled = {"pre": channels, "identity-before": channels, "3x3": self.width[stage]}
                position = self.se.position if self.se else "standard"
                scaled["3x3-raw"] = self.width[stage]
                common: dict[str, Any] = {
                    "name": f"stage{stage + 1}.{i}",
                    "in_channels": channels,
                    "width": self.width[stage],
                    "out_channels": out,
                    "se": self.se.of(scaled.get(position, out), stage + 1) if self.se else None,
                    "position": position,
                    "eps": self.eps,
                }
                projection = self.shortcut if stride > 1 else 1
                if self.reduce:
                    yield BottleneckSpec(
                        reduce=self.reduce[stage],
                        strides=(1, stride) if self.stride_on_3x3 else (stride, 1),
                        groups=self.groups,
                        shortcut=None if i else projection,
                        **common,
                    )
                else:
                    yield BasicSpec(
                        strides=(stride, 1),
                        ends_in_relu=self.unit == "basic-relu",
                        # Option B of He et al.: a projection only where the shape changes.
                        shortcut=None if i or (stride, channels) == (1, out) else projection,
                        **common,
                    )
                channels = out

    def body(self, g: Builder) -> tuple[str, ...]:
        """Stem and stages; the feature maps are the outputs of the stages."""
        x = "data"
        for i, (out, kernel) in enumerate(self.stem, 1):
            conv = Conv(out, kernel, 2 if i == 1 else 1, kernel // 2)
            x = g.conv_bn(x, f"stem.conv{i}", conv, self.eps, "relu")
        x = g("stem.pool", _POOLS[self.stem_pool], x)
        for block in self.blocks():
            x = bottleneck(g, x, block) if isinstance(block, BottleneckSpec) else basic(g, x, block)
        return tuple(stage[-1].name for stage in self.stages)

    @classmethod
    def from_network(cls, network: Network) -> "ResNetSpec | None":
        """Depths by counting the sums, widths and strides from their branches."""
        return guess(network)

    @classmethod
    def from_shapes(cls, shape: ShapeOf) -> "ResNetSpec | None":
        """Depths and widths by counting and measuring; the SE blocks' place by their channels."""
        stem_weights = tuple(consecutive(shape, "stem.conv{}", 1))
        stem = tuple((weight[0], weight[2]) for weight in stem_weights)
        depths: list[int] = []
        first: list[tuple[int, ...]] = []  # of each stage, the out channels of the convolutions of its units
        while depth := len(list(consecutive(shape, f"stage{len(depths) + 1}.{{}}.conv1", 0))):
            depths.append(depth)
            kernels = consecutive(shape, f"stage{len(depths)}.0.conv{{}}", 1)
            first.append(tuple(kernel[0] for kernel in kernels))
        inner, shortcut = shape("stage1.0.conv2", "conv"), shape("stage2.0.shortcut.conv", "conv")
        fc = shape("fc", "linear")
        if not stem or not inner or {len(widths) for widths in first} not in ({2}, {3}):
            return None
        *reduce, width, out = zip(*first, strict=True)
        plain = cls(
            name=cls.family,
            depths=tuple(depths),
            unit="bottleneck" if reduce else "basic",
            stem=stem,
            reduce=reduce[0] if reduce else None,
            width=width,
            out_channels=out,
            groups=reduce[0][0] // inner[1] if reduce else 1,
            stride_on_3x3=not reduce,
            shortcut=shortcut[2] if shortcut else 1,
            se=None,
            classes=fc[0] if fc else 0,
            in_channels=stem_weights[0][1],
        )
        units = [(stage, b) for stage, blocks in enumerate(plain.stages, 1) for b in blocks]
        found = [(stage, b, e) for stage, b in units if (e := excitation(shape, f"{b.name}.se"))]
        stages = tuple(dict.fromkeys(stage for stage, _, _ in found))
        places: dict[Position, str] = {"standard": "out_channels", "3x3": "width", "pre": "in_channels"}
        if not reduce:
            del places["3x3"]
        for position, channels in places.items():
            if found and all(e.channels == getattr(b, channels) for _, b, e in found):
                se = se_record([e for _, _, e in found], position, stages if len(stages) < len(depths) else None)
                return replace(plain, name=f"se-{cls.family}", se=se)
        return plain


_POOLS: Mapping[StemPool, Pool] = {
    "caffe": Pool("max", 3, 2),
    "torchvision": Pool("max", 3, 2, 1, rounding="down"),
}


def bottleneck(g: Builder, x: str, b: BottleneckSpec) -> str:
    """relu(se(residual(x)) + shortcut(x)), or with the SE block at any other of its positions."""
    at = _Place(g, b)
    y = g.conv_bn(at("pre", x), f"{b.name}.conv1", Conv(b.reduce, 1, b.strides[0]), b.eps, "relu")
    y = g(f"{b.name}.conv2", Conv(b.width, 3, b.strides[1], 1, b.groups), y)
    y = g(f"{b.name}.bn2", BatchNorm(b.eps), at("3x3-raw", y))
    y = at("3x3", g(f"{b.name}.relu2", Act("relu"), y))
    y = at("standard", g.conv_bn(y, f"{b.name}.conv3", Conv(b.out_channels, 1), b.eps))
    return _joined(g, x, y, b)


def basic(g: Builder, x: str, b: BasicSpec) -> str:
    """The same with a residual branch of two 3x3."""
    at = _Place(g, b)
    y = g.conv_bn(at("pre", x), f"{b.name}.conv1", Conv(b.width, 3, b.strides[0], 1), b.eps, "relu")
    act = "relu" if b.ends_in_relu else None
    y = at("standard", g.conv_bn(y, f"{b.name}.conv2", Conv(b.out_channels, 3, b.strides[1], 1), b.eps, act))
    return _joined(g, x, y, b)


@dataclass(frozen=True, slots=True)
class _Place:
    """The places in a unit where an SE block may stand."""

    g: Builder
    b: UnitSpec

    def __call__(self, position: Position, value: str, output: str = "") -> str:
        """Through the SE block, if this is its place; otherwise the value itself."""
        b = self.b
        return excite(self.g, value, f"{b.name}.se", b.se, output) if b.se and b.position == position else value


def _joined(g: Builder, x: str, y: str, b: UnitSpec) -> str:
    """The end of a unit: the shortcut of its input and the branch, summed."""
    at = _Place(g, b)
    x = at("identity-before", x)
    if b.shortcut:
        conv = Conv(b.out_channels, b.shortcut, max(b.strides), b.shortcut // 2)
        x = g.conv_bn(x, f"{b.name}.shortcut.conv", conv, b.eps)
    y = g(f"{b.name}.add", Add(), y, at("identity", x))
    y = g(f"{b.name}.relu3" if b.se and b.position == "post" else b.name, Act("relu"), y)
    return at("post", y, output=b.name)  # the last node has the block's name, wherever the SE block stands


def guess(network: Network) -> ResNetSpec | None:
    """The record that a network may have been made from, read off its convolutions and sums; None without any stem."""
    first, _ = stem(network, 1)
    if not first:
        return None
    units = [_found_unit(network, node) for node in network.nodes if _is_sum(network, node)]
    kind = units[0].unit if units else "bottleneck"
    starts = [i for i, unit in enumerate(units) if unit.projection or not i] or [0]
    heads = [units[i] for i in starts] if units else [_FoundUnit(_ANY, None, None, "standard")]
    later = heads[1] if len(heads) > 1 else None
    stages = tuple(i for i, head in enumerate(heads, 1) if head.se)
    blocks = [unit.se for unit in units if unit.se]
    positions: list[Position] = [head.position for head in heads if head.se]
    position: Position = positions[0] if positions else "standard"
    if "identity-before" in positions:  # a stage of basic units may have no projection to tell before from after
        position = "identity-before"
    within = stages if len(stages) < len(heads) else None
    strides = [conv.stride for conv in later.convs] if later else []
    pool = next((node.op for node in network.nodes if isinstance(node.op, Pool)), None)
    return ResNetSpec(
        name="se-resnet" if stages else "resnet",
        depths=tuple(after - at for at, after in zip(starts, [*starts[1:], max(len(units), 1)], strict=True)),
        unit=kind,
        stem=first,
        stem_pool="torchvision" if pool and pool.pad and pool.rounding == "down" else "caffe",
        reduce=tuple(head.convs[0].out for head in heads) if kind == "bottleneck" else None,
        width=tuple(head.convs[1 if kind == "bottleneck" else 0].out for head in heads),
        out_channels=tuple(head.convs[2 if kind == "bottleneck" else 1].out for head in heads),
        groups=heads[0].convs[1].groups,
        stride_on_3x3=kind != "bottleneck" or strides[:2] == [1, 2],
        shortcut=max(later.projection.window) | 1 if later and later.projection else 1,
        se=se_record([block.excitation for block in blocks], position, within) if stages else None,
        **common(network),
    )


_ANY = (Conv(256, 1),) * 3
"""Convolutions in the place of those that a network does not have: the comparison with the guess will say so."""


@dataclass(frozen=True, slots=True)
class _FoundUnit:
    """A residual unit that ends in a sum: three convolutions, whatever else there is on the two paths to the sum.

    Of a basic unit the first two count.
    """

    convs: Sequence[Conv]
    projection: Conv | None
    se: FoundBlock | None
    position: Position
    unit: Unit = "bottleneck"


def _is_sum(network: Network, node: Node) -> bool:
    """Whether a residual unit ends in a node: a sum, or a product in its place, so that the product is the misfit."""
    if not isinstance(node.op, Scale) or block_at(network, node):
        return isinstance(node.op, Add)
    if any(isinstance(reader.op, Add) for reader in network.readers[node.name]):
        return False
    return any(len(convolutions(trail(network, name, is_join))) > 2 for name in node.inputs)


def _found_unit(network: Network, add: Node) -> _FoundUnit:
    branch, shortcut = (trail(network, name, is_join) for name in add.inputs)
    while branch and shortcut and branch[0] is shortcut[0]:  # what follows the sum before
        branch, shortcut = branch[1:], shortcut[1:]
    branch, shortcut = sorted((branch, shortcut), key=lambda path: -len(convolutions(path)))
    convs = (*convolutions(branch), *_ANY)[:3]
    kernels = [conv.window for conv in convolutions(branch)]
    unit: Unit = "bottleneck"
    if kernels == [(3, 3)] * 2:
        after = next(i for i, node in enumerate(branch) if node.op is convs[1])
        unit = "basic-relu" if any(node.op == Act("relu") for node in branch[after:]) else "basic"
    places: list[tuple[Node, Position]] = []
    for i, node in enumerate(branch):
        raw = i > 0 and isinstance(branch[i - 1].op, Conv)
        before = len(convolutions(branch[:i]))
        last = before == len(kernels) if unit != "bottleneck" else before > 2
        places.append((node, "pre" if not before else "standard" if last else "3x3-raw" if raw else "3x3"))
    for i, node in enumerate(shortcut):
        places.append((node, "identity-before" if convolutions(shortcut[i:]) else "identity"))
    for relu in network.readers[add.name]:
        readers = network.readers[relu.name]
        for node in readers:
            block = block_at(network, node) if isinstance(node.op, Scale) else None
            if block and all(reader is node or reader.name in block.nodes for reader in readers):
                places.append((node, "post"))
    projection = next(iter(convolutions(shortcut)), None)
    for node, place in places:
        if isinstance(node.op, Scale) and (block := block_at(network, node)):
            return _FoundUnit(convs, projection, block, place, unit)
    return _FoundUnit(convs, projection, None, "standard", unit)


def _published() -> Iterator[ResNetSpec]:
    depths = {"18": (2, 2, 2, 2), "34": (3, 4, 6, 3), "50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}
    plain: dict[str, ResNetSpec] = {
        f"resnet-{size}": ResNetSpec(name=f"resnet-{size}", depths=depths[size], se=None)
        for size in ("50", "101", "152")
    }
    for size in ("50", "101"):  # 32x4d
        plain[f"resnext-{size}"] = ResNetSpec(
            name=f"resnext-{size}",
            depths=depths[size],
            reduce=(128, 256, 512, 1024),
            width=(128, 256, 512, 1024),
            groups=32,
            stride_on_3x3=True,
            se=None,
        )
    yield from (_excited(spec) for spec in plain.values())
    yield from plain.values()
    yield ResNetSpec(
        name="senet-154",
        depths=depths["152"],
        stem=((64, 3), (64, 3), (128, 3)),
        reduce=(128, 256, 512, 1024),
        width=(256, 512, 1024, 2048),
        groups=64,
        stride_on_3x3=True,
        shortcut=3,
        dropout=float(np.float32(0.2)),  # a protobuf float, as EPS
    )
    small = {
        f"resnet-{size}": ResNetSpec(
            name=f"resnet-{size}",
            depths=depths[size],
            unit="basic",
            reduce=None,
            out_channels=(64, 128, 256, 512),
            stride_on_3x3=True,
            se=None,
        )
        for size in ("18", "34")
    }
    for spec in small.values():
        yield _excited(spec)
        yield spec
        yield replace(_excited(spec), name=f"se-{spec.name}-legacy", unit="basic-relu")
    for spec in (small | plain).values():
        theirs = replace(spec, name=f"{spec.name}-torchvision", stem_pool="torchvision", stride_on_3x3=True)
        # timm's hidden widths are multiples of 8, which shows where a block is narrow.
        yield replace(_excited(theirs), se=SE(rounding="to 8") if spec.name in small else SE())
        yield theirs


def _excited(spec: ResNetSpec) -> ResNetSpec:
    return replace(spec, name=f"se-{spec.name}", se=SE())


PUBLISHED = tuple(_published())
