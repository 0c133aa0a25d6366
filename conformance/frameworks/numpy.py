"""The reference as one framework among the others, in any precision."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from conformance import reference
from weights.graph import Node, graph
from weights.spec import Spec

NAME = "NumPy reference"


class Model(NamedTuple):
    nodes: tuple[Node, ...]
    params: Mapping[str, np.ndarray]


def version() -> str:
    return f"numpy {np.__version__}"


def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Model:
    return Model(graph(spec), {name: np.asarray(array, dtype) for name, array in params.items()})


def taps(model: Model, x: np.ndarray) -> dict[str, np.ndarray]:
    return reference.execute(model.nodes, model.params, x)
