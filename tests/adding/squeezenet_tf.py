"""SqueezeNet in Keras. Compare squeezenet_torch.py and squeezenet_jax.py."""

from typing import Any

import keras
from keras import layers

from se_tf.layers import CHANNELS, GlobalAveragePooling2D, MaxPool, conv, layer_name, linear, relu
from se_tf.network import Network
from se_tf.se_block import SEBlock
from tests.adding.squeezenet import FireSpec, SqueezeNetSpec


@keras.saving.register_keras_serializable("senet")
class SqueezeNet(Network):
    """Images (N, H, W, 3) to logits (N, classes)."""

    def __init__(self, spec: SqueezeNetSpec, *, dtype: Any = "float32", **kwargs: Any) -> None:
        policy = keras.dtype_policies.get(dtype)
        images = keras.Input((None, None, spec.in_channels), dtype=policy.compute_dtype, name="data")
        x = conv(images, spec.first, 3, 2, pad=0, bias=True, name="conv", dtype=policy)
        x = relu(x, name="relu", dtype=policy)
        for block in spec.blocks():
            x = fire(x, block, dtype=policy)
        x = GlobalAveragePooling2D(CHANNELS, name="pool", dtype=policy)(x)
        if spec.classes:
            x = layers.Dropout(spec.dropout, name="dropout", dtype=policy)(x)
            x = linear(spec.classes, name="fc", dtype=policy)(x)
        super().__init__(spec, images, x, policy, **kwargs)


def fire(x: Any, b: FireSpec, *, dtype: Any) -> Any:
    """se(concat(expand1x1(s), expand3x3(s))), where s = squeeze(pool(x))."""

    def part(x: Any, name: str, out: int, kernel: int) -> Any:
        x = conv(x, out, kernel, bias=True, name=f"{b.name}.{name}", dtype=dtype)
        return relu(x, name=f"{b.name}.{name}_relu", dtype=dtype)

    if b.pooled:
        x = MaxPool(stride=2, pad=0, name=layer_name(f"{b.name}.pool"), dtype=dtype)(x)
    x = part(x, "squeeze", b.squeeze, 1)
    branches = [part(x, "expand1x1", b.expand, 1), part(x, "expand3x3", b.expand, 3)]
    if not b.se:
        return layers.Concatenate(-1, name=layer_name(b.name), dtype=dtype)(branches)
    x = layers.Concatenate(-1, name=layer_name(f"{b.name}.concat"), dtype=dtype)(branches)
    x = SEBlock.of(b.se, name=layer_name(f"{b.name}.se"), dtype=dtype)(x)
    return layers.Identity(name=layer_name(b.name), dtype=dtype)(x)  # the module's output, by its name
