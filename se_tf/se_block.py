"""The Squeeze-and-Excitation block (Hu et al., https://arxiv.org/abs/1709.01507), in Keras."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Self

import keras
from keras import layers

from se_tf.layers import CHANNELS, GlobalAveragePooling2D, GlobalMaxPooling2D, activation, linear
from weights import SE
from weights.networks.se import Excitation, Gate, Inner, Rounding, Squeeze

SQUEEZES: Mapping[Squeeze, Callable[..., layers.Layer]] = {
    "avg": partial(GlobalAveragePooling2D, CHANNELS),
    "max": partial(GlobalMaxPooling2D, CHANNELS),
    "none": layers.Identity,
}


@keras.saving.register_keras_serializable("senet")
class SEBlock(layers.Layer):
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
        kwargs: of every Keras layer: ``name``, ``dtype``.

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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.choices = SE(
            reduction=reduction,
            width=width,
            rounding=rounding,
            squeeze=squeeze,
            gate=gate,
            inner=inner,
            bias=bias,
        )
        self.hidden = self.choices.hidden(channels)
        self.pool = SQUEEZES[squeeze](name="pool", dtype=self.dtype_policy)
        self.fc1 = linear(self.hidden, bias, name="fc1", dtype=self.dtype_policy)
        self.relu = activation(inner, name="relu", dtype=self.dtype_policy)
        self.fc2 = linear(channels, bias, name="fc2", dtype=self.dtype_policy)
        self.gate = activation(gate, name="gate", dtype=self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        self.fc1.build((None, self.channels))
        self.fc2.build((None, self.hidden))
        super().build(input_shape)

    def call(self, x: Any) -> Any:  # (N, H, W, C)
        s = self.pool(x)  # (N, C), or without a squeeze (N, H, W, C)
        s = self.relu(self.fc1(s))  # (N, C / reduction)
        s = self.gate(self.fc2(s))  # (N, C)
        return x * (s[:, None, None, :] if len(s.shape) == 2 else s)

    @classmethod
    def of(cls, e: Excitation, **kwargs: Any) -> Self:
        """The block of a record."""
        return cls(
            e.channels,
            width=e.hidden,
            squeeze=e.squeeze,
            gate=e.gate,
            inner=e.inner,
            bias=e.bias,
            **kwargs,
        )

    def get_config(self) -> dict[str, Any]:
        """Channels and reduction; beside them only those choices that are not the published networks'."""
        chosen, published = asdict(self.choices), SE(reduction=self.choices.reduction)
        if chosen["rounding"] == "down" and self.hidden == self.channels // self.choices.reduction:
            chosen["width"] = None  # the reduction says so already
        varied = {name: choice for name, choice in chosen.items() if choice != getattr(published, name)}
        return {**super().get_config(), "channels": self.channels, "reduction": published.reduction, **varied}
