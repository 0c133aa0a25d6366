"""The operations that networks are made of: a small closed set. Each knows its shapes, its parameters and its cost.

Geometry is explicit and is Caffe's. Shapes are those of one image, without the batch: (C, H, W), or (C,) of a vector.
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

Shape = tuple[int, ...]

Activation = Literal["relu", "sigmoid", "tanh", "hard-sigmoid"]
"""relu: max(x, 0); sigmoid: 1 / (1 + exp(-x)); hard-sigmoid: min(max(x + 3, 0), 6) / 6."""

Pooling = Literal["max", "avg"]

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
    """Cross-correlation; square kernel, the same padding on all four sides; sizes round down."""

    kind: ClassVar[Kind] = "conv"
    out: int
    kernel: int
    stride: int = 1
    pad: int = 0
    groups: int = 1
    bias: bool = False

    def shape(self, x: Shape, *others: Shape) -> Shape:
        del others
        return self.out, *((n + 2 * self.pad - self.kernel) // self.stride + 1 for n in x[1:])

    def leaves(self, channels: int) -> dict[str, Shape]:
        weight = {"weight": (self.out, channels // self.groups, self.kernel, self.kernel)}
        return {**weight, "bias": (self.out,)} if self.bias else {**weight}

    def macs(self, x: Shape, y: Shape) -> int:
        return prod(y) * (x[0] // self.groups) * self.kernel**2


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
    """Windows whose number rounds up: the last one may hang over the edge.

    Maxima: padding never wins. Means: divided by the window's size with its padding, without what hangs over.
    """

    what: Pooling
    kernel: int
    stride: int
    pad: int = 0
    after: int = 0  # of maxima: that much more padding at the end of each axis

    def shape(self, x: Shape, *others: Shape) -> Shape:
        del others
        return x[0], *(-(-(n + 2 * self.pad + self.after - self.kernel) // self.stride) + 1 for n in x[1:])


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
class Concat(_Operation):
    """Along the channels."""

    def shape(self, x: Shape, *others: Shape) -> Shape:
        maps = (x, *others)
        if len({shape[1:] for shape in maps}) > 1:
            raise ValueError(f"branches of {', '.join('x'.join(map(str, shape[1:])) for shape in maps)}")
        return sum(shape[0] for shape in maps), *x[1:]


@dataclass(frozen=True, slots=True)
class Dropout(_Operation):
    """Drops with probability ``rate`` in training, copies in inference."""

    rate: float


Op = Conv | BatchNorm | Act | Pool | GlobalPool | Linear | Scale | Add | Concat | Dropout
"""All of them. A ``match`` over an ``Op`` ends with ``assert_never``, so that none is ever passed over."""
