"""Keras by way of TensorFlow's converter in LiteRT (TensorFlow Lite), the runtime of telephones; logits, in float32."""

from typing import Any

import numpy as np
import tensorflow as tf

from conformance.adapters import ADAPTERS
from conformance.adapters.precision import single as dtype
from conformance.adapters.tf import build, version
from weights.networks.network import graph

__all__ = ["NAME", "build", "dtype", "taps", "version"]

NAME = ADAPTERS["tf_lite"].title


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    file = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    interpreter = tf.lite.Interpreter(model_content=file)
    (images,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(images["index"], (len(x), *x.shape[2:], 3))
    interpreter.allocate_tensors()
    interpreter.set_tensor(images["index"], x.transpose(0, 2, 3, 1))
    interpreter.invoke()
    return {graph(model.spec)[-1].name: interpreter.get_tensor(logits["index"])}
