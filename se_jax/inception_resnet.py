"""Inception-ResNet-v2, with SE blocks or plain, in Flax. Compare inception_resnet.py of se_torch and se_tf."""

from flax import nnx
from jax import Array

from se_jax.layers import AvgPool, BatchNorm, Concat, Dtype, GlobalAvgPool, Identity, MaxPool, ReLU, Times, conv, linear
from se_jax.network import Network
from se_jax.se_block import SEBlock
from weights import InceptionResNetSpec
from weights.networks.inception_resnet import ConvSpec, ModuleSpec, PoolSpec, UnitSpec


class InceptionResNet(Network):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: InceptionResNetSpec, *, dtype: Dtype = "float32", rngs: nnx.Rngs | None = None) -> None:
        super().__init__(spec)
        rngs = rngs or nnx.Rngs(0)
        blocks = tuple(spec.blocks())
        self.names, self.ends = tuple(block.name for block in blocks), spec.ends
        for number in range(1, len(spec.stages) + 1):
            units = [b for b in blocks if isinstance(b, UnitSpec) and b.name.startswith(f"stage{number}.")]
            setattr(self, f"stage{number}", nnx.List([Unit(block, dtype=dtype, rngs=rngs) for block in units]))
        channels = 0
        for block in blocks:
            match block:
                case ConvSpec(name=name):
                    setattr(self, name, ConvUnit(block, dtype=dtype, rngs=rngs))
                    channels = block.out_channels
                case PoolSpec(name=name):
                    setattr(self, name, MaxPool(stride=2, pad=0, rounds_up=False))
                case ModuleSpec(name=name):
                    setattr(self, name, InceptionModule(block, dtype=dtype, rngs=rngs))
                case UnitSpec():
                    channels = block.channels
        self.pool = GlobalAvgPool()
        self.dropout = nnx.Dropout(spec.dropout, rngs=rngs)
        self.fc = linear(channels, spec.classes, dtype=dtype, rngs=rngs) if spec.classes else None

    def __call__(self, x: Array) -> Array:
        x = self.pool(self.features(x)[-1])
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Array) -> tuple[Array, ...]:
        """The feature maps (N, h, w, C) at strides 4, 8, 16 and 32: the last ones of each stride."""
        maps = []
        for name in self.names:
            stage, _, i = name.partition(".")
            block = getattr(self, stage)
            x = block[int(i)](x) if i else block(x)
            if name in self.ends:
                maps.append(x)
        return tuple(maps)


class ConvUnit(nnx.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, b: ConvSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.conv = conv(b.in_channels, b.out_channels, b.kernel, b.stride, pad=b.pad, dtype=dtype, rngs=rngs)
        self.bn = BatchNorm(b.out_channels, b.eps, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return nnx.relu(self.bn(self.conv(x)))


class InceptionModule(nnx.Module):
    """se(concat(branches(x), project(pool(x))))."""

    def __init__(self, m: ModuleSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.count = len(m.branches)
        for i, layers in enumerate(m.branches):
            setattr(self, f"branch{i}", nnx.List([ConvUnit(layer, dtype=dtype, rngs=rngs) for layer in layers]))
        pad = 1 if m.stride == 1 else 0
        if m.pool == "max":
            self.pool = MaxPool(m.stride, pad, rounds_up=False)
        else:
            self.pool = AvgPool(m.stride, pad, rounds_up=False, counted=m.counted)
        self.project = ConvUnit(m.project, dtype=dtype, rngs=rngs) if m.project else Identity()
        self.concat = Concat()
        self.se = SEBlock.of(m.se, dtype=dtype, rngs=rngs) if m.se else Identity()

    def __call__(self, x: Array) -> Array:
        branches = [_in_turn(getattr(self, f"branch{i}"), x) for i in range(self.count)]
        return self.se(self.concat([*branches, self.project(self.pool(x))]))


class Unit(nnx.Module):
    """relu(scale * se(conv(concat(branches(x)))) + x), or with the SE block after the scaling."""

    def __init__(self, u: UnitSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.count = len(u.branches)
        for i, layers in enumerate(u.branches):
            setattr(self, f"branch{i}", nnx.List([ConvUnit(layer, dtype=dtype, rngs=rngs) for layer in layers]))
        self.concat = Concat()
        self.conv = conv(u.joined, u.channels, 1, bias=True, dtype=dtype, rngs=rngs)
        self.se = SEBlock.of(u.se, dtype=dtype, rngs=rngs) if u.se else Identity()
        self.times = Identity() if u.scale is None else Times(u.scale)
        self.se_after_scaling = u.se_after_scaling
        self.relu = ReLU() if u.relu else Identity()

    def __call__(self, x: Array) -> Array:
        y = self.concat([_in_turn(getattr(self, f"branch{i}"), x) for i in range(self.count)])
        y = self.conv(y)
        y = self.se(self.times(y)) if self.se_after_scaling else self.times(self.se(y))
        return self.relu(y + x)


def _in_turn(layers: nnx.List[ConvUnit], x: Array) -> Array:
    for layer in layers:
        x = layer(x)
    return x
