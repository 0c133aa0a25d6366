"""Gradients of a graph in NumPy: plain, and the arbiter, checked against the original Caffe's."""

from collections.abc import Mapping
from types import EllipsisType
from typing import assert_never

import numpy as np

from conformance.reference import forward as reference
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


def gradients(
    of: Network | Spec,
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    cotangent: np.ndarray,
    *,
    training: bool = False,
    values: Mapping[str, np.ndarray] | None = None,
    decided: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Gradients of sum(logits * cotangent) with respect to the input, "data", and every learnable parameter.

    Args:
        params: by canonical name; cast to the dtype of x.
        x: (N, 3, H, W); its dtype is that of the whole computation.
        cotangent: as the logits (N, classes), or as the pooled features where there is no classifier.
        training: BatchNorm normalises with the statistics of the batch, and gradients run through them.
        values: the outputs of all nodes, where they are known already.
        decided: for every node that ``decides``, an input that says on which side of a ReLU, or from which pixel of a
            window, the gradient goes on, in place of this computation's own.

    Returns:
        In the order in which they come about: the last node's first, "data" last; canonical layouts.
    """
    check_size(of, *x.shape[2:])
    nodes = as_network(of).nodes
    values = {"data": x, **(values or reference.execute(nodes, params, x, training=training))}
    flow = {nodes[-1].name: cotangent.astype(x.dtype)}  # the gradient of each node's output
    found: dict[str, np.ndarray] = {}
    for node in reversed(nodes):
        g, y = flow.pop(node.name), values[node.name]
        a, *rest = (values[name] for name in node.inputs)
        if decided is not None and decides(node):
            a = decided[node.name].astype(x.dtype)
            y = reference.output(node, [a], params)
        m = node.module

        def p(leaf: str, module: str = m) -> np.ndarray:
            return np.asarray(params[f"{module}.{leaf}"], x.dtype)

        match node.op:
            case Conv() as op:
                dx, found[f"{m}.weight"] = _conv(g, a, p("weight"), op)
                found |= {f"{m}.bias": g.sum((0, 2, 3))} if op.bias else {}
                flows = [dx]
            case BatchNorm(eps):
                mean, var = reference.statistics(a) if training else (p("running_mean"), p("running_var"))
                scale = 1 / np.sqrt(var + eps)
                normal = (a - _chw(mean)) * _chw(scale)
                found[f"{m}.weight"], found[f"{m}.bias"] = (g * normal).sum((0, 2, 3)), g.sum((0, 2, 3))
                if training:
                    size = g.size // g.shape[1]
                    g = g - _chw(found[f"{m}.bias"] / size) - normal * _chw(found[f"{m}.weight"] / size)
                flows = [g * _chw(p("weight") * scale)]
            case Linear(_, bias):
                gs, xs = (np.moveaxis(v, 1, -1).reshape(-1, v.shape[1]) for v in (g, a))  # a row for every pixel
                found[f"{m}.weight"] = gs.T @ xs
                found |= {f"{m}.bias": gs.sum(0)} if bias else {}
                flows = [np.moveaxis(np.moveaxis(g, 1, -1) @ p("weight"), -1, 1)]
            case Act(function):
                flows = [g * slope(function, a, y)]
            case Pool() as op:
                flows = [_pool(op, g, a)]
            case GlobalPool(what):
                flows = [_global_pool(what, g, a)]
            case Scale():
                gate = rest[0]
                flows = [g * gate, g * a] if gate.ndim == 4 else [g * _hw(gate), (g * a).sum((2, 3))]
            case Add():
                flows = [g, g]
            case Concat():
                flows = np.split(g, np.cumsum([v.shape[1] for v in (a, *rest)])[:-1], 1)
            case Mix():
                flows = [g / 2, g / 2]
            case Times(factor):
                flows = [factor * g]
            case AppendZeros():
                flows = [g[:, : a.shape[1]]]
            case Shift():
                flows = [np.pad(g, ((0, 0), (0, 0), (0, 1), (0, 1)))[:, :, 1:, 1:]]
            case Shuffle(groups):
                flows = [reference.shuffle(g, g.shape[1] // groups)]
            case Flatten():
                flows = [g.reshape(a.shape)]
            case Dropout():
                flows = [g]
            case _:
                assert_never(node.op)
        for name, into in zip(node.inputs, flows, strict=True):
            flow[name] = flow[name] + into if name in flow else into
    found["data"] = flow["data"]
    return found


def decides(node: Node) -> bool:
    """Whether rounding of a node's input can send the gradient elsewhere."""
    match node.op:
        case Act(function):
            return function in ("relu", "relu6", "hard-sigmoid", "hard-swish")
        case Pool(what) | GlobalPool(what):
            return what == "max"
        case _:
            return False


def slope(function: Activation, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The derivative of an activation, from its input x and output y."""
    match function:
        case "relu":
            return y > 0  # 0 at 0
        case "sigmoid":
            return y * (1 - y)
        case "tanh":
            return 1 - y * y
        case "relu6":
            return (x > 0) & (x < 6)
        case "swish":
            s = reference.sigmoid(x)
            return s + y * (1 - s)
        case "hard-sigmoid":
            return np.where((x > -3) & (x < 3), 1 / 6, 0).astype(x.dtype)
        case "hard-swish":
            return np.where(x < -3, 0, np.where(x > 3, 1, (2 * x + 3) / 6)).astype(x.dtype)
        case _:
            assert_never(function)


def _conv(g: np.ndarray, x: np.ndarray, weight: np.ndarray, op: Conv) -> tuple[np.ndarray, np.ndarray]:
    """Gradients with respect to the input and to the weight."""
    n, c, height, width = x.shape
    h, w = g.shape[2:]
    sides = op.sides(height, width)
    x = np.pad(x, ((0, 0), (0, 0), *sides))
    dx, dw = np.zeros_like(x), np.empty_like(weight)
    g = g.reshape(n, op.groups, -1, h * w)  # (N, groups, O / groups, h w)
    weight = weight.reshape(op.groups, -1, c // op.groups, *op.window)
    for i, j in np.ndindex(op.window):
        at = _window(i, j, op.stride, h, w)
        columns = x[at].reshape(n, op.groups, -1, h * w)
        dw[:, :, i, j] = (g @ columns.swapaxes(2, 3)).sum(0).reshape(dw.shape[:2])
        dx[at] += (weight[..., i, j].swapaxes(1, 2) @ g).reshape(n, c, h, w)
    (top, _), (left, _) = sides
    return dx[:, :, top : top + height, left : left + width], dw


def _max_pool(op: Pool, g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """To the first of equal values, row by row."""
    kernel, stride, pad = op.kernel, op.stride, op.pad
    height, width = x.shape[2:]
    h, w = g.shape[2:]
    y = reference.pool(op, x)
    x = np.pad(x, _sides(x, kernel, stride, pad, h, w), constant_values=-np.inf)
    dx, given = np.zeros_like(x), np.zeros(g.shape, bool)
    for i, j in np.ndindex(kernel, kernel):
        at = _window(i, j, stride, h, w)
        first = (x[at] == y) & ~given
        dx[at] += g * first
        given |= first
    return dx[:, :, pad : pad + height, pad : pad + width]


def _pool(op: Pool, g: np.ndarray, x: np.ndarray) -> np.ndarray:
    match op.what:
        case "max":
            return _max_pool(op, g, x)
        case "avg":
            return _avg_pool(op, g, x)
        case _:
            assert_never(op.what)


def _global_pool(what: Pooling, g: np.ndarray, x: np.ndarray) -> np.ndarray:
    match what:
        case "max":  # to the first of equal values, row by row
            dx = np.zeros_like(x).reshape(*g.shape, -1)
            np.put_along_axis(dx, x.reshape(dx.shape).argmax(-1, keepdims=True), g[..., None], -1)
            return dx.reshape(x.shape)
        case "avg":
            return np.broadcast_to(_hw(g / (x.shape[2] * x.shape[3])), x.shape)
        case _:
            assert_never(what)


def _avg_pool(op: Pool, g: np.ndarray, x: np.ndarray) -> np.ndarray:
    pad, kernel, stride = op.pad, op.kernel, op.stride
    height, width = x.shape[2:]
    h, w = g.shape[2:]
    share = g / _lengths(op, h, height)[:, None] / _lengths(op, w, width)
    dx = np.pad(np.zeros_like(x), _sides(x, kernel, stride, pad, h, w))
    for i, j in np.ndindex(kernel, kernel):
        dx[_window(i, j, stride, h, w)] += share
    return dx[:, :, pad : pad + height, pad : pad + width]


def _lengths(op: Pool, out: int, size: int) -> np.ndarray:
    """Of each window along an axis: what hangs over the edge never counts, the padding where it is said so."""
    first = op.stride * np.arange(out) - op.pad
    edge = op.pad if op.counted else 0
    return np.minimum(first + op.kernel, size + edge) - np.maximum(first, -edge)


def _window(i: int, j: int, stride: int, h: int, w: int) -> tuple[EllipsisType, slice, slice]:
    """Where all h x w windows have their place (i, j)."""
    return ..., slice(i, i + stride * (h - 1) + 1, stride), slice(j, j + stride * (w - 1) + 1, stride)


def _sides(x: np.ndarray, kernel: int, stride: int, pad: int, h: int, w: int) -> tuple[tuple[int, int], ...]:
    """The padding of each axis: on the far side at least as far as the last window reaches."""
    far = (max(pad, (out - 1) * stride + kernel - size - pad) for out, size in ((h, x.shape[2]), (w, x.shape[3])))
    return (0, 0), (0, 0), *((pad, f) for f in far)


def _chw(v: np.ndarray) -> np.ndarray:
    return v[:, None, None]


def _hw(v: np.ndarray) -> np.ndarray:
    return v[:, :, None, None]
