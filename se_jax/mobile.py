"""MobileNets and EfficientNet, with SE blocks or without, in Flax. Compare se_torch/mobile.py and se_tf/mobile.py."""

from typing import Any

from flax import nnx
from jax import Array

from se_jax.layers import ACTIVATIONS, BatchNorm, Dtype, GlobalAvgPool, Identity, conv, linear
from se_jax.network import Network
from se_jax.se_block import SEBlock
from weights import MobileSpec
from weights.networks.mobile import STEM, UnitSpec
from weights.networks.operations import Activation, Padding


class Mobile(Network):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: MobileSpec, *, dtype: Dtype = "float32", rngs: nnx.Rngs | None = None) -> None:
        super().__init__(spec)
        rngs = rngs or nnx.Rngs(0)
        ends: dict[str, Any] = {"activation": spec.activation, "eps": spec.eps, "dtype": dtype, "rngs": rngs}
        self.stem = ConvBlock(spec.in_channels, spec.stem, STEM, 2, spec.stem_pad, **ends)
        self.depth = len(spec.stages)
        self.maps = spec.features
        for i, units in enumerate(spec.units, 1):
            blocks = [(InvertedResidual if b.expands else Separable)(b, dtype=dtype, rngs=rngs) for b in units]
            setattr(self, f"stage{i}", nnx.List(blocks))
        channels = spec.stages[-1].out
        self.top = ConvBlock(channels, spec.top, 1, 1, 0, **ends) if spec.top else Identity()
        channels = spec.top or channels
        self.pool = GlobalAvgPool()
        hidden = spec.hidden if spec.classes else None
        self.hidden = Hidden(channels, hidden, spec.activation, dtype=dtype, rngs=rngs) if hidden else Identity()
        self.dropout = nnx.Dropout(spec.dropout, rngs=rngs)
        self.fc = linear(hidden or channels, spec.classes, dtype=dtype, rngs=rngs) if spec.classes else None

    def __call__(self, x: Array) -> Array:
        x = self.features(x)[-1]
        x = self.hidden(self.pool(self.top(x)))
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Array) -> tuple[Array, ...]:
        """The feature maps (N, h, w, C): the last stages' outputs at strides 4, 8, 16 and 32."""
        x = self.stem(x)
        maps = []
        for i in range(1, self.depth + 1):
            for block in getattr(self, f"stage{i}"):
                x = block(x)
            if i in self.maps:
                maps.append(x)
        return tuple(maps)


class ConvBlock(nnx.Module):
    """Convolution, BatchNorm, activation."""

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int,
        stride: int,
        pad: Padding,
        activation: Activation,
        eps: float,
        *,
        dtype: Dtype,
        rngs: nnx.Rngs,
    ) -> None:
        self.conv = conv(channels, out, kernel, stride, pad=pad, dtype=dtype, rngs=rngs)
        self.bn = BatchNorm(out, eps, dtype=dtype, rngs=rngs)
        self.relu = ACTIVATIONS[activation]()

    def __call__(self, x: Array) -> Array:
        return self.relu(self.bn(self.conv(x)))


class Hidden(nnx.Module):
    """A fully connected layer with its activation."""

    def __init__(self, channels: int, out: int, activation: Activation, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.fc = linear(channels, out, dtype=dtype, rngs=rngs)
        self.relu = ACTIVATIONS[activation]()

    def __call__(self, x: Array) -> Array:
        return self.relu(self.fc(x))


class Separable(nnx.Module):
    """A depthwise and a 1x1 convolution: MobileNet V1's unit, and that of the others where nothing is expanded."""

    def __init__(self, b: UnitSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        depthwise = b.in_channels, b.expanded, b.kernel, b.stride, b.expanded
        self.depthwise = conv(*depthwise, pad=b.pad, dtype=dtype, rngs=rngs)
        self.bn1 = BatchNorm(b.expanded, b.eps, dtype=dtype, rngs=rngs)
        self.relu1 = ACTIVATIONS[b.activation]()
        self.pointwise = conv(b.expanded, b.out_channels, 1, dtype=dtype, rngs=rngs)
        self.bn2 = BatchNorm(b.out_channels, b.eps, dtype=dtype, rngs=rngs)
        self.relu2 = Identity() if b.linear else ACTIVATIONS[b.activation]()
        self.se = SEBlock.of(b.se, dtype=dtype, rngs=rngs) if b.se else Identity()
        self.position = b.position
        self.residual = b.residual

    def __call__(self, x: Array) -> Array:
        y = self.relu1(self.bn1(self.depthwise(x)))
        y = self.se(y) if self.position == "3x3" else y
        y = self.relu2(self.bn2(self.pointwise(y)))
        y = self.se(y) if self.position == "standard" else y
        return y + x if self.residual else y


class InvertedResidual(nnx.Module):
    """A 1x1 convolution that expands, a depthwise one, and a 1x1 convolution that projects."""

    def __init__(self, b: UnitSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.expand = conv(b.in_channels, b.expanded, 1, dtype=dtype, rngs=rngs)
        self.bn1 = BatchNorm(b.expanded, b.eps, dtype=dtype, rngs=rngs)
        self.relu1 = ACTIVATIONS[b.activation]()
        depthwise = b.expanded, b.expanded, b.kernel, b.stride, b.expanded
        self.depthwise = conv(*depthwise, pad=b.pad, dtype=dtype, rngs=rngs)
        self.bn2 = BatchNorm(b.expanded, b.eps, dtype=dtype, rngs=rngs)
        self.relu2 = ACTIVATIONS[b.activation]()
        self.project = conv(b.expanded, b.out_channels, 1, dtype=dtype, rngs=rngs)
        self.bn3 = BatchNorm(b.out_channels, b.eps, dtype=dtype, rngs=rngs)
        self.relu3 = Identity() if b.linear else ACTIVATIONS[b.activation]()
        self.se = SEBlock.of(b.se, dtype=dtype, rngs=rngs) if b.se else Identity()
        self.position = b.position
        self.residual = b.residual

    def __call__(self, x: Array) -> Array:
        y = self.relu1(self.bn1(self.expand(x)))
        y = self.relu2(self.bn2(self.depthwise(y)))
        y = self.se(y) if self.position == "3x3" else y
        y = self.relu3(self.bn3(self.project(y)))
        y = self.se(y) if self.position == "standard" else y
        return y + x if self.residual else y
