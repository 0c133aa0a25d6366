"""ShuffleNet V1 with SE blocks and without, in PyTorch. Compare se_jax/shufflenet.py and se_tf/shufflenet.py."""

import torch
from torch import Tensor, nn

from se_torch.layers import BatchNorm, Concat, GlobalAvgPool, Shuffle, avg_pool, conv, linear, max_pool
from se_torch.network import Network
from se_torch.se_block import SEBlock
from weights import ShuffleNetSpec
from weights.networks.shufflenet import ShuffleUnitSpec


class ShuffleNet(Network):
    """Images (N, 3, H, W) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: ShuffleNetSpec) -> None:
        super().__init__(spec)
        self.stem = Stem(spec)
        self.depth = len(spec.stages)
        for i, blocks in enumerate(spec.stages, 1):
            self.add_module(f"stage{i}", nn.Sequential(*(ShuffleUnit(block) for block in blocks)))
        self.pool = GlobalAvgPool()
        self.dropout = nn.Dropout(spec.dropout)
        self.fc = linear(spec.out_channels[-1], spec.classes) if spec.classes else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)[-1]
        x = self.pool(x)
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The feature maps (N, C, h, w) at strides 4, 8, 16 and 32: the pooled stem and the outputs of the stages."""
        x = self.stem(x)
        maps = [x]
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"stage{i}")(x)
            maps.append(x)
        return tuple(maps)


class Stem(nn.Module):
    """(N, 3, H, W) to (N, C, H / 4, W / 4)."""

    def __init__(self, spec: ShuffleNetSpec) -> None:
        super().__init__()
        padded = spec.stem_pool == "torchvision"
        self.conv = conv(spec.in_channels, spec.stem_channels, 3, stride=2)
        self.bn = BatchNorm(spec.stem_channels, spec.eps)
        self.relu = nn.ReLU()
        self.pool = max_pool(stride=2, pad=1 if padded else 0, rounds_up=not padded)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.relu(self.bn(self.conv(x))))


class ShuffleUnit(nn.Module):
    """relu(se(branch(x)) + x); with stride 2 relu of the pooled x and se(branch(x)) side by side; or SE after that."""

    def __init__(self, b: ShuffleUnitSpec) -> None:
        super().__init__()
        self.conv1 = conv(b.in_channels, b.width, 1, groups=b.first_groups)
        self.bn1 = BatchNorm(b.width, b.eps)
        self.relu1 = nn.ReLU()
        self.shuffle = Shuffle(b.groups)
        self.conv2 = conv(b.width, b.width, 3, b.stride, groups=b.width)
        self.bn2 = BatchNorm(b.width, b.eps)
        self.conv3 = conv(b.width, b.branch, 1, groups=b.groups)
        self.bn3 = BatchNorm(b.branch, b.eps)
        self.se = SEBlock.of(b.se) if b.se else nn.Identity()
        self.position = b.position
        self.pool = avg_pool(stride=2, pad=1, rounds_up=False) if b.stride == 2 else None
        self.concat = Concat()
        self.pooled_first = b.concatenation == "pooled-first"

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(self.shuffle(y)))
        y = self.bn3(self.conv3(y))
        y = self.se(y) if self.position == "standard" else y
        y = y + x if self.pool is None else self.beside(self.pool(x), y)
        y = torch.relu(y)
        return self.se(y) if self.position == "post" else y

    def beside(self, pooled: Tensor, y: Tensor) -> Tensor:
        """The pooled input and the branch as one map."""
        return self.concat((pooled, y) if self.pooled_first else (y, pooled))
