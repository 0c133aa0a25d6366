"""The ONNX file that ``torch.onnx`` makes of the PyTorch network, in ONNX Runtime; logits alone, in float32."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxscript
import torch

from conformance.adapters import ADAPTERS
from conformance.adapters import torch as eager
from conformance.adapters.precision import single as dtype
from conformance.adapters.torch import build
from weights.networks.network import graph

__all__ = ["NAME", "build", "dtype", "taps", "version"]

NAME = ADAPTERS["onnx_torch"].title


def version() -> str:
    return f"torch {torch.__version__}, onnxscript {onnxscript.__version__}, onnxruntime {onnxruntime.__version__}"


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    exported: Any = torch.onnx.export(model, (eager.tensor(model, x),), input_names=["data"], verbose=False)
    onnx.checker.check_model(exported.model_proto)
    session = onnxruntime.InferenceSession(exported.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return {graph(model.spec)[-1].name: session.run(None, {"data": x})[0]}  # type: ignore[dict-item]
