"""OpenVINO, which reads the ONNX file that ``weights`` builds: every node that it has not fused; in float32."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir

import weights.files.onnx
from conformance.adapters import ADAPTERS
from conformance.adapters.precision import single as dtype
from weights.files.openvino import without_reports
from weights.networks.network import Network, graph
from weights.networks.spec import Spec

without_reports()
import openvino  # noqa: E402

__all__ = ["NAME", "build", "dtype", "taps", "version"]

NAME = ADAPTERS["openvino"].title
ANY_NETWORK = True


def version() -> str:
    return f"openvino {openvino.__version__}"


def build(spec: Network | Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    model = weights.files.onnx.build(spec, params, [node.name for node in graph(spec)[:-1]], dtype)  # type: ignore[arg-type]
    return compiled(onnx_ir.to_proto(model).SerializeToString())


def compiled(model: Path | bytes) -> Any:
    """A model, or the file of one, as it is run."""
    core = openvino.Core()
    # Otherwise it takes bfloat16 where the processor has it.
    return core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    found = model({"data": x})
    return {output.get_any_name(): np.array(found[output]) for output in model.outputs}
