"""Caffe's layers in Keras: geometry, constants and initialisation written out, none left to a default."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, cast

import keras
from keras import layers, ops

from weights.names.keras import flat
from weights.networks.operations import Activation, Padding
from weights.networks.shake import Shares

CHANNELS = "channels_last"
"""Whatever the user's ``image_data_format`` is."""


def layer_name(node: str) -> str:
    """The layer that computes a node of ``weights.graph``: it has the node's name, where PyTorch has no say in it."""
    return flat(node) if keras.backend.backend() == "torch" else node


def conv(
    x: Any,
    out: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    groups: int = 1,
    *,
    pad: Padding | None = None,
    bias: bool = False,
    name: str,
    dtype: Any,
) -> Any:
    """A convolution, initialised as by He et al. (https://arxiv.org/abs/1502.01852).

    By default half the kernel is padded on all four sides, whatever the stride; sizes round down.
    """
    h, w = (kernel, kernel) if isinstance(kernel, int) else kernel
    pad = (h // 2, w // 2) if pad is None else pad
    if pad == "even":  # what "same" has at sizes that the stride divides
        sides = [(max(k - stride, 0) // 2, (max(k - stride, 0) + 1) // 2) for k in (h, w)]
    else:
        sides = 0 if pad == "same" else pad
    if sides not in (0, (0, 0)):
        if stride == 1 and pad in (h // 2, (h // 2, w // 2)) and h % 2 == w % 2 == 1:
            # "same" has these sides at every size, and makes no larger copy of the input. The layer stays, for files
            # name layers by their order.
            pad = "same"
            x = layers.Identity(name=layer_name(f"{name}.pad"), dtype=dtype)(x)
        else:
            x = layers.ZeroPadding2D(sides, CHANNELS, name=layer_name(f"{name}.pad"), dtype=dtype)(x)
    return Conv2D(
        out,
        (h, w),
        stride,
        "same" if pad == "same" else "valid",
        CHANNELS,
        groups=groups,
        use_bias=bias,
        kernel_initializer="he_normal",
        name=layer_name(name),
        dtype=dtype,
    )(x)


def batch_norm(x: Any, eps: float, *, name: str, dtype: Any) -> Any:
    """Caffe's BatchNorm and Scale. Training keeps 0.9 of the running statistics."""
    return BatchNorm(axis=-1, momentum=0.9, epsilon=eps, name=layer_name(name), dtype=dtype)(x)


def relu(x: Any, *, name: str, dtype: Any) -> Any:
    """max(x, 0)."""
    return layers.ReLU(name=layer_name(name), dtype=dtype)(x)


def activation(function: Activation, *, name: str, dtype: Any) -> layers.Layer:
    """The layer of an activation; its name is taken as it is."""
    if function == "relu":
        return layers.ReLU(name=name, dtype=dtype)
    return layers.Activation(ACTIVATIONS[function], name=name, dtype=dtype)


def linear(out: int, bias: bool = True, *, name: str, dtype: Any) -> layers.Dense:
    """A fully connected layer: a matrix along the channels, of (N, C) or of every pixel of (N, H, W, C)."""
    return Dense(out, use_bias=bias, kernel_initializer="he_normal", name=name, dtype=dtype)


# Keras' own normalisation, mean and product round float64 to float32 on JAX and PyTorch, whatever the layer's dtype is;
# so does its tanh on JAX. The three layers and the function below are Keras', but for that.


def _wide(dtype: str) -> str:
    return "float64" if dtype == "float64" else "float32"


def _count(x: Any, axes: tuple[int, ...]) -> Any:
    """How many values a sum over these axes takes in."""
    size: Any = ops.shape(x)
    return ops.cast(prod(size[i] for i in axes), x.dtype)


@keras.saving.register_keras_serializable("senet")
class Conv2D(layers.Conv2D):
    """Keras' layer; one with a group for each channel is computed as Keras' DepthwiseConv2D does.

    On CPUs TensorFlow compiles grouped convolutions for want of an operation, and their gradients are slow. The kernel
    is that of all convolutions here, (h, w, C / groups, C), so that files do not differ.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        if not 1 < self.groups == self.filters == inputs.shape[-1]:
            return super().convolution_op(inputs, kernel)
        kernel = ops.transpose(kernel, (0, 1, 3, 2))  # (h, w, C, 1)
        return ops.depthwise_conv(inputs, kernel, self.strides[0], self.padding, CHANNELS)


@keras.saving.register_keras_serializable("senet")
class BatchNorm(layers.BatchNormalization):
    """Keras' BatchNormalization, with a choice of what training makes of the running variance.

    Attributes:
        unbiased: whether updates use the unbiased variance of the batch, M / (M - 1) times the biased one, as PyTorch's
            and Caffe's own rules do.
    """

    def __init__(self, unbiased: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unbiased = unbiased

    # Keras' takes a mask too, and images have none.
    def call(self, inputs: Any, training: bool | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        to = _wide(self.compute_dtype)
        held: list[Any] = [self.moving_mean, self.moving_variance]
        x, mean, variance = (ops.cast(a, to) for a in (inputs, *held))
        if training and self.trainable:
            old: Any = mean, variance
            mean, variance = cast(Any, ops.moments(x, (0, 1, 2)))
            others = ops.maximum(_count(x, (0, 1, 2)) - 1, 1)
            taken_in = variance + variance / others if self.unbiased else variance  # v M / (M - 1)
            for variable, was, new in zip(held, old, (mean, taken_in), strict=True):
                variable.assign(was * self.momentum + new * (1 - self.momentum))
        gamma, beta = ops.cast(self.gamma, to), ops.cast(self.beta, to)
        x = ops.batch_normalization(x, mean, variance, -1, beta, gamma, self.epsilon)
        return ops.cast(x, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "unbiased": self.unbiased}


@keras.saving.register_keras_serializable("senet")
class Dense(layers.Dense):
    """Keras' layer: a matrix along the last axis."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        del training
        x = inputs @ ops.convert_to_tensor(self.kernel)
        return x + ops.convert_to_tensor(self.bias) if self.use_bias else x


def tanh(x: Any) -> Any:
    """(exp(2x) - 1) / (exp(2x) + 1), in the dtype of x."""
    if keras.backend.backend() != "jax" or keras.backend.standardize_dtype(x.dtype) != "float64":
        return ops.tanh(x)
    # By the power less 1, of which nothing is lost near 0. From 20 on the result is 1, and no power may overflow.
    twice: Any = 2 * x
    power: Any = ops.expm1(ops.clip(twice, -40, 40))
    return power / (power + 2)


ACTIVATIONS: Mapping[Activation, str | Callable[[Any], Any]] = {
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "swish": "silu",
    "tanh": tanh,
    "hard-sigmoid": "hard_sigmoid",
    "hard-swish": "hard_silu",
}


@keras.saving.register_keras_serializable("senet")
class GlobalAveragePooling2D(layers.GlobalAveragePooling2D):
    """Keras' layer: (N, H, W, C) to (N, C)."""

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, _wide(self.compute_dtype))
        total: Any = ops.sum(x, (1, 2))
        return ops.cast(total / _count(x, (1, 2)), self.compute_dtype)


@keras.saving.register_keras_serializable("senet")
class GlobalMaxPooling2D(layers.GlobalMaxPooling2D):
    """Keras' layer: (N, H, W, C) to (N, C). Of equal values the first one takes the whole gradient, as in Caffe.

    Attributes:
        has_gradient: whether that is needed; LiteRT has no operation for it.
    """

    has_gradient = True

    def call(self, inputs: Any) -> Any:
        if not self.has_gradient:
            return ops.max(inputs, (1, 2))
        size: Any = ops.shape(inputs)
        x = ops.reshape(inputs, (-1, size[1] * size[2], size[3]))
        # ops.max would share the gradient out among equal values.
        first = ops.expand_dims(ops.argmax(x, 1), 1)
        return ops.squeeze(ops.take_along_axis(x, first, 1), 1)


@keras.saving.register_keras_serializable("senet")
class MaxPool(layers.Layer):
    """The largest in windows; ``after`` is that much more padding at the end of each axis.

    Attributes:
        repeats_edge: whether the padding repeats the pixels at the edge instead of being -inf: the same maxima, for no
            window lies beside the map, without a value that no 8 bits hold.
    """

    repeats_edge = False

    def __init__(
        self, stride: int, pad: int, after: int = 0, kernel: int = 3, rounds_up: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.stride, self.pad, self.after, self.kernel, self.rounds_up = stride, pad, after, kernel, rounds_up

    def call(self, x: Any) -> Any:
        # Caffe's sizes round up: the last window may hang over the edge. Padding is -inf: it never wins.
        before, after = self.pad, self.pad + self.after + (self.stride - 1 if self.rounds_up else 0)
        if self.repeats_edge:
            for i in range(max(before, after)):  # a mirror of one pixel is that pixel
                sides = (int(i < before), int(i < after))
                x = ops.pad(x, ((0, 0), sides, sides, (0, 0)), mode="symmetric")
        else:
            sides = (before, after)
            x = ops.pad(x, ((0, 0), sides, sides, (0, 0)), constant_values=-float("inf"))
        return ops.max_pool(x, self.kernel, self.stride, "valid", CHANNELS)

    def get_config(self) -> dict[str, Any]:
        own = {"stride": self.stride, "pad": self.pad, "after": self.after}
        return {**super().get_config(), **own, "kernel": self.kernel, "rounds_up": self.rounds_up}


@keras.saving.register_keras_serializable("senet")
class AvgPool(layers.Layer):
    """The means of windows."""

    def __init__(
        self, stride: int, pad: int, kernel: int = 3, rounds_up: bool = True, counted: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.stride, self.pad, self.kernel, self.rounds_up, self.counted = stride, pad, kernel, rounds_up, counted

    def call(self, x: Any) -> Any:
        # Caffe divides by the size of the window with its padding, but without what hangs over the edge.
        sides = ((0, 0), (self.pad, self.pad), (self.pad, self.pad), (0, 0))
        over = (0, self.stride - 1 if self.rounds_up else 0)
        inside = ops.pad(ops.ones_like(x), sides, constant_values=float(self.counted))
        x, inside = (ops.pad(a, ((0, 0), over, over, (0, 0))) for a in (ops.pad(x, sides), inside))
        mean, share = (ops.average_pool(a, self.kernel, self.stride, "valid", CHANNELS) for a in (x, inside))
        return mean / share

    def get_config(self) -> dict[str, Any]:
        own = {"stride": self.stride, "pad": self.pad, "kernel": self.kernel}
        return {**super().get_config(), **own, "rounds_up": self.rounds_up, "counted": self.counted}


@keras.saving.register_keras_serializable("senet")
class AppendZeros(layers.Layer):
    """So many channels of zeros behind the map's."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels

    def call(self, x: Any) -> Any:
        return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.channels)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}


@keras.saving.register_keras_serializable("senet")
class Shift(layers.Layer):
    """The map moved by one pixel to the right and down; zeros enter above and left, the last row and column leave."""

    def call(self, x: Any) -> Any:
        padded: Any = ops.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0)))
        return padded[:, :-1, :-1]


@keras.saving.register_keras_serializable("senet")
class Mix(layers.Layer):
    """alpha a + (1 - alpha) b, whose gradients are beta and 1 - beta of the output's; in inference halves.

    In training alpha is drawn from 0..1 for every image, by a ``SeedGenerator``; beta too ("shake-shake"), or it is 1/2
    ("shake-even"); or both are 1/2 ("even-even").

    Shape:
        A list of two maps (N, H, W, C) to one; ``shares``, alpha and beta (N, 1, 1, 1), are taken instead of random
        ones.
    """

    def __init__(self, rule: Shares, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rule: Shares = rule
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed) if rule != "even-even" else None

    def call(self, maps: Any, training: bool | None = None, shares: tuple[Any, Any] | None = None) -> Any:
        a, b = maps
        if not training or self.rule == "even-even":
            return 0.5 * a + 0.5 * b
        alpha, beta = shares or self.draw(a)
        # The second summand has the values that alpha makes of the first one, and no gradient.
        return beta * a + (1 - beta) * b + ops.stop_gradient((alpha - beta) * (a - b))

    def draw(self, x: Any) -> tuple[Any, Any]:
        """Alpha and beta for every image of a batch."""
        size: Any = ops.shape(x)
        drawn: Any = keras.random.uniform((2, size[0], 1, 1, 1), dtype=x.dtype, seed=self.seed_generator)
        return drawn[0], drawn[1] if self.rule == "shake-shake" else ops.full_like(drawn[1], 0.5)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rule": self.rule, "seed": self.seed}


@keras.saving.register_keras_serializable("senet")
class Flatten(layers.Layer):
    """(N, H, W, C) to (N, C H W), in the order of PyTorch and Caffe: all frameworks share the matrix after it."""

    def call(self, x: Any) -> Any:
        return ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (-1, prod(x.shape[1:])))


@keras.saving.register_keras_serializable("senet")
class Times(layers.Layer):
    """The input times a constant."""

    def __init__(self, factor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        return self.factor * x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("senet")
class Shuffle(layers.Layer):
    """Channels (groups, C / groups) in the order (C / groups, groups), ShuffleNet's."""

    def __init__(self, groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, x: Any) -> Any:
        shape: Any = ops.shape(x)
        *size, channels = shape
        apart: Any = ops.reshape(x, (*size, self.groups, channels // self.groups))
        return ops.reshape(ops.swapaxes(apart, -1, -2), (*size, channels))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}
