"""SqueezeNet in Flax. Compare squeezenet_torch.py and squeezenet_tf.py."""

import jax.numpy as jnp
from flax import nnx
from jax import Array

from se_jax.layers import GlobalAvgPool, Identity, MaxPool, ReLU, conv, linear
from se_jax.network import Network
from se_jax.se_block import SEBlock
from tests.adding.squeezenet import FireSpec, SqueezeNetSpec


class SqueezeNet(Network):
    """Images (N, H, W, 3) to logits (N, classes)."""

    def __init__(self, spec: SqueezeNetSpec, *, dtype: str = "float32", rngs: nnx.Rngs | None = None) -> None:
        super().__init__(spec)
        rngs = rngs or nnx.Rngs(0)
        self.conv = conv(spec.in_channels, spec.first, 3, 2, pad=0, bias=True, dtype=dtype, rngs=rngs)
        self.relu = ReLU()
        self.names = tuple(block.name for block in spec.blocks())
        for block in spec.blocks():
            setattr(self, block.name, Fire(block, dtype=dtype, rngs=rngs))
        self.pool = GlobalAvgPool()
        self.dropout = nnx.Dropout(spec.dropout, rngs=rngs)
        self.fc = linear(spec.widths[-1], spec.classes, dtype=dtype, rngs=rngs) if spec.classes else None

    def __call__(self, x: Array) -> Array:
        x = self.pool(self.features(x)[-1])
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Array) -> tuple[Array, ...]:
        x = self.relu(self.conv(x))
        maps = []
        for name in self.names:
            fire = getattr(self, name)
            if isinstance(fire.pool, MaxPool):
                maps.append(x)
            x = fire(x)
        return *maps, x


class Fire(nnx.Module):
    """se(concat(expand1x1(s), expand3x3(s))), where s = squeeze(pool(x))."""

    def __init__(self, b: FireSpec, *, dtype: str, rngs: nnx.Rngs) -> None:
        self.pool = MaxPool(stride=2, pad=0) if b.pooled else Identity()
        self.squeeze = conv(b.in_channels, b.squeeze, 1, bias=True, dtype=dtype, rngs=rngs)
        self.squeeze_relu = ReLU()
        self.expand1x1 = conv(b.squeeze, b.expand, 1, bias=True, dtype=dtype, rngs=rngs)
        self.expand1x1_relu = ReLU()
        self.expand3x3 = conv(b.squeeze, b.expand, 3, bias=True, dtype=dtype, rngs=rngs)
        self.expand3x3_relu = ReLU()
        self.se = SEBlock.of(b.se, dtype=dtype, rngs=rngs) if b.se else Identity()

    def __call__(self, x: Array) -> Array:
        x = self.squeeze_relu(self.squeeze(self.pool(x)))
        branches = self.expand1x1_relu(self.expand1x1(x)), self.expand3x3_relu(self.expand3x3(x))
        return self.se(jnp.concatenate(branches, -1))
