"""The ONNX file that ``jax2onnx`` makes of the Flax network, in ONNX Runtime; logits alone, in float32."""

import warnings
from importlib.metadata import version as installed
from typing import Any

import numpy as np
import onnxruntime
from jax2onnx import to_onnx

from conformance.adapters import ADAPTERS
from conformance.adapters.jax import build
from conformance.adapters.precision import single as dtype
from weights.networks.network import graph

__all__ = ["NAME", "build", "dtype", "taps", "version"]

NAME = ADAPTERS["onnx_jax"].title


def version() -> str:
    return f"jax2onnx {installed('jax2onnx')}, onnxruntime {onnxruntime.__version__}"


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # it reads Flax's variables the old way
        proto: Any = to_onnx(model, [x.shape])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it states shapes in an order other than the one it computes in, and is warned
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return {graph(model.spec)[-1].name: session.run(None, {session.get_inputs()[0].name: x})[0]}  # type: ignore[dict-item]
