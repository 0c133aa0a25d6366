"""SqueezeNet in PyTorch. Compare squeezenet_jax.py and squeezenet_tf.py."""

import torch
from torch import Tensor, nn

from se_torch.layers import GlobalAvgPool, conv, linear, max_pool
from se_torch.network import Network
from se_torch.se_block import SEBlock
from tests.adding.squeezenet import FireSpec, SqueezeNetSpec


class SqueezeNet(Network):
    """Images (N, 3, H, W) to logits (N, classes)."""

    def __init__(self, spec: SqueezeNetSpec) -> None:
        super().__init__(spec)
        self.conv = conv(spec.in_channels, spec.first, 3, stride=2, pad=0, bias=True)
        self.relu = nn.ReLU()
        self.names = tuple(block.name for block in spec.blocks())
        for block in spec.blocks():
            self.add_module(block.name, Fire(block))
        self.pool = GlobalAvgPool()
        self.dropout = nn.Dropout(spec.dropout)
        self.fc = linear(spec.widths[-1], spec.classes) if spec.classes else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.features(x)[-1])
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.relu(self.conv(x))
        maps = []
        for name in self.names:
            fire = self.get_submodule(name)
            if isinstance(fire.pool, nn.MaxPool2d):
                maps.append(x)
            x = fire(x)
        return *maps, x


class Fire(nn.Module):
    """se(concat(expand1x1(s), expand3x3(s))), where s = squeeze(pool(x))."""

    def __init__(self, b: FireSpec) -> None:
        super().__init__()
        self.pool = max_pool(stride=2, pad=0) if b.pooled else nn.Identity()
        self.squeeze = conv(b.in_channels, b.squeeze, 1, bias=True)
        self.squeeze_relu = nn.ReLU()
        self.expand1x1 = conv(b.squeeze, b.expand, 1, bias=True)
        self.expand1x1_relu = nn.ReLU()
        self.expand3x3 = conv(b.squeeze, b.expand, 3, bias=True)
        self.expand3x3_relu = nn.ReLU()
        self.se = SEBlock.of(b.se) if b.se else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_relu(self.squeeze(self.pool(x)))
        branches = self.expand1x1_relu(self.expand1x1(x)), self.expand3x3_relu(self.expand3x3(x))
        return self.se(torch.cat(branches, 1))
