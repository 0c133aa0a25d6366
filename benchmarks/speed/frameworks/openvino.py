"""OpenVINO, on the ONNX file that ``weights`` writes, in float32."""

from collections.abc import Callable

from benchmarks.speed.frameworks import Asked
from conformance.adapters.openvino import openvino  # which does not report the run


def inference(way: str, asked: Asked) -> Callable[[], object]:
    del way
    core = openvino.Core()
    read = core.read_model(asked.file)
    read.reshape([asked.batch, 3, asked.side, asked.side])
    model, x = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}), asked.x
    return lambda: model({"data": x})[0]
