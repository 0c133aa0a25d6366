"""Caffe's layers in PyTorch: geometry, constants and initialisation written out, none left to a default."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def conv(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias, initialised as by He et al. (https://arxiv.org/abs/1502.01852)."""
    # Half the kernel on all four sides, whatever the stride; sizes round down.
    layer = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
    return layer


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


def max_pool(stride: int, pad: int, after: int = 0) -> nn.Module:
    """The largest in windows of 3x3; ``after`` is that much more padding at the end of each axis."""
    # Sizes round up, as Caffe's: the last window may hang over the edge. Padding is -inf: it never wins.
    pool = nn.MaxPool2d(3, stride, pad, ceil_mode=True)
    return nn.Sequential(nn.ConstantPad2d((0, after, 0, after), -math.inf), pool) if after else pool


def avg_pool(stride: int, pad: int) -> nn.AvgPool2d:
    """The means of windows of 3x3."""
    # Caffe divides by the size of the window with its padding, but without what hangs over the edge.
    return nn.AvgPool2d(3, stride, pad, ceil_mode=True, count_include_pad=True)


class GlobalAvgPool(nn.Module):
    """(N, C, H, W) to (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class GlobalMaxPool(nn.Module):
    """(N, C, H, W) to (N, C). Of equal values the first one takes the whole gradient, as in Caffe."""

    def forward(self, x: Tensor) -> Tensor:
        # amax would share the gradient out among equal values.
        return nn.functional.adaptive_max_pool2d(x, 1).flatten(1)


class Concat(nn.Module):
    """Joins maps along their channels."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return torch.cat(tuple(maps), 1)
