"""SE-ResNet, SE-ResNeXt, SENet-154 and plain networks, in Keras. Compare se_torch/resnet.py and se_jax/resnet.py."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from se_tf.layers import CHANNELS, GlobalAveragePooling2D, MaxPool, batch_norm, conv, layer_name, linear, relu
from se_tf.network import Network
from se_tf.se_block import SEBlock
from weights import ResNetSpec
from weights.networks.resnet import BasicSpec, BottleneckSpec, UnitSpec
from weights.networks.se import Position


@keras.saving.register_keras_serializable("senet")
class ResNet(Network):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: ResNetSpec, *, dtype: Any = None, **kwargs: Any) -> None:
        policy = keras.dtype_policies.get(dtype)
        images = keras.Input((None, None, spec.in_channels), dtype=policy.compute_dtype, name="data")
        x = stem(images, spec, dtype=policy)
        for block in spec.blocks():
            x = unit(x, block, dtype=policy)
        x = GlobalAveragePooling2D(CHANNELS, name="pool", dtype=policy)(x)
        if spec.classes:
            x = layers.Dropout(spec.dropout, name="dropout", dtype=policy)(x)
            x = linear(spec.classes, name="fc", dtype=policy)(x)
        super().__init__(spec, images, x, policy, **kwargs)


def stem(x: Any, spec: ResNetSpec, *, dtype: Any) -> Any:
    """(N, H, W, 3) to (N, H / 4, W / 4, C)."""
    for i, (out, kernel) in enumerate(spec.stem, 1):
        x = conv(x, out, kernel, 2 if i == 1 else 1, name=f"stem.conv{i}", dtype=dtype)
        x = batch_norm(x, spec.eps, name=f"stem.bn{i}", dtype=dtype)
        x = relu(x, name=f"stem.relu{i}", dtype=dtype)
    padded = spec.stem_pool == "torchvision"
    return MaxPool(stride=2, pad=1 if padded else 0, rounds_up=not padded, name=layer_name("stem.pool"), dtype=dtype)(x)


def unit(x: Any, b: UnitSpec, *, dtype: Any) -> Any:
    """The residual unit of a record."""
    return bottleneck(x, b, dtype=dtype) if isinstance(b, BottleneckSpec) else basic(x, b, dtype=dtype)


def bottleneck(x: Any, b: BottleneckSpec, *, dtype: Any) -> Any:
    """relu(se(residual(x)) + shortcut(x)), the residual being 1x1, 3x3, 1x1; or the SE block at another position."""
    at = places(b, dtype)
    y = conv(at("pre", x), b.reduce, 1, b.strides[0], name=f"{b.name}.conv1", dtype=dtype)
    y = batch_norm(y, b.eps, name=f"{b.name}.bn1", dtype=dtype)
    y = relu(y, name=f"{b.name}.relu1", dtype=dtype)
    y = conv(y, b.width, 3, b.strides[1], b.groups, name=f"{b.name}.conv2", dtype=dtype)
    y = batch_norm(at("3x3-raw", y), b.eps, name=f"{b.name}.bn2", dtype=dtype)
    y = at("3x3", relu(y, name=f"{b.name}.relu2", dtype=dtype))
    y = conv(y, b.out_channels, 1, name=f"{b.name}.conv3", dtype=dtype)
    y = at("standard", batch_norm(y, b.eps, name=f"{b.name}.bn3", dtype=dtype))
    return joined(x, y, b, dtype=dtype)


def basic(x: Any, b: BasicSpec, *, dtype: Any) -> Any:
    """The same with a residual of two 3x3."""
    at = places(b, dtype)
    y = conv(at("pre", x), b.width, 3, b.strides[0], name=f"{b.name}.conv1", dtype=dtype)
    y = batch_norm(y, b.eps, name=f"{b.name}.bn1", dtype=dtype)
    y = relu(y, name=f"{b.name}.relu1", dtype=dtype)
    y = conv(y, b.out_channels, 3, b.strides[1], name=f"{b.name}.conv2", dtype=dtype)
    y = batch_norm(y, b.eps, name=f"{b.name}.bn2", dtype=dtype)
    y = at("standard", relu(y, name=f"{b.name}.relu2", dtype=dtype) if b.ends_in_relu else y)
    return joined(x, y, b, dtype=dtype)


def places(b: UnitSpec, dtype: Any) -> Callable[[Position, Any], Any]:
    """The places in a unit where an SE block may stand."""

    def at(position: Position, x: Any) -> Any:
        """Through the SE block, if this is its place; otherwise the value itself."""
        if not (b.se and b.position == position):
            return x
        return SEBlock.of(b.se, name=layer_name(f"{b.name}.se"), dtype=dtype)(x)

    return at


def joined(x: Any, y: Any, b: UnitSpec, *, dtype: Any) -> Any:
    """The end of a unit: the shortcut of its input and the residual, summed."""
    at = places(b, dtype)
    x = at("identity-before", x)
    x = at("identity", shortcut(x, b, b.shortcut, dtype=dtype) if b.shortcut else x)
    y = layers.Add(name=layer_name(f"{b.name}.add"), dtype=dtype)([y, x])
    if not (b.se and b.position == "post"):
        return relu(y, name=b.name, dtype=dtype)
    y = at("post", relu(y, name=f"{b.name}.relu3", dtype=dtype))
    return layers.Identity(name=layer_name(b.name), dtype=dtype)(y)  # the whole unit's output, by its name


def shortcut(x: Any, b: UnitSpec, kernel: int, *, dtype: Any) -> Any:
    """The projection of a block that changes its shape."""
    x = conv(x, b.out_channels, kernel, max(b.strides), name=f"{b.name}.shortcut.conv", dtype=dtype)
    return batch_norm(x, b.eps, name=f"{b.name}.shortcut.bn", dtype=dtype)
