"""SE-ResNet, SE-ResNeXt, SENet-154 and plain networks, in Flax. Compare se_torch/resnet.py and se_tf/resnet.py."""

from flax import nnx
from jax import Array

from se_jax.layers import BatchNorm, Dtype, GlobalAvgPool, Identity, MaxPool, ReLU, conv, linear
from se_jax.network import Network
from se_jax.se_block import SEBlock
from weights import ResNetSpec
from weights.networks.resnet import BasicSpec, BottleneckSpec, UnitSpec
from weights.networks.se import Position


class ResNet(Network):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: ResNetSpec, *, dtype: Dtype = "float32", rngs: nnx.Rngs | None = None) -> None:
        super().__init__(spec)
        rngs = rngs or nnx.Rngs(0)
        self.stem = Stem(spec, dtype=dtype, rngs=rngs)
        self.depth = len(spec.stages)
        for i, blocks in enumerate(spec.stages, 1):
            setattr(self, f"stage{i}", nnx.List([unit(block, dtype=dtype, rngs=rngs) for block in blocks]))
        self.pool = GlobalAvgPool()
        self.dropout = nnx.Dropout(spec.dropout, rngs=rngs)
        self.fc = linear(spec.out_channels[-1], spec.classes, dtype=dtype, rngs=rngs) if spec.classes else None

    def __call__(self, x: Array) -> Array:
        x = self.features(x)[-1]
        x = self.pool(x)
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Array) -> tuple[Array, ...]:
        """The feature maps (N, h, w, C) at strides 4, 8, 16 and 32: the outputs of the stages."""
        x = self.stem(x)
        maps = []
        for i in range(1, self.depth + 1):
            for block in getattr(self, f"stage{i}"):
                x = block(x)
            maps.append(x)
        return tuple(maps)


class Stem(nnx.Module):
    """(N, H, W, 3) to (N, H / 4, W / 4, C)."""

    def __init__(self, spec: ResNetSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        channels = spec.in_channels
        self.depth = len(spec.stem)
        for i, (out, kernel) in enumerate(spec.stem, 1):
            setattr(self, f"conv{i}", conv(channels, out, kernel, 2 if i == 1 else 1, dtype=dtype, rngs=rngs))
            setattr(self, f"bn{i}", BatchNorm(out, spec.eps, dtype=dtype, rngs=rngs))
            setattr(self, f"relu{i}", ReLU())
            channels = out
        padded = spec.stem_pool == "torchvision"
        self.pool = MaxPool(stride=2, pad=1 if padded else 0, rounds_up=not padded)

    def __call__(self, x: Array) -> Array:
        for i in range(1, self.depth + 1):
            x = getattr(self, f"conv{i}")(x)
            x = getattr(self, f"bn{i}")(x)
            x = getattr(self, f"relu{i}")(x)
        return self.pool(x)


def unit(b: UnitSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> "Bottleneck | Basic":
    """The residual unit of a record."""
    return Bottleneck(b, dtype=dtype, rngs=rngs) if isinstance(b, BottleneckSpec) else Basic(b, dtype=dtype, rngs=rngs)


class Bottleneck(nnx.Module):
    """relu(se(residual(x)) + shortcut(x)), the residual being 1x1, 3x3, 1x1; or the SE block at another position."""

    def __init__(self, b: BottleneckSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.conv1 = conv(b.in_channels, b.reduce, 1, b.strides[0], dtype=dtype, rngs=rngs)
        self.bn1 = BatchNorm(b.reduce, b.eps, dtype=dtype, rngs=rngs)
        self.relu1 = ReLU()
        self.conv2 = conv(b.reduce, b.width, 3, b.strides[1], b.groups, dtype=dtype, rngs=rngs)
        self.bn2 = BatchNorm(b.width, b.eps, dtype=dtype, rngs=rngs)
        self.relu2 = ReLU()
        self.conv3 = conv(b.width, b.out_channels, 1, dtype=dtype, rngs=rngs)
        self.bn3 = BatchNorm(b.out_channels, b.eps, dtype=dtype, rngs=rngs)
        self.se = SEBlock.of(b.se, dtype=dtype, rngs=rngs) if b.se else Identity()
        self.position = b.position
        self.shortcut = Shortcut(b, b.shortcut, dtype=dtype, rngs=rngs) if b.shortcut else Identity()
        self.relu3 = ReLU()

    def __call__(self, x: Array) -> Array:
        y = self.relu1(self.bn1(self.conv1(self.at("pre", x))))
        y = self.at("3x3-raw", self.conv2(y))
        y = self.at("3x3", self.relu2(self.bn2(y)))
        y = self.at("standard", self.bn3(self.conv3(y)))
        x = self.at("identity", self.shortcut(self.at("identity-before", x)))
        return self.at("post", self.relu3(y + x))

    def at(self, position: Position, x: Array) -> Array:
        """Through the SE block, if this is its place; otherwise the value itself."""
        return self.se(x) if position == self.position else x


class Basic(nnx.Module):
    """The same with a residual of two 3x3."""

    def __init__(self, b: BasicSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.conv1 = conv(b.in_channels, b.width, 3, b.strides[0], dtype=dtype, rngs=rngs)
        self.bn1 = BatchNorm(b.width, b.eps, dtype=dtype, rngs=rngs)
        self.relu1 = ReLU()
        self.conv2 = conv(b.width, b.out_channels, 3, b.strides[1], dtype=dtype, rngs=rngs)
        self.bn2 = BatchNorm(b.out_channels, b.eps, dtype=dtype, rngs=rngs)
        self.relu2 = ReLU() if b.ends_in_relu else Identity()
        self.se = SEBlock.of(b.se, dtype=dtype, rngs=rngs) if b.se else Identity()
        self.position = b.position
        self.shortcut = Shortcut(b, b.shortcut, dtype=dtype, rngs=rngs) if b.shortcut else Identity()
        self.relu3 = ReLU()

    def __call__(self, x: Array) -> Array:
        y = self.relu1(self.bn1(self.conv1(self.at("pre", x))))
        y = self.at("standard", self.relu2(self.bn2(self.conv2(y))))
        x = self.at("identity", self.shortcut(self.at("identity-before", x)))
        return self.at("post", self.relu3(y + x))

    def at(self, position: Position, x: Array) -> Array:
        """Through the SE block, if this is its place; otherwise the value itself."""
        return self.se(x) if position == self.position else x


class Shortcut(nnx.Module):
    """The projection of a block that changes its shape."""

    def __init__(self, b: UnitSpec, kernel: int, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.conv = conv(b.in_channels, b.out_channels, kernel, max(b.strides), dtype=dtype, rngs=rngs)
        self.bn = BatchNorm(b.out_channels, b.eps, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.bn(self.conv(x))
