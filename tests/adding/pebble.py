"""Pebble, a small family: units of a 3x3 convolution with an SE block. In weights/networks it would be one file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from weights.networks.network import Builder
from weights.networks.operations import Conv
from weights.networks.se import SE, Excitation, excite
from weights.networks.spec import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSpec:
    """One unit with every width resolved."""

    name: str
    in_channels: int
    out_channels: int
    se: Excitation | None
    eps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PebbleSpec(Spec):
    """Hyper-parameters of a Pebble: the channels of its units, each of which halves the map."""

    family: ClassVar[str] = "pebble"
    widths: tuple[int, ...] = (8, 16)

    def check(self) -> None:
        """Every SE block has a hidden unit."""
        for _ in self.blocks():
            pass

    def blocks(self) -> Iterator[UnitSpec]:
        """Every unit, in order."""
        channels = 3
        for i, out in enumerate(self.widths, 1):
            se = self.se.of(out) if self.se else None
            yield UnitSpec(name=f"unit{i}", in_channels=channels, out_channels=out, se=se, eps=self.eps)
            channels = out

    def body(self, g: Builder) -> tuple[str, ...]:
        """The units; the feature maps are their outputs."""
        x, maps = "data", []
        for b in self.blocks():
            x = g.conv_bn(x, f"{b.name}.conv", Conv(b.out_channels, 3, 2, 1), b.eps, "relu")
            x = excite(g, x, f"{b.name}.se", b.se) if b.se else x
            maps.append(x)
        return tuple(maps)


PUBLISHED = (PebbleSpec(name="se-pebble", se=SE(reduction=4), classes=5),)
