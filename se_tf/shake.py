"""Shake-Shake and Shake-Even networks, in Keras. Compare se_torch/shake.py and se_jax/shake.py."""

from typing import Any

import keras
from keras import layers

from se_tf.layers import CHANNELS, GlobalAveragePooling2D, Mix, Shift, batch_norm, conv, layer_name, linear, relu
from se_tf.network import Network
from se_tf.se_block import SEBlock
from weights.networks.shake import ShakeSpec, ShakeUnitSpec


@keras.saving.register_keras_serializable("senet")
class Shake(Network):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: ShakeSpec, *, dtype: Any = None, **kwargs: Any) -> None:
        policy = keras.dtype_policies.get(dtype)
        images = keras.Input((None, None, spec.in_channels), dtype=policy.compute_dtype, name="data")
        x = stem(images, spec, dtype=policy)
        for block in spec.blocks():
            x = unit(x, block, dtype=policy)
        if spec.unit == "basic":
            x = relu(x, name="relu", dtype=policy)
        x = GlobalAveragePooling2D(CHANNELS, name="pool", dtype=policy)(x)
        if spec.classes:
            x = layers.Dropout(spec.dropout, name="dropout", dtype=policy)(x)
            x = linear(spec.classes, name="fc", dtype=policy)(x)
        super().__init__(spec, images, x, policy, **kwargs)


def stem(x: Any, spec: ShakeSpec, *, dtype: Any) -> Any:
    """(N, H, W, 3) to (N, H, W, C); before basic units without a ReLU."""
    x = conv(x, spec.stem, 3, name="stem.conv1", dtype=dtype)
    x = batch_norm(x, spec.eps, name="stem.bn1", dtype=dtype)
    return x if spec.unit == "basic" else relu(x, name="stem.relu1", dtype=dtype)


def unit(x: Any, b: ShakeUnitSpec, *, dtype: Any) -> Any:
    """The mix of two branches plus the shortcut; basic units rectify the branches' input, bottlenecks the sum."""
    identity = x
    x = relu(x, name=f"{b.name}.relu", dtype=dtype) if b.unit == "basic" else x
    branches = [branch(x, b, name=f"{b.name}.branch{i}", dtype=dtype) for i in (1, 2)]
    y = Mix(b.shares, name=layer_name(f"{b.name}.mix"), dtype=dtype)(branches)
    if b.se and b.place == "mix":
        y = SEBlock.of(b.se, name=layer_name(f"{b.name}.se"), dtype=dtype)(y)
    if b.projects:
        identity = shortcut(x, b, dtype=dtype)
    if b.unit == "basic":
        return layers.Add(name=layer_name(b.name), dtype=dtype)([y, identity])
    y = layers.Add(name=layer_name(f"{b.name}.add"), dtype=dtype)([y, identity])
    return relu(y, name=b.name, dtype=dtype)


def branch(x: Any, b: ShakeUnitSpec, *, name: str, dtype: Any) -> Any:
    """Convolutions with BatchNorm, ReLU between them."""
    for i, (out, kernel, stride) in enumerate(zip(b.out, b.kernels, b.strides, strict=True), 1):
        groups = b.groups if kernel == 3 else 1
        x = conv(x, out, kernel, stride, groups, name=f"{name}.conv{i}", dtype=dtype)
        x = batch_norm(x, b.eps, name=f"{name}.bn{i}", dtype=dtype)
        x = relu(x, name=f"{name}.relu{i}", dtype=dtype) if i < len(b.out) else x
    if b.se and b.place == "branch":
        return SEBlock.of(b.se, name=layer_name(f"{name}.se"), dtype=dtype)(x)
    return x


def shortcut(x: Any, b: ShakeUnitSpec, *, dtype: Any) -> Any:
    """The projection of a unit that changes its shape."""
    return two_paths(x, b, dtype=dtype) if b.unit == "basic" else projection(x, b, dtype=dtype)


def projection(x: Any, b: ShakeUnitSpec, *, dtype: Any) -> Any:
    """A 1x1 convolution with BatchNorm."""
    x = conv(x, b.out_channels, 1, b.stride, name=f"{b.name}.shortcut.conv", dtype=dtype)
    return batch_norm(x, b.eps, name=f"{b.name}.shortcut.bn", dtype=dtype)


def two_paths(x: Any, b: ShakeUnitSpec, *, dtype: Any) -> Any:
    """Half of the channels of the pixels that the stride meets, half of those to the left and above of them."""
    name, half = f"{b.name}.shortcut", b.out_channels // 2
    first = conv(x, half, 1, b.stride, name=f"{name}.conv1", dtype=dtype)
    x = Shift(name=layer_name(f"{name}.shift"), dtype=dtype)(x)
    second = conv(x, half, 1, b.stride, name=f"{name}.conv2", dtype=dtype)
    x = layers.Concatenate(name=layer_name(f"{name}.concat"), dtype=dtype)([first, second])
    return batch_norm(x, b.eps, name=f"{name}.bn", dtype=dtype)
