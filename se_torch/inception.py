"""SE-BN-Inception and BN-Inception, in PyTorch. Compare se_jax/inception.py and se_tf/inception.py."""

from functools import partial

import torch
from torch import Tensor, nn

from se_torch.layers import BatchNorm, Concat, GlobalAvgPool, avg_pool, conv, linear, max_pool
from se_torch.network import Network
from se_torch.se_block import SEBlock
from weights import InceptionSpec, feature_nodes
from weights.networks.inception import ModuleSpec


class Inception(Network):
    """Images (N, 3, H, W) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: InceptionSpec) -> None:
        super().__init__(spec)
        self.stem = Stem(spec)
        blocks = tuple(spec.blocks())
        self.names, self.ends = tuple(block.name for block in blocks), feature_nodes(spec)
        for block in blocks:
            self.add_module(block.name, InceptionModule(block))
        self.pool = GlobalAvgPool()
        self.dropout = nn.Dropout(spec.dropout)
        self.fc = linear(blocks[-1].out_channels, spec.classes) if spec.classes else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)[-1]
        x = self.pool(x)
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The feature maps (N, C, h, w) at strides 4, 8, 16 and 32: the last ones before each pooling."""
        x = self.stem(x)
        maps = [x]
        x = self.stem.pool2(x)
        for name in self.names:
            x = self.get_submodule(name)(x)
            if name in self.ends:
                maps.append(x)
        return tuple(maps)


class Stem(nn.Module):
    """(N, 3, H, W) to (N, C, H / 4, W / 4), which ``pool2`` halves once more."""

    def __init__(self, spec: InceptionSpec) -> None:
        super().__init__()
        (out1, kernel1), (out2, kernel2), (out3, kernel3) = spec.stem
        self.conv1 = conv(spec.in_channels, out1, kernel1, stride=2)
        self.bn1 = BatchNorm(out1, spec.eps)
        self.relu1 = nn.ReLU()
        self.pool1 = max_pool(stride=2, pad=0)
        self.conv2 = conv(out1, out2, kernel2)
        self.bn2 = BatchNorm(out2, spec.eps)
        self.relu2 = nn.ReLU()
        self.conv3 = conv(out2, out3, kernel3)
        self.bn3 = BatchNorm(out3, spec.eps)
        self.relu3 = nn.ReLU()
        self.pool2 = max_pool(stride=2, pad=0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.pool1(x)
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.relu3(self.bn3(self.conv3(x)))


class InceptionModule(nn.Module):
    """Up to four branches side by side: 1x1; 3x3; 3x3 twice; pooling."""

    def __init__(self, m: ModuleSpec) -> None:
        super().__init__()
        reduce, out = m.conv3x3
        reduce_double, out_double1, out_double2 = m.double3x3
        # In a module of stride 2 the windows of the pooling hang over the edge, of odd sizes too, which Caffe refuses;
        # otherwise padding keeps the size.
        pad, after = (0, 1) if m.stride == 2 else (1, 0)
        unit = partial(Unit, eps=m.eps)
        self.conv1x1 = unit(m.in_channels, m.conv1x1, 1) if m.conv1x1 else None
        self.reduce3x3 = unit(m.in_channels, reduce, 1)
        self.conv3x3 = unit(reduce, out, 3, m.stride)
        self.reduce_double = unit(m.in_channels, reduce_double, 1)
        self.double1 = unit(reduce_double, out_double1, 3)
        self.double2 = unit(out_double1, out_double2, 3, m.stride)
        self.pool = max_pool(m.stride, pad, after) if m.pool == "max" else avg_pool(m.stride, pad)
        self.project = unit(m.in_channels, m.project, 1) if m.project else nn.Identity()
        self.concat = Concat()
        self.se = SEBlock.of(m.se) if m.se else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        branches = [] if self.conv1x1 is None else [self.conv1x1(x)]
        branches.append(self.conv3x3(self.reduce3x3(x)))
        branches.append(self.double2(self.double1(self.reduce_double(x))))
        branches.append(self.project(self.pool(x)))
        return self.se(self.concat(branches))


class Unit(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, *, eps: float) -> None:
        super().__init__()
        self.conv = conv(channels, out, kernel, stride)
        self.bn = BatchNorm(out, eps)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x)))
