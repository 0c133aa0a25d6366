"""SE-ResNet-50 in Flax (nnx), as directly as it can be written."""

from flax import nnx
from jax import Array


class SE(nnx.Module):
    """Rescales channels."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs) -> None:
        self.fc1 = nnx.Linear(channels, channels // 16, rngs=rngs)
        self.fc2 = nnx.Linear(channels // 16, channels, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        s = nnx.relu(self.fc1(x.mean((1, 2), keepdims=True)))
        return x * nnx.sigmoid(self.fc2(s))


class Bottleneck(nnx.Module):
    """relu(se(residual(x)) + shortcut(x))."""

    def __init__(self, channels: int, width: int, stride: int, *, rngs: nnx.Rngs) -> None:
        out = 4 * width
        self.conv1 = nnx.Conv(channels, width, (1, 1), stride, use_bias=False, rngs=rngs)
        self.bn1 = nnx.BatchNorm(width, rngs=rngs)
        self.conv2 = nnx.Conv(width, width, (3, 3), use_bias=False, rngs=rngs)
        self.bn2 = nnx.BatchNorm(width, rngs=rngs)
        self.conv3 = nnx.Conv(width, out, (1, 1), use_bias=False, rngs=rngs)
        self.bn3 = nnx.BatchNorm(out, rngs=rngs)
        self.se = SE(out, rngs=rngs)
        self.projects = channels != out
        if self.projects:
            self.conv = nnx.Conv(channels, out, (1, 1), stride, use_bias=False, rngs=rngs)
            self.bn = nnx.BatchNorm(out, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        y = nnx.relu(self.bn1(self.conv1(x)))
        y = nnx.relu(self.bn2(self.conv2(y)))
        y = self.se(self.bn3(self.conv3(y)))
        return nnx.relu(y + (self.bn(self.conv(x)) if self.projects else x))


class SEResNet50(nnx.Module):
    """Images (N, H, W, 3) to logits (N, 1000), randomly initialised."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(3, 64, (7, 7), 2, use_bias=False, rngs=rngs)
        self.bn = nnx.BatchNorm(64, rngs=rngs)
        units: list[Bottleneck] = []
        channels = 64
        for stage, depth in enumerate((3, 4, 6, 3)):
            for unit in range(depth):
                units.append(Bottleneck(channels, 64 * 2**stage, 2 if stage and not unit else 1, rngs=rngs))
                channels = 256 * 2**stage
        self.units = nnx.List(units)
        self.fc = nnx.Linear(channels, 1000, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = nnx.relu(self.bn(self.conv(x)))
        x = nnx.max_pool(x, (3, 3), (2, 2), "SAME")
        for unit in self.units:
            x = unit(x)
        return self.fc(x.mean((1, 2)))
