"""ShuffleNet V1 (Zhang et al., https://arxiv.org/abs/1707.01083), plain and with an SE block in every unit."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Literal

from weights import limits
from weights.networks.guess import FoundBlock, block_at, common, convolutions, is_join, se_record, trail
from weights.networks.network import Builder, Network, Node
from weights.networks.operations import Act, Add, Concat, Conv, Pool, Scale, Shuffle
from weights.networks.recognition import consecutive, excitation
from weights.networks.se import Excitation, Position, excite
from weights.networks.spec import ShapeOf, Spec, check_stages, misfit

StemPool = Literal["torchvision", "caffe"]
"""The max-pooling of the stem: with a pixel of padding on all sides, sizes rounding down, as torchvision's networks
have it; or without padding, sizes rounding up, so that the last window may hang over the edge, as Caffe's have it. Both
make 56 of 112 pixels, by other windows."""

Concatenation = Literal["branch-first", "pooled-first"]
"""The order of the two maps that a unit of stride 2 puts side by side, which decides which channels are one group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffleUnitSpec:
    """One unit with every width resolved; all frameworks read these, none computes them."""

    name: str
    in_channels: int
    width: int  # of the first 1x1 and of the depthwise 3x3
    branch: int  # out channels of the last 1x1: with stride 2, what the input lacks
    out_channels: int
    stride: int  # 2: the branch is concatenated to the pooled input; 1: it is added to the input
    groups: int  # of the last 1x1 and of the shuffle
    first_groups: int  # of the first 1x1
    se: Excitation | None  # None: a plain unit
    position: Position  # of the SE block
    concatenation: Concatenation
    eps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffleNetSpec(Spec):
    """Hyper-parameters of a ShuffleNet V1. The first unit of each stage has stride 2.

    SE blocks stand on the branch before the sum or concatenation ("standard"): only so the counts are those of Table 2
    of the article on SE networks, which does not say it. Or on the output of the unit ("post").
    """

    family: ClassVar[str] = "shufflenet"
    stem_channels: int = 24  # out channels of its 3x3 convolution
    depths: tuple[int, ...] = (4, 8, 4)  # units in each stage
    out_channels: tuple[int, ...] = (240, 480, 960)  # of each stage; a unit is a fourth as wide within
    groups: int = 3
    # Neither article states these two. They are pytorchcv's, whose trained weights are read here; in the code that the
    # paper's authors published the pooled map comes first, and channels are shuffled after the 3x3, and the other way.
    stem_pool: StemPool = "torchvision"
    concatenation: Concatenation = "branch-first"

    @property
    def title(self) -> str:
        """The name that its paper gives it."""
        return "ShuffleNet V1"

    def check(self) -> None:
        """Lengths, widths that groups divide, and that every SE block has a place."""
        if len(self.out_channels) != len(self.depths):
            raise misfit(self, f"out_channels has {len(self.out_channels)} stages, depths has {len(self.depths)}")
        if sum(self.depths) > limits.BLOCKS:
            raise misfit(self, f"{sum(self.depths)} units, expected {limits.BLOCKS:,} at most")
        for before, out in pairwise((self.stem_channels, *self.out_channels)):
            if out <= before:
                raise misfit(self, f"a stage of {out} channels after {before}: concatenation can only add channels")
            if out % (4 * self.groups) or (out - before) % self.groups:
                raise misfit(self, f"groups is {self.groups}, which does not divide {out} / 4 and {out} - {before}")
            if out == 4 * self.groups > 4:
                raise misfit(self, f"groups is {self.groups}, which leaves nothing to shuffle of {out} / 4 channels")
        if self.se and self.se.position not in ("standard", "post"):
            raise misfit(self, f'SE blocks stand at "standard" or "post", not at "{self.se.position}"')
        check_stages(self, len(self.depths))

    @property
    def stages(self) -> tuple[tuple[ShuffleUnitSpec, ...], ...]:
        """The units of each stage."""
        blocks = iter(self.blocks())
        return tuple(tuple(next(blocks) for _ in range(depth)) for depth in self.depths)

    def blocks(self) -> Iterator[ShuffleUnitSpec]:
        """Every unit, in order, with its widths resolved."""
        channels = self.stem_channels
        position = self.se.position if self.se else "standard"
        for stage, depth in enumerate(self.depths, 1):
            out = self.out_channels[stage - 1]
            for i in range(depth):
                branch = out if i else out - channels
                yield ShuffleUnitSpec(
                    name=f"stage{stage}.{i}",
                    in_channels=channels,
                    width=out // 4,
                    branch=branch,
                    out_channels=out,
                    stride=1 if i else 2,
                    groups=self.groups,
                    # The stem has too few channels for groups (Table 1 of the paper, in its caption).
                    first_groups=1 if stage == 1 and i == 0 else self.groups,
                    se=self.se.of(branch if position == "standard" else out, stage) if self.se else None,
                    position=position,
                    concatenation=self.concatenation,
                    eps=self.eps,
                )
                channels = out

    def body(self, g: Builder) -> tuple[str, ...]:
        """Stem and stages; the feature maps are the pooled stem, at stride 4, and the outputs of the stages."""
        x = g.conv_bn("data", "stem.conv", Conv(self.stem_channels, 3, 2, 1), self.eps, "relu")
        padded = self.stem_pool == "torchvision"
        x = g("stem.pool", Pool("max", 3, 2, 1, rounding="down") if padded else Pool("max", 3, 2), x)
        for block in self.blocks():
            x = unit(g, x, block)
        return "stem.pool", *(stage[-1].name for stage in self.stages)

    @classmethod
    def from_network(cls, network: Network) -> "ShuffleNetSpec | None":
        """Depths by counting the shuffles, groups from them, widths from the branches."""
        return guess(network)

    @classmethod
    def from_shapes(cls, shape: ShapeOf) -> "ShuffleNetSpec | None":
        """Depths and widths by counting and measuring; the SE blocks' place by their channels."""
        stem, fc = shape("stem.conv", "conv"), shape("fc", "linear")
        depths: list[int] = []
        while depth := len(list(consecutive(shape, f"stage{len(depths) + 1}.{{}}.conv1", 0))):
            depths.append(depth)
        ends = [shape(f"stage{stage}.0.conv3", "conv") for stage in range(1, len(depths) + 1)]
        first = shape("stage1.0.conv1", "conv")
        if not stem or not first or not ends[0]:
            return None
        out = [stem[0]]
        for end in ends:
            out.append(out[-1] + (end[0] if end else 1))
        plain = cls(
            name=cls.family,
            stem_channels=stem[0],
            depths=tuple(depths),
            out_channels=tuple(out[1:]),
            groups=max(first[0] // ends[0][1], 1),
            se=None,
            classes=fc[0] if fc else 0,
            in_channels=stem[1],
        )
        units = [(stage, b) for stage, blocks in enumerate(plain.stages, 1) for b in blocks]
        found = [(stage, b, e) for stage, b in units if (e := excitation(shape, f"{b.name}.se"))]
        if not found:
            return plain
        stages = tuple(dict.fromkeys(stage for stage, _, _ in found))
        _, b, e = found[0]
        position = "standard" if e.channels == b.branch else "post"
        se = se_record([e for _, _, e in found], position, stages if len(stages) < len(depths) else None)
        return replace(plain, name=f"se-{cls.family}", se=se)


def unit(g: Builder, x: str, b: ShuffleUnitSpec) -> str:
    """relu(se(branch(x)) + x), or relu of the pooled x and se(branch(x)) side by side; or the SE block after that."""
    y = g.conv_bn(x, f"{b.name}.conv1", Conv(b.width, 1, groups=b.first_groups), b.eps, "relu")
    y = g(f"{b.name}.shuffle", Shuffle(b.groups), y)
    y = g.conv_bn(y, f"{b.name}.conv2", Conv(b.width, 3, b.stride, 1, b.width), b.eps)
    y = g.conv_bn(y, f"{b.name}.conv3", Conv(b.branch, 1, groups=b.groups), b.eps)
    if b.se and b.position == "standard":
        y = excite(g, y, f"{b.name}.se", b.se)
    if b.stride == 2:
        x = g(f"{b.name}.pool", Pool("avg", 3, 2, 1, rounding="down"), x)
        y = g(f"{b.name}.concat", Concat(), *((x, y) if b.concatenation == "pooled-first" else (y, x)))
    else:
        y = g(f"{b.name}.add", Add(), y, x)
    if b.se and b.position == "post":
        y = g(f"{b.name}.relu", Act("relu"), y)
        return excite(g, y, f"{b.name}.se", b.se, output=b.name)
    return g(b.name, Act("relu"), y)


def guess(network: Network) -> ShuffleNetSpec | None:
    """The record that a network may have been made from, read off its shuffles and joins; None without a shuffle."""
    shuffles = [node.op for node in network.nodes if isinstance(node.op, Shuffle)]
    convs = convolutions(network.nodes)
    # Of a Slice and Concat that are no shuffle, the Concat joins one map.
    joins = [node for node in network.nodes if isinstance(node.op, Add | Concat) and len(set(node.inputs)) > 1]
    if not shuffles or not joins:
        return None
    channels = [convs[0].out]
    depths: list[int] = []
    blocks: list[tuple[int, FoundBlock, Position]] = []
    pooled_first = False
    for join in joins:
        paths = [trail(network, name, is_join) for name in join.inputs]
        branch = max(paths, key=lambda path: len(convolutions(path)))
        if isinstance(join.op, Concat):
            pooled_first = not paths[0]
            depths.append(0)
            ends = convolutions(branch)
            channels.append(channels[-1] + (ends[-1].out if ends else 1))
        if depths:
            depths[-1] += 1
        after = [reader for relu in network.readers[join.name] for reader in network.readers[relu.name]]
        shuffled = [i for i, node in enumerate(branch) if isinstance(node.op, Shuffle)]
        places: list[tuple[Node, Position]] = [(node, "standard") for node in branch[max(shuffled, default=0) :]]
        places.extend((node, "post") for node in after)
        for node, position in places:
            block = block_at(network, node) if isinstance(node.op, Scale) else None
            if block and (position == "standard" or all(n is node or n.name in block.nodes for n in after)):
                blocks.append((len(depths), block, position))
    pool = next((node.op for node in network.nodes if isinstance(node.op, Pool)), None)
    stages = tuple(dict.fromkeys(stage for stage, _, _ in blocks))
    within = stages if len(stages) < len(depths) else None
    return ShuffleNetSpec(
        name="se-shufflenet" if blocks else "shufflenet",
        stem_channels=channels[0],
        depths=tuple(depths),
        out_channels=tuple(channels[1:]),
        groups=shuffles[0].groups,
        concatenation="pooled-first" if pooled_first else "branch-first",
        stem_pool="torchvision" if pool and pool.pad else "caffe",
        se=se_record([block.excitation for _, block, _ in blocks], blocks[0][2], within) if blocks else None,
        **common(network),
    )


PUBLISHED = (
    ShuffleNetSpec(name="shufflenet-v1", se=None),
    ShuffleNetSpec(name="se-shufflenet-v1"),
)
"""The networks of Table 2: width 1x, 3 groups."""
