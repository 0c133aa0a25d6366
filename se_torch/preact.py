"""Pre-activation residual networks for small images, in PyTorch. Compare se_jax/preact.py and se_tf/preact.py."""

from torch import Tensor, nn

from se_torch.layers import AppendZeros, BatchNorm, GlobalAvgPool, conv, linear
from se_torch.network import Network
from se_torch.se_block import SEBlock
from weights.networks.preact import PreActSpec, UnitSpec


class PreAct(Network):
    """Images (N, 3, H, W) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: PreActSpec) -> None:
        super().__init__(spec)
        self.stem = conv(spec.in_channels, spec.stem, 3)
        self.depth = len(spec.stages)
        for i, units in enumerate(spec.stages, 1):
            self.add_module(f"stage{i}", nn.Sequential(*(Unit(unit) for unit in units)))
        self.order = spec.order
        self.bn = BatchNorm(spec.out_channels[-1] if spec.order == "pre" else spec.stem, spec.eps)
        self.relu = nn.ReLU()
        self.pool = GlobalAvgPool()
        self.dropout = nn.Dropout(spec.dropout)
        self.fc = linear(spec.out_channels[-1], spec.classes) if spec.classes else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)[-1]
        x = self.pool(x)
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The feature maps (N, C, h, w) at strides 1, 2 and 4: the outputs of the stages, the last one activated."""
        x = self.stem(x)
        x = self.relu(self.bn(x)) if self.order == "post" else x
        maps = []
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"stage{i}")(x)
            maps.append(x)
        return (*maps[:-1], self.relu(self.bn(x)) if self.order == "pre" else x)


class Unit(nn.Module):
    """se(residual(x)) + x, the residual being BatchNorm, ReLU and convolution; or convolution, BatchNorm and ReLU."""

    def __init__(self, b: UnitSpec) -> None:
        super().__init__()
        channels = b.in_channels
        self.depth, self.order = len(b.out), b.order
        for i, (out, kernel, stride) in enumerate(zip(b.out, b.kernels, b.strides, strict=True), 1):
            self.add_module(f"bn{i}", BatchNorm(channels if b.order == "pre" else out, b.eps))
            self.add_module(f"relu{i}", nn.ReLU())
            self.add_module(f"conv{i}", conv(channels, out, kernel, stride))
            channels = out
        self.se = SEBlock.of(b.se) if b.se else nn.Identity()
        self.activates = b.order == "pre" and b.shortcut == "projection"
        self.shortcut = shortcut(b)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(1, self.depth + 1):
            conv, bn, relu = (self.get_submodule(f"{layer}{i}") for layer in ("conv", "bn", "relu"))
            if self.order == "pre":
                y = relu(bn(y))
                x = y if self.activates and i == 1 else x
                y = conv(y)
            else:
                y = bn(conv(y))
                y = relu(y) if i < self.depth else y
        y = self.se(y) + self.shortcut(x)
        return y if self.order == "pre" else self.get_submodule(f"relu{self.depth}")(y)


def shortcut(b: UnitSpec) -> nn.Module:
    """The other path: a projection where the unit changes its shape, or pixels left out and channels of zeros."""
    match b.shortcut:
        case "projection" if b.order == "post":
            return Projection(b)
        case "projection":
            return conv(b.in_channels, b.out_channels, 1, b.stride)
        case "zeros":
            return OptionA(b.stride, b.out_channels - b.in_channels)
        case None:
            return nn.Identity()


class Projection(nn.Module):
    """A 1x1 convolution with BatchNorm."""

    def __init__(self, b: UnitSpec) -> None:
        super().__init__()
        self.conv = conv(b.in_channels, b.out_channels, 1, b.stride)
        self.bn = BatchNorm(b.out_channels, b.eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class OptionA(nn.Module):
    """Every pixel that the stride meets, and so many channels of zeros."""

    def __init__(self, stride: int, channels: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(1, stride) if stride > 1 else nn.Identity()
        self.zeros = AppendZeros(channels) if channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.zeros(self.pool(x))
