"""ShuffleNet V1 with SE blocks and without, in Keras. Compare se_torch/shufflenet.py and se_jax/shufflenet.py."""

from typing import Any

import keras
from keras import layers

from se_tf.layers import (
    CHANNELS,
    AvgPool,
    GlobalAveragePooling2D,
    MaxPool,
    Shuffle,
    batch_norm,
    conv,
    layer_name,
    linear,
    relu,
)
from se_tf.network import Network
from se_tf.se_block import SEBlock
from weights import ShuffleNetSpec
from weights.networks.shufflenet import ShuffleUnitSpec


@keras.saving.register_keras_serializable("senet")
class ShuffleNet(Network):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes."""

    def __init__(self, spec: ShuffleNetSpec, *, dtype: Any = None, **kwargs: Any) -> None:
        policy = keras.dtype_policies.get(dtype)
        images = keras.Input((None, None, spec.in_channels), dtype=policy.compute_dtype, name="data")
        x = stem(images, spec, dtype=policy)
        for block in spec.blocks():
            x = shuffle_unit(x, block, dtype=policy)
        x = GlobalAveragePooling2D(CHANNELS, name="pool", dtype=policy)(x)
        if spec.classes:
            x = layers.Dropout(spec.dropout, name="dropout", dtype=policy)(x)
            x = linear(spec.classes, name="fc", dtype=policy)(x)
        super().__init__(spec, images, x, policy, **kwargs)


def stem(x: Any, spec: ShuffleNetSpec, *, dtype: Any) -> Any:
    """(N, H, W, 3) to (N, H / 4, W / 4, C)."""
    padded = spec.stem_pool == "torchvision"
    x = conv(x, spec.stem_channels, 3, 2, name="stem.conv", dtype=dtype)
    x = batch_norm(x, spec.eps, name="stem.bn", dtype=dtype)
    x = relu(x, name="stem.relu", dtype=dtype)
    name = layer_name("stem.pool")
    return MaxPool(stride=2, pad=1 if padded else 0, rounds_up=not padded, name=name, dtype=dtype)(x)


def shuffle_unit(x: Any, b: ShuffleUnitSpec, *, dtype: Any) -> Any:
    """relu(se(branch(x)) + x); with stride 2 relu of the pooled x and se(branch(x)) side by side; or SE after that."""
    y = conv(x, b.width, 1, groups=b.first_groups, name=f"{b.name}.conv1", dtype=dtype)
    y = batch_norm(y, b.eps, name=f"{b.name}.bn1", dtype=dtype)
    y = relu(y, name=f"{b.name}.relu1", dtype=dtype)
    y = Shuffle(b.groups, name=layer_name(f"{b.name}.shuffle"), dtype=dtype)(y)
    y = conv(y, b.width, 3, b.stride, b.width, name=f"{b.name}.conv2", dtype=dtype)
    y = batch_norm(y, b.eps, name=f"{b.name}.bn2", dtype=dtype)
    y = conv(y, b.branch, 1, groups=b.groups, name=f"{b.name}.conv3", dtype=dtype)
    y = batch_norm(y, b.eps, name=f"{b.name}.bn3", dtype=dtype)
    if b.se and b.position == "standard":
        y = SEBlock.of(b.se, name=layer_name(f"{b.name}.se"), dtype=dtype)(y)
    if b.stride == 2:
        x = AvgPool(stride=2, pad=1, rounds_up=False, name=layer_name(f"{b.name}.pool"), dtype=dtype)(x)
        maps = [x, y] if b.concatenation == "pooled-first" else [y, x]
        y = layers.Concatenate(-1, name=layer_name(f"{b.name}.concat"), dtype=dtype)(maps)
    else:
        y = layers.Add(name=layer_name(f"{b.name}.add"), dtype=dtype)([y, x])
    if not (b.se and b.position == "post"):
        return relu(y, name=b.name, dtype=dtype)
    y = relu(y, name=f"{b.name}.relu", dtype=dtype)
    y = SEBlock.of(b.se, name=layer_name(f"{b.name}.se"), dtype=dtype)(y)
    return layers.Identity(name=layer_name(b.name), dtype=dtype)(y)  # the whole unit's output, by its name
