"""ONNX's operators (https://onnx.ai/onnx/operators) for the operations that networks are made of."""

from collections.abc import Mapping
from typing import Any, assert_never

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
    Op,
    Pool,
    Pooling,
    Scale,
)


def operator(op: Op) -> tuple[str, dict[str, Any]]:
    """The operator of an operation, and its attributes: numbers and lists of numbers, by ONNX's names."""
    match op:
        case Conv(_, kernel, stride, pad, groups):
            return "Conv", {**window(kernel, stride, pad), "group": groups}
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
        case Dropout():
            return "Identity", {}
        case _:
            assert_never(op)


def _pool(op: Pool) -> tuple[str, dict[str, Any]]:
    square, ceil = window(op.kernel, op.stride, op.pad), int(op.stride > 1)
    match op.what:
        case "max":
            sides = [op.pad, op.pad, op.pad + op.after, op.pad + op.after]
            return "MaxPool", {**square, "pads": sides, "ceil_mode": ceil}
        case "avg":
            return "AveragePool", {**square, "ceil_mode": ceil, "count_include_pad": 1}
        case _:
            assert_never(op.what)


GLOBAL_POOLS: Mapping[Pooling, str] = {"avg": "ReduceMean", "max": "ReduceMax"}

ACTIVATIONS: Mapping[Activation, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "hard-sigmoid": ("HardSigmoid", {"alpha": 1.0, "beta": 0.5}),  # of a sixth of x: an attribute holds no exact 1/6
}


def window(kernel: int, stride: int, pad: int) -> dict[str, list[int]]:
    """The attributes of a square window with the same padding on all four sides."""
    return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
