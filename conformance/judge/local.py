"""Judges every layer by itself: its output against what float64 makes of the inputs that the port itself showed.

An error upstream neither hides a wrong layer nor blames a right one, and a small channel counts as much as a large one.
What rounding can explain at one value is c * u * m: c a constant of the operation (``bounds.LAYERS``), u the rounding
error of one number in the port's precision, m the sum of the absolute values of all terms that the value is made of
(Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Where a port does not show an input, because a
runtime has fused layers or the port has no such tap, the check spans the nodes in between, and what rounding can
explain there is carried along.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, assert_never

import numpy as np

from conformance.judge.bounds import BIAS, LAYERS, MEAN, ROUNDING, SMALLEST
from conformance.reference import forward
from conformance.reference.backward import decides
from weights.networks.network import Network, Node
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
    Scale,
    Shift,
    Shuffle,
    Times,
)

SPAN = 12
"""The most nodes that a check spans: over more, rounding could explain anything."""

Explained = np.ndarray | float
"""What rounding can explain at every value; 0.0 where there is nothing to explain."""


class Known(NamedTuple):
    """What is known of a node's output: as the port showed it, or computed from what it showed.

    Attributes:
        values: in float64.
        carried: what rounding can explain in them; 0.0 of what the port showed.
        again: what a compiler that fuses layers may be off by when it computes what was shown once more, in the layer
            that reads it; 0.0 of convolutions and matrices, which none does twice.
        span: how many nodes lie between them and what was shown.
    """

    values: np.ndarray
    carried: Explained = 0.0
    again: Explained = 0.0
    span: int = 0


def shares(
    network: Network,
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    taps: Mapping[str, np.ndarray],
    dtype: str,
    sigmoid: float = 0.0,
    *,
    training: bool = False,
) -> dict[str, float]:
    """The largest error of each tap as a share of what rounding can explain there: above 1 the layer is wrong.

    Args:
        network: the network.
        params: its parameters by canonical name.
        x: the images (N, C, H, W).
        taps: outputs of nodes by name, of the network's shapes. They may be any.
        dtype: the precision that the port computed in.
        sigmoid: what the runtime's sigmoid is off by everywhere, in roundings of 1.
        training: whether BatchNorm took the statistics of the batch.

    Returns:
        Shares in the order of the nodes, without the taps that are more than ``SPAN`` nodes from what was shown. inf
        means a value that is not finite, or one where there can be no error.
    """
    shown: dict[str, Known | None] = {"data": Known(_wide(x))}
    left = {name: len(readers) for name, readers in network.readers.items()}
    ahead = _nodes_to_a_tap(network, taps)
    found: dict[str, float] = {}
    for node in network.nodes:
        inputs = [known for name in node.inputs if (known := shown[name]) is not None]
        for name in dict.fromkeys(node.inputs):
            left[name] -= 1
            if not left[name]:
                del shown[name]
        span = 1 + max(known.span for known in inputs) if len(inputs) == len(node.inputs) else SPAN + 1
        state, again = None, 0.0
        tap = taps.get(node.name)
        if span + ahead[node.name] <= SPAN:
            y, allowed = explained(node, inputs, params, ROUNDING[dtype], sigmoid, training=training)
            if tap is not None:
                found[node.name] = _share(tap, y, allowed + SMALLEST[dtype])
            state = Known(y, allowed, span=span)
            again = allowed if computed_again(node) else 0.0
        if tap is not None:
            state = Known(_wide(tap), again=again)
        shown[node.name] = state
    return found


def _nodes_to_a_tap(network: Network, taps: Collection[str]) -> dict[str, int]:
    """How many nodes lie between a node's output and the next tap, 0 of a tap; more than ``SPAN`` where none comes."""
    found: dict[str, int] = {}
    for node in reversed(network.nodes):
        after = (found[reader.name] for reader in network.readers[node.name])
        found[node.name] = 0 if node.name in taps else 1 + min(after, default=SPAN)
    return found


def computed_again(node: Node) -> bool:
    """Whether compilers may compute what a node makes once more, in the nodes that read it."""
    return _fused(node) or isinstance(node.op, BatchNorm)


def _fused(node: Node) -> bool:
    """Whether compilers make one loop of a node and of what it reads: a value of it reads few others."""
    match node.op:
        case Pool(what) | GlobalPool(what):
            return what == "max"
        case Conv() | Linear() | BatchNorm():
            return False
        case _:
            return True


def decisions(
    network: Network, params: Mapping[str, np.ndarray], x: np.ndarray, taps: Mapping[str, np.ndarray], *, training: bool
) -> dict[str, np.ndarray] | None:
    """For each ReLU and maximum, the input by which the port decided where its gradient goes: as it showed it itself.

    Args:
        network, params, x: as of ``shares``.
        taps: outputs of nodes by name, of the pass whose gradients are judged.
        training: whether BatchNorm took the statistics of the batch.

    Returns:
        Inputs by the node's name, in float64; None where one of them is more than ``SPAN`` nodes from what was shown.
    """
    known: dict[str, tuple[np.ndarray, int]] = {"data": (_wide(x), 0)}  # and how far from what was shown
    found: dict[str, np.ndarray] = {}
    for node in network.nodes:
        inputs = [known[name] for name in node.inputs if name in known]
        spanned = 1 + max(n for _, n in inputs) if len(inputs) == len(node.inputs) else SPAN + 1
        if node.name in taps:
            known[node.name] = _wide(taps[node.name]), 0
        elif spanned <= SPAN:
            y = forward.output(node, [value for value, _ in inputs], params, training=training)
            known[node.name] = y, spanned
        if decides(node):
            # What a ReLU lets through, it lets through a second time, so its output decides as its input did.
            own = node.name in taps and isinstance(node.op, Act) and node.op.function in ("relu", "relu6")
            by = node.name if own else node.inputs[0]
            if by not in known:
                return None
            found[node.name] = known[by][0]
    return found


def _wide(values: np.ndarray) -> np.ndarray:
    """In float64, one row after the other: NumPy adds up values that lie apart one by one, not by halves."""
    return np.ascontiguousarray(values, np.float64)


def _share(tap: np.ndarray, y: np.ndarray, explained: Explained) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        share = float((np.abs(tap - y) / explained).max(initial=0))
    return share if np.isfinite(share) else np.inf


def explained(
    node: Node,
    known: Sequence[Known],
    params: Mapping[str, np.ndarray],
    u: float,
    sigmoid: float = 0.0,
    *,
    training: bool = False,
) -> tuple[np.ndarray, Explained]:
    """A node's output in float64, and what rounding can explain in it.

    Args:
        node: the node.
        known: its inputs.
        params: the parameters by canonical name.
        u: the rounding error of one number.
        sigmoid, training: as of ``shares``.
    """
    inputs = [one.values for one in known]
    y = forward.output(node, inputs, params, training=training)
    own = u * allowance(node, inputs)
    if training and isinstance(node.op, BatchNorm):
        params, spread = _with_the_statistics(node, inputs[0], params)
        pixels = inputs[0].size // inputs[0].shape[1]
        own = u * (LAYERS["BatchNorm in training"] + 0.5 * math.sqrt(pixels)) * (1 + spread)
    own = own * terms(node, inputs, params, y)
    match node.op:
        case Act("sigmoid"):
            own += u * sigmoid
        case Act("swish"):
            own += u * sigmoid * np.abs(inputs[0])
        case Conv(bias=True) | Linear(bias=True):
            bias = np.abs(np.asarray(params[f"{node.module}.bias"], np.float64))
            products = params[f"{node.module}.weight"].size // len(bias)
            own += u * BIAS * math.sqrt(products) * bias.reshape(-1, *[1] * (y.ndim - 2))
        case _:
            pass
    errors = [one.again if _fused(node) and isinstance(one.carried, float) else one.carried for one in known]
    if all(isinstance(error, float) for error in errors):
        return y, own
    carried = [np.broadcast_to(error, one.values.shape) for error, one in zip(errors, known, strict=True)]
    return y, own + _carried(node, inputs, carried, params)


def kind(node: Node) -> str:
    """The name that the constants are kept by: the operation, or the function of an activation or a pooling."""
    match node.op:
        case Act(function):
            return function
        case Pool(what) | GlobalPool(what):
            return what
        case op:
            return type(op).__name__


def allowance(node: Node, inputs: Sequence[np.ndarray]) -> float:
    """The constant c of a node."""
    match node.op:
        case Pool("avg", kernel):
            values = kernel * kernel
        case GlobalPool("avg"):
            values = inputs[0].shape[2] * inputs[0].shape[3]
        case _:
            values = 0
    return LAYERS[kind(node)] + MEAN * values


def _with_the_statistics(
    node: Node, x: np.ndarray, params: Mapping[str, np.ndarray]
) -> tuple[Mapping[str, np.ndarray], np.ndarray]:
    """The parameters with the statistics of a batch, and by how much more these are off than their own rounding.

    A variance may be the mean of the squares less the square of the mean, of which a large part cancels.
    """
    mean, var = forward.statistics(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.nan_to_num(np.square(mean) / var, nan=0.0)
    stated = {f"{node.module}.running_mean": mean, f"{node.module}.running_var": var}
    return {**params, **stated}, spread[:, None, None]


def terms(node: Node, inputs: Sequence[np.ndarray], params: Mapping[str, np.ndarray], y: np.ndarray) -> np.ndarray:
    """The sum of the absolute values of all terms that each value of the output y is made of."""
    match node.op:
        case Act(function):
            return _terms_of(function, inputs[0], y)
        case Pool("max") | GlobalPool("max") | Dropout() | AppendZeros() | Shift() | Shuffle() | Flatten() | Concat():
            return np.abs(y)  # copies
        case BatchNorm():
            return forward.output(node, list(map(np.abs, inputs)), _absolute(node, params, inputs[0].shape[1]))
        case Conv() | Linear():
            return _terms_of_products(node, list(map(np.abs, inputs)), _absolute(node, params, inputs[0].shape[1]))
        case Pool() | GlobalPool() | Scale() | Add() | Mix() | Times():
            return np.abs(forward.output(node, list(map(np.abs, inputs)), _absolute(node, params, inputs[0].shape[1])))
        case _:
            assert_never(node.op)


def _terms_of_products(node: Node, inputs: Sequence[np.ndarray], params: Mapping[str, np.ndarray]) -> np.ndarray:
    """In float32 where its range is wide enough, for half the time: as a bound six digits are more than enough."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = forward.output(node, [values.astype(np.float32) for values in inputs], params)
    if not (np.isfinite(found).all() and found.min(initial=1) > _SMALL):  # sums of zeros are zeros in float64 only
        return forward.output(node, inputs, params)
    return found.astype(np.float64)


_SMALL = 1e-30
"""Far above what float32 takes for 0: products of smaller numbers are then too small to count."""


def _terms_of(function: Activation, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    match function:
        case "relu" | "relu6" | "tanh" | "sigmoid":
            return np.abs(y)
        case "swish":
            return np.abs(y) * (1 + np.abs(x))
        case "hard-sigmoid":
            return np.where(np.abs(x) < 4, (np.abs(x) + 3) / 6, np.abs(y))
        case "hard-swish":
            return np.where(np.abs(x) < 4, np.abs(x) * (np.abs(x) + 3) / 6, np.abs(y))
        case _:
            assert_never(function)


def _absolute(node: Node, params: Mapping[str, np.ndarray], channels: int) -> dict[str, np.ndarray]:
    """The absolute values of a node's parameters; of a mean the negative one, for it is subtracted."""
    found = {name: np.abs(params[name]) for name in (f"{node.module}.{leaf}" for leaf in node.op.leaves(channels))}
    mean = f"{node.module}.running_mean"
    return found | ({mean: -found[mean]} if mean in found else {})


def _carried(
    node: Node, inputs: Sequence[np.ndarray], errors: Sequence[np.ndarray], params: Mapping[str, np.ndarray]
) -> np.ndarray:
    """What errors of the inputs can make of the output."""
    sizes = list(map(np.abs, inputs))
    match node.op:
        case Act(function):
            return _slope(function, inputs[0], errors[0]) * errors[0]
        case Scale():
            most = [size + error for size, error in zip(sizes, errors, strict=True)]
            return forward.output(node, most, {}) - forward.output(node, sizes, {})
        case Conv() | Linear() as op:
            plain = replace(node, op=replace(op, bias=False))
            return forward.output(plain, errors, _absolute(plain, params, inputs[0].shape[1]))
        case BatchNorm(eps):
            factor = np.abs(params[f"{node.module}.weight"]) / np.sqrt(params[f"{node.module}.running_var"] + eps)
            return errors[0] * factor[:, None, None]
        case Times(factor):
            return abs(factor) * errors[0]
        case Pool() | GlobalPool() | Add() | Mix() | Concat() | Dropout():
            return forward.output(node, errors, {})
        case AppendZeros() | Shift() | Shuffle() | Flatten():
            return forward.output(node, errors, {})
        case _:
            assert_never(node.op)


def _slope(function: Activation, x: np.ndarray, error: np.ndarray) -> np.ndarray | float:
    """The largest slope of an activation between x - error and x + error, or more."""
    match function:
        case "relu":
            return x > -error
        case "relu6":
            return (x > -error) & (x < 6 + error)
        case "sigmoid" | "tanh":
            # The slope's own relative slope is at most 1, of the tanh 2.
            y = forward.ACTIVATIONS[function](x)
            at, grows = (y * (1 - y), 1) if function == "sigmoid" else (1 - y * y, 2)
            return np.minimum(1.0, at * np.exp(np.minimum(grows * error, 50)))
        case "hard-sigmoid":
            return np.where(np.abs(x) < 3 + error, 1 / 6, 0.0)
        case "swish" | "hard-swish":
            return 1.5
        case _:
            assert_never(function)
