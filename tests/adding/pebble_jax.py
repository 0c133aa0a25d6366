"""Pebble in Flax. Compare pebble_torch.py and pebble_tf.py."""

from flax import nnx
from jax import Array

from se_jax.layers import BatchNorm, GlobalAvgPool, ReLU, conv, linear
from se_jax.network import Network
from se_jax.se_block import SEBlock
from tests.adding.pebble import PebbleSpec, UnitSpec


class Pebble(Network):
    """Images (N, H, W, 3) to logits (N, classes)."""

    def __init__(self, spec: PebbleSpec, *, dtype: str = "float32", rngs: nnx.Rngs | None = None) -> None:
        super().__init__(spec)
        rngs = rngs or nnx.Rngs(0)
        self.names = tuple(block.name for block in spec.blocks())
        for block in spec.blocks():
            setattr(self, block.name, Unit(block, dtype=dtype, rngs=rngs))
        self.pool = GlobalAvgPool()
        self.dropout = nnx.Dropout(spec.dropout, rngs=rngs)
        self.fc = linear(spec.widths[-1], spec.classes, dtype=dtype, rngs=rngs) if spec.classes else None

    def __call__(self, x: Array) -> Array:
        x = self.pool(self.features(x)[-1])
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Array) -> tuple[Array, ...]:
        maps = []
        for name in self.names:
            x = getattr(self, name)(x)
            maps.append(x)
        return tuple(maps)


class Unit(nnx.Module):
    """se(relu(bn(conv(x))))."""

    def __init__(self, b: UnitSpec, *, dtype: str, rngs: nnx.Rngs) -> None:
        self.conv = conv(b.in_channels, b.out_channels, 3, 2, dtype=dtype, rngs=rngs)
        self.bn = BatchNorm(b.out_channels, b.eps, dtype=dtype, rngs=rngs)
        self.relu = ReLU()
        self.se = SEBlock.of(b.se, dtype=dtype, rngs=rngs) if b.se else nnx.identity

    def __call__(self, x: Array) -> Array:
        return self.se(self.relu(self.bn(self.conv(x))))
