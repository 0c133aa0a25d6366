"""Bugs in the code of the Keras port, each the function that it replaces."""

from dataclasses import replace
from typing import Any

import keras
from keras import ops
from keras.layers import Add, Concatenate, Conv2D, Dropout, Identity, Subtract, ZeroPadding2D

from se_tf import inception, layers, resnet
from se_tf.inception import unit
from se_tf.layers import CHANNELS, AvgPool, BatchNorm, MaxPool, layer_name, relu
from se_tf.resnet import shortcut
from se_tf.se_block import SEBlock
from weights.networks.inception import ModuleSpec
from weights.networks.resnet import BottleneckSpec

from .mutant import Substitute, Substitutes

BATCH_NORM, DROPOUT, BOTTLENECK = BatchNorm.call, Dropout.call, resnet.bottleneck

# ---------------------------------------------------------------- layers


def pads_by_1(stride: int, pad: int, **kwargs: Any) -> MaxPool:
    del pad
    return MaxPool(stride, 1, **kwargs)


def rounds_down(self: MaxPool, x: Any) -> Any:
    return ops.max_pool(x, 3, self.stride, "valid", CHANNELS)


def takes_means(stride: int, pad: int, **kwargs: Any) -> AvgPool:
    return AvgPool(stride, pad, **kwargs)


def takes_windows_of_2(self: MaxPool, x: Any) -> Any:
    return ops.max_pool(x, 2, self.stride, "valid", CHANNELS)


def pads_as_same(x: Any, out: int, kernel: int, stride: int = 1, groups: int = 1, *, name: str, dtype: Any) -> Any:
    layer = Conv2D(
        out, kernel, stride, "same", CHANNELS, groups=groups, use_bias=False, name=layer_name(name), dtype=dtype
    )
    return layer(x)


def shifts_the_padding(padding: tuple[int, int], *args: Any, **kwargs: Any) -> ZeroPadding2D:
    return ZeroPadding2D(tuple((p - 1, p + 1) for p in padding), *args, **kwargs)


def pads_7x7_by_2(padding: tuple[int, int], *args: Any, **kwargs: Any) -> ZeroPadding2D:
    return ZeroPadding2D(tuple(p - (p == 3) for p in padding), *args, **kwargs)


def divides_by_the_pixels_inside(self: AvgPool, x: Any) -> Any:
    return ops.average_pool(x, 3, self.stride, "same", CHANNELS)


def joins_in_reverse(axis: int, **kwargs: Any) -> Any:
    return lambda maps: Concatenate(axis, **kwargs)(maps[::-1])


def squeezes_in_float32(self: layers.GlobalAveragePooling2D, x: Any) -> Any:
    del self
    return ops.cast(ops.mean(ops.cast(x, "float32"), (1, 2)), x.dtype)


def always_drops(self: Dropout, x: Any, training: bool = False) -> Any:
    del training
    return DROPOUT(self, x, training=True)


def takes_the_statistics_of_the_batch(self: BatchNorm, x: Any, training: bool | None = None) -> Any:
    del training
    return BATCH_NORM(self, x, training=True)


def does_not_normalise_the_shortcut(self: BatchNorm, x: Any, training: bool | None = None) -> Any:
    return x if self.name.endswith("shortcut.bn") else BATCH_NORM(self, x, training)


# ---------------------------------------------------------------- the SE block


def gates_twice(self: SEBlock, x: Any) -> Any:
    s = self.gate(self.fc2(self.relu(self.fc1(self.pool(x)))))
    return x * s[:, None, None, :] * s[:, None, None, :]


def lacks_the_relu_in_the_gate(self: SEBlock, x: Any) -> Any:
    s = self.gate(self.fc2(self.fc1(self.pool(x))))
    return x * s[:, None, None, :]


def answers_the_gate(self: SEBlock, x: Any) -> Any:
    return self.gate(self.fc2(self.relu(self.fc1(self.pool(x)))))[:, None, None, :]


# ---------------------------------------------------------------- units


def gates_the_shortcut(x: Any, b: BottleneckSpec, *, dtype: Any) -> Any:
    assert b.se
    y = resnet.conv(x, b.reduce, 1, b.strides[0], name=f"{b.name}.conv1", dtype=dtype)
    y = relu(layers.batch_norm(y, b.eps, name=f"{b.name}.bn1", dtype=dtype), name=f"{b.name}.relu1", dtype=dtype)
    y = resnet.conv(y, b.width, 3, b.strides[1], b.groups, name=f"{b.name}.conv2", dtype=dtype)
    y = relu(layers.batch_norm(y, b.eps, name=f"{b.name}.bn2", dtype=dtype), name=f"{b.name}.relu2", dtype=dtype)
    y = resnet.conv(y, b.out_channels, 1, name=f"{b.name}.conv3", dtype=dtype)
    y = layers.batch_norm(y, b.eps, name=f"{b.name}.bn3", dtype=dtype)
    gate = SEBlock.of(b.se, name=layer_name(f"{b.name}.se"), dtype=dtype)(y)
    x = shortcut(x, b, b.shortcut, dtype=dtype) if b.shortcut else x
    y = Add(name=layer_name(f"{b.name}.add"), dtype=dtype)([gate * x, y])
    return relu(y, name=b.name, dtype=dtype)


def lacks_the_first_relu(x: Any, *, name: str, dtype: Any) -> Any:
    return x if name.endswith("relu1") and name.startswith("stage") else relu(x, name=name, dtype=dtype)


def rectifies_before_the_sum(**kwargs: Any) -> Any:
    return lambda operands: Add(**kwargs)([ops.relu(operands[0]), operands[1]])


def subtracts_the_shortcut(**kwargs: Any) -> Subtract:
    return Subtract(**kwargs)


def reads_its_neighbour(x: Any, m: ModuleSpec, *, dtype: Any) -> Any:
    assert m.se
    pad, after = (0, 1) if m.stride == 2 else (1, 0)
    to: dict[str, Any] = {"eps": m.eps, "dtype": dtype}
    branches = [unit(x, m.conv1x1, 1, name=f"{m.name}.conv1x1", **to)] if m.conv1x1 else []
    reduced = unit(x, m.conv3x3[0], 1, name=f"{m.name}.reduce3x3", **to)
    branches.append(unit(reduced, m.conv3x3[1], 3, m.stride, name=f"{m.name}.conv3x3", **to))
    forgotten = unit(x, m.double3x3[0], 1, name=f"{m.name}.reduce_double", **to)
    y = unit(_first(reduced, forgotten), m.double3x3[1], 3, name=f"{m.name}.double1", **to)
    branches.append(unit(y, m.double3x3[2], 3, m.stride, name=f"{m.name}.double2", **to))
    pooled: dict[str, Any] = {"name": layer_name(f"{m.name}.pool"), "dtype": dtype}
    y = (MaxPool(m.stride, pad, after, **pooled) if m.pool == "max" else AvgPool(m.stride, pad, **pooled))(x)
    branches.append(unit(y, m.project, 1, name=f"{m.name}.project", **to) if m.project else y)
    y = Concatenate(-1, name=layer_name(f"{m.name}.concat"), dtype=dtype)(branches)
    y = SEBlock.of(m.se, name=layer_name(f"{m.name}.se"), dtype=dtype)(y)
    return Identity(name=m.name, dtype=dtype)(y)


def _first(*values: Any) -> Any:
    """The first value, by an operation on all of them: layers that nothing reads are not part of a Keras model."""
    a, b = values
    total: Any = ops.sum(b)
    return a + 0 * total


# ---------------------------------------------------------------- the choices about the SE block


def squeezes_the_batch(self: layers.GlobalAveragePooling2D, x: Any) -> Any:
    del self
    return ops.mean(x, (0, 1, 2)) + 0 * x[:, 0, 0]


def squeezes_the_first_image(self: layers.GlobalAveragePooling2D, x: Any) -> Any:
    del self
    return ops.mean(x[:1], (1, 2)) + 0 * x[:, 0, 0]


def divides_by_the_height_squared(self: layers.GlobalAveragePooling2D, x: Any) -> Any:
    del self
    total: Any = ops.sum(x, (1, 2))
    shape: Any = ops.shape(x)
    height: Any = ops.cast(shape[1], x.dtype)
    return total / height**2


def cuts_small_gates(self: SEBlock, x: Any) -> Any:
    s = self.gate(self.fc2(self.relu(self.fc1(self.pool(x)))))
    s: Any = ops.where(s < 5e-6, 0 * s, s)
    return x * s[:, None, None, :]


def takes_the_maxima_of_the_batch(self: layers.GlobalMaxPooling2D, x: Any) -> Any:
    del self
    return ops.max(x, (0, 1, 2)) + 0 * x[:, 0, 0]


def gates_before_the_bias(self: SEBlock, x: Any) -> Any:
    s = self.fc2(self.relu(self.fc1(self.pool(x))))
    s = self.gate(s - self.fc2.bias) + self.fc2.bias
    return x * s[:, None, None, :]


def averages_the_gates(self: SEBlock, x: Any) -> Any:
    s = self.gate(self.fc2(self.relu(self.fc1(self.pool(x)))))
    return x * ops.mean(s, (1, 2), keepdims=True)


def slopes_by_fifths(x: Any) -> Any:
    return ops.clip(0.2 * x + 0.5, 0, 1)


def excites_before_the_fork(x: Any, b: BottleneckSpec, *, dtype: Any) -> Any:
    assert b.se
    x = SEBlock.of(b.se, name=layer_name(f"{b.name}.se"), dtype=dtype)(x)
    return BOTTLENECK(x, replace(b, se=None), dtype=dtype)


SUBSTITUTES: Substitutes = {
    "pool-padded": (Substitute(resnet, "MaxPool", pads_by_1),),
    "pool-floor": (Substitute(MaxPool, "call", rounds_down),),
    "pool-average": (Substitute(resnet, "MaxPool", takes_means),),
    "pool-window-2": (Substitute(MaxPool, "call", takes_windows_of_2),),
    "same-padding": (Substitute(resnet, "conv", pads_as_same),),
    "padding-shifted": (Substitute(keras.layers, "ZeroPadding2D", shifts_the_padding),),
    "stem-padding-less": (Substitute(keras.layers, "ZeroPadding2D", pads_7x7_by_2),),
    "padding-not-counted": (Substitute(AvgPool, "call", divides_by_the_pixels_inside),),
    "concat-reversed": (Substitute(keras.layers, "Concatenate", joins_in_reverse),),
    "squeeze-in-float32": (Substitute(layers.GlobalAveragePooling2D, "call", squeezes_in_float32),),
    "dropout-on": (Substitute(Dropout, "call", always_drops),),
    "batch-statistics": (Substitute(BatchNorm, "call", takes_the_statistics_of_the_batch),),
    "gate-twice": (Substitute(SEBlock, "call", gates_twice),),
    "squeeze-relu-missing": (Substitute(SEBlock, "call", lacks_the_relu_in_the_gate),),
    "axpy-exchanged": (
        Substitute(SEBlock, "call", answers_the_gate),
        Substitute(resnet, "bottleneck", gates_the_shortcut),
    ),
    "relu-missing": (Substitute(resnet, "relu", lacks_the_first_relu),),
    "relu-before-the-sum": (Substitute(keras.layers, "Add", rectifies_before_the_sum),),
    "sum-minus": (Substitute(keras.layers, "Add", subtracts_the_shortcut),),
    "projection-unnormalised": (Substitute(BatchNorm, "call", does_not_normalise_the_shortcut),),
    "branch-reads-another": (Substitute(inception, "inception_module", reads_its_neighbour),),
    "first-image-alone": (Substitute(layers.GlobalAveragePooling2D, "call", squeezes_the_first_image),),
    "height-squared": (Substitute(layers.GlobalAveragePooling2D, "call", divides_by_the_height_squared),),
    "small-gate-cut": (Substitute(SEBlock, "call", cuts_small_gates),),
    "squeeze-over-the-batch": (Substitute(layers.GlobalAveragePooling2D, "call", squeezes_the_batch),),
    "maximum-over-the-batch": (Substitute(layers.GlobalMaxPooling2D, "call", takes_the_maxima_of_the_batch),),
    "gate-before-the-bias": (Substitute(SEBlock, "call", gates_before_the_bias),),
    "full-map-gate-averaged": (Substitute(SEBlock, "call", averages_the_gates),),
    "hard-sigmoid-by-fifths": (Substitute(layers.ACTIVATIONS, "hard-sigmoid", slopes_by_fifths),),
    "se-before-the-fork": (Substitute(resnet, "bottleneck", excites_before_the_fork),),
}
