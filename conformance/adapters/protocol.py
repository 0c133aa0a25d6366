"""The functions by which the suite judges a port: five, of which the last two may be absent, and some more."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import numpy as np

from conformance.reference.training import Batch, Recipe


@runtime_checkable
class Adapter(Protocol):
    """A port of the networks; usually a module with these names, named by its path "package.module".

    All arrays are NumPy's: maps (N, C, H, W), vectors (N, C), kernels OIHW, matrices OI, whatever the port uses.
    A port that can build networks which are only nodes, without a record, says so by ``ANY_NETWORK = True``; where
    there is no record, its ``spec`` is then the ``weights.Network``.
    """

    @property
    def NAME(self) -> str:  # noqa: N802, of a module it is a constant
        """What people call the port."""
        ...

    def version(self) -> str:
        """The name and version of what computes, "torch 2.13.0"."""
        ...

    def build(self, spec: Any, params: Mapping[str, np.ndarray], dtype: str) -> Any:
        """A model in inference mode that holds these parameters (canonical names).

        Args:
            spec: the record of the network, a ``weights.Spec``; a port may name the family's record that it knows.
            params: by canonical name.
            dtype: "float64", "float32", "float16" or "bfloat16".
        """
        ...

    def taps(self, model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of the nodes of ``weights.graph(spec)`` by name: "logits", and as many others as there are.

        Args:
            x: (N, 3, H, W), of the dtype that the model was built in; so are the answers.
        """
        ...


@runtime_checkable
class Limited(Adapter, Protocol):
    """A port that does not compute in every precision."""

    def dtype(self, spec: Any, shape: tuple[int, ...], dtype: str) -> str:
        """The precision that it takes instead of ``dtype``, for images of that shape (N, 3, H, W)."""
        ...


@runtime_checkable
class Placed(Adapter, Protocol):
    """A port that computes elsewhere than on the CPU, too."""

    def on(self, device: str, tf32: bool) -> AbstractContextManager[None]:
        """While the context lasts, all that the functions of the port do is done on that device.

        Args:
            device: "cpu", "cuda:1", as people name it (``conformance.adapters.devices.chosen`` finds it); "" for the
                one that the port takes by itself.
            tf32: whether float32 may be computed in TF32. Where it may not, it is switched off.

        Raises:
            DeviceError: there is no such device, or it has no TF32.
        """
        ...


@runtime_checkable
class Brief(Adapter, Protocol):
    """A port that gives the last output alone, which costs less than keeping those of all nodes."""

    def logits(self, model: Any, x: np.ndarray) -> np.ndarray:
        """The output of the last node, (N, classes), for images as of ``taps``."""
        ...


class Differentiable(Adapter, Protocol):
    """A port that has gradients."""

    def gradients(
        self, model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False
    ) -> dict[str, np.ndarray]:
        """The gradients of sum(logits * cotangent): "data" with respect to x, every learnable parameter's by its name.

        For images in float32, with the outputs of the nodes in the same pass beside them, by the nodes' names: by these
        it is judged where ReLUs and maxima sent the gradient. Without them gradients are judged in float64 only.

        Args:
            training: through the statistics of the batch; given only where gradients in training are asked for.
        """
        ...


class Trainable(Differentiable, Protocol):
    """A port that learns."""

    def train(self, model: Any, batches: Iterable[Batch], recipe: Recipe) -> Mapping[str, np.ndarray]:
        """Every parameter and running statistic after a step for each batch, by canonical name."""
        ...
