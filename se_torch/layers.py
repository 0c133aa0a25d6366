"""Caffe's layers in PyTorch: geometry, constants and initialisation written out, none left to a default."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from weights.networks.operations import Activation, Padding
from weights.networks.shake import Shares


def conv(
    channels: int,
    out: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    groups: int = 1,
    *,
    pad: Padding | None = None,
    bias: bool = False,
) -> nn.Conv2d:
    """A convolution, initialised as by He et al. (https://arxiv.org/abs/1502.01852).

    By default half the kernel is padded on all four sides, whatever the stride; sizes round down.
    """
    h, w = (kernel, kernel) if isinstance(kernel, int) else kernel
    pad = (h // 2, w // 2) if pad is None else pad
    kind = SameConv2d if isinstance(pad, str) else nn.Conv2d
    layer = kind(channels, out, (h, w), stride, 0 if isinstance(pad, str) else pad, groups=groups, bias=bias)
    if isinstance(layer, SameConv2d):
        layer.whatever_the_size = pad == "even"
    nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class SameConv2d(nn.Conv2d):
    """TensorFlow's padding "SAME": stride s makes n pixels ceil(n / s), the odd zero is at the bottom and right.

    Attributes:
        whatever_the_size: whether the padding is that of sizes which the stride divides.
    """

    whatever_the_size = False

    # PyTorch calls the map "input", which is a builtin.
    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (top, bottom), (left, right) = (
            self._sides(size, k, s) for size, k, s in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        )
        return super().forward(nn.functional.pad(x, (left, right, top, bottom)))

    def _sides(self, size: int, kernel: int, stride: int) -> tuple[int, int]:
        over = 0 if self.whatever_the_size or size % stride == 0 else stride - size % stride
        total = max(kernel - stride + over, 0)
        return total // 2, total - total // 2

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, padding={'even' if self.whatever_the_size else 'same'}"


class BatchNorm(nn.BatchNorm2d):
    """Caffe's BatchNorm and Scale. Training keeps 0.9 of the running statistics (PyTorch's momentum is what is new).

    Attributes:
        unbiased: whether updates use the unbiased variance of the batch, M / (M - 1) times the biased one, as PyTorch's
            and Caffe's own rules do.
    """

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__(channels, eps=eps, momentum=0.1)
        self.unbiased = True

    # PyTorch calls the map "input", which is a builtin.
    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        y = super().forward(x)
        if self.training and not self.unbiased and self.running_var is not None:
            with torch.no_grad():
                # PyTorch added the unbiased variance v M / (M - 1); without the excess v / (M - 1) it is v.
                v = x.to(self.running_var.dtype).var((0, 2, 3), correction=0)
                excess = (self.momentum or 0.0) * v / max(x.numel() // x.shape[1] - 1, 1)
                # Not in place: autograd keeps the tensor for the way back, and insists that it has not changed.
                self.running_var = self.running_var - excess
        return y


class Linear(nn.Linear):
    """A matrix along the channels: of (N, C), or of every pixel of (N, C, H, W)."""

    # As above.
    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return nn.functional.linear(x.movedim(1, -1), self.weight, self.bias).movedim(-1, 1)


def linear(channels: int, out: int, bias: bool = True) -> Linear:
    """A fully connected layer, initialised as by He et al."""
    layer = Linear(channels, out, bias)
    nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class HardSigmoid(nn.Module):
    """min(max(x + 3, 0), 6) / 6."""

    def forward(self, x: Tensor) -> Tensor:
        # PyTorch's own hardsigmoid has the slope float32(1/6) in float64 too.
        return nn.functional.relu6(x + 3) / 6


class HardSwish(HardSigmoid):
    """x min(max(x + 3, 0), 6) / 6."""

    def forward(self, x: Tensor) -> Tensor:
        return x * super().forward(x)


ACTIVATIONS: Mapping[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
    "hard-sigmoid": HardSigmoid,
    "hard-swish": HardSwish,
}


class MaxPool2d(nn.MaxPool2d):
    """PyTorch's layer. Where it is compiled or exported, rounding up is padding, which does the same for any size."""

    # As above.
    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        # ceil_mode asks of each size whether the last window would begin beyond the edge, which no graph of any size
        # can answer; here none does. Eagerly it is the faster way: nothing is copied.
        if not (self.ceil_mode and torch.compiler.is_compiling()):
            return cast(Tensor, super().forward(x))  # and no indices
        pad, stride = int(self.padding), int(self.stride)  # type: ignore[arg-type]  # the same along both axes
        sides = (pad, pad + stride - 1)
        x = nn.functional.pad(x, sides * 2, value=-math.inf)
        return nn.functional.max_pool2d(x, self.kernel_size, stride)


def max_pool(stride: int, pad: int, after: int = 0, *, kernel: int = 3, rounds_up: bool = True) -> nn.Module:
    """The largest in windows; ``after`` is that much more padding at the end of each axis."""
    # Caffe's sizes round up: the last window may hang over the edge. Padding is -inf: it never wins.
    pool = MaxPool2d(kernel, stride, pad, ceil_mode=rounds_up)
    return nn.Sequential(nn.ConstantPad2d((0, after, 0, after), -math.inf), pool) if after else pool


def avg_pool(stride: int, pad: int, *, kernel: int = 3, rounds_up: bool = True, counted: bool = True) -> nn.AvgPool2d:
    """The means of windows."""
    # Caffe divides by the size of the window with its padding, but without what hangs over the edge.
    return nn.AvgPool2d(kernel, stride, pad, ceil_mode=rounds_up, count_include_pad=counted)


class GlobalAvgPool(nn.Module):
    """(N, C, H, W) to (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class GlobalMaxPool(nn.Module):
    """(N, C, H, W) to (N, C). Of equal values the first one takes the whole gradient, as in Caffe."""

    def forward(self, x: Tensor) -> Tensor:
        # amax would share the gradient out among equal values.
        return nn.functional.adaptive_max_pool2d(x, 1).flatten(1)


class Flatten(nn.Module):
    """(N, C, H, W) to (N, C H W), in this order."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class Times(nn.Module):
    """The input times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x

    def extra_repr(self) -> str:
        return f"{self.factor}"


class Concat(nn.Module):
    """Joins maps along their channels."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return torch.cat(tuple(maps), 1)


class AppendZeros(nn.Module):
    """So many channels of zeros behind the map's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, (0, 0, 0, 0, 0, self.channels))

    def extra_repr(self) -> str:
        return str(self.channels)


class Shift(nn.Module):
    """The map moved by one pixel to the right and down; zeros enter above and left, the last row and column leave."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, (1, -1, 1, -1))


class Mix(nn.Module):
    """alpha a + (1 - alpha) b, whose gradients are beta and 1 - beta of the output's; in inference halves.

    In training alpha is drawn from 0..1 for every image, by the global generator; beta too ("shake-shake"), or it is
    1/2 ("shake-even"); or both are 1/2 ("even-even").

    Shape:
        Two maps (N, C, H, W) to one; ``shares``, alpha and beta (N, 1, 1, 1), are taken instead of random ones.
    """

    def __init__(self, rule: Shares) -> None:
        super().__init__()
        self.rule: Shares = rule

    def forward(self, a: Tensor, b: Tensor, shares: tuple[Tensor, Tensor] | None = None) -> Tensor:
        if not self.training or self.rule == "even-even":
            return 0.5 * a + 0.5 * b
        alpha, beta = shares or self.draw(a)
        # The second summand has the values that alpha makes of the first one, and no gradient.
        return beta * a + (1 - beta) * b + ((alpha - beta) * (a - b)).detach()

    def draw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha and beta for every image of a batch."""
        alpha, beta = torch.rand((2, len(x), 1, 1, 1), dtype=x.dtype, device=x.device)
        return alpha, beta if self.rule == "shake-shake" else torch.full_like(beta, 0.5)

    def extra_repr(self) -> str:
        return self.rule


class Shuffle(nn.Module):
    """Channels (groups, C / groups) in the order (C / groups, groups), ShuffleNet's."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.groups, x.shape[1] // self.groups)).transpose(1, 2).flatten(1, 2)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
