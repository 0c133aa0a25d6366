"""SqueezeNet (Iandola et al., https://arxiv.org/abs/1602.07360) with an SE block behind each fire module, or plain.

In weights/networks it would be one file. Its end here is the common one, a pooling and a matrix; the published network
has a convolution and a ReLU, and then the pooling.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from weights.networks.guess import block_at, common, convolutions, se_record
from weights.networks.network import Builder, Network
from weights.networks.operations import Act, Concat, Conv, Pool, Scale
from weights.networks.recognition import consecutive, excitation
from weights.networks.se import SE, Excitation, excite
from weights.networks.spec import ShapeOf, Spec, misfit


@dataclass(frozen=True, slots=True, kw_only=True)
class FireSpec:
    """One fire module with every width resolved."""

    name: str
    in_channels: int
    squeeze: int  # out channels of the 1x1 before the two side by side
    expand: int  # out channels of each of the two, a 1x1 and a 3x3
    pooled: bool  # whether a pooling stands before it
    se: Excitation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SqueezeNetSpec(Spec):
    """Hyper-parameters of a SqueezeNet of version 1.1: the widths of its fire modules."""

    family: ClassVar[str] = "squeezenet"
    first: int = 64  # out channels of the convolution that reads the image
    widths: tuple[int, ...] = (128, 128, 256, 256, 384, 384, 512, 512)  # a module squeezes to an eighth of its own
    pooled: tuple[int, ...] = (1, 3, 5)  # the modules, counted from 1, that a pooling stands before

    def check(self) -> None:
        """Widths that can be halved and squeezed, and one place for SE blocks."""
        if any(width % 8 for width in self.widths):
            raise misfit(self, "the widths of fire modules are multiples of 8")
        if max(self.pooled) > len(self.widths):
            raise misfit(self, f"a pooling before module {max(self.pooled)} of {len(self.widths)}")
        if self.se and (self.se.position != "standard" or self.se.stages):
            raise misfit(self, "SE blocks stand behind the fire modules, all of them: no other position, no stages")

    def blocks(self) -> Iterator[FireSpec]:
        """Every fire module, in order."""
        channels = self.first
        for i, width in enumerate(self.widths, 1):
            yield FireSpec(
                name=f"fire{i}",
                in_channels=channels,
                squeeze=width // 8,
                expand=width // 2,
                pooled=i in self.pooled,
                se=self.se.of(width) if self.se else None,
            )
            channels = width

    def body(self, g: Builder) -> tuple[str, ...]:
        """The convolution and the modules; the feature maps are the last ones before each pooling."""
        x = g("conv", Conv(self.first, 3, 2, bias=True), "data")
        x, maps = g("relu", Act("relu"), x), list[str]()
        for b in self.blocks():
            if b.pooled:
                maps.append(x)
                x = g(f"{b.name}.pool", Pool("max", 3, 2), x)
            x = fire(g, x, b)
        return *maps, x

    @classmethod
    def from_shapes(cls, shape: ShapeOf) -> "SqueezeNetSpec | None":
        """Widths from the convolutions; where the poolings stand, shapes do not tell."""
        first, fc = shape("conv", "conv"), shape("fc", "linear")
        halves = [weight[0] for weight in consecutive(shape, "fire{}.expand3x3", 1)]
        if not first or not halves:
            return None
        blocks = [e for i in range(1, len(halves) + 1) if (e := excitation(shape, f"fire{i}.se"))]
        return cls(
            name=f"se-{cls.family}" if blocks else cls.family,
            first=first[0],
            widths=tuple(2 * half for half in halves),
            pooled=tuple(i for i in (1, 3, 5) if i <= len(halves)),
            se=se_record(blocks, "standard") if blocks else None,
            classes=fc[0] if fc else 0,
            in_channels=first[1],
        )

    @classmethod
    def from_network(cls, network: Network) -> "SqueezeNetSpec | None":
        """Modules from the branches that are joined; None where none are."""
        joins = [node for node in network.nodes if isinstance(node.op, Concat)]
        if not joins:
            return None
        pooled, modules = list[int](), 0
        for node in network.nodes:
            modules += node in joins
            if isinstance(node.op, Pool):
                pooled.append(modules + 1)
        found = [block_at(network, node) for node in network.nodes if isinstance(node.op, Scale)]
        blocks = [block.excitation for block in found if block]
        return cls(
            name=f"se-{cls.family}" if blocks else cls.family,
            first=convolutions(network.nodes)[0].out,
            widths=tuple(width(network, join.inputs) for join in joins),
            pooled=tuple(pooled),
            se=se_record(blocks, "standard") if blocks else None,
            **common(network),
        )


def width(network: Network, branches: tuple[str, ...]) -> int:
    """The channels of branches that each end in a convolution and its ReLU."""
    ends = [network.by_name[network.by_name[name].inputs[0]] for name in branches if network.by_name[name].inputs]
    return sum(conv.out for conv in convolutions(ends))


def fire(g: Builder, x: str, b: FireSpec) -> str:
    """The 1x1 and 3x3 of the squeezed map side by side, and the SE block."""

    def conv(x: str, name: str, op: Conv) -> str:
        return g(f"{b.name}.{name}_relu", Act("relu"), g(f"{b.name}.{name}", op, x))

    x = conv(x, "squeeze", Conv(b.squeeze, 1, bias=True))
    branches = [
        conv(x, "expand1x1", Conv(b.expand, 1, bias=True)),
        conv(x, "expand3x3", Conv(b.expand, 3, pad=1, bias=True)),
    ]
    x = g(f"{b.name}.concat" if b.se else b.name, Concat(), *branches)
    return excite(g, x, f"{b.name}.se", b.se, output=b.name) if b.se else x


_PLAIN = SqueezeNetSpec(name="squeezenet-1.1", se=None, dropout=0.5)
PUBLISHED = (_PLAIN, replace(_PLAIN, name="se-squeezenet-1.1", se=SE()))
