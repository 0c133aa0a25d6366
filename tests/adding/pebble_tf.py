"""Pebble in Keras. Compare pebble_torch.py and pebble_jax.py."""

from typing import Any

import keras
from keras import layers

from se_tf.layers import CHANNELS, GlobalAveragePooling2D, batch_norm, conv, layer_name, linear, relu
from se_tf.network import Network
from se_tf.se_block import SEBlock
from tests.adding.pebble import PebbleSpec, UnitSpec


@keras.saving.register_keras_serializable("senet")
class Pebble(Network):
    """Images (N, H, W, 3) to logits (N, classes)."""

    def __init__(self, spec: PebbleSpec, *, dtype: Any = "float32", **kwargs: Any) -> None:
        policy = keras.dtype_policies.get(dtype)
        images = keras.Input((None, None, 3), dtype=policy.compute_dtype, name="data")
        x = images
        for block in spec.blocks():
            x = unit(x, block, dtype=policy)
        x = GlobalAveragePooling2D(CHANNELS, name="pool", dtype=policy)(x)
        if spec.classes:
            x = layers.Dropout(spec.dropout, name="dropout", dtype=policy)(x)
            x = linear(spec.classes, name="fc", dtype=policy)(x)
        super().__init__(spec, images, x, policy, **kwargs)


def unit(x: Any, b: UnitSpec, *, dtype: Any) -> Any:
    """se(relu(bn(conv(x))))."""
    x = conv(x, b.out_channels, 3, 2, name=f"{b.name}.conv", dtype=dtype)
    x = batch_norm(x, b.eps, name=f"{b.name}.bn", dtype=dtype)
    x = relu(x, name=f"{b.name}.relu", dtype=dtype)
    return SEBlock.of(b.se, name=layer_name(f"{b.name}.se"), dtype=dtype)(x) if b.se else x
