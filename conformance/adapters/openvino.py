"""OpenVINO, which reads the ONNX file that ``weights`` builds: every node that it has not fused; in float32."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir

import weights.files.onnx
from conformance.adapters import ADAPTERS
from conformance.adapters.precision import single as dtype
from weights.networks.network import Network, graph
from weights.networks.spec import Spec

# Where this package is, importing OpenVINO starts a process that reports the run to its makers.
sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
import openvino  # noqa: E402

__all__ = ["NAME", "build", "dtype", "taps", "version"]

NAME = ADAPTERS["openvino"].title
ANY_NETWORK = True


def version() -> str:
    return f"openvino {openvino.__version__}"


def build(spec: Network | Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    model = weights.files.onnx.build(spec, params, [node.name for node in graph(spec)[:-1]], dtype)  # type: ignore[arg-type]
    core = openvino.Core()
    read = core.read_model(onnx_ir.to_proto(model).SerializeToString())
    # Otherwise it takes bfloat16 where the processor has it.
    return core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    found = model({"data": x})
    return {output.get_any_name(): np.array(found[output]) for output in model.outputs}
