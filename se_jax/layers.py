"""Caffe's layers in Flax: geometry, constants and initialisation written out, none left to a default.

Matrix products follow ``jax.default_matmul_precision``: on a GPU or TPU, "highest" for full float32.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from weights import InputError
from weights.networks.operations import Activation, Padding
from weights.networks.shake import Shares

HE = nnx.initializers.he_normal()
"""Initialisation by He et al. (https://arxiv.org/abs/1502.01852)."""


class Mixed(NamedTuple):
    """Two dtypes of a network: that of computation, and that of what is learned, as ``param_dtype`` is in Flax."""

    dtype: str
    param_dtype: str


Dtype = str | Mixed
"""One dtype of both, or two."""


def _dtypes(dtype: Dtype) -> dict[str, Any]:
    """As Flax's layers take them."""
    computed, learned = dtype if isinstance(dtype, Mixed) else (dtype, dtype)
    return {"dtype": jnp.dtype(computed), "param_dtype": jnp.dtype(learned)}


def conv(
    channels: int,
    out: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    groups: int = 1,
    *,
    pad: Padding | None = None,
    bias: bool = False,
    dtype: Dtype,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """A convolution. By default half the kernel is padded on all four sides, whatever the stride; sizes round down."""
    h, w = (kernel, kernel) if isinstance(kernel, int) else kernel
    match (h // 2, w // 2) if pad is None else pad:
        case "same":
            padding = "SAME"
        case "even":  # what "SAME" has at sizes that the stride divides
            padding = [(max(k - stride, 0) // 2, (max(k - stride, 0) + 1) // 2) for k in (h, w)]
        case int(all_sides):
            padding = [(all_sides, all_sides)] * 2
        case vertical, horizontal:
            padding = [(vertical, vertical), (horizontal, horizontal)]
    return nnx.Conv(
        channels,
        out,
        (h, w),
        (stride, stride),
        padding=padding,
        feature_group_count=groups,
        use_bias=bias,
        kernel_init=HE,
        bias_init=nnx.initializers.zeros,
        **_dtypes(dtype),
        rngs=rngs,
    )


def linear(channels: int, out: int, bias: bool = True, *, dtype: Dtype, rngs: nnx.Rngs) -> nnx.Linear:
    """A fully connected layer: a matrix along the channels, of (N, C) or of every pixel of (N, H, W, C)."""
    return nnx.Linear(
        channels,
        out,
        use_bias=bias,
        kernel_init=HE,
        bias_init=nnx.initializers.zeros,
        **_dtypes(dtype),
        rngs=rngs,
    )


class BatchNorm(nnx.BatchNorm):
    """Caffe's BatchNorm and Scale. Training keeps 0.9 of the running statistics.

    Statistics are held, and the normalisation computed, in float32 at least (Flax's are never more than float32); the
    output has the dtype of the input.

    Attributes:
        unbiased: whether updates use the unbiased variance of the batch, M / (M - 1) times the biased one, as PyTorch's
            and Caffe's own rules do.
    """

    def __init__(self, channels: int, eps: float, *, dtype: Dtype, rngs: nnx.Rngs) -> None:
        dtypes = _dtypes(dtype)
        wide = jnp.dtype("float64" if "float64" in dtypes.values() else "float32")
        super().__init__(
            channels,
            epsilon=eps,
            momentum=0.9,
            dtype=wide,
            param_dtype=dtypes["param_dtype"],
            use_fast_variance=False,  # E[x^2] - E[x]^2 cancels
            rngs=rngs,
        )
        self.mean = nnx.BatchStat(jnp.zeros(channels, wide))
        self.var = nnx.BatchStat(jnp.ones(channels, wide))
        self.unbiased = False

    # Flax's takes a mask too, and whose statistics to use; here train() and eval() say that.
    def __call__(self, x: Array) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        with jax.numpy_dtype_promotion("standard"):  # Flax mixes dtypes, which "strict" refuses
            y = super().__call__(x)
        if not self.use_running_average and self.unbiased:
            # Flax added the biased variance v; the unbiased one, v M / (M - 1), is larger by v / (M - 1).
            v = jax.lax.stop_gradient(x.astype(self.var.dtype).var((0, 1, 2)))
            self.var[...] += (1 - self.momentum) * v / max(x.size // x.shape[-1] - 1, 1)
        return y.astype(x.dtype)


class ReLU(nnx.Module):
    """max(x, 0)."""

    def __call__(self, x: Array) -> Array:
        return nnx.relu(x)


class Sigmoid(nnx.Module):
    """1 / (1 + exp(-x))."""

    def __call__(self, x: Array) -> Array:
        return nnx.sigmoid(x)


class Tanh(nnx.Module):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))."""

    def __call__(self, x: Array) -> Array:
        return nnx.tanh(x)


class HardSigmoid(nnx.Module):
    """min(max(x + 3, 0), 6) / 6."""

    def __call__(self, x: Array) -> Array:
        return nnx.hard_sigmoid(x)


class Swish(nnx.Module):
    """x / (1 + exp(-x))."""

    def __call__(self, x: Array) -> Array:
        return nnx.swish(x)


class ReLU6(nnx.Module):
    """min(max(x, 0), 6)."""

    def __call__(self, x: Array) -> Array:
        return nnx.relu6(x)


class HardSwish(nnx.Module):
    """x min(max(x + 3, 0), 6) / 6."""

    def __call__(self, x: Array) -> Array:
        return nnx.hard_swish(x)


Layer = Callable[[Array], Array]

ACTIVATIONS: Mapping[Activation, Callable[[], Layer]] = {
    "relu": ReLU,
    "relu6": ReLU6,
    "sigmoid": Sigmoid,
    "swish": Swish,
    "tanh": Tanh,
    "hard-sigmoid": HardSigmoid,
    "hard-swish": HardSwish,
}


class MaxPool(nnx.Module):
    """The largest in windows; ``after`` is that much more padding at the end of each axis."""

    def __init__(self, stride: int, pad: int, after: int = 0, *, kernel: int = 3, rounds_up: bool = True) -> None:
        # Caffe's sizes round up: the last window may hang over the edge.
        self.kernel, self.stride = kernel, stride
        self.sides = pad, pad + after + (stride - 1 if rounds_up else 0)

    def __call__(self, x: Array) -> Array:
        # Padding is -inf: it never wins.
        x = jnp.pad(x, ((0, 0), self.sides, self.sides, (0, 0)), constant_values=-jnp.inf)
        height, width = x.shape[1:3]  # which are symbols where the network is exported
        if height < self.kernel or width < self.kernel:
            # The other frameworks refuse; JAX would go on with empty maps, whose mean is NaN.
            raise InputError("the images are too small: nothing is left of them after a pooling")
        window, strides = (self.kernel, self.kernel), (self.stride, self.stride)
        # By name: the exporter jax2onnx takes it in no other way.
        return nnx.max_pool(x, window_shape=window, strides=strides, padding="VALID")


class AvgPool(nnx.Module):
    """The means of windows."""

    def __init__(self, stride: int, pad: int, *, kernel: int = 3, rounds_up: bool = True, counted: bool = True) -> None:
        self.kernel, self.stride, self.pad, self.counted = kernel, stride, pad, counted
        self.over = stride - 1 if rounds_up else 0

    def __call__(self, x: Array) -> Array:
        # Caffe divides by the size of the window with its padding, but without what hangs over the edge.
        sides = ((0, 0), (self.pad, self.pad), (self.pad, self.pad), (0, 0))
        over = ((0, 0), (0, self.over), (0, self.over), (0, 0))
        ones = jnp.pad(jnp.ones_like(x), sides, constant_values=float(self.counted))
        window, strides = (self.kernel, self.kernel), (self.stride, self.stride)
        with jax.numpy_dtype_promotion("standard"):  # Flax divides by an integer, which "strict" refuses
            mean, share = (
                nnx.avg_pool(jnp.pad(a, over), window_shape=window, strides=strides, padding="VALID")
                for a in (jnp.pad(x, sides), ones)
            )
        return mean / share


class GlobalAvgPool(nnx.Module):
    """(N, H, W, C) to (N, C)."""

    def __call__(self, x: Array) -> Array:
        return x.mean((1, 2))


class GlobalMaxPool(nnx.Module):
    """(N, H, W, C) to (N, C). Of equal values the first one takes the whole gradient, as in Caffe."""

    def __call__(self, x: Array) -> Array:
        # x.max would share the gradient out among equal values.
        return nnx.max_pool(x, window_shape=x.shape[1:3])[:, 0, 0]


class Identity(nnx.Module):
    """The value itself."""

    def __call__(self, x: Array) -> Array:
        return x


class Flatten(nnx.Module):
    """(N, H, W, C) to (N, C H W), in the order of PyTorch and Caffe: all frameworks share the matrix after it."""

    def __call__(self, x: Array) -> Array:
        return x.transpose(0, 3, 1, 2).reshape(len(x), -1)


class Times(nnx.Module):
    """The input times a constant."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, x: Array) -> Array:
        return self.factor * x


class Concat(nnx.Module):
    """Joins maps along their channels."""

    def __call__(self, maps: Sequence[Array]) -> Array:
        return jnp.concatenate(tuple(maps), -1)


class Subsample(nnx.Module):
    """The first of every ``stride`` pixels along both axes."""

    def __init__(self, stride: int) -> None:
        self.stride = stride

    def __call__(self, x: Array) -> Array:
        return x[:, :: self.stride, :: self.stride]


class AppendZeros(nnx.Module):
    """So many channels of zeros behind the map's."""

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def __call__(self, x: Array) -> Array:
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.channels)))


class Shift(nnx.Module):
    """The map moved by one pixel to the right and down; zeros enter above and left, the last row and column leave."""

    def __call__(self, x: Array) -> Array:
        return jnp.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0)))[:, :-1, :-1]


class Mix(nnx.Module):
    """alpha a + (1 - alpha) b, whose gradients are beta and 1 - beta of the output's; in inference halves.

    In training alpha is drawn from 0..1 for every image, by the stream of random numbers that dropout has; beta too
    ("shake-shake"), or it is 1/2 ("shake-even"); or both are 1/2 ("even-even").

    Shape:
        Two maps (N, H, W, C) to one; ``shares``, alpha and beta (N, 1, 1, 1), are taken instead of random ones.
    """

    def __init__(self, rule: Shares, *, rngs: nnx.Rngs) -> None:
        self.rule: Shares = rule
        self.deterministic = False
        self.rngs = rngs["dropout"].fork()

    def __call__(self, a: Array, b: Array, shares: tuple[Array, Array] | None = None) -> Array:
        if self.deterministic or self.rule == "even-even":
            return 0.5 * a + 0.5 * b
        alpha, beta = shares or self.draw(a)
        # The second summand has the values that alpha makes of the first one, and no gradient.
        return beta * a + (1 - beta) * b + jax.lax.stop_gradient((alpha - beta) * (a - b))

    def draw(self, x: Array) -> tuple[Array, Array]:
        """Alpha and beta for every image of a batch."""
        alpha, beta = jax.random.uniform(self.rngs(), (2, len(x), 1, 1, 1), x.dtype)
        return alpha, beta if self.rule == "shake-shake" else jnp.full_like(beta, 0.5)


class Shuffle(nnx.Module):
    """Channels (groups, C / groups) in the order (C / groups, groups), ShuffleNet's."""

    def __init__(self, groups: int) -> None:
        self.groups = groups

    def __call__(self, x: Array) -> Array:
        return x.reshape(*x.shape[:-1], self.groups, -1).swapaxes(-1, -2).reshape(x.shape)
