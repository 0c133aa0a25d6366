"""The Squeeze-and-Excitation block (Hu et al., https://arxiv.org/abs/1709.01507), in Flax."""

from collections.abc import Callable, Mapping
from typing import Self

from flax import nnx
from jax import Array

from se_jax.layers import ACTIVATIONS, Dtype, GlobalAvgPool, GlobalMaxPool, Identity, Layer, Mixed, linear
from weights import SE
from weights.networks.se import Excitation, Gate, Inner, Rounding, Squeeze

SQUEEZES: Mapping[Squeeze, Callable[[], Layer]] = {
    "avg": GlobalAvgPool,
    "max": GlobalMaxPool,
    "none": Identity,
}


class SEBlock(nnx.Module):
    """Rescales each channel by a gate computed from the means of all channels.

        s = gate(W2 relu(W1 squeeze(x) + b1) + b2)    equations 2 and 3 of the paper; the released networks add biases
        y = s * x                                     equation 4

    Args:
        channels: of the input, and of the output.
        reduction: the hidden layer has channels / reduction units.
        width: the units of the hidden layer, instead of a reduction.
        rounding: of channels / reduction: "down" to a whole number, or "to 8", to a multiple of 8.
        squeeze: "avg" or "max" over the map; "none": the two matrices work on every pixel, and each pixel has its gate.
        gate: "sigmoid", "tanh", "relu" or "hard-sigmoid", min(max(x + 3, 0), 6) / 6.
        inner: the activation of the hidden layer, "relu" or "swish".
        bias: whether the two matrices have biases b1 and b2; the equations of the paper have none.
        dtype: of parameters and computation, or of computation alone.
        param_dtype: of parameters, if it is another.
        rngs: for initialisation; by default ``nnx.Rngs(0)``.

    Shape:
        (N, H, W, C) to the same; any floating dtype.

    Raises:
        InputError: a choice that does not exist, or a reduction that leaves no hidden unit.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        *,
        width: int | None = None,
        rounding: Rounding = "down",
        squeeze: Squeeze = "avg",
        gate: Gate = "sigmoid",
        inner: Inner = "relu",
        bias: bool = True,
        dtype: Dtype = "float32",
        param_dtype: str | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        rngs = rngs or nnx.Rngs(0)
        if param_dtype and isinstance(dtype, str):
            dtype = Mixed(dtype, param_dtype)
        se = SE(
            reduction=reduction,
            width=width,
            rounding=rounding,
            squeeze=squeeze,
            gate=gate,
            inner=inner,
            bias=bias,
        )
        hidden = se.hidden(channels)
        self.pool = SQUEEZES[squeeze]()
        self.fc1 = linear(channels, hidden, bias, dtype=dtype, rngs=rngs)
        self.relu = ACTIVATIONS[inner]()
        self.fc2 = linear(hidden, channels, bias, dtype=dtype, rngs=rngs)
        self.gate = ACTIVATIONS[gate]()

    def __call__(self, x: Array) -> Array:  # (N, H, W, C)
        s = self.pool(x)  # (N, C), or without a squeeze (N, H, W, C)
        s = self.relu(self.fc1(s))  # (N, C / reduction)
        s = self.gate(self.fc2(s))  # (N, C)
        return x * (s[:, None, None, :] if s.ndim == 2 else s)

    @classmethod
    def of(cls, e: Excitation, *, dtype: Dtype = "float32", rngs: nnx.Rngs | None = None) -> Self:
        """The block of a record."""
        return cls(
            e.channels,
            width=e.hidden,
            squeeze=e.squeeze,
            gate=e.gate,
            inner=e.inner,
            bias=e.bias,
            dtype=dtype,
            rngs=rngs,
        )
