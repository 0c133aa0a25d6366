"""Inception-ResNet-v2, with SE blocks or plain, in Keras. Compare inception_resnet.py of se_torch and se_jax."""

from typing import Any

import keras
from keras import layers

from se_tf.layers import (
    CHANNELS,
    AvgPool,
    GlobalAveragePooling2D,
    MaxPool,
    Times,
    batch_norm,
    conv,
    layer_name,
    linear,
    relu,
)
from se_tf.network import Network
from se_tf.se_block import SEBlock
from weights import InceptionResNetSpec
from weights.networks.inception_resnet import ConvSpec, ModuleSpec, PoolSpec, UnitSpec


@keras.saving.register_keras_serializable("senet")
class InceptionResNet(Network):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: InceptionResNetSpec, *, dtype: Any = None, **kwargs: Any) -> None:
        policy = keras.dtype_policies.get(dtype)
        images = keras.Input((None, None, spec.in_channels), dtype=policy.compute_dtype, name="data")
        x = images
        for block in spec.blocks():
            match block:
                case ConvSpec():
                    x = conv_unit(x, block, dtype=policy)
                case PoolSpec(name=name):
                    x = MaxPool(stride=2, pad=0, rounds_up=False, name=name, dtype=policy)(x)
                case ModuleSpec():
                    x = inception_module(x, block, dtype=policy)
                case UnitSpec():
                    x = unit(x, block, dtype=policy)
        x = GlobalAveragePooling2D(CHANNELS, name="pool", dtype=policy)(x)
        if spec.classes:
            x = layers.Dropout(spec.dropout, name="dropout", dtype=policy)(x)
            x = linear(spec.classes, name="fc", dtype=policy)(x)
        super().__init__(spec, images, x, policy, **kwargs)


def conv_unit(x: Any, b: ConvSpec, *, dtype: Any) -> Any:
    """Convolution, BatchNorm, ReLU."""
    x = conv(x, b.out_channels, b.kernel, b.stride, pad=b.pad, name=f"{b.name}.conv", dtype=dtype)
    x = batch_norm(x, b.eps, name=f"{b.name}.bn", dtype=dtype)
    return relu(x, name=b.name, dtype=dtype)


def inception_module(x: Any, m: ModuleSpec, *, dtype: Any) -> Any:
    """se(concat(branches(x), project(pool(x))))."""
    branches = [_in_turn(x, units, dtype=dtype) for units in m.branches]
    name, pad = layer_name(f"{m.name}.pool"), 1 if m.stride == 1 else 0
    if m.pool == "max":
        y = MaxPool(m.stride, pad, rounds_up=False, name=name, dtype=dtype)(x)
    else:
        y = AvgPool(m.stride, pad, rounds_up=False, counted=m.counted, name=name, dtype=dtype)(x)
    branches.append(conv_unit(y, m.project, dtype=dtype) if m.project else y)
    y = layers.Concatenate(-1, name=layer_name(f"{m.name}.concat"), dtype=dtype)(branches)
    y = SEBlock.of(m.se, name=layer_name(f"{m.name}.se"), dtype=dtype)(y) if m.se else y
    return layers.Identity(name=m.name, dtype=dtype)(y)  # the whole module's output, by its name


def unit(x: Any, u: UnitSpec, *, dtype: Any) -> Any:
    """relu(scale * se(conv(concat(branches(x)))) + x), or with the SE block after the scaling."""
    y = [_in_turn(x, units, dtype=dtype) for units in u.branches]
    # Joined also where there is one branch alone.
    y = layers.Concatenate(-1, name=layer_name(f"{u.name}.concat"), dtype=dtype)(y) if len(y) > 1 else y[0]
    y = conv(y, u.channels, 1, bias=True, name=f"{u.name}.conv", dtype=dtype)
    se = SEBlock.of(u.se, name=layer_name(f"{u.name}.se"), dtype=dtype) if u.se else None
    y = se(y) if se and not u.se_after_scaling else y
    y = y if u.scale is None else Times(u.scale, name=layer_name(f"{u.name}.times"), dtype=dtype)(y)
    y = se(y) if se and u.se_after_scaling else y
    name = f"{u.name}.add" if u.relu else u.name
    y = layers.Add(name=layer_name(name), dtype=dtype)([y, x])
    return relu(y, name=u.name, dtype=dtype) if u.relu else y


def _in_turn(x: Any, units: tuple[ConvSpec, ...], *, dtype: Any) -> Any:
    for b in units:
        x = conv_unit(x, b, dtype=dtype)
    return x
