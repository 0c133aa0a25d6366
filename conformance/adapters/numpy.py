"""The reference as one adapter among the others: what plain rounding makes. It runs any network."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from conformance.adapters import ADAPTERS
from conformance.reference import backward, forward, training
from conformance.reference.training import Batch, Recipe
from weights.networks.network import Network, as_network
from weights.networks.spec import Spec
from weights.params import Params

NAME = ADAPTERS["numpy"].title
ANY_NETWORK = True


class Model(NamedTuple):
    """A network and its parameters."""

    network: Network
    params: dict[str, np.ndarray]


def version() -> str:
    return f"numpy {np.__version__}"


def dtype(spec: Network | Spec, shape: tuple[int, ...], dtype: str) -> str:
    """NumPy has no bfloat16, and adds up float16 one rounding after the other."""
    del spec, shape
    return dtype if dtype == "float64" else "float32"


def build(spec: Network | Spec, params: Mapping[str, np.ndarray], dtype: str) -> Model:
    return Model(as_network(spec), {name: np.asarray(array, dtype) for name, array in params.items()})


def taps(model: Model, x: np.ndarray) -> dict[str, np.ndarray]:
    return forward.run(model.network, model.params, x)


def gradients(model: Model, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
    shown = {} if x.dtype == np.float64 else forward.run(model.network, model.params, x, training=training)
    return shown | backward.gradients(model.network, model.params, x, cotangent, training=training)


def train(model: Model, batches: Iterable[Batch], recipe: Recipe) -> Params:
    return training.train(model.network, model.params, batches, recipe)
