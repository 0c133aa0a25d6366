"""SE-BN-Inception and BN-Inception, in Flax. Compare se_torch/inception.py and se_tf/inception.py."""

from functools import partial

from flax import nnx
from jax import Array

from se_jax.layers import AvgPool, BatchNorm, Concat, Dtype, GlobalAvgPool, Identity, MaxPool, ReLU, conv, linear
from se_jax.network import Network
from se_jax.se_block import SEBlock
from weights import InceptionSpec, feature_nodes
from weights.networks.inception import ModuleSpec


class Inception(Network):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: InceptionSpec, *, dtype: Dtype = "float32", rngs: nnx.Rngs | None = None) -> None:
        super().__init__(spec)
        rngs = rngs or nnx.Rngs(0)
        self.stem = Stem(spec, dtype=dtype, rngs=rngs)
        blocks = tuple(spec.blocks())
        self.names, self.ends = tuple(block.name for block in blocks), feature_nodes(spec)
        for block in blocks:
            setattr(self, block.name, InceptionModule(block, dtype=dtype, rngs=rngs))
        self.pool = GlobalAvgPool()
        self.dropout = nnx.Dropout(spec.dropout, rngs=rngs)
        self.fc = linear(blocks[-1].out_channels, spec.classes, dtype=dtype, rngs=rngs) if spec.classes else None

    def __call__(self, x: Array) -> Array:
        x = self.features(x)[-1]
        x = self.pool(x)
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Array) -> tuple[Array, ...]:
        """The feature maps (N, h, w, C) at strides 4, 8, 16 and 32: the last ones before each pooling."""
        x = self.stem(x)
        maps = [x]
        x = self.stem.pool2(x)
        for name in self.names:
            x = getattr(self, name)(x)
            if name in self.ends:
                maps.append(x)
        return tuple(maps)


class Stem(nnx.Module):
    """(N, H, W, 3) to (N, H / 4, W / 4, C), which ``pool2`` halves once more."""

    def __init__(self, spec: InceptionSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        (out1, kernel1), (out2, kernel2), (out3, kernel3) = spec.stem
        self.conv1 = conv(spec.in_channels, out1, kernel1, 2, dtype=dtype, rngs=rngs)
        self.bn1 = BatchNorm(out1, spec.eps, dtype=dtype, rngs=rngs)
        self.relu1 = ReLU()
        self.pool1 = MaxPool(stride=2, pad=0)
        self.conv2 = conv(out1, out2, kernel2, dtype=dtype, rngs=rngs)
        self.bn2 = BatchNorm(out2, spec.eps, dtype=dtype, rngs=rngs)
        self.relu2 = ReLU()
        self.conv3 = conv(out2, out3, kernel3, dtype=dtype, rngs=rngs)
        self.bn3 = BatchNorm(out3, spec.eps, dtype=dtype, rngs=rngs)
        self.relu3 = ReLU()
        self.pool2 = MaxPool(stride=2, pad=0)

    def __call__(self, x: Array) -> Array:
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.pool1(x)
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.relu3(self.bn3(self.conv3(x)))


class InceptionModule(nnx.Module):
    """Up to four branches side by side: 1x1; 3x3; 3x3 twice; pooling."""

    def __init__(self, m: ModuleSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        reduce, out = m.conv3x3
        reduce_double, out_double1, out_double2 = m.double3x3
        # In a module of stride 2 the windows of the pooling hang over the edge, of odd sizes too, which Caffe refuses;
        # otherwise padding keeps the size.
        pad, after = (0, 1) if m.stride == 2 else (1, 0)
        unit = partial(Unit, eps=m.eps, dtype=dtype, rngs=rngs)
        self.conv1x1 = unit(m.in_channels, m.conv1x1, 1) if m.conv1x1 else None
        self.reduce3x3 = unit(m.in_channels, reduce, 1)
        self.conv3x3 = unit(reduce, out, 3, m.stride)
        self.reduce_double = unit(m.in_channels, reduce_double, 1)
        self.double1 = unit(reduce_double, out_double1, 3)
        self.double2 = unit(out_double1, out_double2, 3, m.stride)
        self.pool = MaxPool(m.stride, pad, after) if m.pool == "max" else AvgPool(m.stride, pad)
        self.project = unit(m.in_channels, m.project, 1) if m.project else Identity()
        self.concat = Concat()
        self.se = SEBlock.of(m.se, dtype=dtype, rngs=rngs) if m.se else Identity()

    def __call__(self, x: Array) -> Array:
        branches = [] if self.conv1x1 is None else [self.conv1x1(x)]
        branches.append(self.conv3x3(self.reduce3x3(x)))
        branches.append(self.double2(self.double1(self.reduce_double(x))))
        branches.append(self.project(self.pool(x)))
        return self.se(self.concat(branches))


class Unit(nnx.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, *, eps: float, dtype: Dtype, rngs: nnx.Rngs
    ) -> None:
        self.conv = conv(channels, out, kernel, stride, dtype=dtype, rngs=rngs)
        self.bn = BatchNorm(out, eps, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return nnx.relu(self.bn(self.conv(x)))
