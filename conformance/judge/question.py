"""What an adapter is asked: one network, its parameters, a precision, and one of three questions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self, assert_never

import numpy as np

from conformance import cases
from conformance.judge.bounds import BOUNDS, What
from conformance.judge.memory import check_memory
from conformance.reference.training import Batch, Recipe
from weights.errors import InputError
from weights.networks.network import Network
from weights.networks.parameters import check
from weights.networks.sizes import shapes
from weights.params import Params, info_of


@dataclass(frozen=True, slots=True)
class Forward:
    """The outputs of the nodes in inference mode. Nodes that a port has not are left out.

    Attributes:
        x: images (N, 3, H, W).
        others: more images, of other sizes, for the same model.
    """

    what: ClassVar[What] = "taps"
    function: ClassVar[str] = "taps"  # of the adapter
    tensor: ClassVar[str] = "tap"  # what one of the answered tensors is called
    training: ClassVar[bool] = False
    x: np.ndarray
    others: tuple[np.ndarray, ...] = ()

    @property
    def inputs(self) -> tuple[np.ndarray, ...]:
        """All images, by size."""
        return self.x, *self.others

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the images."""
        return self.x.shape

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of all that goes in."""
        return tuple(x.shape for x in self.inputs)

    def required(self, tensors: Sequence[str]) -> Sequence[str]:
        """The tensors that an answer has to have, of all of them in the order of the computation: the last one."""
        return tensors[-1:]

    def check(self, network: Network) -> None:
        """Raises an InputError if the other images do not fit the network."""
        for x in self.others:
            check_memory(network, x.shape)


@dataclass(frozen=True, slots=True)
class Backward:
    """The gradients of sum(output * cotangent) with respect to the input and every learnable parameter.

    Attributes:
        x: images (N, 3, H, W).
        cotangent: as the output, (N, classes), or (N, C) without a classifier.
        training: BatchNorm normalises with the statistics of the batch, and gradients run through them.
        others: more images, of other sizes, with their cotangents, for the same model.
    """

    function: ClassVar[str] = "gradients"
    tensor: ClassVar[str] = "tensor"
    x: np.ndarray
    cotangent: np.ndarray
    training: bool = False
    others: tuple[tuple[np.ndarray, np.ndarray], ...] = ()

    @property
    def what(self) -> What:
        """What is compared."""
        return "training gradients" if self.training else "gradients"

    @property
    def inputs(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """All images with their cotangents, by size."""
        return (self.x, self.cotangent), *self.others

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the images."""
        return self.x.shape

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of all that goes in."""
        return tuple(x.shape for x, _ in self.inputs)

    def required(self, tensors: Sequence[str]) -> Sequence[str]:
        """All tensors."""
        return tensors

    def check(self, network: Network) -> None:
        """Raises an InputError if a cotangent has not the shape of the output, or the other images do not fit."""
        for x, cotangent in self.inputs:
            check_memory(network, x.shape)
            output = (len(x), *shapes(network, *x.shape[2:])[network.output.name])
            if cotangent.shape != output:
                raise InputError(f"the cotangent has shape {cotangent.shape}, expected that of the output, {output}")


@dataclass(frozen=True, slots=True)
class Training:
    """Every parameter and running statistic after a step of the recipe for each batch.

    Attributes:
        batches: images (N, 3, H, W) and their classes (N,), all of one shape.
        recipe: how the parameters are moved.
        what: "training"; or "statistics", after one step, and "momentum", after two.
    """

    function: ClassVar[str] = "train"
    tensor: ClassVar[str] = "tensor"
    training: ClassVar[bool] = True
    batches: tuple[Batch, ...]
    recipe: Recipe
    what: Literal["training", "momentum", "statistics"] = "training"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the images of one batch; () without batches."""
        return self.batches[0][0].shape if self.batches else ()

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of all that goes in: (steps, N, 3, H, W)."""
        return ((len(self.batches), *self.shape),)

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


GRADIENTS: tuple[What, ...] = ("gradients",)
TRAINING: tuple[What, ...] = ("training gradients", "statistics", "momentum", "training")
"""What is asked where gradients, and where training, are to be compared."""


def every(
    network: Network, inputs: Sequence[np.ndarray], seed: int, batches: Sequence[Batch] = ()
) -> Iterator[Question]:
    """Everything that a port can be asked, forward first.

    Args:
        network: the network.
        inputs: images (N, C, H, W), of one size or more. The first one of the last size is shown once more alone, and
            turned where there are several sizes: a port that is right for several images need not be for one, nor one
            that is right for high images for wide ones. Then it is shown mirrored: a port may have kept what it made
            of the first images of a shape.
        seed: of the cotangent.
        batches: to train on, by a recipe of small steps; without any, nothing is trained, and gradients through the
            statistics of a batch are those of the last images. Where there are several sizes, gradients are also those
            of the first of these images alone.
    """

    def cotangent(x: np.ndarray) -> np.ndarray:
        return cases.top_diff(seed, len(x), *shapes(network, *x.shape[2:])[network.output.name])

    first, *others = inputs
    last = inputs[-1]
    alone = last[:1]
    if others and cases.takes(network, *alone.shape[:1:-1]):
        alone = np.ascontiguousarray(alone.swapaxes(2, 3))
    mirrored = np.ascontiguousarray(alone[..., ::-1])
    yield Forward(first, (*others, alone, mirrored) if alone.shape != last.shape else (*others, mirrored))
    several = batches[0][0] if batches else last
    single = several[:1] if batches and others else alone
    yield Backward(last, cotangent(last), others=((single, cotangent(single)),) if single.shape != last.shape else ())
    yield Backward(several, cotangent(several), training=True)
    if batches:
        yield Training(tuple(batches[:1]), cases.ANOTHER_RECIPE, "statistics")
        yield Training(tuple(batches[:2]), cases.ANOTHER_RECIPE, "momentum")
        yield Training(tuple(batches), cases.RECIPE)


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
        device: where to compute, "cuda:0"; "" for where the adapter does by itself.

    Raises:
        InputError: the question has no bound in that precision, or parameters or sizes do not fit the network.
    """

    network: Network
    params: Mapping[str, np.ndarray]
    dtype: str
    question: Question
    device: str = ""

    def __post_init__(self) -> None:
        bounds = BOUNDS[self.question.what]
        if self.dtype not in bounds:
            raise InputError(f"unknown dtype {self.dtype!r}: expected one of {', '.join(bounds)}")
        check(self.network, self.params)
        check_memory(self.network, self.question.shape)
        self.question.check(self.network)
        spec = self.network.spec
        if self.question.training and spec:
            object.__setattr__(self, "network", spec.without_chance().network())  # not yet handed out

    def copied(self) -> Self:
        """The same with arrays of its own, which an adapter may change."""
        match self.question:
            case Forward():
                x, *others = map(np.array, self.question.inputs)
                question: Question = Forward(x, tuple(others))
            case Backward(training=training):
                (x, cotangent), *more = ((np.array(x), np.array(y)) for x, y in self.question.inputs)
                question = Backward(x, cotangent, training, tuple(more))
            case Training(batches, recipe, what):
                question = Training(tuple((np.array(x), np.array(y)) for x, y in batches), recipe, what)
            case _:
                assert_never(self.question)
        params = {name: np.array(array) for name, array in self.params.items()}
        return replace(self, params=Params(params, info_of(self.params)), question=question)

    @property
    def bounds(self) -> Mapping[str, float]:
        """The largest errors that agree, by precision."""
        return BOUNDS[self.question.what]
