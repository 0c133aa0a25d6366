"""Runs a graph in NumPy: plain, and the arbiter, checked against the original Caffe at every layer."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import assert_never

import numpy as np

from weights.networks.network import Network, Node, as_network
from weights.networks.operations import (
    Act,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    GlobalPool,
    Linear,
    Pool,
    Pooling,
    Scale,
)
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
    return execute(as_network(of).nodes, params, x, training=training)


def execute(
    nodes: Iterable[Node], params: Mapping[str, np.ndarray], x: np.ndarray, *, training: bool = False
) -> dict[str, np.ndarray]:
    """As ``run``, for any list of nodes in topological order."""
    values = {"data": x}
    for node in nodes:
        a, *rest = (values[name] for name in node.inputs)

        def p(leaf: str, module: str = node.module) -> np.ndarray:
            return np.asarray(params[f"{module}.{leaf}"], x.dtype)

        match node.op:
            case Conv(_, kernel, stride, pad, groups, bias):
                y = conv(a, p("weight"), kernel, stride, pad, groups)
                y = y + _chw(p("bias")) if bias else y
            case BatchNorm(eps):
                mean, var = statistics(a) if training else (p("running_mean"), p("running_var"))
                y = a - _chw(mean)
                y *= _chw(p("weight") / np.sqrt(var + eps))
                y += _chw(p("bias"))
            case Linear(_, bias):
                y = np.moveaxis(a, 1, -1) @ p("weight").T
                y = np.moveaxis(y + p("bias") if bias else y, -1, 1)
            case Act(function):
                y = ACTIVATIONS[function](a)
            case Pool(what, kernel, stride, pad, after):
                y = pool(what, a, kernel, stride, pad, after)
            case GlobalPool(what):
                y = GLOBAL_POOLS[what](a)
            case Scale():
                y = a * (rest[0] if rest[0].ndim == 4 else _hw(rest[0]))
            case Add():
                y = a + rest[0]
            case Concat():
                y = np.concatenate([a, *rest], 1)
            case Dropout():
                y = a
            case _:
                assert_never(node.op)
        values[node.name] = y
    del values["data"]
    return values


def statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of each channel of a batch (N, C, H, W): what it is normalised with in training."""
    return x.mean((0, 2, 3)), x.var((0, 2, 3))


def conv(x: np.ndarray, weight: np.ndarray, kernel: int, stride: int, pad: int, groups: int) -> np.ndarray:
    """Cross-correlation of (N, C, H, W) with (O, C / groups, k, k): a matrix product over unrolled windows."""
    n, c, height, width = x.shape
    h, w = ((size + 2 * pad - kernel) // stride + 1 for size in (height, width))
    if kernel == 1:
        columns = np.ascontiguousarray(x[:, :, ::stride, ::stride])
    else:
        x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        columns = np.empty((n, c, kernel**2, h, w), x.dtype)
        for i, window in enumerate(_windows(x, kernel, stride, h, w)):
            columns[:, :, i] = window
    out = len(weight)
    y = weight.reshape(groups, out // groups, -1) @ columns.reshape(n, groups, -1, h * w)
    return y.reshape(n, out, h, w)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), with the same relative accuracy at both ends."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def hard_sigmoid(x: np.ndarray) -> np.ndarray:
    """min(max(x + 3, 0), 6) / 6."""
    return np.clip(x + 3, 0, 6) / 6


ACTIVATIONS: Mapping[Activation, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "hard-sigmoid": hard_sigmoid,
}

GLOBAL_POOLS: Mapping[Pooling, Callable[[np.ndarray], np.ndarray]] = {
    "avg": lambda x: x.mean((2, 3)),
    "max": lambda x: x.max((2, 3)),
}


def pool(what: Pooling, x: np.ndarray, kernel: int, stride: int, pad: int, after: int) -> np.ndarray:
    """Maxima or means of windows whose number rounds up."""
    match what:
        case "max":
            return _pool(x, kernel, stride, pad, np.maximum, -np.inf, after=after)
        case "avg":
            return avg_pool(x, kernel, stride, pad)
        case _:
            assert_never(what)


def avg_pool(x: np.ndarray, kernel: int, stride: int, pad: int) -> np.ndarray:
    """Means of windows; the padding counts, what hangs over its edge does not."""
    n = np.pad(np.ones((1, 1, *x.shape[2:]), x.dtype), ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=1)
    return _pool(x, kernel, stride, pad, np.add, 0) / _pool(n, kernel, stride, 0, np.add, 0, clip=pad)


def _pool(
    x: np.ndarray,
    kernel: int,
    stride: int,
    pad: int,
    reduce: Callable[..., np.ndarray],
    fill: float,
    clip: int = 0,
    after: int = 0,
) -> np.ndarray:
    sizes = [size + 2 * pad + after for size in x.shape[2:]]
    out = []
    for size in sizes:
        n = -(-(size - kernel) // stride) + 1
        # With padding Caffe drops a last window that would lie wholly in it; without, it never does.
        p = pad or clip
        out.append(n - 1 if p and (n - 1) * stride >= size - p else n)
    edge = [max(0, (n - 1) * stride + kernel - size) for n, size in zip(out, sizes, strict=True)]
    x = np.pad(x, ((0, 0), (0, 0), *((pad, pad + after + e) for e in edge)), constant_values=fill)
    windows = _windows(x, kernel, stride, *out)
    y = next(windows).copy()
    for window in windows:
        reduce(y, window, out=y)
    return y


def _windows(x: np.ndarray, kernel: int, stride: int, h: int, w: int) -> Iterator[np.ndarray]:
    """For each place in the kernel, row by row, what all h x w windows have there: views (N, C, h, w)."""
    for i in range(kernel):
        for j in range(kernel):
            yield x[:, :, i : i + stride * (h - 1) + 1 : stride, j : j + stride * (w - 1) + 1 : stride]


def _chw(v: np.ndarray) -> np.ndarray:
    return v[:, None, None]


def _hw(v: np.ndarray) -> np.ndarray:
    return v[:, :, None, None]
