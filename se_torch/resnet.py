"""SE-ResNet, SE-ResNeXt, SENet-154 and plain networks, in PyTorch. Compare se_jax/resnet.py and se_tf/resnet.py."""

from torch import Tensor, nn

from se_torch.layers import BatchNorm, GlobalAvgPool, conv, linear, max_pool
from se_torch.network import Network
from se_torch.se_block import SEBlock
from weights import ResNetSpec
from weights.networks.resnet import BasicSpec, BottleneckSpec, UnitSpec
from weights.networks.se import Position


class ResNet(Network):
    """Images (N, 3, H, W) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: ResNetSpec) -> None:
        super().__init__(spec)
        self.stem = Stem(spec)
        self.depth = len(spec.stages)
        for i, blocks in enumerate(spec.stages, 1):
            self.add_module(f"stage{i}", nn.Sequential(*(unit(block) for block in blocks)))
        self.pool = GlobalAvgPool()
        self.dropout = nn.Dropout(spec.dropout)
        self.fc = linear(spec.out_channels[-1], spec.classes) if spec.classes else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)[-1]
        x = self.pool(x)
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The feature maps (N, C, h, w) at strides 4, 8, 16 and 32: the outputs of the stages."""
        x = self.stem(x)
        maps = []
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"stage{i}")(x)
            maps.append(x)
        return tuple(maps)


class Stem(nn.Module):
    """(N, 3, H, W) to (N, C, H / 4, W / 4)."""

    def __init__(self, spec: ResNetSpec) -> None:
        super().__init__()
        channels = spec.in_channels
        self.depth = len(spec.stem)
        for i, (out, kernel) in enumerate(spec.stem, 1):
            self.add_module(f"conv{i}", conv(channels, out, kernel, stride=2 if i == 1 else 1))
            self.add_module(f"bn{i}", BatchNorm(out, spec.eps))
            self.add_module(f"relu{i}", nn.ReLU())
            channels = out
        padded = spec.stem_pool == "torchvision"
        self.pool = max_pool(stride=2, pad=1 if padded else 0, rounds_up=not padded)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"conv{i}")(x)
            x = self.get_submodule(f"bn{i}")(x)
            x = self.get_submodule(f"relu{i}")(x)
        return self.pool(x)


def unit(b: UnitSpec) -> "Bottleneck | Basic":
    """The residual unit of a record."""
    return Bottleneck(b) if isinstance(b, BottleneckSpec) else Basic(b)


class Bottleneck(nn.Module):
    """relu(se(residual(x)) + shortcut(x)), the residual being 1x1, 3x3, 1x1; or the SE block at another position."""

    def __init__(self, b: BottleneckSpec) -> None:
        super().__init__()
        self.conv1 = conv(b.in_channels, b.reduce, 1, b.strides[0])
        self.bn1 = BatchNorm(b.reduce, b.eps)
        self.relu1 = nn.ReLU()
        self.conv2 = conv(b.reduce, b.width, 3, b.strides[1], b.groups)
        self.bn2 = BatchNorm(b.width, b.eps)
        self.relu2 = nn.ReLU()
        self.conv3 = conv(b.width, b.out_channels, 1)
        self.bn3 = BatchNorm(b.out_channels, b.eps)
        self.se = SEBlock.of(b.se) if b.se else nn.Identity()
        self.position = b.position
        self.shortcut = Shortcut(b, b.shortcut) if b.shortcut else nn.Identity()
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(self.at("pre", x))))
        y = self.at("3x3-raw", self.conv2(y))
        y = self.at("3x3", self.relu2(self.bn2(y)))
        y = self.at("standard", self.bn3(self.conv3(y)))
        x = self.at("identity", self.shortcut(self.at("identity-before", x)))
        return self.at("post", self.relu3(y + x))

    def at(self, position: Position, x: Tensor) -> Tensor:
        """Through the SE block, if this is its place; otherwise the value itself."""
        return self.se(x) if position == self.position else x


class Basic(nn.Module):
    """The same with a residual of two 3x3."""

    def __init__(self, b: BasicSpec) -> None:
        super().__init__()
        self.conv1 = conv(b.in_channels, b.width, 3, b.strides[0])
        self.bn1 = BatchNorm(b.width, b.eps)
        self.relu1 = nn.ReLU()
        self.conv2 = conv(b.width, b.out_channels, 3, b.strides[1])
        self.bn2 = BatchNorm(b.out_channels, b.eps)
        self.relu2 = nn.ReLU() if b.ends_in_relu else nn.Identity()
        self.se = SEBlock.of(b.se) if b.se else nn.Identity()
        self.position = b.position
        self.shortcut = Shortcut(b, b.shortcut) if b.shortcut else nn.Identity()
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(self.at("pre", x))))
        y = self.at("standard", self.relu2(self.bn2(self.conv2(y))))
        x = self.at("identity", self.shortcut(self.at("identity-before", x)))
        return self.at("post", self.relu3(y + x))

    def at(self, position: Position, x: Tensor) -> Tensor:
        """Through the SE block, if this is its place; otherwise the value itself."""
        return self.se(x) if position == self.position else x


class Shortcut(nn.Module):
    """The projection of a block that changes its shape."""

    def __init__(self, b: UnitSpec, kernel: int) -> None:
        super().__init__()
        self.conv = conv(b.in_channels, b.out_channels, kernel, max(b.strides))
        self.bn = BatchNorm(b.out_channels, b.eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))
