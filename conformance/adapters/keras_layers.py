"""What Keras' adapters share, whatever the backend: loading the file, recording the layers' outputs, gradients."""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np

import se_tf  # noqa: F401  # pyright: ignore[reportUnusedImport], its classes are in the file
import weights
from conformance.adapters.places import places
from weights.errors import InputError
from weights.names.frameworks import KERAS
from weights.names.keras import by_flat, flat
from weights.networks.network import graph
from weights.networks.parameters import schema
from weights.networks.spec import Spec
from weights.params import info_of


def load(spec: Spec, params: Mapping[str, np.ndarray], dtype: str, backend: str) -> Any:
    """The model in the ``.keras`` file that ``weights`` writes of a network in that dtype.

    Raises:
        InputError: Keras was imported with another backend.
    """
    expect_backend(backend)
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        cast = {name: np.asarray(array, dtype) for name, array in params.items()}
        weights.write(path, spec, cast, info=info_of(params))
        return keras.saving.load_model(path)


def expect_backend(backend: str) -> None:
    """Whether Keras runs on this backend, of which it has one for all of a process.

    Raises:
        InputError: Keras was imported with another one.
    """
    if keras.backend.backend() != backend:
        raise InputError(
            f"Keras runs on {keras.backend.backend()} in this process: set KERAS_BACKEND={backend}, "
            "or compare without --in-process"
        )


def canonical(model: Any, gradients: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Gradients in the order of the model's trainable variables, by canonical name and in canonical layout."""
    found = {flat(v.path): g for v, g in zip(model.trainable_variables, gradients, strict=True)}
    learned = [p for p in schema(model.spec) if p.learnable]
    return {p.name: KERAS.decode(p, found[flat(KERAS.key(p))]) for p in learned}


@contextmanager
def recording(model: Any) -> Generator[dict[str, Any]]:
    """Records each layer's output, by its node, while the block runs; the model is then as before."""
    layers = {layer.name: layer for layer in model.layers}
    for path, layer in list(layers.items()):
        layers |= {f"{path}.{inner.name}": inner for inner in layer._flatten_layers(include_self=False)}
    names = by_flat(dict.fromkeys(path for node in graph(model.spec) for path in (node.module, node.block) if path))
    dotted = {names[flat(path)]: layer for path, layer in layers.items() if flat(path) in names}
    noted = {node.name: dotted[path] for path, node in places(model.spec.network(), dotted).items()}
    found: dict[str, Any] = {}
    for node, layer in noted.items():
        object.__setattr__(layer, "call", _noting(node, layer.call, found))
    try:
        yield found
    finally:
        for layer in noted.values():
            object.__delattr__(layer, "call")


def _noting(node: str, call: Any, found: dict[str, Any]) -> Any:
    def noted(*args: Any, **kwargs: Any) -> Any:
        found[node] = call(*args, **kwargs)
        return found[node]

    return noted


def nchw(array: np.ndarray) -> np.ndarray:
    """Maps (N, H, W, C) as (N, C, H, W); vectors as they are."""
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
