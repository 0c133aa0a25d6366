"""Between the blobs of Caffe's layers and canonical parameters: BatchNorm's factor, folded biases, and the way back."""

from collections.abc import Mapping, Sequence
from typing import assert_never

import numpy as np

from weights.caffe.net import Layer
from weights.caffe.recognise import Match
from weights.errors import InputError
from weights.networks.network import Network, Node, as_network
from weights.networks.operations import (
    Act,
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
    Shape,
    Shift,
    Shuffle,
    Times,
)
from weights.networks.parameters import STATISTICS, schema
from weights.networks.sizes import shapes
from weights.networks.spec import Spec
from weights.params import Info

Blobs = tuple[np.ndarray, ...]
_FLOATS = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.float16))


def blob_count(layer: Layer) -> int:
    """How many blobs Caffe gives a layer of the types that our networks have."""
    match layer.type:
        case "BatchNorm":
            return 3
        case "Convolution" | "InnerProduct":
            param = "convolution_param" if layer.type == "Convolution" else "inner_product_param"
            return 1 + layer.settings.get(param, {}).get("bias_term", True)
        case "Scale" if len(layer.bottoms) == 1:
            return 1 + layer.settings.get("scale_param", {}).get("bias_term", False)
        case _:
            return 0


def parameters(match: Match, source: str) -> tuple[dict[str, np.ndarray], Info]:
    """Canonical parameters of a recognised network, and in an Info what the way back needs.

    Weights are the blobs themselves (views). Statistics are float64: mean and variance times 1/factor, 0 for a factor
    of 0; a convolution's bias before BatchNorm goes into the mean. Where the network has no BatchNorm after a
    convolution, one that changes nothing stands in (mean 0, variance 1 - eps), its bias the convolution's.

    Raises:
        InputError: a blob of another shape than its layer's; ``source`` begins the message.
    """
    reader = _Reader(match, source)
    for node in match.network.nodes:
        reader.node(node)
    return reader.arrays, Info(factors=reader.factors, blobs=reader.raw, history=(*match.notes, *reader.history()))


def matrix_type(node: Node, sizes: Mapping[str, Shape]) -> str:
    """The type of layer that a fully connected node is written as: in SE blocks and on maps a 1x1 convolution."""
    return "Convolution" if node.block or len(sizes[node.inputs[0]]) > 1 else "InnerProduct"


def blobs(of: Network | Spec, params: Mapping[str, np.ndarray], info: Info) -> dict[tuple[str, str], Blobs]:
    """The blobs of every layer that has any: (module, layer type) -> arrays, float32 or float64.

    All are float32 unless a learned parameter is float64. BatchNorm blobs are what ``info`` says they were, bit for
    bit, as long as the statistics are still those; changed statistics, or such without a factor, get the factor 1, and
    are float64 where float32 would not hold them exactly.

    Raises:
        InputError: an array that holds no floating-point numbers, or wider ones than float64.
    """
    network = as_network(of)
    for p in schema(network):
        dtype = np.asarray(params[p.name]).dtype
        if dtype not in _FLOATS and dtype.name != "bfloat16":
            raise InputError(f"{p.name} is {dtype}; Caffe's blobs hold float32 or float64: convert it first")
    double = any(np.asarray(params[p.name]).dtype == np.float64 for p in schema(network) if p.learnable)
    dtype = np.dtype(np.float64 if double else np.float32)
    sizes = shapes(network)
    found: dict[tuple[str, str], Blobs] = {}

    def learned(module: str, *leaves: str) -> Blobs:
        return tuple(np.asarray(params[f"{module}.{leaf}"]).astype(dtype, copy=False) for leaf in leaves)

    for node in network.nodes:
        m = node.module
        match node.op:
            case Conv(bias=bias):
                found[m, "Convolution"] = learned(m, *(("weight", "bias") if bias else ("weight",)))
            case Linear(bias=bias):
                weight, *rest = learned(m, *(("weight", "bias") if bias else ("weight",)))
                kind = matrix_type(node, sizes)
                found[m, kind] = (weight[:, :, None, None] if kind == "Convolution" else weight, *rest)
            case BatchNorm():
                statistics = [np.asarray(params[f"{m}.{leaf}"]) for leaf in STATISTICS]
                found[m, "BatchNorm"] = _stored(m, statistics, info, dtype)
                found[m, "Scale"] = learned(m, "weight", "bias")
            case Act() | Pool() | GlobalPool() | Scale() | Add() | Concat() | Dropout():
                pass
            case Mix() | Times() | AppendZeros() | Shift() | Shuffle() | Flatten():
                pass
            case _:
                assert_never(node.op)
    return found


class _Reader:
    def __init__(self, match: Match, source: str) -> None:
        self.network, self.layers, self.source = match.network, match.layers, source
        self.shapes = {p.name: p.shape for p in schema(self.network)}
        self.arrays: dict[str, np.ndarray] = {}
        self.factors: dict[str, float] = {}
        self.raw: dict[str, np.ndarray] = {}
        self.absorbed = self.stand_ins = 0

    def history(self) -> tuple[str, ...]:
        lines = []
        if self.absorbed:
            lines.append(f"{self.absorbed} convolution biases went into the means of the BatchNorm after them")
        if self.stand_ins:
            lines.append(f"{self.stand_ins} convolutions without BatchNorm got one that changes nothing")
        return tuple(lines)

    def node(self, node: Node) -> None:
        match node.op:
            case Conv(bias=bias):
                (layer,) = self.layers[node.name]
                weight = self.blob(layer, 0, self.shapes[f"{node.module}.weight"])
                self.arrays[f"{node.module}.weight"] = weight
                if bias:
                    self.arrays[f"{node.module}.bias"] = self.bias(layer, weight)
            case BatchNorm(eps):
                self.norm(node, eps)
            case Linear(bias=bias):
                (layer,) = self.layers[node.name]
                weight = self.matrix(layer, *self.shapes[f"{node.module}.weight"])
                self.arrays[f"{node.module}.weight"] = weight
                if bias:
                    self.arrays[f"{node.module}.bias"] = self.bias(layer, weight)
            case Act() | Pool() | GlobalPool() | Scale() | Add() | Concat() | Dropout():
                pass
            case Mix() | Times() | AppendZeros() | Shift() | Shuffle() | Flatten():
                pass
            case _:
                assert_never(node.op)

    def norm(self, node: Node, eps: float) -> None:
        bn, shape = node.module, self.shapes[f"{node.module}.weight"]
        layers = {layer.type: layer for layer in self.layers[node.name]}
        norm, scale = layers.get("BatchNorm"), layers.get("Scale")
        before = self.network.by_name.get(node.inputs[0])
        conv = self.layers[before.name][0] if before and isinstance(before.op, Conv) and not before.op.bias else None
        dtype = next(layer.blobs[0].dtype for layer in (conv, norm, scale) if layer)
        bias = self.blob(conv, 1, shape) if conv and len(conv.blobs) > 1 else None
        gamma, beta = np.ones(shape, dtype), np.zeros(shape, dtype)
        if scale:
            gamma = self.blob(scale, 0, shape)
            beta = self.blob(scale, 1, shape) if len(scale.blobs) > 1 else beta
        if norm:
            statistics = self.statistics(bn, norm, shape, keep=bias is None)
        else:
            statistics = np.zeros(shape, np.float64), np.full(shape, 1 - eps)
            self.stand_ins += 1
            if bias is not None and not scale:
                beta, bias = bias, None
        if bias is not None:
            statistics = statistics[0] - bias, statistics[1]
            self.absorbed += 1
        self.arrays |= {f"{bn}.weight": gamma, f"{bn}.bias": beta}
        self.arrays |= {f"{bn}.{leaf}": value for leaf, value in zip(STATISTICS, statistics, strict=True)}

    def statistics(self, bn: str, layer: Layer, shape: tuple[int, ...], keep: bool) -> tuple[np.ndarray, ...]:
        *stored, factor = (self.blob(layer, i, s) for i, s in enumerate((shape, shape, (1,))))
        self.factors[bn] = float(factor[0])
        freed = tuple(_freed(blob, float(factor[0])) for blob in stored)
        raw = (*stored, factor)
        back = _encoded(freed, float(factor[0]), factor.dtype)
        if keep and any(a.tobytes() != b.astype(a.dtype, copy=False).tobytes() for a, b in zip(raw, back, strict=True)):
            self.raw |= {f"{bn}.{leaf}": blob for leaf, blob in zip((*STATISTICS, "factor"), raw, strict=True)}
        return freed

    def matrix(self, layer: Layer, out: int, channels: int) -> np.ndarray:
        if layer.type == "Convolution":
            return self.blob(layer, 0, (out, channels, 1, 1)).reshape(out, channels)
        if layer.settings.get("inner_product_param", {}).get("transpose"):
            return self.blob(layer, 0, (channels, out)).T
        return self.blob(layer, 0, (out, channels))

    def bias(self, layer: Layer, weight: np.ndarray) -> np.ndarray:
        """The second blob; zeros where the layer has none."""
        shape = weight.shape[:1]
        return self.blob(layer, 1, shape) if len(layer.blobs) > 1 else np.zeros(shape, weight.dtype)

    def blob(self, layer: Layer, i: int, shape: tuple[int, ...]) -> np.ndarray:
        """A blob in the shape that the layer has; the four numbers of old files are matched from the end."""
        array = layer.blobs[i]
        if layer.fits(i, shape):
            return array.reshape(shape)
        raise InputError(
            f"{self.source}: blob {i} of layer {layer.name!r} ({layer.type}) has shape {array.shape}, "
            f"expected {shape} by the layers' definitions"
        )


def _freed(blob: np.ndarray, factor: float) -> np.ndarray:
    with np.errstate(all="ignore"):  # what the file holds may be anything; Caffe computes with it all the same
        return blob.astype(np.float64) * (1 / factor if factor else 0.0)


def _encoded(statistics: Sequence[np.ndarray], factor: float, dtype: np.dtype) -> Blobs:
    with np.errstate(all="ignore"):
        return (*((s.astype(np.float64) * factor).astype(dtype) for s in statistics), np.array([factor], dtype))


def _stored(bn: str, statistics: Sequence[np.ndarray], info: Info, dtype: np.dtype) -> Blobs:
    """BatchNorm's three blobs: the first of the ways that give these statistics back exactly."""
    ways = []
    kept = [info.blobs.get(f"{bn}.{leaf}") for leaf in (*STATISTICS, "factor")]
    if all(blob is not None and blob.dtype == dtype for blob in kept):
        ways.append(tuple(np.asarray(blob) for blob in kept))
    ways += [_encoded(statistics, factor, dtype) for factor in (info.factors.get(bn, 1.0), 1.0)]
    for way in ways:
        *stored, factor = way
        back = [_freed(blob, float(factor[0])) for blob in stored]
        if all(np.array_equal(b, s.astype(np.float64), equal_nan=True) for b, s in zip(back, statistics, strict=True)):
            return way
    return _encoded(statistics, 1.0, np.dtype(np.float64))
