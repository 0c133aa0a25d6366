"""MobileNets and EfficientNet, with SE blocks or without, in Keras. Compare se_torch/mobile.py and se_jax/mobile.py."""

from typing import Any

import keras
from keras import layers

from se_tf.layers import CHANNELS, GlobalAveragePooling2D, activation, batch_norm, conv, layer_name, linear
from se_tf.network import Network
from se_tf.se_block import SEBlock
from weights import MobileSpec
from weights.networks.mobile import STEM, UnitSpec
from weights.networks.operations import Activation, Padding
from weights.networks.se import Position


@keras.saving.register_keras_serializable("senet")
class Mobile(Network):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: MobileSpec, *, dtype: Any = None, **kwargs: Any) -> None:
        policy = keras.dtype_policies.get(dtype)
        ends: dict[str, Any] = {"function": spec.activation, "eps": spec.eps, "dtype": policy}
        images = keras.Input((None, None, spec.in_channels), dtype=policy.compute_dtype, name="data")
        x = conv_block(images, spec.stem, STEM, 2, spec.stem_pad, name="stem", **ends)
        for block in spec.blocks():
            x = (inverted_residual if block.expands else separable)(x, block, dtype=policy)
        x = conv_block(x, spec.top, 1, 1, 0, name="top", **ends) if spec.top else x
        x = GlobalAveragePooling2D(CHANNELS, name="pool", dtype=policy)(x)
        if spec.classes:
            x = hidden(x, spec.hidden, spec.activation, dtype=policy) if spec.hidden else x
            x = layers.Dropout(spec.dropout, name="dropout", dtype=policy)(x)
            x = linear(spec.classes, name="fc", dtype=policy)(x)
        super().__init__(spec, images, x, policy, **kwargs)


def conv_block(
    x: Any, out: int, kernel: int, stride: int, pad: Padding, *, function: Activation, eps: float, name: str, dtype: Any
) -> Any:
    """Convolution, BatchNorm, activation."""
    x = conv(x, out, kernel, stride, pad=pad, name=f"{name}.conv", dtype=dtype)
    x = batch_norm(x, eps, name=f"{name}.bn", dtype=dtype)
    return activation(function, name=layer_name(f"{name}.relu"), dtype=dtype)(x)


def hidden(x: Any, out: int, function: Activation, *, dtype: Any) -> Any:
    """A fully connected layer with its activation."""
    x = linear(out, name=layer_name("hidden.fc"), dtype=dtype)(x)
    return activation(function, name=layer_name("hidden.relu"), dtype=dtype)(x)


def separable(x: Any, b: UnitSpec, *, dtype: Any) -> Any:
    """A depthwise and a 1x1 convolution: MobileNet V1's unit, and that of the others where nothing is expanded."""
    y = conv(x, b.expanded, b.kernel, b.stride, b.expanded, pad=b.pad, name=f"{b.name}.depthwise", dtype=dtype)
    y = batch_norm(y, b.eps, name=f"{b.name}.bn1", dtype=dtype)
    y = excited("3x3", activation(b.activation, name=layer_name(f"{b.name}.relu1"), dtype=dtype)(y), b, dtype=dtype)
    y = conv(y, b.out_channels, 1, name=f"{b.name}.pointwise", dtype=dtype)
    y = batch_norm(y, b.eps, name=f"{b.name}.bn2", dtype=dtype)
    y = y if b.linear else activation(b.activation, name=layer_name(f"{b.name}.relu2"), dtype=dtype)(y)
    return end(x, excited("standard", y, b, dtype=dtype), b, dtype=dtype)


def inverted_residual(x: Any, b: UnitSpec, *, dtype: Any) -> Any:
    """A 1x1 convolution that expands, a depthwise one, and a 1x1 convolution that projects."""
    y = conv(x, b.expanded, 1, name=f"{b.name}.expand", dtype=dtype)
    y = batch_norm(y, b.eps, name=f"{b.name}.bn1", dtype=dtype)
    y = activation(b.activation, name=layer_name(f"{b.name}.relu1"), dtype=dtype)(y)
    y = conv(y, b.expanded, b.kernel, b.stride, b.expanded, pad=b.pad, name=f"{b.name}.depthwise", dtype=dtype)
    y = batch_norm(y, b.eps, name=f"{b.name}.bn2", dtype=dtype)
    y = excited("3x3", activation(b.activation, name=layer_name(f"{b.name}.relu2"), dtype=dtype)(y), b, dtype=dtype)
    y = conv(y, b.out_channels, 1, name=f"{b.name}.project", dtype=dtype)
    y = batch_norm(y, b.eps, name=f"{b.name}.bn3", dtype=dtype)
    y = y if b.linear else activation(b.activation, name=layer_name(f"{b.name}.relu3"), dtype=dtype)(y)
    return end(x, excited("standard", y, b, dtype=dtype), b, dtype=dtype)


def excited(position: Position, x: Any, b: UnitSpec, *, dtype: Any) -> Any:
    """Through the SE block, if this is its place; otherwise the value itself."""
    if not (b.se and b.position == position):
        return x
    return SEBlock.of(b.se, name=layer_name(f"{b.name}.se"), dtype=dtype)(x)


def end(x: Any, y: Any, b: UnitSpec, *, dtype: Any) -> Any:
    """The whole unit's output, by its name: the sum with the input where it is residual."""
    if b.residual:
        return layers.Add(name=layer_name(b.name), dtype=dtype)([y, x])
    return layers.Identity(name=layer_name(b.name), dtype=dtype)(y)
