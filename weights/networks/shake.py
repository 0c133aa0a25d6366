"""Shake-Shake and Shake-Even networks for CIFAR, plain and with SE blocks.

Source: Gastaldi, https://arxiv.org/abs/1705.07485, and the author's Lua files models/shakeshakeblock.lua (26 2x96d,
basic units) and models/shakeshake.lua (29 2x4x64d, bottlenecks). Reimplementations differ from these in the stem, in
what is rectified, and in which way the shortcut's second path moves.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from weights import limits
from weights.networks.guess import FoundBlock, block_at, common, convolutions, se_record, trail
from weights.networks.network import Builder, Network, Node
from weights.networks.operations import Act, Add, BatchNorm, Concat, Conv, GlobalPool, Mix, Scale, Shift
from weights.networks.recognition import consecutive, excitation
from weights.networks.se import Excitation, excite
from weights.networks.spec import ShapeOf, Spec, check_stages, misfit

Unit = Literal["basic", "bottleneck"]
"""basic: branches of two 3x3 convolutions, each after a ReLU, no ReLU after the sum; bottleneck: branches of 1x1, 3x3
and 1x1 as of a ResNeXt, ReLU after the sum."""

Shares = Literal["shake-shake", "shake-even", "even-even"]
"""Of the two branches in training, for the outputs and for the gradients: drawn for every image (shake), or halves."""

Place = Literal["mix", "branch"]
"""Of the SE blocks: one on the mixed branches, or one on each branch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShakeUnitSpec:
    """One residual unit of two branches, with every width resolved."""

    name: str
    unit: Unit
    in_channels: int
    out: tuple[int, ...]  # out channels of each convolution of a branch
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    groups: int  # of a bottleneck's 3x3
    projects: bool  # the shortcut; otherwise it is the identity
    se: Excitation | None  # None: a plain unit
    place: Place  # of the SE block
    shares: Shares
    eps: float

    @property
    def out_channels(self) -> int:
        """Of the unit."""
        return self.out[-1]

    @property
    def stride(self) -> int:
        """Of the whole unit."""
        return max(self.strides)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShakeSpec(Spec):
    """Hyper-parameters of a network whose residual units mix two branches. Stage 1 has stride 1, the later ones 2."""

    family: ClassVar[str] = "shake"
    unshown: ClassVar[tuple[str, ...]] = ("shares",)
    side: ClassVar[int] = 32
    depths: tuple[int, ...]  # units in each stage
    stem: int = 16  # out channels of the first 3x3 convolution
    unit: Unit = "basic"
    width: tuple[int, ...] = (96, 192, 384)  # per stage, out channels of all convolutions of a branch but the last
    out_channels: tuple[int, ...] = (96, 192, 384)  # per stage, of the last
    groups: int = 1  # of a bottleneck's 3x3
    # The paper says "on the non-identity branch, before the sum": that branch's output is the mix.
    place: Place = "mix"
    shares: Shares = "shake-shake"

    @property
    def title(self) -> str:
        """By how it is trained."""
        return "-".join(map(str.capitalize, self.shares.split("-")))

    def check(self) -> None:
        """Lengths of the lists, groups, stages, and the place of the SE blocks."""
        for field in ("width", "out_channels"):
            if len(getattr(self, field)) != len(self.depths):
                raise misfit(self, f"{field} has {len(getattr(self, field))} stages, depths has {len(self.depths)}")
        if sum(self.depths) > limits.BLOCKS:
            raise misfit(self, f"{sum(self.depths)} units, expected {limits.BLOCKS:,} at most")
        if self.unit == "basic" and self.groups > 1:
            raise misfit(self, f"groups is {self.groups}, which only bottlenecks have")
        if odd := next((out for out in self.out_channels if self.unit == "basic" and out % 2), None):
            raise misfit(self, f"out_channels has {odd}, of which a shortcut's two paths cannot have half each")
        if wrong := next((width for width in self.width if width % self.groups), None):
            raise misfit(self, f"groups is {self.groups}, which does not divide the width {wrong}")
        if self.se and self.se.position != "standard":
            raise misfit(self, f"SE blocks stand before the sum only, not at {self.se.position!r}")
        check_stages(self, len(self.depths))

    @property
    def stages(self) -> tuple[tuple[ShakeUnitSpec, ...], ...]:
        """The units of each stage."""
        units = iter(self.blocks())
        return tuple(tuple(next(units) for _ in range(depth)) for depth in self.depths)

    def blocks(self) -> Iterator[ShakeUnitSpec]:
        """Every residual unit, in order, with its widths resolved."""
        channels = self.stem
        kernels = (3, 3) if self.unit == "basic" else (1, 3, 1)
        for stage, depth in enumerate(self.depths):
            width, out = self.width[stage], self.out_channels[stage]
            for i in range(depth):
                stride = 2 if stage and not i else 1
                yield ShakeUnitSpec(
                    name=f"stage{stage + 1}.{i}",
                    unit=self.unit,
                    in_channels=channels,
                    out=(*(width for _ in kernels[1:]), out),
                    kernels=kernels,
                    strides=(stride, 1) if self.unit == "basic" else (1, stride, 1),
                    groups=self.groups,
                    projects=stride > 1 or channels != out,
                    se=self.se.of(out, stage + 1) if self.se else None,
                    place=self.place,
                    shares=self.shares,
                    eps=self.eps,
                )
                channels = out

    def body(self, g: Builder) -> tuple[str, ...]:
        """Stem, stages, of basic units the ReLU at the end; the feature maps are the outputs of the stages."""
        act = None if self.unit == "basic" else "relu"
        x = g.conv_bn("data", "stem.conv1", Conv(self.stem, 3, 1, 1), self.eps, act)
        for b in self.blocks():
            x = unit(g, x, b)
        maps = tuple(stage[-1].name for stage in self.stages)
        return (*maps[:-1], g("relu", Act("relu"), x)) if self.unit == "basic" else maps

    def without_chance(self) -> "ShakeSpec":
        """Also the shares are halves."""
        return replace(self, dropout=0.0, shares="even-even")

    @classmethod
    def from_network(cls, network: Network) -> "ShakeSpec | None":
        """Depths by counting the mixes, widths and strides from their branches."""
        return guess(network)

    @classmethod
    def from_shapes(cls, shape: ShapeOf) -> "ShakeSpec | None":
        """Depths and widths by counting and measuring; basic units are trained by Shake-Shake, others by Shake-Even."""
        stem, fc, inner = shape("stem.conv1", "conv"), shape("fc", "linear"), shape("stage1.0.branch1.conv2", "conv")
        depths: list[int] = []
        widths: list[tuple[int, ...]] = []  # of each stage, the out channels of a branch's convolutions
        while depth := len(list(consecutive(shape, f"stage{len(depths) + 1}.{{}}.branch1.conv1", 0))):
            depths.append(depth)
            widths.append(tuple(k[0] for k in consecutive(shape, f"stage{len(depths)}.0.branch1.conv{{}}", 1)))
        if stem is None or inner is None or {len(w) for w in widths} not in ({2}, {3}):
            return None
        basic = len(widths[0]) == 2
        plain = cls(
            name=cls.family,
            depths=tuple(depths),
            stem=stem[0],
            unit="basic" if basic else "bottleneck",
            width=tuple(w[0] for w in widths),
            out_channels=tuple(w[-1] for w in widths),
            groups=1 if basic else max(widths[0][0] // inner[1], 1),
            shares="shake-shake" if basic else "shake-even",
            se=None,
            classes=fc[0] if fc else 0,
            in_channels=stem[1],
        )
        units = [(stage, b.name) for stage, blocks in enumerate(plain.stages, 1) for b in blocks]
        places: dict[Place, str] = {"mix": "se", "branch": "branch1.se"}
        for place, path in places.items():
            found = [(stage, e) for stage, name in units if (e := excitation(shape, f"{name}.{path}"))]
            if found:
                stages = tuple(dict.fromkeys(stage for stage, _ in found))
                se = se_record([e for _, e in found], "standard", stages if len(stages) < len(depths) else None)
                return replace(plain, name=f"se-{cls.family}", se=se, place=place)
        return plain


def unit(g: Builder, x: str, b: ShakeUnitSpec) -> str:
    """The mix of two branches plus the shortcut; with an SE block on the mix or on each branch."""
    identity = x
    x = g(f"{b.name}.relu", Act("relu"), x) if b.unit == "basic" else x
    y = g(f"{b.name}.mix", Mix(), *(_branch(g, x, f"{b.name}.branch{i}", b) for i in (1, 2)))
    y = excite(g, y, f"{b.name}.se", b.se) if b.se and b.place == "mix" else y
    if b.projects:
        identity = _two_paths(g, x, b) if b.unit == "basic" else _projection(g, x, b)
    if b.unit == "basic":
        return g(b.name, Add(), y, identity)
    return g(b.name, Act("relu"), g(f"{b.name}.add", Add(), y, identity))


def _branch(g: Builder, x: str, name: str, b: ShakeUnitSpec) -> str:
    for i, (out, kernel, stride) in enumerate(zip(b.out, b.kernels, b.strides, strict=True), 1):
        groups = b.groups if kernel == 3 else 1
        act = None if i == len(b.out) else "relu"
        x = g.conv_bn(x, f"{name}.conv{i}", Conv(out, kernel, stride, kernel // 2, groups), b.eps, act)
    return excite(g, x, f"{name}.se", b.se) if b.se and b.place == "branch" else x


def _projection(g: Builder, x: str, b: ShakeUnitSpec) -> str:
    return g.conv_bn(x, f"{b.name}.shortcut.conv", Conv(b.out_channels, 1, b.stride), b.eps)


def _two_paths(g: Builder, x: str, b: ShakeUnitSpec) -> str:
    """Half of the channels of the pixels that the stride meets, half of those to the left and above of them."""
    name, half = f"{b.name}.shortcut", Conv(b.out_channels // 2, 1, b.stride)
    first = g(f"{name}.conv1", half, x)
    second = g(f"{name}.conv2", half, g(f"{name}.shift", Shift(), x))
    return g(f"{name}.bn", BatchNorm(b.eps), g(f"{name}.concat", Concat(), first, second))


def guess(network: Network) -> ShakeSpec | None:
    """The record that a network may have been made from; None where nothing is mixed."""
    if not any(isinstance(node.op, Mix) for node in network.nodes):
        return None
    units = [_found_unit(network, node) for node in network.nodes if _mixes(network, node)]
    starts = [i for i, found in enumerate(units) if found.projects or not i]
    heads = [units[i] for i in starts]
    within = tuple(i for i, head in enumerate(heads, 1) if head.se)
    blocks = [found.se.excitation for found in units if found.se]
    basic = len(heads[0].convs) < 3
    return ShakeSpec(
        name="se-shake" if blocks else "shake",
        depths=tuple(after - at for at, after in zip(starts, [*starts[1:], len(units)], strict=True)),
        stem=next((node.op.out for node in network.nodes if isinstance(node.op, Conv)), 1),
        unit="basic" if basic else "bottleneck",
        width=tuple(head.convs[0].out for head in heads),
        out_channels=tuple(head.convs[-1].out for head in heads),
        groups=1 if basic else heads[0].convs[1].groups,
        place="branch" if any(found.place == "branch" for found in units) else "mix",
        shares="shake-shake" if basic else "shake-even",
        se=se_record(blocks, "standard", within if len(within) < len(heads) else None) if blocks else None,
        **common(network),
    )


@dataclass(frozen=True, slots=True)
class _FoundUnit:
    """A residual unit: the convolutions of its first branch, and what stands between its mix and its sum."""

    convs: tuple[Conv, ...]
    projects: bool
    se: FoundBlock | None
    place: Place


def _ends_unit(node: Node) -> bool:
    return isinstance(node.op, Add | Mix | GlobalPool)


def _mixes(network: Network, node: Node) -> bool:
    """Whether two branches end in a node: a mix, or a sum in its place, so that the sum is the misfit."""
    paths = (trail(network, name, _ends_unit) for name in node.inputs)
    return isinstance(node.op, Mix) or (isinstance(node.op, Add) and all(len(convolutions(path)) > 1 for path in paths))


def _found_unit(network: Network, mix: Node) -> _FoundUnit:
    branch = trail(network, mix.inputs[0], _ends_unit)
    forks = [i for i, node in enumerate(branch) if len(network.readers[node.name]) > 1 and not _in_gate(network, node)]
    branch = branch[forks[-1] + 1 :] if forks else branch
    scales = [node for node in branch if isinstance(node.op, Scale)]
    after = [node for node in network.readers[mix.name] if isinstance(node.op, Scale)]
    ends = scales or after
    last = after[0].name if after and not scales else mix.name
    sums = [node for node in network.readers[last] if isinstance(node.op, Add)]
    others = [
        network.by_name[name] for node in sums for name in node.inputs if name != last and name in network.by_name
    ]
    return _FoundUnit(
        convs=tuple(convolutions(branch)) or (Conv(2, 1),),
        projects=any(isinstance(node.op, BatchNorm) and _is_projection(network, node) for node in others),
        se=next(filter(None, (block_at(network, node) for node in ends)), None),
        place="branch" if scales else "mix",
    )


def _in_gate(network: Network, node: Node) -> bool:
    """Whether the readers of a value are an SE block's pooling, or its matrix, and its product."""
    return any(isinstance(reader.op, Scale) for reader in network.readers[node.name])


def _is_projection(network: Network, norm: Node) -> bool:
    """Whether a BatchNorm is that of a shortcut: not that of the stem, whose output a first unit's identity may be."""
    before = network.by_name.get(norm.inputs[0])
    return before is not None and before.inputs != ("data",)


def _published() -> Iterator[ShakeSpec]:
    shake_shake = ShakeSpec(name="shake-shake-26-2x96d-cifar-10", depths=(4, 4, 4), classes=10)
    shake_even = ShakeSpec(
        name="shake-even-29-2x4x64d-cifar-100",
        depths=(3, 3, 3),
        stem=64,
        unit="bottleneck",
        width=(256, 512, 1024),
        out_channels=(256, 512, 1024),
        groups=4,
        shares="shake-even",
        classes=100,
    )
    for spec in (shake_shake, shake_even):
        yield replace(spec, name=f"se-{spec.name}")
        yield replace(spec, se=None)


PUBLISHED = tuple(_published())
