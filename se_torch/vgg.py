"""VGG with BatchNorm and SE blocks, or without either, in PyTorch. Compare se_jax/vgg.py and se_tf/vgg.py."""

from torch import Tensor, nn

from se_torch.layers import BatchNorm, Flatten, conv, linear, max_pool
from se_torch.network import Network
from se_torch.se_block import SEBlock
from weights import VGGSpec
from weights.networks.sizes import check_size
from weights.networks.vgg import LayerSpec


class VGG(Network):
    """Images (N, 3, size, size) to logits (N, classes), or to the last hidden layer where the spec has no classes."""

    def __init__(self, spec: VGGSpec) -> None:
        super().__init__(spec)
        self.depth = len(spec.stages)
        for i, blocks in enumerate(spec.stages, 1):
            self.add_module(f"stage{i}", nn.Sequential(*(Layer(block) for block in blocks)))
            self.add_module(f"pool{i}", max_pool(stride=2, pad=0, kernel=2, rounds_up=False))  # of even sizes
        self.head = Head(spec)
        self.dropout = nn.Dropout(spec.dropout)
        self.fc = linear(spec.hidden[-1], spec.classes) if spec.classes else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.features(x)[-1])
        return x if self.fc is None else self.fc(self.dropout(x))

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The feature maps (N, C, h, w): the last ones before each pooling, from stride 4 on, and the last of all."""
        check_size(self.spec, x.shape[2], x.shape[3])
        ends = []
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"stage{i}")(x)
            ends.append(x)
            x = self.get_submodule(f"pool{i}")(x)
        return *ends[2:], x


class Layer(nn.Module):
    """se(relu(bn(conv(x))))."""

    def __init__(self, b: LayerSpec) -> None:
        super().__init__()
        self.conv = conv(b.in_channels, b.out_channels, 3, bias=b.bias)
        self.bn = BatchNorm(b.out_channels, b.eps) if b.batch_norm else nn.Identity()
        self.relu = nn.ReLU()
        self.se = SEBlock.of(b.se) if b.se else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.se(self.relu(self.bn(self.conv(x))))


class Head(nn.Module):
    """(N, C, h, w) to (N, units of the last hidden layer); the dropout after that is the network's."""

    def __init__(self, spec: VGGSpec) -> None:
        super().__init__()
        self.flatten = Flatten()
        self.depth = len(spec.hidden)
        values = spec.flat
        for i, out in enumerate(spec.hidden, 1):
            self.add_module(f"fc{i}", linear(values, out))
            self.add_module(f"relu{i}", nn.ReLU())
            if i < self.depth:
                self.add_module(f"dropout{i}", nn.Dropout(spec.dropout))
            values = out

    def forward(self, x: Tensor) -> Tensor:
        x = self.flatten(x)
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"relu{i}")(self.get_submodule(f"fc{i}")(x))
            x = self.get_submodule(f"dropout{i}")(x) if i < self.depth else x
        return x
