"""How messages about Caffe files name operations and their settings: by Caffe's words."""

from collections.abc import Mapping
from typing import Any, assert_never

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
    Op,
    Pool,
    Scale,
    Shift,
    Shuffle,
    Times,
)

LAYER_TYPES: Mapping[type, tuple[str, ...]] = {
    Conv: ("Convolution",),
    BatchNorm: ("BatchNorm", "Scale"),
    Act: ("ReLU", "Sigmoid", "TanH", "PReLU", "ELU", "BNLL", "Power", "Clip"),
    Pool: ("Pooling",),
    GlobalPool: ("Pooling",),
    Linear: ("InnerProduct", "Convolution"),
    Scale: ("Scale", "Axpy", "Eltwise"),
    Add: ("Eltwise", "Axpy"),
    Mix: ("Eltwise",),
    Times: ("Power",),
    AppendZeros: ("Concat",),
    Shift: ("Crop",),
    Shuffle: ("Concat", "Slice"),
    Flatten: ("Flatten", "InnerProduct"),
    Concat: ("Concat",),
    Dropout: ("Dropout",),
}
"""Layer types of an operation, and those that stand in its place where it is another one."""


_ACTS = {
    "relu": "a ReLU",
    "relu6": "a ReLU6, Clip from 0 to 6",
    "sigmoid": "a Sigmoid",
    "swish": "a swish, x times its Sigmoid",
    "tanh": "a TanH",
    "hard-sigmoid": "a hard sigmoid, min(max(x + 3, 0), 6) * 6^-1",
    "hard-swish": "a hard swish, x * min(max(x + 3, 0), 6) * 6^-1",
}
_POOLS = {"max": "max", "avg": "average"}
_METHODS = {"max": "MAX", "avg": "AVE"}


def noun(op: Op) -> str:
    """What messages call an operation: "a 3x3 convolution"."""
    match op:
        case Conv():
            return f"a {'x'.join(map(str, op.window))} convolution"
        case BatchNorm():
            return "a BatchNorm"
        case Act(function):
            return _ACTS[function]
        case Pool(what):
            return f"{'an' if what == 'avg' else 'a'} {_POOLS[what]} pooling by windows"
        case GlobalPool(what):
            return f"{'an' if what == 'avg' else 'a'} {_POOLS[what]} pooling over the whole map"
        case Linear():
            return "a fully connected layer"
        case Scale():
            return "a product of a map and its gate"
        case Add():
            return "a sum of two maps, Axpy or Eltwise with operation SUM"
        case Concat():
            return "a Concat"
        case Dropout():
            return "a Dropout"
        case Mix():
            return "a sum of halves, Eltwise with coefficients of 0.5"
        case Times():
            return "a Power that multiplies by a constant"
        case AppendZeros():
            return "channels of zeros behind the map's"
        case Shift():
            return "a map moved by one pixel to the right and down"
        case Shuffle():
            return "a shuffle of channels"
        case Flatten():
            return "a map as one vector"
        case _:
            assert_never(op)


def settings(op: Op) -> dict[str, Any]:
    """The settings that Caffe states, by its names."""
    match op:
        case Conv(out, kernel, stride, pad, groups, bias):
            values = {"num_output": out, "kernel": kernel, "stride": stride, "pad": pad, "group": groups}
            return values | {"bias_term": str(bias).lower()}
        case Times(factor):
            return {"scale": f"{factor:.9g}"}
        case Shuffle(groups):
            return {"group": groups}
        case AppendZeros(channels):
            return {"num_output": channels}
        case Linear(out, bias):
            return {"num_output": out, "bias_term": str(bias).lower()}
        case Pool(what, kernel, stride, pad, rounding=rounding):
            mode = "FLOOR" if rounding == "down" else "CEIL"
            return {"pool": _METHODS[what], "kernel": kernel, "stride": stride, "pad": pad, "round_mode": mode}
        case GlobalPool(what):
            return {"pool": _METHODS[what]}
        case BatchNorm(eps):
            return {"eps": f"{eps:.9g}"}
        case Dropout(rate):
            return {"dropout_ratio": f"{rate:.9g}"}
        case Act() | Scale() | Add() | Concat() | Mix() | Shift() | Flatten():
            return {}
        case _:
            assert_never(op)
