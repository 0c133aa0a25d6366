"""Pebble in PyTorch. Compare pebble_jax.py and pebble_tf.py."""

from torch import Tensor, nn

from se_torch.layers import BatchNorm, GlobalAvgPool, conv, linear
from se_torch.network import Network
from se_torch.se_block import SEBlock
from tests.adding.pebble import PebbleSpec, UnitSpec


class Pebble(Network):
    """Images (N, 3, H, W) to logits (N, classes)."""

    def __init__(self, spec: PebbleSpec) -> None:
        super().__init__(spec)
        self.names = tuple(block.name for block in spec.blocks())
        for block in spec.blocks():
            self.add_module(block.name, Unit(block))
        self.pool = GlobalAvgPool()
        self.dropout = nn.Dropout(spec.dropout)
        self.fc = linear(spec.widths[-1], spec.classes) if spec.classes else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.features(x)[-1])
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for name in self.names:
            x = self.get_submodule(name)(x)
            maps.append(x)
        return tuple(maps)


class Unit(nn.Module):
    """se(relu(bn(conv(x))))."""

    def __init__(self, b: UnitSpec) -> None:
        super().__init__()
        self.conv = conv(b.in_channels, b.out_channels, 3, stride=2)
        self.bn = BatchNorm(b.out_channels, b.eps)
        self.relu = nn.ReLU()
        self.se = SEBlock.of(b.se) if b.se else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.se(self.relu(self.bn(self.conv(x))))
