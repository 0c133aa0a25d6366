"""Runs a graph in NumPy: plain, and the arbiter, checked against the original Caffe at every layer."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from weights.networks.graph import (
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Node,
    Relu,
    Scale,
    Sigmoid,
    graph,
)
from weights.networks.spec import Spec


def run(
    spec: Spec, params: Mapping[str, np.ndarray], x: np.ndarray, *, training: bool = False
) -> dict[str, np.ndarray]:
    """Every node's output by name, in the order of the graph.

    Args:
        params: by canonical name; cast to the dtype of x.
        x: (N, 3, H, W); its dtype is that of the whole computation.
        training: BatchNorm takes the statistics of the batch. Nothing is dropped out.
    """
    return execute(graph(spec), params, x, training=training)


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
            case Conv(_, kernel, stride, pad, groups):
                y = conv(a, p("weight"), kernel, stride, pad, groups)
            case BatchNorm(eps):
                mean, var = statistics(a) if training else (p("running_mean"), p("running_var"))
                y = a - _chw(mean)
                y *= _chw(p("weight") / np.sqrt(var + eps))
                y += _chw(p("bias"))
            case Linear():
                y = a @ p("weight").T + p("bias")
            case Relu():
                y = np.maximum(a, 0)
            case Sigmoid():
                y = sigmoid(a)
            case MaxPool(kernel, stride, pad, after):
                y = _pool(a, kernel, stride, pad, np.maximum, -np.inf, after=after)
            case AvgPool(kernel, stride, pad):
                y = avg_pool(a, kernel, stride, pad)
            case GlobalAvgPool():
                y = a.mean((2, 3))
            case Scale():
                y = a * rest[0][:, :, None, None]
            case Add():
                y = a + rest[0]
            case Concat():
                y = np.concatenate([a, *rest], 1)
            case Dropout():
                y = a
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
