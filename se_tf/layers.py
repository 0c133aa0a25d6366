"""Caffe's layers in Keras: geometry, constants and initialisation written out, none left to a default."""

from typing import Any

import keras
from keras import layers, ops

CHANNELS = "channels_last"
"""Whatever the user's ``image_data_format`` is."""


def conv(x: Any, out: int, kernel: int, stride: int = 1, groups: int = 1, *, name: str, dtype: Any) -> Any:
    """A convolution without bias, initialised as by He et al. (https://arxiv.org/abs/1502.01852)."""
    if kernel > 1:
        # Half the kernel on all four sides: "same" would pad a convolution of stride 2 on one side only.
        x = layers.ZeroPadding2D(kernel // 2, CHANNELS, name=f"{name}.pad", dtype=dtype)(x)
    return layers.Conv2D(
        out,
        kernel,
        stride,
        "valid",
        CHANNELS,
        groups=groups,
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
        dtype=dtype,
    )(x)


@keras.saving.register_keras_serializable("senet")
class BatchNorm(layers.BatchNormalization):
    """Keras' BatchNormalization, with a choice of what training makes of the running variance.

    Attributes:
        unbiased: whether the running variance takes in the unbiased variance, as PyTorch's and Caffe's own rules do.
    """

    def __init__(self, unbiased: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unbiased = unbiased

    def call(self, x: Any, training: bool | None = None) -> Any:  # (N, H, W, C)
        y = super().call(x, training=training)
        if training and self.trainable and self.unbiased:
            # Keras took in v; v M / (M - 1) is more by v / (M - 1).
            v = ops.var(ops.cast(x, self.moving_variance.dtype), (0, 1, 2))
            others = ops.maximum(ops.cast(ops.size(x) // ops.shape(x)[-1] - 1, v.dtype), 1)
            self.moving_variance.assign_add((1 - self.momentum) * ops.stop_gradient(v) / others)
        return y

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "unbiased": self.unbiased}


def batch_norm(x: Any, eps: float, *, name: str, dtype: Any) -> Any:
    """Caffe's BatchNorm and Scale. Training keeps 0.9 of the running statistics."""
    return BatchNorm(axis=-1, momentum=0.9, epsilon=eps, name=name, dtype=dtype)(x)


def relu(x: Any, *, name: str, dtype: Any) -> Any:
    """max(x, 0)."""
    return layers.ReLU(name=name, dtype=dtype)(x)


def linear(out: int, *, name: str, dtype: Any) -> layers.Dense:
    """A fully connected layer with bias."""
    return layers.Dense(out, kernel_initializer="he_normal", name=name, dtype=dtype)


@keras.saving.register_keras_serializable("senet")
class MaxPool(layers.Layer):
    """The largest in windows of 3x3."""

    def __init__(self, stride: int, pad: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stride, self.pad = stride, pad

    def call(self, x: Any) -> Any:
        # Sizes round up, as Caffe's: the last window may hang over the edge. Padding is -inf: it never wins.
        sides = (self.pad, self.pad + self.stride - 1)
        x = ops.pad(x, ((0, 0), sides, sides, (0, 0)), constant_values=-float("inf"))
        return ops.max_pool(x, 3, self.stride, "valid", CHANNELS)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stride": self.stride, "pad": self.pad}


@keras.saving.register_keras_serializable("senet")
class AvgPool(layers.Layer):
    """The means of windows of 3x3."""

    def __init__(self, stride: int, pad: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stride, self.pad = stride, pad

    def call(self, x: Any) -> Any:
        # Caffe divides by the size of the window with its padding, but without what hangs over the edge.
        x = ops.pad(x, ((0, 0), (self.pad, self.pad), (self.pad, self.pad), (0, 0)))
        inside = ops.ones_like(x)
        over = (0, self.stride - 1)
        x, inside = (ops.pad(a, ((0, 0), over, over, (0, 0))) for a in (x, inside))
        mean, share = (ops.average_pool(a, 3, self.stride, "valid", CHANNELS) for a in (x, inside))
        return mean / share

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stride": self.stride, "pad": self.pad}
