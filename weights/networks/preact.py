"""Pre-activation residual networks for small images: ResNet-110, ResNet-164 and WRN-16-8 for CIFAR, plain and SE.

Sources: He et al., https://arxiv.org/abs/1603.05027, and their Lua file models/resnet-pre-act.lua (ResNet-164); wide
networks: Zagoruyko and Komodakis, https://arxiv.org/abs/1605.07146, and their models/wide-resnet.lua. By a field of the
record also the post-activation networks for CIFAR of He et al., https://arxiv.org/abs/1512.03385, section 4.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from weights import limits
from weights.networks.guess import FoundBlock, block_at, common, convolutions, is_join, se_record, trail
from weights.networks.network import Builder, Network, Node
from weights.networks.operations import Act, Add, AppendZeros, BatchNorm, Conv, Mix, Pool, Scale
from weights.networks.recognition import consecutive, excitation
from weights.networks.se import SE, Excitation, excite
from weights.networks.spec import ShapeOf, Spec, check_stages, misfit

Order = Literal["pre", "post"]
"""pre: BatchNorm and ReLU before each convolution, and after the last sum; post: BatchNorm after each convolution, ReLU
between them and after each sum, BatchNorm and ReLU after the stem."""

Shortcut = Literal["projection", "zeros"]
"""Where a unit changes its shape. projection: a 1x1 convolution, of the activated input without BatchNorm, or with
BatchNorm where the order is "post"; zeros: every second pixel of the raw input, channels of zeros appended (option
A)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSpec:
    """One residual unit with every width resolved: BatchNorm, ReLU and convolution, twice or three times."""

    name: str
    order: Order
    in_channels: int
    out: tuple[int, ...]  # out channels of each convolution
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    shortcut: Shortcut | None  # None: the identity
    se: Excitation | None  # None: a plain unit
    eps: float

    @property
    def out_channels(self) -> int:
        """Of the last convolution, and of the unit."""
        return self.out[-1]

    @property
    def stride(self) -> int:
        """Of the whole unit."""
        return max(self.strides)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreActSpec(Spec):
    """Hyper-parameters of a pre-activation residual network. Stage 1 has stride 1, the later ones 2."""

    family: ClassVar[str] = "preact"
    side: ClassVar[int] = 32
    depths: tuple[int, ...]  # units in each stage
    stem: int = 16  # out channels of the first 3x3 convolution
    # The paper refers to "Identity mappings", where the networks of these depths have "pre".
    order: Order = "pre"
    unit: Literal["basic", "bottleneck"] = "basic"  # 3x3, 3x3; or 1x1, 3x3, 1x1
    width: tuple[int, ...] = (16, 32, 64)  # per stage, out channels of all convolutions of a unit but the last
    out_channels: tuple[int, ...] = (16, 32, 64)  # per stage, of the last
    # Of a bottleneck: otherwise on the first 1x1, as in the authors' Lua file; pytorchcv has it on the 3x3.
    stride_on_3x3: bool = False
    # The authors' ResNet-164 and the wide networks project; fb.resnet.torch's preresnet.lua appends zeros.
    shortcut: Shortcut = "projection"

    @property
    def title(self) -> str:
        """By the order of its layers."""
        return f"{self.order}-activation ResNet"

    def check(self) -> None:
        """Lengths of the lists, stages, and the place of the SE blocks."""
        for field in ("width", "out_channels"):
            if len(getattr(self, field)) != len(self.depths):
                raise misfit(self, f"{field} has {len(getattr(self, field))} stages, depths has {len(self.depths)}")
        if sum(self.depths) > limits.BLOCKS:
            raise misfit(self, f"{sum(self.depths)} units, expected {limits.BLOCKS:,} at most")
        if self.stride_on_3x3 and self.unit == "basic":
            raise misfit(self, "stride_on_3x3 is a choice of bottlenecks: a basic unit has no other convolutions")
        if self.shortcut == "zeros" and list(self.out_channels) != sorted((self.stem, *self.out_channels))[1:]:
            raise misfit(self, "channels of zeros can be appended, but none taken away: out_channels must not fall")
        if self.se and self.se.position != "standard":
            raise misfit(self, f"SE blocks stand at the end of the residual branch only, not at {self.se.position!r}")
        check_stages(self, len(self.depths))

    @property
    def stages(self) -> tuple[tuple[UnitSpec, ...], ...]:
        """The units of each stage."""
        units = iter(self.blocks())
        return tuple(tuple(next(units) for _ in range(depth)) for depth in self.depths)

    def blocks(self) -> Iterator[UnitSpec]:
        """Every residual unit, in order, with its widths resolved."""
        channels = self.stem
        kernels = (3, 3) if self.unit == "basic" else (1, 3, 1)
        for stage, depth in enumerate(self.depths):
            width, out = self.width[stage], self.out_channels[stage]
            for i in range(depth):
                stride = 2 if stage and not i else 1
                yield UnitSpec(
                    name=f"stage{stage + 1}.{i}",
                    order=self.order,
                    in_channels=channels,
                    out=(*(width for _ in kernels[1:]), out),
                    kernels=kernels,
                    strides=tuple(stride if k == self.stride_on_3x3 else 1 for k in range(len(kernels))),
                    shortcut=self.shortcut if stride > 1 or channels != out else None,
                    se=self.se.of(out, stage + 1) if self.se else None,
                    eps=self.eps,
                )
                channels = out

    def body(self, g: Builder) -> tuple[str, ...]:
        """Stem, stages, and BatchNorm and ReLU at either end; the feature maps are the outputs of the stages."""
        x = g("stem", Conv(self.stem, 3, 1, 1), "data")
        if self.order == "post":
            x = g("relu", Act("relu"), g("bn", BatchNorm(self.eps), x))
        for b in self.blocks():
            x = unit(g, x, b)
        if self.order == "pre":
            x = g("relu", Act("relu"), g("bn", BatchNorm(self.eps), x))
        return (*(stage[-1].name for stage in self.stages[:-1]), x)

    @classmethod
    def from_network(cls, network: Network) -> "PreActSpec | None":
        """Depths by counting the sums, widths and strides from their branches."""
        return guess(network)

    @classmethod
    def from_shapes(cls, shape: ShapeOf) -> "PreActSpec | None":
        """Depths and widths by counting and measuring."""
        stem, fc = shape("stem", "conv"), shape("fc", "linear")
        depths: list[int] = []
        widths: list[tuple[int, ...]] = []  # of each stage, the out channels of all convolutions
        while depth := len(list(consecutive(shape, f"stage{len(depths) + 1}.{{}}.conv1", 0))):
            depths.append(depth)
            widths.append(tuple(kernel[0] for kernel in consecutive(shape, f"stage{len(depths)}.0.conv{{}}", 1)))
        if stem is None or shape("bn", "bn") is None or not widths or {len(w) for w in widths} not in ({2}, {3}):
            return None
        stages = range(1, len(depths) + 1)
        projected = any(shape(f"stage{i}.0.{end}", "conv") for i in stages for end in ("shortcut", "shortcut.conv"))
        # A BatchNorm has the channels of the map before it, or of its convolution; a projection has one, or none.
        befores = [stem[0], *(w[-1] for w in widths)]
        pre = not any(shape(f"stage{i}.0.shortcut.conv", "conv") for i in stages) and all(
            shape(f"stage{i}.0.bn{n}", "bn") in (None, (channels,))
            for i, w, before in zip(stages, widths, befores, strict=False)
            for n, channels in enumerate((before, *w[:-1]), 1)
        )
        changed = len(depths) > 1 or widths[0][-1] != stem[0]
        plain = cls(
            name=cls.family,
            depths=tuple(depths),
            stem=stem[0],
            order="pre" if pre else "post",
            unit="basic" if len(widths[0]) == 2 else "bottleneck",
            width=tuple(w[0] for w in widths),
            out_channels=tuple(w[-1] for w in widths),
            shortcut="zeros" if changed and not projected else "projection",
            se=None,
            classes=fc[0] if fc else 0,
            in_channels=stem[1],
        )
        units = [(stage, b) for stage, blocks in enumerate(plain.stages, 1) for b in blocks]
        found = [(stage, e) for stage, b in units if (e := excitation(shape, f"{b.name}.se"))]
        if not found:
            return plain
        within = tuple(dict.fromkeys(stage for stage, _ in found))
        se = se_record([e for _, e in found], "standard", within if len(within) < len(depths) else None)
        return replace(plain, name=f"se-{cls.family}", se=se)


def unit(g: Builder, x: str, b: UnitSpec) -> str:
    """se(residual(x)) + x; or where the shape changes, projection(relu(bn(x))) or the zeros in the place of x.

    Where the order is "post" relu(se(residual(x)) + x), or with projection(x).
    """
    y, activated, name = x, "", f"{b.name}.shortcut"
    for i, (out, kernel, stride) in enumerate(zip(b.out, b.kernels, b.strides, strict=True), 1):
        conv = Conv(out, kernel, stride, kernel // 2)
        if b.order == "pre":
            y = g(f"{b.name}.relu{i}", Act("relu"), g(f"{b.name}.bn{i}", BatchNorm(b.eps), y))
            activated = activated or y
            y = g(f"{b.name}.conv{i}", conv, y)
        else:
            y = g.conv_bn(y, f"{b.name}.conv{i}", conv, b.eps, "relu" if i < len(b.out) else None)
    y = excite(g, y, f"{b.name}.se", b.se) if b.se else y
    if b.shortcut == "zeros":
        x = option_a(g, x, name, b.stride, b.out_channels - b.in_channels)
    elif b.shortcut == "projection":
        conv = Conv(b.out_channels, 1, b.stride)
        x = g(name, conv, activated) if b.order == "pre" else g.conv_bn(x, f"{name}.conv", conv, b.eps)
    if b.order == "pre":
        return g(b.name, Add(), y, x)
    return g(b.name, Act("relu"), g(f"{b.name}.add", Add(), y, x))


def option_a(g: Builder, x: str, name: str, stride: int, channels: int) -> str:
    """Every pixel that the stride meets, and so many channels of zeros."""
    # Means of one pixel, as in fb.resnet.torch.
    x = g(f"{name}.pool", Pool("avg", 1, stride, rounding="down"), x) if stride > 1 else x
    return g(f"{name}.zeros", AppendZeros(channels), x) if channels else x


def guess(network: Network) -> PreActSpec | None:
    """The record that a network may have been made from; None where neither BatchNorm nor ReLU follow the sums."""
    sums = [node for node in network.nodes if isinstance(node.op, Add)]
    after = [reader.op for node in sums for reader in network.readers[node.name]]
    pre = any(isinstance(op, BatchNorm) for op in after)
    # The networks for large images, of the other family, have a pooling in the stem; others mix branches.
    others = any(
        isinstance(node.op, Mix) or (isinstance(node.op, Pool) and node.op.kernel > 1) for node in network.nodes
    )
    if not sums or (not pre and (others or any(op != Act("relu") for op in after))):
        return None
    units = [_found_unit(network, node) for node in sums]
    starts = [i for i, found in enumerate(units) if found.shortcut or found.strides or not i]
    heads = [units[i] for i in starts]
    within = tuple(i for i, head in enumerate(heads, 1) if head.se)
    blocks = [found.se.excitation for found in units if found.se]
    later = heads[1:] or heads
    return PreActSpec(
        name="se-preact" if blocks else "preact",
        depths=tuple(after - at for at, after in zip(starts, [*starts[1:], len(units)], strict=True)),
        stem=next((node.op.out for node in network.nodes if isinstance(node.op, Conv)), 1),
        order="pre" if pre else "post",
        unit="basic" if len(heads[0].convs) < 3 else "bottleneck",
        width=tuple(head.convs[0].out for head in heads),
        out_channels=tuple(head.convs[-1].out for head in heads),
        stride_on_3x3=len(heads[0].convs) > 2 and later[0].convs[0].stride == 1 and later[0].convs[1].stride == 2,
        shortcut="zeros" if "zeros" in {head.shortcut for head in heads} else "projection",
        se=se_record(blocks, "standard", within if len(within) < len(heads) else None) if blocks else None,
        **common(network),
    )


@dataclass(frozen=True, slots=True)
class _FoundUnit:
    """A residual unit that ends in a sum."""

    convs: tuple[Conv, ...]
    shortcut: Shortcut | None
    se: FoundBlock | None

    @property
    def strides(self) -> bool:
        """Whether the unit makes its map smaller."""
        return any(conv.stride > 1 for conv in self.convs)


def _found_unit(network: Network, add: Node) -> _FoundUnit:
    paths = [trail(network, name, is_join) for name in add.inputs]
    while all(paths) and paths[0][0] is paths[1][0]:  # what both start with
        paths = [path[1:] for path in paths]
    branch, shortcut = sorted(paths, key=lambda path: -len(convolutions(path)))
    ends = [network.by_name[name].op for name in add.inputs if name in network.by_name]
    zeros = any(isinstance(op, AppendZeros | Pool) for op in ends)
    products = (node for node in branch if isinstance(node.op, Scale))
    return _FoundUnit(
        convs=tuple(convolutions(branch)) or (Conv(1, 1),),
        shortcut="zeros" if zeros else "projection" if convolutions(shortcut) else None,
        se=next(filter(None, (block_at(network, node) for node in products)), None),
    )


def _published() -> Iterator[PreActSpec]:
    shapes = (
        PreActSpec(name="resnet-110", depths=(18, 18, 18)),
        PreActSpec(name="resnet-164", depths=(18, 18, 18), unit="bottleneck", out_channels=(64, 128, 256)),
        PreActSpec(name="wrn-16-8", depths=(2, 2, 2), width=(128, 256, 512), out_channels=(128, 256, 512)),
    )
    for classes in (10, 100):
        for prefix, se in (("se-", SE()), ("", None)):
            for spec in shapes:
                yield replace(spec, name=f"{prefix}{spec.name}-cifar-{classes}", se=se, classes=classes)


PUBLISHED = tuple(_published())
