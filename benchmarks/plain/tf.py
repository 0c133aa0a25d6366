"""SE-ResNet-50 in Keras, as directly as it can be written."""

from typing import Any

import keras
from keras import layers


def se_resnet50() -> keras.Model:
    """Images (N, 224, 224, 3) to logits (N, 1000), randomly initialised."""
    images = keras.Input((224, 224, 3))
    x: Any = layers.Conv2D(64, 7, 2, "same", use_bias=False)(images)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D(3, 2, "same")(x)
    for stage, depth in enumerate((3, 4, 6, 3)):
        for unit in range(depth):
            x = bottleneck(x, 64 * 2**stage, 2 if stage and not unit else 1)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(1000)(x))


def bottleneck(x: Any, width: int, stride: int) -> Any:
    """relu(se(residual(x)) + shortcut(x))."""
    out = 4 * width
    y: Any = layers.Conv2D(width, 1, stride, use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.Conv2D(width, 3, padding="same", use_bias=False)(y)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.Conv2D(out, 1, use_bias=False)(y)
    y = se(layers.BatchNormalization()(y), out)
    if x.shape[-1] != out:
        x = layers.BatchNormalization()(layers.Conv2D(out, 1, stride, use_bias=False)(x))
    return layers.ReLU()(layers.Add()([y, x]))


def se(x: Any, channels: int) -> Any:
    """Rescales channels."""
    s: Any = layers.GlobalAveragePooling2D(keepdims=True)(x)
    s = layers.Dense(channels // 16, activation="relu")(s)
    s = layers.Dense(channels, activation="sigmoid")(s)
    return layers.Multiply()([x, s])
