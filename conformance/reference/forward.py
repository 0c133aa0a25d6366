"""Runs a graph in NumPy: plain, and the arbiter, checked against the original Caffe at every layer."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import assert_never

import numpy as np

from weights.networks.network import Network, Node, as_network
from weights.networks.operations import (
    Act,
    Activation,
    Add,
    AppendZeros,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Linear,
    Mix,
    Pool,
    Pooling,
    Scale,
    Shift,
    Shuffle,
    Times,
)
from weights.networks.sizes import check_size
from weights.networks.spec import Spec


def run(
    of: Network | Spec, params: Mapping[str, np.ndarray], x: np.ndarray, *, training: bool = False
) -> dict[str, np.ndarray]:
    """Every node's output by name, in the order of the graph.

    Args:
        params: by canonical name; cast to the dtype of x.
        x: (N, 3, H, W); its dtype is that of the whole computation.
        training: BatchNorm takes the statistics of the batch. Nothing is dropped out.
    """
    network = as_network(of)
    check_size(network, *x.shape[2:])
    return execute(network.nodes, params, x, training=training)


def execute(
    nodes: Iterable[Node], params: Mapping[str, np.ndarray], x: np.ndarray, *, training: bool = False
) -> dict[str, np.ndarray]:
    """As ``run``, for any list of nodes in topological order."""
    values = {"data": x}
    for node in nodes:
        values[node.name] = output(node, [values[name] for name in node.inputs], params, training=training)
    del values["data"]
    return values


def output(
    node: Node, inputs: Sequence[np.ndarray], params: Mapping[str, np.ndarray], *, training: bool = False
) -> np.ndarray:
    """One node's output from its inputs, whose dtype is that of the computation."""
    a, *rest = inputs

    def p(leaf: str) -> np.ndarray:
        return np.asarray(params[f"{node.module}.{leaf}"], a.dtype)

    match node.op:
        case Conv() as op:
            y = conv(a, p("weight"), op)
            return y + _chw(p("bias")) if op.bias else y
        case BatchNorm(eps):
            mean, var = statistics(a) if training else (p("running_mean"), p("running_var"))
            y = a - _chw(mean)
            y *= _chw(p("weight") / np.sqrt(var + eps))
            y += _chw(p("bias"))
            return y
        case Linear(_, bias):
            y = np.moveaxis(a, 1, -1) @ p("weight").T
            return np.moveaxis(y + p("bias") if bias else y, -1, 1)
        case Act(function):
            return ACTIVATIONS[function](a)
        case Pool() as op:
            return pool(op, a)
        case GlobalPool(what):
            return GLOBAL_POOLS[what](a)
        case Scale():
            return a * (rest[0] if rest[0].ndim == 4 else _hw(rest[0]))
        case Add():
            return a + rest[0]
        case Concat():
            return np.concatenate([a, *rest], 1)
        case Mix():
            return 0.5 * a + 0.5 * rest[0]
        case Times(factor):
            return factor * a
        case AppendZeros(channels):
            return np.pad(a, ((0, 0), (0, channels), (0, 0), (0, 0)))
        case Shift():
            return np.pad(a, ((0, 0), (0, 0), (1, 0), (1, 0)))[:, :, :-1, :-1]
        case Shuffle(groups):
            return shuffle(a, groups)
        case Flatten():
            return a.reshape(len(a), -1)
        case Dropout():
            return a
        case _:
            assert_never(node.op)


def statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of each channel of a batch (N, C, H, W): what it is normalised with in training."""
    return x.mean((0, 2, 3)), x.var((0, 2, 3))


def conv(x: np.ndarray, weight: np.ndarray, op: Conv) -> np.ndarray:
    """Cross-correlation of (N, C, H, W) with (O, C / groups, h, w): a matrix product over unrolled windows."""
    n, c, height, width = x.shape
    _, h, w = op.shape((c, height, width))
    sides = op.sides(height, width)
    if np.any(sides):
        x = np.pad(x, ((0, 0), (0, 0), *sides))
    if op.window == (1, 1):
        columns = np.ascontiguousarray(x[:, :, :: op.stride, :: op.stride])
    else:
        columns = np.empty((n, c, op.window[0] * op.window[1], h, w), x.dtype)
        for i, window in enumerate(_windows(x, op.window, op.stride, h, w)):
            columns[:, :, i] = window
    out = len(weight)
    y = weight.reshape(op.groups, out // op.groups, -1) @ columns.reshape(n, op.groups, -1, h * w)
    return y.reshape(n, out, h, w)


def shuffle(x: np.ndarray, groups: int) -> np.ndarray:
    """Channels (groups, C / groups) in the order (C / groups, groups)."""
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h, w).swapaxes(1, 2).reshape(x.shape)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), with the same relative accuracy at both ends."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def hard_sigmoid(x: np.ndarray) -> np.ndarray:
    """min(max(x + 3, 0), 6) / 6."""
    return np.clip(x + 3, 0, 6) / 6


ACTIVATIONS: Mapping[Activation, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": sigmoid,
    "swish": lambda x: x * sigmoid(x),
    "tanh": np.tanh,
    "hard-sigmoid": hard_sigmoid,
    "hard-swish": lambda x: x * hard_sigmoid(x),
}

GLOBAL_POOLS: Mapping[Pooling, Callable[[np.ndarray], np.ndarray]] = {
    "avg": lambda x: x.mean((2, 3)),
    "max": lambda x: x.max((2, 3)),
}


def pool(op: Pool, x: np.ndarray) -> np.ndarray:
    """Maxima or means of windows."""
    match op.what:
        case "max":
            return _pool(op, x, np.maximum, -np.inf)
        case "avg":
            return avg_pool(op, x)
        case _:
            assert_never(op.what)


def avg_pool(op: Pool, x: np.ndarray) -> np.ndarray:
    """Means of windows; the padding counts, if so stated, what hangs over its edge does not."""
    pad = op.pad if op.counted else 0
    n = np.pad(np.ones((1, 1, *x.shape[2:]), x.dtype), ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=1)
    return _pool(op, x, np.add, 0) / _pool(replace(op, pad=op.pad - pad), n, np.add, 0, clip=pad)


def _pool(op: Pool, x: np.ndarray, reduce: Callable[..., np.ndarray], fill: float, clip: int = 0) -> np.ndarray:
    pad, kernel, stride = op.pad, op.kernel, op.stride
    sizes = [size + 2 * pad + op.after for size in x.shape[2:]]
    out = []
    for size in sizes:
        n = (size - kernel) // stride + 1 if op.rounding == "down" else -(-(size - kernel) // stride) + 1
        # With padding Caffe drops a last window that would lie wholly in it; without, it never does.
        p = pad or clip
        out.append(n - 1 if p and (n - 1) * stride >= size - p else n)
    edge = [max(0, (n - 1) * stride + kernel - size) for n, size in zip(out, sizes, strict=True)]
    x = np.pad(x, ((0, 0), (0, 0), *((pad, pad + op.after + e) for e in edge)), constant_values=fill)
    windows = _windows(x, (kernel, kernel), stride, *out)
    y = next(windows).copy()
    for window in windows:
        reduce(y, window, out=y)
    return y


def _windows(x: np.ndarray, kernel: tuple[int, int], stride: int, h: int, w: int) -> Iterator[np.ndarray]:
    """For each place in the kernel, row by row, what all h x w windows have there: views (N, C, h, w)."""
    for i, j in np.ndindex(kernel):
        yield x[:, :, i : i + stride * (h - 1) + 1 : stride, j : j + stride * (w - 1) + 1 : stride]


def _chw(v: np.ndarray) -> np.ndarray:
    return v[:, None, None]


def _hw(v: np.ndarray) -> np.ndarray:
    return v[:, :, None, None]
