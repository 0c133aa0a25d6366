"""SE-ResNet, SE-ResNeXt, SENet-154 and plain networks, in PyTorch. Compare se_jax/resnet.py and se_tf/resnet.py."""

import torch
from torch import Tensor, nn

from se_torch.layers import BatchNorm, GlobalAvgPool, conv, linear, max_pool
from se_torch.se_block import SEBlock
from weights import Preprocessing
from weights import ResNetSpec as Spec
from weights.networks.resnet import BottleneckSpec as Block
from weights.params import Labels


class ResNet(nn.Module):
    """Images (N, 3, H, W) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.preprocessing: Preprocessing | None = None
        self.labels: Labels | None = None
        self.assumed: tuple[str, ...] = ()
        self.stem = Stem(spec)
        for i, blocks in enumerate(spec.stages, 1):
            self.add_module(f"stage{i}", nn.Sequential(*(Bottleneck(block) for block in blocks)))
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
        for i in range(1, len(self.spec.depths) + 1):
            x = self.get_submodule(f"stage{i}")(x)
            maps.append(x)
        return tuple(maps)


class Stem(nn.Module):
    """(N, 3, H, W) to (N, C, H / 4, W / 4)."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        channels = 3
        self.depth = len(spec.stem)
        for i, (out, kernel) in enumerate(spec.stem, 1):
            self.add_module(f"conv{i}", conv(channels, out, kernel, stride=2 if i == 1 else 1))
            self.add_module(f"bn{i}", BatchNorm(out, spec.eps))
            self.add_module(f"relu{i}", nn.ReLU())
            channels = out
        self.pool = max_pool(stride=2, pad=0)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"conv{i}")(x)
            x = self.get_submodule(f"bn{i}")(x)
            x = self.get_submodule(f"relu{i}")(x)
        return self.pool(x)


class Bottleneck(nn.Module):
    """relu(se(residual(x)) + shortcut(x)), the residual being 1x1, 3x3, 1x1."""

    def __init__(self, b: Block) -> None:
        super().__init__()
        self.conv1 = conv(b.in_channels, b.reduce, 1, b.strides[0])
        self.bn1 = BatchNorm(b.reduce, b.eps)
        self.relu1 = nn.ReLU()
        self.conv2 = conv(b.reduce, b.width, 3, b.strides[1], b.groups)
        self.bn2 = BatchNorm(b.width, b.eps)
        self.relu2 = nn.ReLU()
        self.conv3 = conv(b.width, b.out_channels, 1)
        self.bn3 = BatchNorm(b.out_channels, b.eps)
        self.se = SEBlock(b.out_channels, b.reduction) if b.reduction else nn.Identity()
        self.shortcut = Shortcut(b, b.shortcut) if b.shortcut else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.se(self.bn3(self.conv3(y)))
        return torch.relu(y + self.shortcut(x))


class Shortcut(nn.Module):
    """The projection of a block that changes its shape."""

    def __init__(self, b: Block, kernel: int) -> None:
        super().__init__()
        self.conv = conv(b.in_channels, b.out_channels, kernel, max(b.strides))
        self.bn = BatchNorm(b.out_channels, b.eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))
