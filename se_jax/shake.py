"""Shake-Shake and Shake-Even networks, in Flax. Compare se_torch/shake.py and se_tf/shake.py."""

from flax import nnx
from jax import Array

from se_jax.layers import BatchNorm, Concat, Dtype, GlobalAvgPool, Identity, Mix, ReLU, Shift, conv, linear
from se_jax.network import Network
from se_jax.se_block import SEBlock
from weights.networks.shake import ShakeSpec, ShakeUnitSpec


class Shake(Network):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: ShakeSpec, *, dtype: Dtype = "float32", rngs: nnx.Rngs | None = None) -> None:
        super().__init__(spec)
        rngs = rngs or nnx.Rngs(0)
        self.stem = Stem(spec, dtype=dtype, rngs=rngs)
        self.depth = len(spec.stages)
        for i, units in enumerate(spec.stages, 1):
            setattr(self, f"stage{i}", nnx.List([Unit(unit, dtype=dtype, rngs=rngs) for unit in units]))
        self.relu = ReLU() if spec.unit == "basic" else Identity()
        self.pool = GlobalAvgPool()
        self.dropout = nnx.Dropout(spec.dropout, rngs=rngs)
        self.fc = linear(spec.out_channels[-1], spec.classes, dtype=dtype, rngs=rngs) if spec.classes else None

    def __call__(self, x: Array) -> Array:
        x = self.features(x)[-1]
        x = self.pool(x)
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Array) -> tuple[Array, ...]:
        """The feature maps (N, h, w, C) at strides 1, 2 and 4: the outputs of the stages, the last one rectified."""
        x = self.stem(x)
        maps = []
        for i in range(1, self.depth + 1):
            for unit in getattr(self, f"stage{i}"):
                x = unit(x)
            maps.append(x)
        return (*maps[:-1], self.relu(x))


class Stem(nnx.Module):
    """(N, H, W, 3) to (N, H, W, C); before basic units without a ReLU."""

    def __init__(self, spec: ShakeSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.conv1 = conv(spec.in_channels, spec.stem, 3, dtype=dtype, rngs=rngs)
        self.bn1 = BatchNorm(spec.stem, spec.eps, dtype=dtype, rngs=rngs)
        self.relu1 = Identity() if spec.unit == "basic" else ReLU()

    def __call__(self, x: Array) -> Array:
        return self.relu1(self.bn1(self.conv1(x)))


class Unit(nnx.Module):
    """The mix of two branches plus the shortcut; basic units rectify the branches' input, bottlenecks the sum."""

    def __init__(self, b: ShakeUnitSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.unit, self.projects = b.unit, b.projects
        self.relu = ReLU()
        self.branch1 = Branch(b, dtype=dtype, rngs=rngs)
        self.branch2 = Branch(b, dtype=dtype, rngs=rngs)
        self.mix = Mix(b.shares, rngs=rngs)
        self.se = SEBlock.of(b.se, dtype=dtype, rngs=rngs) if b.se and b.place == "mix" else Identity()
        self.shortcut = shortcut(b, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        if self.unit == "bottleneck":
            return self.relu(self.residual(x) + self.shortcut(x))
        rectified = self.relu(x)
        return self.residual(rectified) + self.shortcut(rectified if self.projects else x)

    def residual(self, x: Array) -> Array:
        """The mix, through its SE block."""
        return self.se(self.mix(self.branch1(x), self.branch2(x)))


class Branch(nnx.Module):
    """Convolutions with BatchNorm, ReLU between them."""

    def __init__(self, b: ShakeUnitSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        channels = b.in_channels
        self.depth = len(b.out)
        for i, (out, kernel, stride) in enumerate(zip(b.out, b.kernels, b.strides, strict=True), 1):
            groups = b.groups if kernel == 3 else 1
            setattr(self, f"conv{i}", conv(channels, out, kernel, stride, groups, dtype=dtype, rngs=rngs))
            setattr(self, f"bn{i}", BatchNorm(out, b.eps, dtype=dtype, rngs=rngs))
            setattr(self, f"relu{i}", ReLU() if i < self.depth else Identity())
            channels = out
        self.se = SEBlock.of(b.se, dtype=dtype, rngs=rngs) if b.se and b.place == "branch" else Identity()

    def __call__(self, x: Array) -> Array:
        for i in range(1, self.depth + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            x = getattr(self, f"relu{i}")(x)
        return self.se(x)


def shortcut(b: ShakeUnitSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> nnx.Module:
    """The projection of a unit that changes its shape."""
    if not b.projects:
        return Identity()
    return TwoPaths(b, dtype=dtype, rngs=rngs) if b.unit == "basic" else Projection(b, dtype=dtype, rngs=rngs)


class Projection(nnx.Module):
    """A 1x1 convolution with BatchNorm."""

    def __init__(self, b: ShakeUnitSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.conv = conv(b.in_channels, b.out_channels, 1, b.stride, dtype=dtype, rngs=rngs)
        self.bn = BatchNorm(b.out_channels, b.eps, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.bn(self.conv(x))


class TwoPaths(nnx.Module):
    """Half of the channels of the pixels that the stride meets, half of those to the left and above of them."""

    def __init__(self, b: ShakeUnitSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.conv1 = conv(b.in_channels, b.out_channels // 2, 1, b.stride, dtype=dtype, rngs=rngs)
        self.shift = Shift()
        self.conv2 = conv(b.in_channels, b.out_channels // 2, 1, b.stride, dtype=dtype, rngs=rngs)
        self.concat = Concat()
        self.bn = BatchNorm(b.out_channels, b.eps, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.bn(self.concat((self.conv1(x), self.conv2(self.shift(x)))))
