"""What a port offers so that the suite can judge it: five small functions, of which the last two may be absent."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from conformance.reference.training import Batch, Recipe
from weights.networks.spec import Spec


@runtime_checkable
class Adapter(Protocol):
    """A port of the networks; usually a module with these names, named by its path "package.module".

    All arrays are NumPy's: maps (N, C, H, W), vectors (N, C), kernels OIHW, matrices OI, whatever the port uses.
    Where it does not compute in every precision, ``dtype(spec, shape, dtype) -> str`` says which one it takes instead.
    """

    @property
    def NAME(self) -> str:  # noqa: N802, of a module it is a constant
        """What people call it."""
        ...

    def version(self) -> str:
        """Of what computes, "torch 2.13.0"."""
        ...

    def build(self, spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
        """A model in inference mode, that holds these parameters (canonical names) in "float64" or "float32"."""
        ...

    def taps(self, model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of the nodes of ``weights.graph(spec)`` by name: "logits", and as many others as there are.

        Args:
            x: (N, 3, H, W), of the dtype that the model was built in; so are the answers.
        """
        ...


class Differentiable(Adapter, Protocol):
    """A port that has gradients."""

    def gradients(
        self, model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False
    ) -> dict[str, np.ndarray]:
        """Those of sum(logits * cotangent): "data" with respect to x, and every learnable parameter's by its name.

        Args:
            training: through the statistics of the batch; given only where gradients in training are asked for.
        """
        ...


class Trainable(Differentiable, Protocol):
    """A port that learns."""

    def train(self, model: Any, batches: Iterable[Batch], recipe: Recipe) -> Mapping[str, np.ndarray]:
        """Every parameter and running statistic after a step for each batch, by canonical name."""
        ...
