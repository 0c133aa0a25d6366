"""Keras as the program that ``save`` writes for LiteRT (TensorFlow Lite), as on telephones; logits, in float32."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf

import se_tf
from conformance.adapters import ADAPTERS
from conformance.adapters.precision import single as dtype
from conformance.adapters.tf import build, version
from weights.networks.network import graph

__all__ = ["NAME", "build", "dtype", "taps", "version"]

NAME = ADAPTERS["tf_lite"].title


def taps(model: Any, x: np.ndarray, calibrated: bool = False) -> dict[str, np.ndarray]:
    x = x.transpose(0, 2, 3, 1)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.tflite"
        se_tf.save(model, path, images=x if calibrated else None)
        interpreter = tf.lite.Interpreter(str(path))
    (images,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(images["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(images["index"], x)
    interpreter.invoke()
    return {graph(model.spec)[-1].name: interpreter.get_tensor(logits["index"])}
