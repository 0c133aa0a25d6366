"""Inception-ResNet-v2, with SE blocks or plain, in PyTorch. Compare inception_resnet.py of se_jax and se_tf."""

import torch
from torch import Tensor, nn

from se_torch.layers import BatchNorm, Concat, GlobalAvgPool, Times, avg_pool, conv, linear, max_pool
from se_torch.network import Network
from se_torch.se_block import SEBlock
from weights import InceptionResNetSpec
from weights.networks.inception_resnet import ConvSpec, ModuleSpec, PoolSpec, UnitSpec


class InceptionResNet(Network):
    """Images (N, 3, H, W) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: InceptionResNetSpec) -> None:
        super().__init__(spec)
        blocks = tuple(spec.blocks())
        self.names, self.ends = tuple(block.name for block in blocks), spec.ends
        for number in range(1, len(spec.stages) + 1):
            units = [Unit(b) for b in blocks if isinstance(b, UnitSpec) and b.name.startswith(f"stage{number}.")]
            self.add_module(f"stage{number}", nn.ModuleList(units))
        channels = 0
        for block in blocks:
            match block:
                case ConvSpec(name=name):
                    self.add_module(name, ConvUnit(block))
                    channels = block.out_channels
                case PoolSpec(name=name):
                    self.add_module(name, max_pool(stride=2, pad=0, rounds_up=False))
                case ModuleSpec(name=name):
                    self.add_module(name, InceptionModule(block))
                case UnitSpec():
                    channels = block.channels
        self.pool = GlobalAvgPool()
        self.dropout = nn.Dropout(spec.dropout)
        self.fc = linear(channels, spec.classes) if spec.classes else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.features(x)[-1])
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The feature maps (N, C, h, w) at strides 4, 8, 16 and 32: the last ones of each stride."""
        maps = []
        for name in self.names:
            x = self.get_submodule(name)(x)
            if name in self.ends:
                maps.append(x)
        return tuple(maps)


class ConvUnit(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, b: ConvSpec) -> None:
        super().__init__()
        self.conv = conv(b.in_channels, b.out_channels, b.kernel, b.stride, pad=b.pad)
        self.bn = BatchNorm(b.out_channels, b.eps)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x)))


class InceptionModule(nn.Module):
    """se(concat(branches(x), project(pool(x))))."""

    def __init__(self, m: ModuleSpec) -> None:
        super().__init__()
        self.count = len(m.branches)
        for i, layers in enumerate(m.branches):
            self.add_module(f"branch{i}", nn.Sequential(*map(ConvUnit, layers)))
        pad = 1 if m.stride == 1 else 0
        if m.pool == "max":
            self.pool = max_pool(m.stride, pad, rounds_up=False)
        else:
            self.pool = avg_pool(m.stride, pad, rounds_up=False, counted=m.counted)
        self.project = ConvUnit(m.project) if m.project else nn.Identity()
        self.concat = Concat()
        self.se = SEBlock.of(m.se) if m.se else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.get_submodule(f"branch{i}")(x) for i in range(self.count)]
        return self.se(self.concat([*branches, self.project(self.pool(x))]))


class Unit(nn.Module):
    """relu(scale * se(conv(concat(branches(x)))) + x), or with the SE block after the scaling."""

    def __init__(self, u: UnitSpec) -> None:
        super().__init__()
        self.count = len(u.branches)
        for i, layers in enumerate(u.branches):
            self.add_module(f"branch{i}", nn.Sequential(*map(ConvUnit, layers)))
        self.concat = Concat()
        self.conv = conv(u.joined, u.channels, 1, bias=True)
        self.se = SEBlock.of(u.se) if u.se else nn.Identity()
        self.times = nn.Identity() if u.scale is None else Times(u.scale)
        self.se_after_scaling = u.se_after_scaling
        self.relu = nn.ReLU() if u.relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.concat([self.get_submodule(f"branch{i}")(x) for i in range(self.count)])
        y = self.conv(y)
        y = self.se(self.times(y)) if self.se_after_scaling else self.times(self.se(y))
        return self.relu(y + x)
