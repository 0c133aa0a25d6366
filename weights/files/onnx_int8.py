"""An ONNX model quantized to int8 by ONNX Runtime's tools, in the form that its kernels take."""

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from weights.storage.parts import scratch

if TYPE_CHECKING:
    import onnx_ir as ir

_OPERATORS = (
    *("Conv", "Gemm", "Add", "Mul", "Mean", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool"),
    *("Relu", "Clip", "Sigmoid", "Flatten", "Gather", "Pad"),
)
"""Those that ONNX Runtime has kernels in int8 for, or that only move values. The others are hard gates."""


def quantized(made: "ir.Model", images: Sequence[np.ndarray]) -> "ir.Model":
    """The same model with QuantizeLinear and DequantizeLinear around what is computed in int8, static and symmetrical.

    Weights are int8, by output channel, with the zero point 0; activations uint8, by tensor, between the least and the
    largest value measured; biases int32. Matrices give float32, so that logits are not rounded to 256 values.

    Args:
        made: a model of float32 whose BatchNorms are folded, with the input "data" of any batch.
        images: inputs to measure with, (1, C, H, W).
    """
    import onnx
    import onnx_ir as ir

    _drop_unused(made)  # the axes, which nothing reads here
    with _silent(), scratch() as folder:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        target = folder / "int8.onnx"
        quantize_static(
            ir.to_proto(made),
            target,
            _reader(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=[*_OPERATORS],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
        )
        proto = onnx.load(target)
    del proto.graph.value_info[:]
    del proto.metadata_props[:]
    found = ir.from_proto(proto)
    _drop_unused(found)  # the ends of activations that quantizing itself cuts off
    found.producer_name, found.ir_version = made.producer_name, made.ir_version
    return found


def _drop_unused(made: "ir.Model") -> None:
    for name in [name for name, value in made.graph.initializers.items() if not value.uses()]:
        del made.graph.initializers[name]


def _reader(images: Sequence[np.ndarray]):
    from onnxruntime.quantization import CalibrationDataReader

    class Images(CalibrationDataReader):
        """The images, one after the other."""

        def __init__(self) -> None:
            self.left: Iterator[np.ndarray] = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]  # it says dict, and waits for None
            """The next one."""
            image = next(self.left, None)
            return None if image is None else {"data": image}

    return Images()


@contextmanager
def _silent() -> Generator[None]:
    """Without the advice that ONNX Runtime's tools log about models that were not prepared by themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
