"""Bugs in the code of the Flax port, each the function that it replaces."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from se_jax import layers, resnet
from se_jax.inception import InceptionModule
from se_jax.layers import AvgPool, MaxPool, conv
from se_jax.resnet import Bottleneck, ResNet, Shortcut
from se_jax.se_block import SEBlock

from .mutant import Substitute, Substitutes

DROPOUT = nnx.Dropout.__call__

# ---------------------------------------------------------------- layers


def pads_by_1(stride: int, pad: int, *, rounds_up: bool) -> MaxPool:
    del pad
    return MaxPool(stride, 1, rounds_up=rounds_up)


def rounds_down(self: MaxPool, x: Array) -> Array:
    return nnx.max_pool(x, (3, 3), (self.stride, self.stride), "VALID")


def takes_means(stride: int, pad: int, *, rounds_up: bool) -> AvgPool:
    return AvgPool(stride, pad, rounds_up=rounds_up)


def takes_windows_of_2(self: MaxPool, x: Array) -> Array:
    return nnx.max_pool(x, (2, 2), (self.stride, self.stride), "VALID")


def pads_as_same(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1, **kwargs: Any) -> nnx.Conv:
    layer = conv(channels, out, kernel, stride, groups, **kwargs)
    layer.padding = "SAME"
    return layer


def shifts_the_padding(
    channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1, **kwargs: Any
) -> nnx.Conv:
    layer = conv(channels, out, kernel, stride, groups, **kwargs)
    if kernel > 1:
        layer.padding = ((kernel // 2 - 1, kernel // 2 + 1),) * 2
    return layer


def pads_7x7_by_2(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1, **kwargs: Any) -> nnx.Conv:
    layer = conv(channels, out, kernel, stride, groups, **kwargs)
    if kernel == 7:
        layer.padding = ((2, 2), (2, 2))
    return layer


def divides_by_the_pixels_inside(self: AvgPool, x: Array) -> Array:
    return nnx.avg_pool(x, (3, 3), (self.stride, self.stride), "SAME", count_include_pad=False)


def joins_in_reverse(self: layers.Concat, maps: Sequence[Array]) -> Array:
    del self
    return jnp.concatenate(tuple(maps)[::-1], -1)


def squeezes_in_float32(self: layers.GlobalAvgPool, x: Array) -> Array:
    del self
    return x.astype(jnp.float32).mean((1, 2)).astype(x.dtype)


def always_drops(self: nnx.Dropout, x: Array) -> Array:
    return DROPOUT(self, x, deterministic=False)


def stays_in_training(self: ResNet) -> None:
    self.train()


# ---------------------------------------------------------------- the SE block


def gates_twice(self: SEBlock, x: Array) -> Array:
    s = self.gate(self.fc2(self.relu(self.fc1(self.pool(x)))))
    return x * s[:, None, None, :] * s[:, None, None, :]


def lacks_the_relu_in_the_gate(self: SEBlock, x: Array) -> Array:
    s = self.gate(self.fc2(self.fc1(self.pool(x))))
    return x * s[:, None, None, :]


def answers_the_gate(self: SEBlock, x: Array) -> Array:
    return self.gate(self.fc2(self.relu(self.fc1(self.pool(x)))))[:, None, None, :]


# ---------------------------------------------------------------- units


def gates_the_shortcut(self: Bottleneck, x: Array) -> Array:
    y = self.relu1(self.bn1(self.conv1(x)))
    y = self.relu2(self.bn2(self.conv2(y)))
    y = self.bn3(self.conv3(y))
    return self.relu3(self.se(y) * self.shortcut(x) + y)


def lacks_the_first_relu(self: Bottleneck, x: Array) -> Array:
    y = self.bn1(self.conv1(x))
    y = self.relu2(self.bn2(self.conv2(y)))
    y = self.se(self.bn3(self.conv3(y)))
    return self.relu3(y + self.shortcut(x))


def rectifies_before_the_sum(self: Bottleneck, x: Array) -> Array:
    y = self.relu1(self.bn1(self.conv1(x)))
    y = self.relu2(self.bn2(self.conv2(y)))
    y = self.se(self.bn3(self.conv3(y)))
    return self.relu3(y) + self.shortcut(x)


def subtracts_the_shortcut(self: Bottleneck, x: Array) -> Array:
    y = self.relu1(self.bn1(self.conv1(x)))
    y = self.relu2(self.bn2(self.conv2(y)))
    y = self.se(self.bn3(self.conv3(y)))
    return self.relu3(y - self.shortcut(x))


def lacks_the_batch_norm(self: Shortcut, x: Array) -> Array:
    return self.conv(x)


def reads_its_neighbour(self: InceptionModule, x: Array) -> Array:
    branches = [] if self.conv1x1 is None else [self.conv1x1(x)]
    branches.append(self.conv3x3(self.reduce3x3(x)))
    branches.append(self.double2(self.double1(self.reduce3x3(x))))
    branches.append(self.project(self.pool(x)))
    return self.se(self.concat(branches))


# ---------------------------------------------------------------- the choices about the SE block


def squeezes_the_batch(self: layers.GlobalAvgPool, x: Array) -> Array:
    del self
    return jnp.broadcast_to(x.mean((0, 1, 2)), (x.shape[0], x.shape[-1]))


def squeezes_the_first_image(self: layers.GlobalAvgPool, x: Array) -> Array:
    del self
    return jnp.broadcast_to(x[:1].mean((1, 2)), (x.shape[0], x.shape[-1]))


def divides_by_the_height_squared(self: layers.GlobalAvgPool, x: Array) -> Array:
    del self
    return x.sum((1, 2)) / x.shape[1] ** 2


def cuts_small_gates(self: SEBlock, x: Array) -> Array:
    s = self.gate(self.fc2(self.relu(self.fc1(self.pool(x)))))
    return x * jnp.where(s < 5e-6, 0, s)[:, None, None, :]


def takes_the_maxima_of_the_batch(self: layers.GlobalMaxPool, x: Array) -> Array:
    del self
    return jnp.broadcast_to(x.max((0, 1, 2)), (x.shape[0], x.shape[-1]))


def gates_before_the_bias(self: SEBlock, x: Array) -> Array:
    s = self.fc2(self.relu(self.fc1(self.pool(x))))
    assert self.fc2.bias is not None
    bias = self.fc2.bias.get_value()
    s = self.gate(s - bias) + bias
    return x * s[:, None, None, :]


def averages_the_gates(self: SEBlock, x: Array) -> Array:
    s = self.gate(self.fc2(self.relu(self.fc1(self.pool(x)))))
    return x * s.mean((1, 2), keepdims=True)


def slopes_by_fifths(self: layers.HardSigmoid, x: Array) -> Array:
    del self
    return jnp.clip(0.2 * x + 0.5, 0, 1)


def excites_before_the_fork(self: Bottleneck, x: Array) -> Array:
    x = self.se(x)
    y = self.relu1(self.bn1(self.conv1(x)))
    y = self.relu2(self.bn2(self.conv2(y)))
    y = self.bn3(self.conv3(y))
    return self.relu3(y + self.shortcut(x))


SUBSTITUTES: Substitutes = {
    "pool-padded": (Substitute(resnet, "MaxPool", pads_by_1),),
    "pool-floor": (Substitute(MaxPool, "__call__", rounds_down),),
    "pool-average": (Substitute(resnet, "MaxPool", takes_means),),
    "pool-window-2": (Substitute(MaxPool, "__call__", takes_windows_of_2),),
    "same-padding": (Substitute(resnet, "conv", pads_as_same),),
    "padding-shifted": (Substitute(resnet, "conv", shifts_the_padding),),
    "stem-padding-less": (Substitute(resnet, "conv", pads_7x7_by_2),),
    "padding-not-counted": (Substitute(AvgPool, "__call__", divides_by_the_pixels_inside),),
    "concat-reversed": (Substitute(layers.Concat, "__call__", joins_in_reverse),),
    "squeeze-in-float32": (Substitute(layers.GlobalAvgPool, "__call__", squeezes_in_float32),),
    "dropout-on": (Substitute(nnx.Dropout, "__call__", always_drops),),
    "batch-statistics": (Substitute(ResNet, "eval", stays_in_training),),
    "gate-twice": (Substitute(SEBlock, "__call__", gates_twice),),
    "squeeze-relu-missing": (Substitute(SEBlock, "__call__", lacks_the_relu_in_the_gate),),
    "axpy-exchanged": (
        Substitute(SEBlock, "__call__", answers_the_gate),
        Substitute(Bottleneck, "__call__", gates_the_shortcut),
    ),
    "relu-missing": (Substitute(Bottleneck, "__call__", lacks_the_first_relu),),
    "relu-before-the-sum": (Substitute(Bottleneck, "__call__", rectifies_before_the_sum),),
    "sum-minus": (Substitute(Bottleneck, "__call__", subtracts_the_shortcut),),
    "projection-unnormalised": (Substitute(Shortcut, "__call__", lacks_the_batch_norm),),
    "branch-reads-another": (Substitute(InceptionModule, "__call__", reads_its_neighbour),),
    "first-image-alone": (Substitute(layers.GlobalAvgPool, "__call__", squeezes_the_first_image),),
    "height-squared": (Substitute(layers.GlobalAvgPool, "__call__", divides_by_the_height_squared),),
    "small-gate-cut": (Substitute(SEBlock, "__call__", cuts_small_gates),),
    "squeeze-over-the-batch": (Substitute(layers.GlobalAvgPool, "__call__", squeezes_the_batch),),
    "maximum-over-the-batch": (Substitute(layers.GlobalMaxPool, "__call__", takes_the_maxima_of_the_batch),),
    "gate-before-the-bias": (Substitute(SEBlock, "__call__", gates_before_the_bias),),
    "full-map-gate-averaged": (Substitute(SEBlock, "__call__", averages_the_gates),),
    "hard-sigmoid-by-fifths": (Substitute(layers.HardSigmoid, "__call__", slopes_by_fifths),),
    "se-before-the-fork": (Substitute(Bottleneck, "__call__", excites_before_the_fork),),
}
