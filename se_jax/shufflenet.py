"""ShuffleNet V1 with SE blocks and without, in Flax. Compare se_torch/shufflenet.py and se_tf/shufflenet.py."""

from flax import nnx
from jax import Array

from se_jax.layers import (
    AvgPool,
    BatchNorm,
    Concat,
    Dtype,
    GlobalAvgPool,
    Identity,
    MaxPool,
    ReLU,
    Shuffle,
    conv,
    linear,
)
from se_jax.network import Network
from se_jax.se_block import SEBlock
from weights import ShuffleNetSpec
from weights.networks.shufflenet import ShuffleUnitSpec


class ShuffleNet(Network):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: ShuffleNetSpec, *, dtype: Dtype = "float32", rngs: nnx.Rngs | None = None) -> None:
        super().__init__(spec)
        rngs = rngs or nnx.Rngs(0)
        self.stem = Stem(spec, dtype=dtype, rngs=rngs)
        self.depth = len(spec.stages)
        for i, blocks in enumerate(spec.stages, 1):
            setattr(self, f"stage{i}", nnx.List([ShuffleUnit(block, dtype=dtype, rngs=rngs) for block in blocks]))
        self.pool = GlobalAvgPool()
        self.dropout = nnx.Dropout(spec.dropout, rngs=rngs)
        self.fc = linear(spec.out_channels[-1], spec.classes, dtype=dtype, rngs=rngs) if spec.classes else None

    def __call__(self, x: Array) -> Array:
        x = self.features(x)[-1]
        x = self.pool(x)
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Array) -> tuple[Array, ...]:
        """The feature maps (N, h, w, C) at strides 4, 8, 16 and 32: the pooled stem and the outputs of the stages."""
        x = self.stem(x)
        maps = [x]
        for i in range(1, self.depth + 1):
            for block in getattr(self, f"stage{i}"):
                x = block(x)
            maps.append(x)
        return tuple(maps)


class Stem(nnx.Module):
    """(N, H, W, 3) to (N, H / 4, W / 4, C)."""

    def __init__(self, spec: ShuffleNetSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        padded = spec.stem_pool == "torchvision"
        self.conv = conv(spec.in_channels, spec.stem_channels, 3, 2, dtype=dtype, rngs=rngs)
        self.bn = BatchNorm(spec.stem_channels, spec.eps, dtype=dtype, rngs=rngs)
        self.relu = ReLU()
        self.pool = MaxPool(stride=2, pad=1 if padded else 0, rounds_up=not padded)

    def __call__(self, x: Array) -> Array:
        return self.pool(self.relu(self.bn(self.conv(x))))


class ShuffleUnit(nnx.Module):
    """relu(se(branch(x)) + x); with stride 2 relu of the pooled x and se(branch(x)) side by side; or SE after that."""

    def __init__(self, b: ShuffleUnitSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.conv1 = conv(b.in_channels, b.width, 1, groups=b.first_groups, dtype=dtype, rngs=rngs)
        self.bn1 = BatchNorm(b.width, b.eps, dtype=dtype, rngs=rngs)
        self.relu1 = ReLU()
        self.shuffle = Shuffle(b.groups)
        self.conv2 = conv(b.width, b.width, 3, b.stride, groups=b.width, dtype=dtype, rngs=rngs)
        self.bn2 = BatchNorm(b.width, b.eps, dtype=dtype, rngs=rngs)
        self.conv3 = conv(b.width, b.branch, 1, groups=b.groups, dtype=dtype, rngs=rngs)
        self.bn3 = BatchNorm(b.branch, b.eps, dtype=dtype, rngs=rngs)
        self.se = SEBlock.of(b.se, dtype=dtype, rngs=rngs) if b.se else Identity()
        self.position = b.position
        self.pool = AvgPool(stride=2, pad=1, rounds_up=False) if b.stride == 2 else None
        self.concat = Concat()
        self.pooled_first = b.concatenation == "pooled-first"

    def __call__(self, x: Array) -> Array:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(self.shuffle(y)))
        y = self.bn3(self.conv3(y))
        y = self.se(y) if self.position == "standard" else y
        y = y + x if self.pool is None else self.beside(self.pool(x), y)
        y = nnx.relu(y)
        return self.se(y) if self.position == "post" else y

    def beside(self, pooled: Array, y: Array) -> Array:
        """The pooled input and the branch as one map."""
        return self.concat((pooled, y) if self.pooled_first else (y, pooled))
