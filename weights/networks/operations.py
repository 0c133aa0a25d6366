"""The operations that networks are made of: a small closed set. Each knows its shapes, its parameters and its cost.

Geometry is explicit and is Caffe's. Shapes are those of one image, without the batch: (C, H, W), or (C,) of a vector.
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal, assert_never

Shape = tuple[int, ...]

Activation = Literal["relu", "relu6", "sigmoid", "swish", "tanh", "hard-sigmoid", "hard-swish"]
"""relu: max(x, 0); relu6: min(max(x, 0), 6); sigmoid: 1 / (1 + exp(-x)); swish: x sigmoid(x); hard-sigmoid:
min(max(x + 3, 0), 6) / 6; hard-swish: x times that."""

Pooling = Literal["max", "avg"]

Padding = int | tuple[int, int] | Literal["same", "even"]
"""Zeros around a map: so many on all four sides; so many above and below, and left and right; or TensorFlow's "SAME",
with which stride s makes n pixels ceil(n / s), the odd zero at the bottom and right; or, whatever the size, the zeros
that "SAME" has at sizes that the stride divides."""

Sides = tuple[tuple[int, int], tuple[int, int]]
"""Zeros above and below, and left and right."""

Kind = Literal["", "conv", "linear", "bn"]
"""Of an operation's parameters: what dialects tell apart."""


class _Operation:
    """What holds unless an operation says otherwise: the shape of its first input, no parameters, no cost."""

    __slots__ = ()
    kind: ClassVar[Kind] = ""

    def shape(self, x: Shape, *others: Shape) -> Shape:
        """The output's shape from those of the inputs.

        Raises:
            ValueError: the inputs do not fit together.
        """
        del others
        return x

    def leaves(self, channels: int) -> dict[str, Shape]:
        """The parameters by leaf name, for an input of so many channels: OIHW, OI or C."""
        del channels
        return {}

    def macs(self, x: Shape, y: Shape) -> int:
        """Multiply-adds for one image with input x and output y; only convolutions and matrices count."""
        del x, y
        return 0


@dataclass(frozen=True, slots=True)
class Conv(_Operation):
    """Cross-correlation; sizes round down."""

    kind: ClassVar[Kind] = "conv"
    out: int
    kernel: int | tuple[int, int]  # of a square; or height and width
    stride: int = 1
    pad: Padding = 0
    groups: int = 1
    bias: bool = False

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return (self.kernel, self.kernel) if isinstance(self.kernel, int) else self.kernel

    def sides(self, height: int, width: int) -> Sides:
        """The padding of a map of that size."""
        match self.pad:
            case "same" | "even":
                totals = [
                    # At least none: a stride beyond the kernel passes pixels over.
                    max(0, k - self.stride if self.pad == "even" else (-(-n // self.stride) - 1) * self.stride + k - n)
                    for n, k in zip((height, width), self.window, strict=True)
                ]
            case int(pad):
                return (pad, pad), (pad, pad)
            case (vertical, horizontal):
                return (vertical, vertical), (horizontal, horizontal)
            case _:
                assert_never(self.pad)
        top, left = (total // 2 for total in totals)
        return (top, totals[0] - top), (left, totals[1] - left)

    def shape(self, x: Shape, *others: Shape) -> Shape:
        del others
        sides = self.sides(*x[1:])
        sizes = zip(x[1:], self.window, sides, strict=True)
        return self.out, *((n + sum(side) - k) // self.stride + 1 for n, k, side in sizes)

    def leaves(self, channels: int) -> dict[str, Shape]:
        weight = {"weight": (self.out, channels // self.groups, *self.window)}
        return {**weight, "bias": (self.out,)} if self.bias else {**weight}

    def macs(self, x: Shape, y: Shape) -> int:
        return prod(y) * (x[0] // self.groups) * prod(self.window)


@dataclass(frozen=True, slots=True)
class BatchNorm(_Operation):
    """Caffe's BatchNorm (stored statistics) and the Scale layer after it."""

    kind: ClassVar[Kind] = "bn"
    eps: float

    def leaves(self, channels: int) -> dict[str, Shape]:
        return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (channels,))


@dataclass(frozen=True, slots=True)
class Act(_Operation):
    """A function of each value."""

    function: Activation


@dataclass(frozen=True, slots=True)
class Pool(_Operation):
    """Windows whose number rounds up: the last one may hang over the edge. Or down, as elsewhere than in Caffe.

    Maxima: padding never wins. Means: divided by the window's size with its padding, without what hangs over.
    """

    what: Pooling
    kernel: int
    stride: int
    pad: int = 0
    after: int = 0  # of maxima: that much more padding at the end of each axis
    rounding: Literal["up", "down"] = "up"
    counted: bool = True  # of means: whether padding counts in the window's size

    def shape(self, x: Shape, *others: Shape) -> Shape:
        del others
        spare = self.stride - 1 if self.rounding == "up" else 0
        return x[0], *((n + 2 * self.pad + self.after - self.kernel + spare) // self.stride + 1 for n in x[1:])


@dataclass(frozen=True, slots=True)
class GlobalPool(_Operation):
    """(N, C, H, W) to (N, C)."""

    what: Pooling

    def shape(self, x: Shape, *others: Shape) -> Shape:
        del others
        return x[:1]


@dataclass(frozen=True, slots=True)
class Linear(_Operation):
    """A matrix along the channels: of (N, C), or of every pixel of (N, C, H, W)."""

    kind: ClassVar[Kind] = "linear"
    out: int
    bias: bool = True

    def shape(self, x: Shape, *others: Shape) -> Shape:
        del others
        return self.out, *x[1:]

    def leaves(self, channels: int) -> dict[str, Shape]:
        return {"weight": (self.out, channels)} | ({"bias": (self.out,)} if self.bias else {})

    def macs(self, x: Shape, y: Shape) -> int:
        return prod(y) * x[0]


@dataclass(frozen=True, slots=True)
class Scale(_Operation):
    """inputs[0] (N, C, H, W) times inputs[1]: (N, C), channel by channel, or (N, C, H, W), value by value."""

    def shape(self, x: Shape, *others: Shape) -> Shape:
        (gate,) = others
        if gate not in (x, x[:1]):
            raise ValueError(f"a gate of shape {gate} on a map of shape {x}")
        return x


@dataclass(frozen=True, slots=True)
class Add(_Operation):
    """The sum of two inputs of one shape."""

    def shape(self, x: Shape, *others: Shape) -> Shape:
        if others != (x,):
            raise ValueError(f"a sum of the shapes {x} and {', '.join(map(str, others))}")
        return x


@dataclass(frozen=True, slots=True)
class Mix(_Operation):
    """Half of each of two inputs; in training random shares, which shake-shake networks draw for every image."""

    shape = Add.shape


@dataclass(frozen=True, slots=True)
class Times(_Operation):
    """The input times a constant."""

    factor: float


@dataclass(frozen=True, slots=True)
class Concat(_Operation):
    """Along the channels."""

    def shape(self, x: Shape, *others: Shape) -> Shape:
        maps = (x, *others)
        if len({shape[1:] for shape in maps}) > 1:
            raise ValueError(f"branches of {', '.join('x'.join(map(str, shape[1:])) for shape in maps)}")
        return sum(shape[0] for shape in maps), *x[1:]


@dataclass(frozen=True, slots=True)
class AppendZeros(_Operation):
    """So many channels of zeros behind the input's."""

    channels: int

    def shape(self, x: Shape, *others: Shape) -> Shape:
        del others
        return x[0] + self.channels, *x[1:]


@dataclass(frozen=True, slots=True)
class Shift(_Operation):
    """The map moved by one pixel to the right and down; zeros enter above and left, the last row and column leave."""


@dataclass(frozen=True, slots=True)
class Shuffle(_Operation):
    """Channels (groups, C / groups) in the order (C / groups, groups), ShuffleNet's."""

    groups: int

    def shape(self, x: Shape, *others: Shape) -> Shape:
        del others
        if x[0] % self.groups:
            raise ValueError(f"{x[0]} channels in {self.groups} groups")
        return x


@dataclass(frozen=True, slots=True)
class Flatten(_Operation):
    """(N, C, H, W) to (N, C H W), in this order."""

    def shape(self, x: Shape, *others: Shape) -> Shape:
        del others
        return (prod(x),)


@dataclass(frozen=True, slots=True)
class Dropout(_Operation):
    """Drops with probability ``rate`` in training, copies in inference."""

    rate: float


Map = Mix | Times | AppendZeros | Shift | Shuffle | Flatten
"""Those without parameters that rearrange, mix or rescale maps, and that only some families have."""

Op = Conv | BatchNorm | Act | Pool | GlobalPool | Linear | Scale | Add | Concat | Dropout | Map
"""All of them. A ``match`` over an ``Op`` ends with ``assert_never``, so that none is ever passed over."""
