"""The ONNX file that ``weights`` builds: in float32 by ONNX Runtime, in float64 by ONNX's own reference evaluator."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime
from onnx.reference import ReferenceEvaluator

import weights.files.onnx
from conformance.adapters import ADAPTERS
from weights.networks.cost import cost
from weights.networks.network import Network, graph
from weights.networks.spec import Spec

NAME = ADAPTERS["onnx"].title
ANY_NETWORK = True
EVALUATED = 3e8
"""Multiply-adds up to which the evaluator is used: it is written for clarity and takes minutes for a large network."""


def version() -> str:
    return f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}"


def dtype(spec: Network | Spec, shape: tuple[int, ...], dtype: str) -> str:
    """ONNX Runtime has float32 kernels only, so large networks are computed in float32 whatever is asked for."""
    n, _, h, w = shape
    return dtype if dtype == "float64" and n * cost(spec, h, w).macs <= EVALUATED else "float32"


def build(spec: Network | Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    names = [node.name for node in graph(spec)]
    model = weights.files.onnx.build(spec, params, names[:-1], dtype)  # type: ignore[arg-type]
    proto = onnx_ir.to_proto(model)
    if dtype == "float64":
        return ReferenceEvaluator(proto)
    return onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


def logits(model: Any, x: np.ndarray) -> np.ndarray:
    if isinstance(model, ReferenceEvaluator):
        return list(taps(model, x).values())[-1]
    return model.run([model.get_outputs()[-1].name], {"data": x})[0]


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    if isinstance(model, ReferenceEvaluator):
        return dict(zip(model.output_names, model.run(None, {"data": x}), strict=True))  # type: ignore[arg-type]
    return dict(zip((o.name for o in model.get_outputs()), model.run(None, {"data": x}), strict=True))
