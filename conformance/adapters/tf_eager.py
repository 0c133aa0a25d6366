"""Keras on TensorFlow without a graph: one operation after the other; all taps and gradients."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from conformance.adapters import ADAPTERS
from conformance.adapters import tf as compiled
from conformance.adapters.tf import build, on, version

__all__ = ["NAME", "build", "gradients", "on", "taps", "version"]

NAME = ADAPTERS["tf_eager"].title


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    with _eagerly():
        return compiled.taps(model, x)


def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
    with _eagerly():
        return compiled.gradients(model, x, cotangent, training)


@contextmanager
def _eagerly() -> Generator[None]:
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
