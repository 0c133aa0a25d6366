"""VGG with BatchNorm and SE blocks, or without either, in Flax. Compare se_torch/vgg.py and se_tf/vgg.py."""

from flax import nnx
from jax import Array

from se_jax.layers import BatchNorm, Dtype, Flatten, Identity, MaxPool, ReLU, conv, linear
from se_jax.network import Network
from se_jax.se_block import SEBlock
from weights import VGGSpec
from weights.networks.sizes import check_size
from weights.networks.vgg import LayerSpec


class VGG(Network):
    """Images (N, size, size, 3) to logits (N, classes), or to the last hidden layer where the spec has no classes."""

    def __init__(self, spec: VGGSpec, *, dtype: Dtype = "float32", rngs: nnx.Rngs | None = None) -> None:
        super().__init__(spec)
        rngs = rngs or nnx.Rngs(0)
        self.depth = len(spec.stages)
        for i, blocks in enumerate(spec.stages, 1):
            setattr(self, f"stage{i}", nnx.List([Layer(block, dtype=dtype, rngs=rngs) for block in blocks]))
            setattr(self, f"pool{i}", MaxPool(stride=2, pad=0, kernel=2, rounds_up=False))  # of even sizes
        self.head = Head(spec, dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(spec.dropout, rngs=rngs)
        self.fc = linear(spec.hidden[-1], spec.classes, dtype=dtype, rngs=rngs) if spec.classes else None

    def __call__(self, x: Array) -> Array:
        x = self.head(self.features(x)[-1])
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Array) -> tuple[Array, ...]:
        """The feature maps (N, h, w, C): the last ones before each pooling, from stride 4 on, and the last of all."""
        check_size(self.spec, x.shape[1], x.shape[2])
        ends = []
        for i in range(1, self.depth + 1):
            for block in getattr(self, f"stage{i}"):
                x = block(x)
            ends.append(x)
            x = getattr(self, f"pool{i}")(x)
        return *ends[2:], x


class Layer(nnx.Module):
    """se(relu(bn(conv(x))))."""

    def __init__(self, b: LayerSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.conv = conv(b.in_channels, b.out_channels, 3, bias=b.bias, dtype=dtype, rngs=rngs)
        self.bn = BatchNorm(b.out_channels, b.eps, dtype=dtype, rngs=rngs) if b.batch_norm else Identity()
        self.relu = ReLU()
        self.se = SEBlock.of(b.se, dtype=dtype, rngs=rngs) if b.se else Identity()

    def __call__(self, x: Array) -> Array:
        return self.se(self.relu(self.bn(self.conv(x))))


class Head(nnx.Module):
    """(N, h, w, C) to (N, units of the last hidden layer); the dropout after that is the network's."""

    def __init__(self, spec: VGGSpec, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.flatten = Flatten()
        self.depth = len(spec.hidden)
        values = spec.flat
        for i, out in enumerate(spec.hidden, 1):
            setattr(self, f"fc{i}", linear(values, out, dtype=dtype, rngs=rngs))
            setattr(self, f"relu{i}", ReLU())
            if i < self.depth:
                setattr(self, f"dropout{i}", nnx.Dropout(spec.dropout, rngs=rngs))
            values = out

    def __call__(self, x: Array) -> Array:
        x = self.flatten(x)
        for i in range(1, self.depth + 1):
            x = getattr(self, f"relu{i}")(getattr(self, f"fc{i}")(x))
            x = getattr(self, f"dropout{i}")(x) if i < self.depth else x
        return x
