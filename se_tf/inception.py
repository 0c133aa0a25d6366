"""SE-BN-Inception and BN-Inception, in Keras. Compare se_torch/inception.py and se_jax/inception.py."""

from functools import partial
from typing import Any

import keras
from keras import layers

from se_tf.layers import CHANNELS, AvgPool, GlobalAveragePooling2D, MaxPool, batch_norm, conv, layer_name, linear, relu
from se_tf.network import Network
from se_tf.se_block import SEBlock
from weights import InceptionSpec
from weights.networks.inception import ModuleSpec


@keras.saving.register_keras_serializable("senet")
class Inception(Network):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: InceptionSpec, *, dtype: Any = None, **kwargs: Any) -> None:
        policy = keras.dtype_policies.get(dtype)
        images = keras.Input((None, None, spec.in_channels), dtype=policy.compute_dtype, name="data")
        x = stem(images, spec, dtype=policy)
        for block in spec.blocks():
            x = inception_module(x, block, dtype=policy)
        x = GlobalAveragePooling2D(CHANNELS, name="pool", dtype=policy)(x)
        if spec.classes:
            x = layers.Dropout(spec.dropout, name="dropout", dtype=policy)(x)
            x = linear(spec.classes, name="fc", dtype=policy)(x)
        super().__init__(spec, images, x, policy, **kwargs)


def stem(x: Any, spec: InceptionSpec, *, dtype: Any) -> Any:
    """(N, H, W, 3) to (N, H / 8, W / 8, C)."""
    for i, (out, kernel) in enumerate(spec.stem, 1):
        x = conv(x, out, kernel, 2 if i == 1 else 1, name=f"stem.conv{i}", dtype=dtype)
        x = batch_norm(x, spec.eps, name=f"stem.bn{i}", dtype=dtype)
        x = relu(x, name=f"stem.relu{i}", dtype=dtype)
        if i in (1, 3):
            x = MaxPool(stride=2, pad=0, name=layer_name("stem.pool1" if i == 1 else "stem.pool2"), dtype=dtype)(x)
    return x


def inception_module(x: Any, m: ModuleSpec, *, dtype: Any) -> Any:
    """Up to four branches side by side: 1x1; 3x3; 3x3 twice; pooling."""
    reduce, out = m.conv3x3
    reduce_double, out_double1, out_double2 = m.double3x3
    # In a module of stride 2 the windows of the pooling hang over the edge, of odd sizes too, which Caffe refuses;
    # otherwise padding keeps the size.
    pad, after = (0, 1) if m.stride == 2 else (1, 0)
    part = partial(unit, eps=m.eps, dtype=dtype)
    branches = [part(x, m.conv1x1, 1, name=f"{m.name}.conv1x1")] if m.conv1x1 else []
    y = part(x, reduce, 1, name=f"{m.name}.reduce3x3")
    branches.append(part(y, out, 3, m.stride, name=f"{m.name}.conv3x3"))
    y = part(x, reduce_double, 1, name=f"{m.name}.reduce_double")
    y = part(y, out_double1, 3, name=f"{m.name}.double1")
    branches.append(part(y, out_double2, 3, m.stride, name=f"{m.name}.double2"))
    name = layer_name(f"{m.name}.pool")
    if m.pool == "max":
        y = MaxPool(m.stride, pad, after, name=name, dtype=dtype)(x)
    else:
        y = AvgPool(m.stride, pad, name=name, dtype=dtype)(x)
    branches.append(part(y, m.project, 1, name=f"{m.name}.project") if m.project else y)
    y = layers.Concatenate(-1, name=layer_name(f"{m.name}.concat"), dtype=dtype)(branches)
    if m.se:
        y = SEBlock.of(m.se, name=layer_name(f"{m.name}.se"), dtype=dtype)(y)
    return layers.Identity(name=m.name, dtype=dtype)(y)  # the whole module's output, by its name


def unit(x: Any, out: int, kernel: int, stride: int = 1, *, name: str, eps: float, dtype: Any) -> Any:
    """Convolution, BatchNorm, ReLU."""
    x = conv(x, out, kernel, stride, name=f"{name}.conv", dtype=dtype)
    x = batch_norm(x, eps, name=f"{name}.bn", dtype=dtype)
    return relu(x, name=name, dtype=dtype)
