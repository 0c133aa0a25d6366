"""SE-ResNet-50 as functions of arrays: no modules and no state, images (N, 3, H, W), kernels OIHW as in Caffe.

Parameters are a dict by canonical name, "stage1.0.conv1.weight"; their shapes say how wide and how deep the network is.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Params = Mapping[str, Array]

EPS = float(np.float32(1e-5))  # Caffe's is a protobuf float


def se_resnet(params: Params, x: Array) -> dict[str, Array]:
    """Every intermediate result by name, "logits" (N, classes) the last; ``jax.jit`` drops those that nobody uses."""
    taps: dict[str, Array] = {}

    def tap(name: str, value: Array) -> Array:
        taps[name] = value
        return value

    def conv(name: str, x: Array, stride: int = 1) -> Array:
        weight = params[f"{name}.weight"]
        pad = weight.shape[-1] // 2
        return tap(name, lax.conv_general_dilated(x, weight, (stride, stride), [(pad, pad)] * 2))

    def bn(name: str, x: Array) -> Array:
        weight, bias, mean, var = (
            params[f"{name}.{leaf}"] for leaf in ("weight", "bias", "running_mean", "running_var")
        )
        return tap(name, (x - chw(mean)) * chw(weight / jnp.sqrt(var + EPS)) + chw(bias))

    def relu(name: str, x: Array) -> Array:
        return tap(name, jax.nn.relu(x))

    def linear(name: str, x: Array, output: str = "") -> Array:
        return tap(output or name, x @ params[f"{name}.weight"].T + params[f"{name}.bias"])

    def se(name: str, x: Array) -> Array:
        s = tap(f"{name}.pool", x.mean((2, 3)))
        s = relu(f"{name}.relu", linear(f"{name}.fc1", s))
        s = tap(f"{name}.gate", jax.nn.sigmoid(linear(f"{name}.fc2", s)))
        return tap(name, x * s[:, :, None, None])

    def bottleneck(name: str, x: Array, stride: int) -> Array:
        y = relu(f"{name}.relu1", bn(f"{name}.bn1", conv(f"{name}.conv1", x, stride)))  # Caffe strides the first 1x1
        y = relu(f"{name}.relu2", bn(f"{name}.bn2", conv(f"{name}.conv2", y)))
        y = se(f"{name}.se", bn(f"{name}.bn3", conv(f"{name}.conv3", y)))
        if f"{name}.shortcut.conv.weight" in params:
            x = bn(f"{name}.shortcut.bn", conv(f"{name}.shortcut.conv", x, stride))
        return relu(name, tap(f"{name}.add", y + x))

    x = relu("stem.relu1", bn("stem.bn1", conv("stem.conv1", x, 2)))
    x = tap("stem.pool", max_pool(x))
    for stage in (1, 2, 3, 4):
        i = 0
        while f"stage{stage}.{i}.conv1.weight" in params:
            x = bottleneck(f"stage{stage}.{i}", x, 2 if stage > 1 and i == 0 else 1)
            i += 1
    x = tap("pool", x.mean((2, 3)))
    linear("fc", x, "logits")
    return taps


def max_pool(x: Array) -> Array:
    """3x3 of stride 2; Caffe rounds sizes up, so that the last window may hang over the edge."""
    edges = [(0, (size - 3) % 2) for size in x.shape[2:]]
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 3, 3), (1, 1, 2, 2), [(0, 0), (0, 0), *edges])


def chw(v: Array) -> Array:
    """(C,) as (C, 1, 1)."""
    return v[:, None, None]
