"""VGG with BatchNorm and SE blocks, or without either, in Keras. Compare se_torch/vgg.py and se_jax/vgg.py."""

from typing import Any

import keras
from keras import layers

from se_tf.layers import Flatten, MaxPool, batch_norm, conv, layer_name, linear, relu
from se_tf.network import Network
from se_tf.se_block import SEBlock
from weights import VGGSpec
from weights.networks.sizes import check_size
from weights.networks.vgg import LayerSpec


@keras.saving.register_keras_serializable("senet")
class VGG(Network):
    """Images (N, size, size, 3) to logits (N, classes), or to the last hidden layer where the spec has no classes."""

    def __init__(self, spec: VGGSpec, *, dtype: Any = None, **kwargs: Any) -> None:
        policy = keras.dtype_policies.get(dtype)
        images = keras.Input((*spec.only_size, spec.in_channels), dtype=policy.compute_dtype, name="data")
        x = images
        for i, blocks in enumerate(spec.stages, 1):
            for block in blocks:
                x = layer(x, block, dtype=policy)
            x = MaxPool(stride=2, pad=0, kernel=2, rounds_up=False, name=f"pool{i}", dtype=policy)(x)  # of even sizes
        x = head(x, spec, dtype=policy)
        if spec.classes:
            x = layers.Dropout(spec.dropout, name="dropout", dtype=policy)(x)
            x = linear(spec.classes, name="fc", dtype=policy)(x)
        super().__init__(spec, images, x, policy, **kwargs)

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        height, width = x.shape[1:3]
        if height and width:  # unknown in a graph of images of any size
            check_size(self.spec, height, width)
        return super().__call__(x, *args, **kwargs)


def layer(x: Any, b: LayerSpec, *, dtype: Any) -> Any:
    """se(relu(bn(conv(x))))."""
    x = conv(x, b.out_channels, 3, bias=b.bias, name=f"{b.name}.conv", dtype=dtype)
    x = batch_norm(x, b.eps, name=f"{b.name}.bn", dtype=dtype) if b.batch_norm else x
    x = relu(x, name=f"{b.name}.relu", dtype=dtype)
    x = SEBlock.of(b.se, name=layer_name(f"{b.name}.se"), dtype=dtype)(x) if b.se else x
    return layers.Identity(name=layer_name(b.name), dtype=dtype)(x)  # the whole layer's output, by its name


def head(x: Any, spec: VGGSpec, *, dtype: Any) -> Any:
    """(N, h, w, C) to (N, units of the last hidden layer); the dropout after that is the network's."""
    x = Flatten(name=layer_name("head.flatten"), dtype=dtype)(x)
    for i, out in enumerate(spec.hidden, 1):
        x = linear(out, name=layer_name(f"head.fc{i}"), dtype=dtype)(x)
        x = relu(x, name=f"head.relu{i}", dtype=dtype)
        if i < len(spec.hidden):
            x = layers.Dropout(spec.dropout, name=layer_name(f"head.dropout{i}"), dtype=dtype)(x)
    return x
