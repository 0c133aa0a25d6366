"""Shake-Shake and Shake-Even networks, in PyTorch. Compare se_jax/shake.py and se_tf/shake.py."""

from torch import Tensor, nn

from se_torch.layers import BatchNorm, Concat, GlobalAvgPool, Mix, Shift, conv, linear
from se_torch.network import Network
from se_torch.se_block import SEBlock
from weights.networks.shake import ShakeSpec, ShakeUnitSpec


class Shake(Network):
    """Images (N, 3, H, W) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: ShakeSpec) -> None:
        super().__init__(spec)
        self.stem = Stem(spec)
        self.depth = len(spec.stages)
        for i, units in enumerate(spec.stages, 1):
            self.add_module(f"stage{i}", nn.Sequential(*(Unit(unit) for unit in units)))
        self.relu = nn.ReLU() if spec.unit == "basic" else nn.Identity()
        self.pool = GlobalAvgPool()
        self.dropout = nn.Dropout(spec.dropout)
        self.fc = linear(spec.out_channels[-1], spec.classes) if spec.classes else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)[-1]
        x = self.pool(x)
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The feature maps (N, C, h, w) at strides 1, 2 and 4: the outputs of the stages, the last one rectified."""
        x = self.stem(x)
        maps = []
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"stage{i}")(x)
            maps.append(x)
        return (*maps[:-1], self.relu(x))


class Stem(nn.Module):
    """(N, 3, H, W) to (N, C, H, W); before basic units without a ReLU."""

    def __init__(self, spec: ShakeSpec) -> None:
        super().__init__()
        self.conv1 = conv(spec.in_channels, spec.stem, 3)
        self.bn1 = BatchNorm(spec.stem, spec.eps)
        self.relu1 = nn.Identity() if spec.unit == "basic" else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu1(self.bn1(self.conv1(x)))


class Unit(nn.Module):
    """The mix of two branches plus the shortcut; basic units rectify the branches' input, bottlenecks the sum."""

    def __init__(self, b: ShakeUnitSpec) -> None:
        super().__init__()
        self.unit, self.projects = b.unit, b.projects
        self.relu = nn.ReLU()
        self.branch1 = Branch(b)
        self.branch2 = Branch(b)
        self.mix = Mix(b.shares)
        self.se = SEBlock.of(b.se) if b.se and b.place == "mix" else nn.Identity()
        self.shortcut = shortcut(b)

    def forward(self, x: Tensor) -> Tensor:
        if self.unit == "bottleneck":
            return self.relu(self.residual(x) + self.shortcut(x))
        rectified = self.relu(x)
        return self.residual(rectified) + self.shortcut(rectified if self.projects else x)

    def residual(self, x: Tensor) -> Tensor:
        """The mix, through its SE block."""
        return self.se(self.mix(self.branch1(x), self.branch2(x)))


class Branch(nn.Module):
    """Convolutions with BatchNorm, ReLU between them."""

    def __init__(self, b: ShakeUnitSpec) -> None:
        super().__init__()
        channels = b.in_channels
        self.depth = len(b.out)
        for i, (out, kernel, stride) in enumerate(zip(b.out, b.kernels, b.strides, strict=True), 1):
            groups = b.groups if kernel == 3 else 1
            self.add_module(f"conv{i}", conv(channels, out, kernel, stride, groups))
            self.add_module(f"bn{i}", BatchNorm(out, b.eps))
            self.add_module(f"relu{i}", nn.ReLU() if i < self.depth else nn.Identity())
            channels = out
        self.se = SEBlock.of(b.se) if b.se and b.place == "branch" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(x))
            x = self.get_submodule(f"relu{i}")(x)
        return self.se(x)


def shortcut(b: ShakeUnitSpec) -> nn.Module:
    """The projection of a unit that changes its shape."""
    if not b.projects:
        return nn.Identity()
    return TwoPaths(b) if b.unit == "basic" else Projection(b)


class Projection(nn.Module):
    """A 1x1 convolution with BatchNorm."""

    def __init__(self, b: ShakeUnitSpec) -> None:
        super().__init__()
        self.conv = conv(b.in_channels, b.out_channels, 1, b.stride)
        self.bn = BatchNorm(b.out_channels, b.eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class TwoPaths(nn.Module):
    """Half of the channels of the pixels that the stride meets, half of those to the left and above of them."""

    def __init__(self, b: ShakeUnitSpec) -> None:
        super().__init__()
        self.conv1 = conv(b.in_channels, b.out_channels // 2, 1, b.stride)
        self.shift = Shift()
        self.conv2 = conv(b.in_channels, b.out_channels // 2, 1, b.stride)
        self.concat = Concat()
        self.bn = BatchNorm(b.out_channels, b.eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.concat((self.conv1(x), self.conv2(self.shift(x)))))
