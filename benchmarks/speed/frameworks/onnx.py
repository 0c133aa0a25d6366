"""ONNX Runtime, on the ONNX file that ``weights`` writes."""

from collections.abc import Callable

import onnxruntime

from benchmarks.speed.frameworks import Asked


def inference(way: str, asked: Asked) -> Callable[[], object]:
    del way
    session, x = onnxruntime.InferenceSession(asked.file, providers=["CPUExecutionProvider"]), asked.x
    return lambda: session.run(None, {"data": x})[0]
