"""Pre-activation residual networks for small images, in Keras. Compare se_torch/preact.py and se_jax/preact.py."""

from typing import Any

import keras
from keras import layers

from se_tf.layers import CHANNELS, AppendZeros, GlobalAveragePooling2D, batch_norm, conv, layer_name, linear, relu
from se_tf.network import Network
from se_tf.se_block import SEBlock
from weights.networks.preact import PreActSpec, UnitSpec


@keras.saving.register_keras_serializable("senet")
class PreAct(Network):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: PreActSpec, *, dtype: Any = None, **kwargs: Any) -> None:
        policy = keras.dtype_policies.get(dtype)
        images = keras.Input((None, None, spec.in_channels), dtype=policy.compute_dtype, name="data")
        x = conv(images, spec.stem, 3, name="stem", dtype=policy)
        x = normalised(x, spec, dtype=policy) if spec.order == "post" else x
        for block in spec.blocks():
            x = unit(x, block, dtype=policy)
        x = normalised(x, spec, dtype=policy) if spec.order == "pre" else x
        x = GlobalAveragePooling2D(CHANNELS, name="pool", dtype=policy)(x)
        if spec.classes:
            x = layers.Dropout(spec.dropout, name="dropout", dtype=policy)(x)
            x = linear(spec.classes, name="fc", dtype=policy)(x)
        super().__init__(spec, images, x, policy, **kwargs)


def normalised(x: Any, spec: PreActSpec, *, dtype: Any) -> Any:
    """BatchNorm and ReLU at either end of the stages."""
    return relu(batch_norm(x, spec.eps, name="bn", dtype=dtype), name="relu", dtype=dtype)


def unit(x: Any, b: UnitSpec, *, dtype: Any) -> Any:
    """se(residual(x)) + x, the residual being BatchNorm, ReLU and convolution; or convolution, BatchNorm and ReLU."""
    y, activates = x, b.order == "pre" and b.shortcut == "projection"
    for i, (out, kernel, stride) in enumerate(zip(b.out, b.kernels, b.strides, strict=True), 1):
        if b.order == "pre":
            y = batch_norm(y, b.eps, name=f"{b.name}.bn{i}", dtype=dtype)
            y = relu(y, name=f"{b.name}.relu{i}", dtype=dtype)
            x = y if activates and i == 1 else x
            y = conv(y, out, kernel, stride, name=f"{b.name}.conv{i}", dtype=dtype)
        else:
            y = conv(y, out, kernel, stride, name=f"{b.name}.conv{i}", dtype=dtype)
            y = batch_norm(y, b.eps, name=f"{b.name}.bn{i}", dtype=dtype)
            y = relu(y, name=f"{b.name}.relu{i}", dtype=dtype) if i < len(b.out) else y
    if b.se:
        y = SEBlock.of(b.se, name=layer_name(f"{b.name}.se"), dtype=dtype)(y)
    x = shortcut(x, b, dtype=dtype)
    if b.order == "pre":
        return layers.Add(name=layer_name(b.name), dtype=dtype)([y, x])
    y = layers.Add(name=layer_name(f"{b.name}.add"), dtype=dtype)([y, x])
    return relu(y, name=b.name, dtype=dtype)


def shortcut(x: Any, b: UnitSpec, *, dtype: Any) -> Any:
    """The other path: a projection where the unit changes its shape, or pixels left out and channels of zeros."""
    match b.shortcut:
        case "projection" if b.order == "post":
            return projection(x, b, dtype=dtype)
        case "projection":
            return conv(x, b.out_channels, 1, b.stride, name=f"{b.name}.shortcut", dtype=dtype)
        case "zeros":
            return option_a(x, b.stride, b.out_channels - b.in_channels, name=f"{b.name}.shortcut", dtype=dtype)
        case None:
            return x


def projection(x: Any, b: UnitSpec, *, dtype: Any) -> Any:
    """A 1x1 convolution with BatchNorm."""
    x = conv(x, b.out_channels, 1, b.stride, name=f"{b.name}.shortcut.conv", dtype=dtype)
    return batch_norm(x, b.eps, name=f"{b.name}.shortcut.bn", dtype=dtype)


def option_a(x: Any, stride: int, channels: int, *, name: str, dtype: Any) -> Any:
    """Every pixel that the stride meets, and so many channels of zeros."""
    if stride > 1:
        x = layers.AveragePooling2D(1, stride, data_format=CHANNELS, name=layer_name(f"{name}.pool"), dtype=dtype)(x)
    return AppendZeros(channels, name=layer_name(f"{name}.zeros"), dtype=dtype)(x) if channels else x
