"""The Squeeze-and-Excitation block (Hu et al., https://arxiv.org/abs/1709.01507), in Flax."""

from flax import nnx
from jax import Array

from se_jax.layers import GlobalAvgPool, ReLU, Sigmoid, linear


class SEBlock(nnx.Module):
    """Rescales each channel by a gate computed from the means of all channels.

    s = sigmoid(W2 relu(W1 mean_hw(x) + b1) + b2)    equations 2 and 3 of the paper; the released networks add biases
    y = s * x                                        equation 4

    Args:
        channels: of the input, and of the output.
        reduction: the hidden layer has channels // reduction units.

    Shape:
        (N, H, W, C) to the same; any floating dtype.
    """

    def __init__(
        self, channels: int, reduction: int = 16, *, dtype: str = "float32", rngs: nnx.Rngs | None = None
    ) -> None:
        rngs = rngs or nnx.Rngs(0)
        hidden = channels // reduction
        self.pool = GlobalAvgPool()
        self.fc1 = linear(channels, hidden, dtype=dtype, rngs=rngs)
        self.relu = ReLU()
        self.fc2 = linear(hidden, channels, dtype=dtype, rngs=rngs)
        self.gate = Sigmoid()

    def __call__(self, x: Array) -> Array:  # (N, H, W, C)
        s = self.pool(x)  # (N, C)
        s = self.relu(self.fc1(s))  # (N, C / reduction)
        s = self.gate(self.fc2(s))  # (N, C)
        return x * s[:, None, None, :]
