"""The settings of one Caffe layer as an operation of a network, or why they are not one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Any

from weights.caffe.net import Layer
from weights.caffe.schema import MESSAGES
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
    Mix,
    Op,
    Pool,
    Pooling,
    Scale,
    Shape,
    Times,
)
from weights.networks.spec import EPS

POOLINGS: dict[str, Pooling] = {"MAX": "max", "AVE": "avg"}
ACTIVATIONS: dict[str, Activation] = {"ReLU": "relu", "Sigmoid": "sigmoid", "TanH": "tanh"}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a layer was read as.

    Attributes:
        op: the operation, or the nearest one; None where no operation is near.
        expected, found: how the layer differs from the operation; empty where it does not.
    """

    op: Op | None
    expected: str = ""
    found: str = ""


def read_layer(layer: Layer, shapes: tuple[Shape, ...], axes: tuple[int, ...]) -> Reading:
    """The operation of one layer.

    Args:
        layer: of any type.
        shapes: of its inputs, as operations count them: (C, H, W), or (C,) after a pooling of the whole map.
        axes: of its inputs, as Caffe counts them: a pooled map may have 4, (N, C, 1, 1), or 2, (N, C).
    """
    reader = _READERS.get(layer.type)
    wanted = {"Eltwise": (2,), "Axpy": (3,), "Scale": (1, 2), "Concat": range(1, 1000)}.get(layer.type, (1,))
    if reader is None:
        return Reading(None)
    if len(shapes) not in wanted or len(layer.tops) != 1:
        found = f"{len(shapes)} of the image and {len(layer.tops)} tops"
        return Reading(None, f"{' or '.join(map(str, wanted))} bottoms and one top", found)
    return reader(layer, shapes, axes)


def param(layer: Layer, name: str) -> dict[str, Any]:
    """One of a layer's messages of settings, defaults filled in."""
    return _defaults(name) | layer.settings.get(name, {})


@cache
def _defaults(name: str) -> dict[str, Any]:
    message = MESSAGES["LayerParameter"][name].message
    return {key: f.default for key, f in MESSAGES[str(message)].items() if f.default is not None}


def _held(op: Op | None, what: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Reading:
    """The operation, whose settings must be the wanted ones."""
    wrong = [key for key in wanted if found[key] != wanted[key]]
    if not wrong:
        return Reading(op)
    expected = f"{what} with " + ", ".join(f"{key} {wanted[key]}" for key in wrong)
    return Reading(op, expected, ", ".join(f"{key} {found[key]}" for key in wrong))


def _convolution(layer: Layer, shapes: tuple[Shape, ...], axes: tuple[int, ...]) -> Reading:
    del axes
    p = param(layer, "convolution_param")
    kernel, stride, pad, dilation = (
        _pair(p, name, stem, default)
        for name, stem, default in (
            ("kernel_size", "kernel", 0),
            ("stride", "stride", 1),
            ("pad", "pad", 0),
            ("dilation", "dilation", 1),
        )
    )
    out, groups, bias = p["num_output"], p["group"], p["bias_term"]
    if out < 1:
        return Reading(None, "at least one output", "num_output 0")
    if len(shapes[0]) == 1:
        found = {
            "kernel": kernel,
            "stride": stride,
            "pad": pad,
            "dilation": dilation,
            "group": groups,
            "axis": p["axis"],
        }
        wanted = {"kernel": 1, "stride": 1, "pad": 0, "dilation": 1, "group": 1}
        return _held(Linear(out, bias), "a 1x1 convolution of pooled features", found, wanted)
    op = Conv(out, _two(kernel), max(_largest(stride), 1), _two(pad), max(groups, 1), bias)
    if min(op.window) < 1 or len(op.window) != 2:
        return Reading(replace(op, kernel=1), "a convolution with a kernel", f"kernel {kernel}")
    if groups < 1 or out % groups or shapes[0][0] % groups:
        return Reading(op, "a convolution whose group divides its channels", f"group {groups}, num_output {out}")
    found = {"stride": stride, "pad": pad, "dilation": dilation, "axis": p["axis"]}
    return _held(op, "a convolution", found, {"stride": op.stride, "pad": op.pad, "dilation": 1, "axis": 1})


def _inner_product(layer: Layer, shapes: tuple[Shape, ...], axes: tuple[int, ...]) -> Reading:
    del shapes, axes
    p = param(layer, "inner_product_param")
    op = Linear(p["num_output"], p["bias_term"])
    if op.out < 1:
        return Reading(None, "at least one output", "num_output 0")
    return _held(op, "a fully connected layer", p, {"axis": 1})


def _pooling(layer: Layer, shapes: tuple[Shape, ...], axes: tuple[int, ...]) -> Reading:
    del axes
    p = param(layer, "pooling_param")
    what = POOLINGS.get(p["pool"])
    if what is None or len(shapes[0]) == 1:
        return Reading(None, "a max or average pooling of a map", f"pool {p['pool']}")
    if p["global_pooling"]:
        return Reading(GlobalPool(what))
    stated = _pair(p, "kernel_size", "kernel", 0), _pair(p, "stride", "stride", 1), _pair(p, "pad", "pad", 0)
    kernel, stride, pad = map(_largest, stated)
    h, w = shapes[0][1:]
    # A window of stride 2 that covers the map ends a stage where the image is small: 3x3, or the largest in 2x2.
    halves = stride == 2 and (kernel == 3 or (kernel, what) == (2, "max"))
    if stated[0] in ((h, w), h if h == w else None) and not pad and not halves:
        return Reading(GlobalPool(what))
    rounding = "down" if p["round_mode"] == "FLOOR" and stride > 1 else "up"
    op = Pool(what, kernel, max(stride, 1), pad, rounding=rounding)
    if not all(isinstance(number, int) for number in stated) or not kernel or not stride:
        named = dict(zip(("kernel", "stride", "pad"), stated, strict=True))
        found = ", ".join(f"{key} {value}" for key, value in named.items())
        return Reading(op, f"a square window, or one of the whole map, which is {h}x{w}", found)
    if rounding == "up" and kernel < stride + pad:  # Caffe leaves out a window that would begin behind the map
        return Reading(
            op, "a kernel of at least stride and pad together", f"kernel {kernel}, stride {stride}, pad {pad}"
        )
    return Reading(op)


def _activation(layer: Layer, shapes: tuple[Shape, ...], axes: tuple[int, ...]) -> Reading:
    del shapes, axes
    op = Act(ACTIVATIONS[layer.type])
    if layer.type != "ReLU":
        return Reading(op)
    return _held(op, "a ReLU", param(layer, "relu_param"), {"negative_slope": 0.0})


def _clip(layer: Layer, shapes: tuple[Shape, ...], axes: tuple[int, ...]) -> Reading:
    del shapes, axes
    return Reading(Act("relu6") if param(layer, "clip_param") == {"min": 0.0, "max": 6.0} else None)


def _power(layer: Layer, shapes: tuple[Shape, ...], axes: tuple[int, ...]) -> Reading:
    del shapes, axes
    p = param(layer, "power_param")
    return Reading(Times(p["scale"]) if (p["power"], p["shift"]) == (1.0, 0.0) else None)


def _batch_norm(layer: Layer, shapes: tuple[Shape, ...], axes: tuple[int, ...]) -> Reading:
    del axes
    if len(shapes[0]) == 1:
        return Reading(None, "a map before it", "pooled features")
    return Reading(BatchNorm(layer.settings.get("batch_norm_param", {}).get("eps", EPS)))


def _scale(layer: Layer, shapes: tuple[Shape, ...], axes: tuple[int, ...]) -> Reading:
    p = param(layer, "scale_param")
    if len(shapes) == 1:  # on its own; one after a BatchNorm is a part of that
        if len(shapes[0]) == 1:
            return Reading(None, "a map before it", "pooled features")
        return _held(BatchNorm(EPS), "a Scale of the channels", p, {"axis": 1, "num_axes": 1})
    x, gate = shapes
    if len(x) == 1 or len(gate) > 1:
        return Reading(Scale(), "a map and, second, the gate of its channels", " and ".join(map(repr, layer.bottoms)))
    if axes[1] > 2:
        return Reading(Scale(), "a gate of two axes (a Reshape or Flatten before)", "a gate of four axes")
    return _held(Scale(), "a Scale by a gate", p, {"axis": 0, "bias_term": False})


def _eltwise(layer: Layer, shapes: tuple[Shape, ...], axes: tuple[int, ...]) -> Reading:
    del axes
    if len(shapes[0]) != len(shapes[1]):
        return Reading(None, "two maps of one size", "a map and pooled features")
    p = param(layer, "eltwise_param")
    match p["operation"]:
        case "SUM":
            if p.get("coeff") == [0.5, 0.5]:
                return Reading(Mix())
            unequal = set(p.get("coeff", [1.0])) - {1.0} and not coefficients(layer)
            return Reading(Add(), *(("a sum without coefficients", f"coeff {p['coeff']}") if unequal else ()))
        case "PROD" if len(shapes[0]) == 1:
            return Reading(None, "a product of maps", "one of pooled features")
        case "PROD":
            return Reading(Scale())
        case other:
            return Reading(None, "a sum or a product", f"operation {other}")


def coefficients(layer: Layer) -> tuple[float, ...]:
    """The two factors of a weighted sum; none of a sum without, of one of halves, and of any other layer."""
    p = param(layer, "eltwise_param")
    found = tuple(p.get("coeff", ()))
    weighs = p["operation"] == "SUM" and len(layer.bottoms) == len(found) == 2 and found != (0.5, 0.5)
    return found if weighs else ()


def _axpy(layer: Layer, shapes: tuple[Shape, ...], axes: tuple[int, ...]) -> Reading:
    del layer, axes
    gated = len(shapes[0]) == 1 and len(shapes[1]) > 1
    return Reading(Add(), *(() if gated else ("the gate of the channels first, then two maps", "other shapes")))


def _concat(layer: Layer, shapes: tuple[Shape, ...], axes: tuple[int, ...]) -> Reading:
    del shapes, axes
    found = param(layer, "concat_param")
    return _held(Concat(), "a Concat of channels", found, {"axis": 1, "concat_dim": 1})


def _dropout(layer: Layer, shapes: tuple[Shape, ...], axes: tuple[int, ...]) -> Reading:
    del shapes, axes
    return Reading(Dropout(param(layer, "dropout_param")["dropout_ratio"]))


_READERS: Mapping[str, Callable[[Layer, tuple[Shape, ...], tuple[int, ...]], Reading]] = {
    "Convolution": _convolution,
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
    **dict.fromkeys(ACTIVATIONS, _activation),
    "Clip": _clip,
    "Power": _power,
    "BatchNorm": _batch_norm,
    "Scale": _scale,
    "Eltwise": _eltwise,
    "Axpy": _axpy,
    "Concat": _concat,
    "Dropout": _dropout,
}


TYPES = (*_READERS, "Reshape", "Flatten", "Crop", "Slice", "Split")
"""The types of layers that are operations, or pass one on."""


def reshaped(layer: Layer, shape: Shape) -> int | Reading:
    """The axes of a pooled map after a Reshape or Flatten layer; a reading that says why it is not one of those."""
    if len(shape) > 1:
        return Reading(None, "a map pooled as a whole before it", f"a map of {_by(shape)}")
    if layer.type == "Flatten":
        held = _held(None, "a Flatten", param(layer, "flatten_param"), {"axis": 1, "end_axis": -1})
        return held if held.expected else 2
    p = param(layer, "reshape_param")
    held = _held(None, "a Reshape", p, {"axis": 0, "num_axes": -1})
    if held.expected:
        return held
    dims = p.get("shape", {}).get("dim", [])
    channels = prod(shape)
    keeps = dims[:1] in ([0], [-1]) and dims[1:2] in ([0], [-1], [channels]) and set(dims[2:]) <= {0, 1}
    if not keeps or dims.count(-1) > 1 or len(dims) > 4:
        return Reading(None, f"a Reshape to (N, {channels})", f"dims {', '.join(map(str, dims))}")
    return 2 if len(dims) == 2 else 4


def sliced(layer: Layer, shape: Shape) -> int | Reading:
    """How many channels a Slice layer makes single ones of; a reading that says why it is not one of those."""
    p = param(layer, "slice_param")
    if len(shape) == 1:
        return Reading(None, "a map before it", "pooled features")
    channels, tops, points = shape[0], len(layer.tops), p.get("slice_point", [])
    if (p["axis"], p["slice_dim"]) == (1, 1) and tops == channels and points in ([], list(range(1, channels))):
        return channels
    found = f"axis {p['axis']}, {tops} tops of {channels} channels" + (f", slice_point {points}" if points else "")
    return Reading(None, "a Slice into single channels", found)


def _pair(p: Mapping[str, Any], name: str, stem: str, default: int) -> int | tuple[int, ...]:
    """A geometry setting by Caffe's rules: one number where height and width agree, otherwise both."""
    stated = p.get(name)
    h, w = p.get(f"{stem}_h", 0), p.get(f"{stem}_w", 0)
    if h or w:
        return h if h == w else (h, w)
    values = tuple(stated) if isinstance(stated, list) else (stated,) if stated is not None else ()
    if not values:
        return default
    return values[0] if len(set(values)) == 1 else values


def _two(numbers: int | tuple[int, ...]) -> int | tuple[int, int]:
    """One number for both axes, or one for each; of any other count the largest."""
    return numbers if isinstance(numbers, int) else numbers if len(numbers) == 2 else max(numbers)


def _largest(number: int | tuple[int, ...]) -> int:
    return number if isinstance(number, int) else max(number)


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape[1:]))
