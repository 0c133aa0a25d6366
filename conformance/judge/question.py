"""What an adapter is asked: one network, its parameters, a precision, and one of three questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from conformance.judge.bounds import BOUNDS, What
from conformance.judge.memory import check_memory
from conformance.reference.training import Batch, Recipe
from weights.errors import InputError
from weights.networks.network import Network
from weights.networks.parameters import check
from weights.networks.sizes import shapes


@dataclass(frozen=True, slots=True)
class Forward:
    """The outputs of the nodes for images x (N, 3, H, W), in inference mode. Nodes that a port has not are left out."""

    what: ClassVar[What] = "taps"
    function: ClassVar[str] = "taps"  # of the adapter
    tensor: ClassVar[str] = "tap"  # what one of the answered tensors is called
    training: ClassVar[bool] = False
    x: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the images."""
        return self.x.shape

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of all that goes in."""
        return self.shape

    def required(self, tensors: Sequence[str]) -> Sequence[str]:
        """The tensors that an answer has to have, of all of them in the order of the computation: the last one."""
        return tensors[-1:]

    def check(self, network: Network) -> None:
        """Nothing but the images can be wrong."""


@dataclass(frozen=True, slots=True)
class Backward:
    """The gradients of sum(output * cotangent) with respect to the input and every learnable parameter.

    Attributes:
        x: images (N, 3, H, W).
        cotangent: as the output, (N, classes), or (N, C) without a classifier.
        training: BatchNorm normalises with the statistics of the batch, and gradients run through them.
    """

    what: ClassVar[What] = "gradients"
    function: ClassVar[str] = "gradients"
    tensor: ClassVar[str] = "tensor"
    x: np.ndarray
    cotangent: np.ndarray
    training: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the images."""
        return self.x.shape

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of all that goes in."""
        return self.shape

    def required(self, tensors: Sequence[str]) -> Sequence[str]:
        """All tensors."""
        return tensors

    def check(self, network: Network) -> None:
        """Raises an InputError if the cotangent has not the shape of the output."""
        output = (len(self.x), *shapes(network, *self.x.shape[2:])[network.output.name])
        if self.cotangent.shape != output:
            raise InputError(f"the cotangent has shape {self.cotangent.shape}, expected that of the output, {output}")


@dataclass(frozen=True, slots=True)
class Training:
    """Every parameter and running statistic after a step of the recipe for each batch.

    Attributes:
        batches: images (N, 3, H, W) and their classes (N,), all of one shape.
        recipe: how the parameters are moved.
    """

    what: ClassVar[What] = "training"
    function: ClassVar[str] = "train"
    tensor: ClassVar[str] = "tensor"
    training: ClassVar[bool] = True
    batches: tuple[Batch, ...]
    recipe: Recipe

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the images of one batch; () without batches."""
        return self.batches[0][0].shape if self.batches else ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of all that goes in: (steps, N, 3, H, W)."""
        return len(self.batches), *self.shape

    def required(self, tensors: Sequence[str]) -> Sequence[str]:
        """All tensors."""
        return tensors

    def check(self, network: Network) -> None:
        """Raises an InputError if the batches differ in shape, or the classes are not one integer for each image."""
        for x, classes in self.batches:
            if x.shape != self.shape:
                raise InputError(f"the batches have shapes {self.shape} and {x.shape}, expected one shape")
            if classes.shape != x.shape[:1] or not np.issubdtype(classes.dtype, np.integer):
                raise InputError(
                    f"the classes have shape {classes.shape} and dtype {classes.dtype}, "
                    f"expected integers, one for each of {len(x)} images"
                )
        if not network.classes:
            raise InputError(f"{network.name} has no classifier, so it cannot be trained on classes")


Question = Forward | Backward | Training
"""A ``match`` over a ``Question`` ends with ``assert_never``."""


@dataclass(frozen=True, slots=True)
class Given:
    """What every adapter is given, checked when it is made.

    In training nothing is dropped out, nor are shares of branches drawn: that depends on each framework's own random
    numbers.

    Attributes:
        network: the network.
        params: its parameters by canonical name.
        dtype: the precision to compute in.
        question: what is asked.

    Raises:
        InputError: the question has no bound in that precision, or parameters or sizes do not fit the network.
    """

    network: Network
    params: Mapping[str, np.ndarray]
    dtype: str
    question: Question

    def __post_init__(self) -> None:
        bounds, shape = BOUNDS[self.question.what], self.question.shape
        if self.dtype not in bounds:
            raise InputError(f"unknown dtype {self.dtype!r}: expected one of {', '.join(bounds)}")
        check_memory(self.network, shape)
        check(self.network, self.params)
        self.question.check(self.network)
        spec = self.network.spec
        if self.question.training and spec:
            object.__setattr__(self, "network", spec.without_chance().network())  # not yet handed out

    @property
    def bounds(self) -> Mapping[str, float]:
        """The largest errors that agree, by precision."""
        return BOUNDS[self.question.what]
