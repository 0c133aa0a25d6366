"""Keras on TensorFlow, as the SavedModel that ``save`` writes, loaded and run as a server does; logits alone."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf

import se_tf
from conformance.adapters import ADAPTERS
from conformance.adapters.tf import array, build, on, version
from weights.networks.network import graph

__all__ = ["NAME", "build", "on", "taps", "version"]

NAME = ADAPTERS["tf_saved_model"].title


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.savedmodel"
        se_tf.save(model, path)
        served: Any = tf.saved_model.load(path)
        logits = served.serve(tf.constant(x.transpose(0, 2, 3, 1)))
    return {graph(model.spec)[-1].name: array(logits)}
