"""MobileNets and EfficientNet, with SE blocks or without, in PyTorch. Compare se_jax/mobile.py and se_tf/mobile.py."""

from torch import Tensor, nn

from se_torch.layers import ACTIVATIONS, BatchNorm, GlobalAvgPool, conv, linear
from se_torch.network import Network
from se_torch.se_block import SEBlock
from weights import MobileSpec
from weights.networks.mobile import STEM, UnitSpec
from weights.networks.operations import Activation, Padding


class Mobile(Network):
    """Images (N, 3, H, W) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: MobileSpec) -> None:
        super().__init__(spec)
        self.stem = ConvBlock(spec.in_channels, spec.stem, STEM, 2, spec.stem_pad, spec.activation, spec.eps)
        self.depth = len(spec.stages)
        self.maps = spec.features
        for i, units in enumerate(spec.units, 1):
            blocks = (InvertedResidual(b) if b.expands else Separable(b) for b in units)
            self.add_module(f"stage{i}", nn.Sequential(*blocks))
        channels = spec.stages[-1].out
        self.top = ConvBlock(channels, spec.top, 1, 1, 0, spec.activation, spec.eps) if spec.top else nn.Identity()
        channels = spec.top or channels
        self.pool = GlobalAvgPool()
        hidden = spec.hidden if spec.classes else None
        self.hidden = Hidden(channels, hidden, spec.activation) if hidden else nn.Identity()
        self.dropout = nn.Dropout(spec.dropout)
        self.fc = linear(hidden or channels, spec.classes) if spec.classes else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)[-1]
        x = self.hidden(self.pool(self.top(x)))
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The feature maps (N, C, h, w): the last stages' outputs at strides 4, 8, 16 and 32."""
        x = self.stem(x)
        maps = []
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"stage{i}")(x)
            if i in self.maps:
                maps.append(x)
        return tuple(maps)


class ConvBlock(nn.Module):
    """Convolution, BatchNorm, activation."""

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int, pad: Padding, activation: Activation, eps: float
    ) -> None:
        super().__init__()
        self.conv = conv(channels, out, kernel, stride, pad=pad)
        self.bn = BatchNorm(out, eps)
        self.relu = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class Hidden(nn.Module):
    """A fully connected layer with its activation."""

    def __init__(self, channels: int, out: int, activation: Activation) -> None:
        super().__init__()
        self.fc = linear(channels, out)
        self.relu = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.fc(x))


class Separable(nn.Module):
    """A depthwise and a 1x1 convolution: MobileNet V1's unit, and that of the others where nothing is expanded."""

    def __init__(self, b: UnitSpec) -> None:
        super().__init__()
        self.depthwise = conv(b.in_channels, b.expanded, b.kernel, b.stride, b.expanded, pad=b.pad)
        self.bn1 = BatchNorm(b.expanded, b.eps)
        self.relu1 = ACTIVATIONS[b.activation]()
        self.pointwise = conv(b.expanded, b.out_channels, 1)
        self.bn2 = BatchNorm(b.out_channels, b.eps)
        self.relu2 = nn.Identity() if b.linear else ACTIVATIONS[b.activation]()
        self.se = SEBlock.of(b.se) if b.se else nn.Identity()
        self.position = b.position
        self.residual = b.residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.depthwise(x)))
        y = self.se(y) if self.position == "3x3" else y
        y = self.relu2(self.bn2(self.pointwise(y)))
        y = self.se(y) if self.position == "standard" else y
        return y + x if self.residual else y


class InvertedResidual(nn.Module):
    """A 1x1 convolution that expands, a depthwise one, and a 1x1 convolution that projects."""

    def __init__(self, b: UnitSpec) -> None:
        super().__init__()
        self.expand = conv(b.in_channels, b.expanded, 1)
        self.bn1 = BatchNorm(b.expanded, b.eps)
        self.relu1 = ACTIVATIONS[b.activation]()
        self.depthwise = conv(b.expanded, b.expanded, b.kernel, b.stride, b.expanded, pad=b.pad)
        self.bn2 = BatchNorm(b.expanded, b.eps)
        self.relu2 = ACTIVATIONS[b.activation]()
        self.project = conv(b.expanded, b.out_channels, 1)
        self.bn3 = BatchNorm(b.out_channels, b.eps)
        self.relu3 = nn.Identity() if b.linear else ACTIVATIONS[b.activation]()
        self.se = SEBlock.of(b.se) if b.se else nn.Identity()
        self.position = b.position
        self.residual = b.residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.expand(x)))
        y = self.relu2(self.bn2(self.depthwise(y)))
        y = self.se(y) if self.position == "3x3" else y
        y = self.relu3(self.bn3(self.project(y)))
        y = self.se(y) if self.position == "standard" else y
        return y + x if self.residual else y
