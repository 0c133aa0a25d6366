"""Keras on TensorFlow, as a graph: every layer's output, recorded while the graph is traced."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # otherwise pages of notes on how it was compiled, on stderr

import keras
import numpy as np
import tensorflow as tf

import se_tf
from weights.graph import graph
from weights.spec import Spec

NAME = "Keras"


def version() -> str:
    return f"keras {keras.__version__}, tensorflow {tf.__version__}"


def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    model = se_tf.build(spec, dtype)
    se_tf.load(model, params)
    return model


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    @tf.function(autograph=False)
    def forward(images: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with _recording(model, found):
            model(images, training=False)
        return found

    found = forward(tf.constant(x.transpose(0, 2, 3, 1)))
    return {node.name: _nchw(found[node.module]) for node in graph(model.spec) if node.module in found}


@contextmanager
def _recording(model: Any, found: dict[str, Any]) -> Iterator[None]:
    """Notes what each layer answers, by the dotted path of its names, without changing the model for good."""
    layers = {layer.name: layer for layer in model.layers}
    for path, layer in list(layers.items()):
        layers |= {f"{path}.{inner.name}": inner for inner in layer._flatten_layers(include_self=False)}
    for path, layer in layers.items():
        object.__setattr__(layer, "call", _noting(path, layer.call, found))
    try:
        yield
    finally:
        for layer in layers.values():
            object.__delattr__(layer, "call")


def _noting(path: str, call: Any, found: dict[str, Any]) -> Any:
    def noted(*args: Any, **kwargs: Any) -> Any:
        found[path] = call(*args, **kwargs)
        return found[path]

    return noted


def _nchw(value: Any) -> np.ndarray:
    array = value.numpy()
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
