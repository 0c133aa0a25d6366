"""ONNX's operators (https://onnx.ai/onnx/operators) for the operations that networks are made of."""

from collections.abc import Mapping
from typing import Any, assert_never

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
    Op,
    Pool,
    Pooling,
    Scale,
    Shift,
    Shuffle,
    Times,
)


def operator(op: Op) -> tuple[str, dict[str, Any]]:
    """The operator of an operation, and its attributes: numbers and lists of numbers, by ONNX's names."""
    match op:
        case Conv():
            return "Conv", {**_convolution(op), "group": op.groups}
        case BatchNorm(eps):
            return "BatchNormalization", {"epsilon": eps}
        case Act(function):
            return ACTIVATIONS[function]
        case Pool():
            return _pool(op)
        case GlobalPool(what):
            return GLOBAL_POOLS[what], {"keepdims": 0}
        case Linear():
            return "Gemm", {"transB": 1}
        case Scale():
            return "Mul", {}
        case Add():
            return "Add", {}
        case Concat():
            return "Concat", {"axis": 1}
        case Mix():
            return "Mean", {}
        case Times():
            return "Mul", {}
        case AppendZeros() | Shift():
            return "Pad", {}
        case Shuffle():
            return "Gather", {"axis": 1}
        case Flatten():
            return "Flatten", {"axis": 1}
        case Dropout():
            return "Identity", {}
        case _:
            assert_never(op)


def _convolution(op: Conv) -> dict[str, Any]:
    given = {"kernel_shape": list(op.window), "strides": [op.stride] * 2}
    if op.pad == "same":
        return {**given, "auto_pad": "SAME_UPPER"}
    (top, bottom), (left, right) = op.sides(0, 0)  # which only "same" asks the size for
    return {**given, "pads": [top, left, bottom, right]}


def _pool(op: Pool) -> tuple[str, dict[str, Any]]:
    square, ceil = window(op.kernel, op.stride, op.pad), int(op.stride > 1 and op.rounding == "up")
    match op.what:
        case "max":
            sides = [op.pad, op.pad, op.pad + op.after, op.pad + op.after]
            return "MaxPool", {**square, "pads": sides, "ceil_mode": ceil}
        case "avg":
            return "AveragePool", {**square, "ceil_mode": ceil, "count_include_pad": int(op.counted)}
        case _:
            assert_never(op.what)


GLOBAL_POOLS: Mapping[Pooling, str] = {"avg": "ReduceMean", "max": "ReduceMax"}

ACTIVATIONS: Mapping[Activation, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "relu6": ("Clip", {}),
    "sigmoid": ("Sigmoid", {}),
    "swish": ("Mul", {}),  # by a Sigmoid
    "tanh": ("Tanh", {}),
    "hard-sigmoid": ("HardSigmoid", {"alpha": 1.0, "beta": 0.5}),  # of a sixth of x: an attribute holds no exact 1/6
    "hard-swish": ("Mul", {}),  # by that
}


def window(kernel: int, stride: int, pad: int) -> dict[str, list[int]]:
    """The attributes of a square window with the same padding on all four sides."""
    return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
