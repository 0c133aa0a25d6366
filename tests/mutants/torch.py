"""Bugs in the code of the PyTorch port, each the function that it replaces."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from se_torch import inception, layers, resnet
from se_torch.inception import InceptionModule
from se_torch.layers import conv, max_pool
from se_torch.resnet import Bottleneck, ResNet, Shortcut
from se_torch.se_block import SEBlock

from .mutant import Substitute, Substitutes

# ---------------------------------------------------------------- layers


def pads_by_1(stride: int, pad: int, *, rounds_up: bool) -> nn.Module:
    del pad
    return max_pool(stride, 1, rounds_up=rounds_up)


def rounds_down(stride: int, pad: int, *, rounds_up: bool) -> nn.Module:
    del rounds_up
    return nn.MaxPool2d(3, stride, pad)


def takes_means(stride: int, pad: int, *, rounds_up: bool) -> nn.Module:
    return nn.AvgPool2d(3, stride, pad, ceil_mode=rounds_up)


def takes_windows_of_2(stride: int, pad: int, *, rounds_up: bool) -> nn.Module:
    return nn.MaxPool2d(2, stride, pad, ceil_mode=rounds_up)


def pads_7x7_by_2(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    layer = conv(channels, out, kernel, stride, groups)
    if kernel == 7:
        layer.padding = (2, 2)
    return layer


def divides_by_the_pixels_inside(stride: int, pad: int) -> nn.AvgPool2d:
    return nn.AvgPool2d(3, stride, pad, ceil_mode=True, count_include_pad=False)


def joins_in_reverse(self: layers.Concat, maps: Sequence[Tensor]) -> Tensor:
    del self
    return torch.cat(tuple(maps)[::-1], 1)


def squeezes_in_float32(self: layers.GlobalAvgPool, x: Tensor) -> Tensor:
    del self
    return x.float().mean((2, 3)).to(x.dtype)


def always_drops(self: nn.Dropout, x: Tensor) -> Tensor:
    return nn.functional.dropout(x, self.p, training=True)


def stays_in_training(self: ResNet) -> ResNet:
    return self.train()


# ---------------------------------------------------------------- the SE block


def gates_twice(self: SEBlock, x: Tensor) -> Tensor:
    s = self.gate(self.fc2(self.relu(self.fc1(self.pool(x)))))
    return x * s[:, :, None, None] * s[:, :, None, None]


def lacks_the_relu_in_the_gate(self: SEBlock, x: Tensor) -> Tensor:
    s = self.gate(self.fc2(self.fc1(self.pool(x))))
    return x * s[:, :, None, None]


def answers_the_gate(self: SEBlock, x: Tensor) -> Tensor:
    return self.gate(self.fc2(self.relu(self.fc1(self.pool(x)))))[:, :, None, None]


# ---------------------------------------------------------------- units


def gates_the_shortcut(self: Bottleneck, x: Tensor) -> Tensor:
    y = self.relu1(self.bn1(self.conv1(x)))
    y = self.relu2(self.bn2(self.conv2(y)))
    y = self.bn3(self.conv3(y))
    return self.relu3(self.se(y) * self.shortcut(x) + y)


def lacks_the_first_relu(self: Bottleneck, x: Tensor) -> Tensor:
    y = self.bn1(self.conv1(x))
    y = self.relu2(self.bn2(self.conv2(y)))
    y = self.se(self.bn3(self.conv3(y)))
    return self.relu3(y + self.shortcut(x))


def rectifies_before_the_sum(self: Bottleneck, x: Tensor) -> Tensor:
    y = self.relu1(self.bn1(self.conv1(x)))
    y = self.relu2(self.bn2(self.conv2(y)))
    y = self.se(self.bn3(self.conv3(y)))
    return self.relu3(y) + self.shortcut(x)


def subtracts_the_shortcut(self: Bottleneck, x: Tensor) -> Tensor:
    y = self.relu1(self.bn1(self.conv1(x)))
    y = self.relu2(self.bn2(self.conv2(y)))
    y = self.se(self.bn3(self.conv3(y)))
    return self.relu3(y - self.shortcut(x))


def lacks_the_batch_norm(self: Shortcut, x: Tensor) -> Tensor:
    return self.conv(x)


def reads_its_neighbour(self: InceptionModule, x: Tensor) -> Tensor:
    branches = [] if self.conv1x1 is None else [self.conv1x1(x)]
    branches.append(self.conv3x3(self.reduce3x3(x)))
    branches.append(self.double2(self.double1(self.reduce3x3(x))))
    branches.append(self.project(self.pool(x)))
    return self.se(self.concat(branches))


# ---------------------------------------------------------------- the choices about the SE block


def squeezes_the_batch(self: layers.GlobalAvgPool, x: Tensor) -> Tensor:
    del self
    return x.mean((0, 2, 3)).expand(x.shape[:2])


def squeezes_the_first_image(self: layers.GlobalAvgPool, x: Tensor) -> Tensor:
    del self
    return x[:1].mean((2, 3)).expand(x.shape[:2])


def divides_by_the_height_squared(self: layers.GlobalAvgPool, x: Tensor) -> Tensor:
    del self
    return x.sum((2, 3)) / x.shape[2] ** 2


def cuts_small_gates(self: SEBlock, x: Tensor) -> Tensor:
    s = self.gate(self.fc2(self.relu(self.fc1(self.pool(x)))))
    return x * torch.where(s < 5e-6, 0, s)[:, :, None, None]


def takes_the_maxima_of_the_batch(self: layers.GlobalMaxPool, x: Tensor) -> Tensor:
    del self
    return x.amax((0, 2, 3)).expand(x.shape[:2])


def gates_before_the_bias(self: SEBlock, x: Tensor) -> Tensor:
    s = self.fc2(self.relu(self.fc1(self.pool(x))))
    s = self.gate(s - self.fc2.bias) + self.fc2.bias
    return x * s[:, :, None, None]


def averages_the_gates(self: SEBlock, x: Tensor) -> Tensor:
    s = self.gate(self.fc2(self.relu(self.fc1(self.pool(x)))))
    return x * s.mean((2, 3), keepdim=True)


def slopes_by_fifths(self: layers.HardSigmoid, x: Tensor) -> Tensor:
    del self
    return (0.2 * x + 0.5).clamp(0, 1)


def excites_before_the_fork(self: Bottleneck, x: Tensor) -> Tensor:
    x = self.se(x)
    y = self.relu1(self.bn1(self.conv1(x)))
    y = self.relu2(self.bn2(self.conv2(y)))
    y = self.bn3(self.conv3(y))
    return self.relu3(y + self.shortcut(x))


SUBSTITUTES: Substitutes = {
    "pool-padded": (Substitute(resnet, "max_pool", pads_by_1),),
    "pool-floor": (Substitute(resnet, "max_pool", rounds_down),),
    "pool-average": (Substitute(resnet, "max_pool", takes_means),),
    "pool-window-2": (Substitute(resnet, "max_pool", takes_windows_of_2),),
    "stem-padding-less": (Substitute(resnet, "conv", pads_7x7_by_2),),
    "padding-not-counted": (Substitute(inception, "avg_pool", divides_by_the_pixels_inside),),
    "concat-reversed": (Substitute(layers.Concat, "forward", joins_in_reverse),),
    "squeeze-in-float32": (Substitute(layers.GlobalAvgPool, "forward", squeezes_in_float32),),
    "dropout-on": (Substitute(nn.Dropout, "forward", always_drops),),
    "batch-statistics": (Substitute(ResNet, "eval", stays_in_training),),
    "gate-twice": (Substitute(SEBlock, "forward", gates_twice),),
    "squeeze-relu-missing": (Substitute(SEBlock, "forward", lacks_the_relu_in_the_gate),),
    "axpy-exchanged": (
        Substitute(SEBlock, "forward", answers_the_gate),
        Substitute(Bottleneck, "forward", gates_the_shortcut),
    ),
    "relu-missing": (Substitute(Bottleneck, "forward", lacks_the_first_relu),),
    "relu-before-the-sum": (Substitute(Bottleneck, "forward", rectifies_before_the_sum),),
    "sum-minus": (Substitute(Bottleneck, "forward", subtracts_the_shortcut),),
    "projection-unnormalised": (Substitute(Shortcut, "forward", lacks_the_batch_norm),),
    "branch-reads-another": (Substitute(InceptionModule, "forward", reads_its_neighbour),),
    "first-image-alone": (Substitute(layers.GlobalAvgPool, "forward", squeezes_the_first_image),),
    "height-squared": (Substitute(layers.GlobalAvgPool, "forward", divides_by_the_height_squared),),
    "small-gate-cut": (Substitute(SEBlock, "forward", cuts_small_gates),),
    "squeeze-over-the-batch": (Substitute(layers.GlobalAvgPool, "forward", squeezes_the_batch),),
    "maximum-over-the-batch": (Substitute(layers.GlobalMaxPool, "forward", takes_the_maxima_of_the_batch),),
    "gate-before-the-bias": (Substitute(SEBlock, "forward", gates_before_the_bias),),
    "full-map-gate-averaged": (Substitute(SEBlock, "forward", averages_the_gates),),
    "hard-sigmoid-by-fifths": (Substitute(layers.HardSigmoid, "forward", slopes_by_fifths),),
    "se-before-the-fork": (Substitute(Bottleneck, "forward", excites_before_the_fork),),
}
