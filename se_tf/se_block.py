"""The Squeeze-and-Excitation block (Hu et al., https://arxiv.org/abs/1709.01507), in Keras."""

from typing import Any

import keras
from keras import layers

from se_tf.layers import CHANNELS, GlobalAveragePooling2D, linear


@keras.saving.register_keras_serializable("senet")
class SEBlock(layers.Layer):
    """Rescales each channel by a gate computed from the means of all channels.

    s = sigmoid(W2 relu(W1 mean_hw(x) + b1) + b2)    equations 2 and 3 of the paper; the released networks add biases
    y = s * x                                        equation 4

    Args:
        channels: of the input, and of the output.
        reduction: the hidden layer has channels // reduction units.

    Shape:
        (N, H, W, C) to the same; any floating dtype.
    """

    def __init__(self, channels: int, reduction: int = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels, self.reduction, self.hidden = channels, reduction, channels // reduction
        self.pool = GlobalAveragePooling2D(CHANNELS, name="pool", dtype=self.dtype_policy)
        self.fc1 = linear(self.hidden, name="fc1", dtype=self.dtype_policy)
        self.relu = layers.ReLU(name="relu", dtype=self.dtype_policy)
        self.fc2 = linear(channels, name="fc2", dtype=self.dtype_policy)
        self.gate = layers.Activation("sigmoid", name="gate", dtype=self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        self.fc1.build((None, self.channels))
        self.fc2.build((None, self.hidden))
        super().build(input_shape)

    def call(self, x: Any) -> Any:  # (N, H, W, C)
        s = self.pool(x)  # (N, C)
        s = self.relu(self.fc1(s))  # (N, C / reduction)
        s = self.gate(self.fc2(s))  # (N, C)
        return x * s[:, None, None, :]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels, "reduction": self.reduction}
