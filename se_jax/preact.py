"""Pre-activation residual networks for small images, in Flax. Compare se_torch/preact.py and se_tf/preact.py."""

from flax import nnx
from jax import Array

from se_jax.layers import AppendZeros, BatchNorm, Dtype, GlobalAvgPool, Identity, ReLU, Subsample, conv, linear
from se_jax.network import Network
from se_jax.se_block import SEBlock
from weights.networks.preact import PreActSpec, UnitSpec


class PreAct(Network):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: PreActSpec, *, dtype: Dtype = "float32", rngs: nnx.Rngs | None = None) -> None:
        super().__init__(spec)
        rngs = rngs or nnx.Rngs(0)
        self.stem = conv(spec.in_channels, spec.stem, 3, dtype=dtype, rngs=rngs)
        self.depth = len(spec.stages)
        for i, units in enumerate(spec.stages, 1):
            setattr(self, f"stage{i}", nnx.List([Unit(unit, dtype=dtype, rngs=rngs) for unit in units]))
        self.order = spec.order
        channels = spec.out_channels[-1] if spec.order == "pre" else spec.stem
        self.bn = BatchNorm(channels, spec.eps, dtype=dtype, rngs=rngs)
        self.relu = ReLU()
        self.pool = GlobalAvgPool()
        self.dropout = nnx.Dropout(spec.dropout, rngs=rngs)
        self.fc = linear(spec.out_channels[-1], spec.classes, dtype=dtype, rngs=rngs) if spec.classes else None

    def __call__(self, x: Array) -> Array:
        x = self.features(x)[-1]
        x = self.pool(x)
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Array) -> tuple[Array, ...]:
        """The feature maps (N, h, w, C) at strides 1, 2 and 4: the outputs of the stages, the last one activated."""
        x = self.stem(x)
        x = self.relu(self.bn(x)) if self.order == "post" else x
        maps = []
        for i in range(1, self.depth + 1):
            for unit in getattr(self, f"stage{i}"):
                x = unit(x)
            maps.append(x)
        return (*maps[:-1], self.relu(self.bn(x)) if self.order == "pre" else x)


class Unit(nnx.Module):
    """se(residual(x)) + x, the residual being BatchNorm, ReLU and convolution; or convolution, BatchNorm and ReLU."""

    def __init__(self, b: UnitSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        channels = b.in_channels
        self.depth, self.order = len(b.out), b.order
        for i, (out, kernel, stride) in enumerate(zip(b.out, b.kernels, b.strides, strict=True), 1):
            normalised = channels if b.order == "pre" else out
            setattr(self, f"bn{i}", BatchNorm(normalised, b.eps, dtype=dtype, rngs=rngs))
            setattr(self, f"relu{i}", ReLU())
            setattr(self, f"conv{i}", conv(channels, out, kernel, stride, dtype=dtype, rngs=rngs))
            channels = out
        self.se = SEBlock.of(b.se, dtype=dtype, rngs=rngs) if b.se else Identity()
        self.activates = b.order == "pre" and b.shortcut == "projection"
        self.shortcut = shortcut(b, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        y = x
        for i in range(1, self.depth + 1):
            conv, bn, relu = (getattr(self, f"{layer}{i}") for layer in ("conv", "bn", "relu"))
            if self.order == "pre":
                y = relu(bn(y))
                x = y if self.activates and i == 1 else x
                y = conv(y)
            else:
                y = bn(conv(y))
                y = relu(y) if i < self.depth else y
        y = self.se(y) + self.shortcut(x)
        return y if self.order == "pre" else getattr(self, f"relu{self.depth}")(y)


def shortcut(b: UnitSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> nnx.Module:
    """The other path: a projection where the unit changes its shape, or pixels left out and channels of zeros."""
    match b.shortcut:
        case "projection" if b.order == "post":
            return Projection(b, dtype=dtype, rngs=rngs)
        case "projection":
            return conv(b.in_channels, b.out_channels, 1, b.stride, dtype=dtype, rngs=rngs)
        case "zeros":
            return OptionA(b.stride, b.out_channels - b.in_channels)
        case None:
            return Identity()


class Projection(nnx.Module):
    """A 1x1 convolution with BatchNorm."""

    def __init__(self, b: UnitSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.conv = conv(b.in_channels, b.out_channels, 1, b.stride, dtype=dtype, rngs=rngs)
        self.bn = BatchNorm(b.out_channels, b.eps, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.bn(self.conv(x))


class OptionA(nnx.Module):
    """Every pixel that the stride meets, and so many channels of zeros."""

    def __init__(self, stride: int, channels: int) -> None:
        self.pool = Subsample(stride) if stride > 1 else Identity()
        self.zeros = AppendZeros(channels) if channels else Identity()

    def __call__(self, x: Array) -> Array:
        return self.zeros(self.pool(x))
