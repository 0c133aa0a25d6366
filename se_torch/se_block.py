"""The Squeeze-and-Excitation block (Hu et al., https://arxiv.org/abs/1709.01507), in PyTorch."""

from torch import Tensor, nn

from se_torch.layers import GlobalAvgPool, linear


class SEBlock(nn.Module):
    """Rescales each channel by a gate computed from the means of all channels.

    s = sigmoid(W2 relu(W1 mean_hw(x) + b1) + b2)    equations 2 and 3 of the paper; the released networks add biases
    y = s * x                                        equation 4

    Args:
        channels: of the input, and of the output.
        reduction: the hidden layer has channels // reduction units.

    Shape:
        (N, C, H, W) to the same; any floating dtype.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = channels // reduction
        self.pool = GlobalAvgPool()
        self.fc1 = linear(channels, hidden)
        self.relu = nn.ReLU()
        self.fc2 = linear(hidden, channels)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        s = self.pool(x)  # (N, C)
        s = self.relu(self.fc1(s))  # (N, C / reduction)
        s = self.gate(self.fc2(s))  # (N, C)
        return x * s[:, :, None, None]
