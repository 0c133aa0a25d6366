"""What answers are judged by: the reference's tensors in float64, each computed once, when it is first needed."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np

from conformance.adapters import adapter
from conformance.judge.answer import Answer, ask
from conformance.judge.bounds import MOVED, PASSES, RESTED, ROUNDING
from conformance.judge.local import decisions
from conformance.judge.question import Backward, Given, Training
from conformance.reference import backward, forward

Tensors = Mapping[str, np.ndarray]


STATISTICS = (".running_mean", ".running_var")
"""How the names of running statistics end."""


class UndecidedError(Exception):
    """Gradients below float64 that cannot be judged: it is not known where rounding sent them."""


class Standard:
    """The reference's own answer. Errors in the reference propagate; they are no adapter's disagreement."""

    def __init__(self, given: Given) -> None:
        self.given = given

    @cached_property
    def truth(self) -> tuple[Tensors, ...]:
        """What is compared of the tensors in float64, for each input, in the order of the computation."""
        return self._asked("float64")

    def truth_for(self, answer: Answer) -> tuple[Tensors, ...]:
        """The tensors that an answer is compared with.

        Where two values of a window, or a ReLU's input and 0, are so close that rounding swaps them, a piece of the
        gradient goes elsewhere, and no bound would be both honest and sharp. So below float64 the gradients are those
        of a network whose ReLUs and maxima decide as the port showed that they did.

        Raises:
            UndecidedError: the port does not show enough for that.
        """
        question = self.given.question
        if not isinstance(question, Backward) or answer.dtype == "float64":
            return self.truth
        shown = self.shown(answer)
        if any(_misshapen(taps, right) for taps, right in zip(shown, self._passes, strict=True)):
            return self.truth  # what strays so far decides nothing
        network, params = self.given.network, self.given.params
        truth: list[Tensors] = []
        for (x, cotangent), taps, values in zip(question.inputs, shown, self._passes, strict=True):
            decided = decisions(network, params, x, taps, training=question.training)
            if decided is None:
                raise UndecidedError
            found = backward.gradients(
                network,
                params,
                x.astype(np.float64),
                cotangent,
                training=question.training,
                values=values,
                decided=decided,
            )
            truth.append({name: self.seen(name, gradient) for name, gradient in found.items()})
        return tuple(truth)

    def shown(self, answer: Answer) -> tuple[Tensors, ...]:
        """The taps of the pass whose gradients were answered, for each input."""
        known = self.given.network.by_name
        found = (answer.tensors, *answer.others)
        return tuple({name: tensor for name, tensor in own.items() if name in known} for own in found)

    def strays(self, answer: Answer) -> str:
        """Which tap of the pass whose gradients were answered is off, and by how much; "" if none is."""
        if not isinstance(self.given.question, Backward):
            return ""
        for taps, right in zip(self.shown(answer), self._passes, strict=True):
            if misshapen := _misshapen(taps, right):
                found, expected = taps[misshapen].shape, right[misshapen].shape
                return f"in the pass of the gradients {misshapen} has shape {found}, expected {expected}"
            for name, tensor in taps.items():
                error = relative_error(tensor, right[name])
                if not error <= PASSES[answer.dtype]:
                    return f"in the pass of the gradients {name} is off by {error:.1e}"
        return ""

    @cached_property
    def _passes(self) -> tuple[Tensors, ...]:
        given, question = self.given, self.given.question
        inputs = question.inputs if isinstance(question, Backward) else ()
        return tuple(
            forward.run(given.network, given.params, x.astype(np.float64), training=question.training)
            for x, _ in inputs
        )

    def seen(self, tensor: str, values: np.ndarray) -> np.ndarray:
        """What of a tensor is compared with that of the truth: all of it."""
        del tensor
        return values

    def shape(self, place: int, tensor: str) -> tuple[int, ...]:
        """That a tensor has to have, for the input at that place."""
        return self.truth[place][tensor].shape

    @cached_property
    def plain_roundings(self) -> Mapping[str, float]:
        """The error of each tensor of the reference in float32, in roundings: about the same in every precision."""
        answer = ask(adapter("numpy"), replace(self.given, dtype="float32"))
        found: dict[str, float] = {}
        for tensors, truth in zip((answer.tensors, *answer.others), self.truth_for(answer), strict=True):
            for name, b in truth.items():
                error = relative_error(self.seen(name, tensors[name]), b, self.size(name, b)) / ROUNDING["float32"]
                found[name] = max(error, found.get(name, 0.0))
        return found

    def size(self, tensor: str, b: np.ndarray) -> float:
        """What errors of a tensor are relative to: its largest value; in training also how far it has moved."""
        size = float(np.abs(b).max(initial=0))
        question = self.given.question
        if not isinstance(question, Training) or question.what == "training":
            return size
        moved = float(np.abs(b - self.given.params[tensor]).max(initial=0))
        if question.what == "momentum":
            return moved + RESTED * size
        return size if tensor.endswith(STATISTICS) else size + MOVED * moved

    def _asked(self, dtype: str) -> tuple[Tensors, ...]:
        answer = ask(adapter("numpy"), replace(self.given, dtype=dtype))
        found = (answer.tensors, *answer.others)
        if isinstance(self.given.question, Backward):
            taps = self.given.network.by_name
            found = tuple({name: tensor for name, tensor in own.items() if name not in taps} for own in found)
        return found


def _misshapen(taps: Tensors, right: Tensors) -> str:
    """The first tap of another shape than it should have; "" if there is none."""
    return next((name for name, tensor in taps.items() if tensor.shape != right[name].shape), "")


def relative_error(a: np.ndarray, b: np.ndarray, size: float | None = None) -> float:
    """The error max |a - b| / max |b|; inf where the shapes differ or either has a value that is not finite.

    Args:
        a, b: the tensor, and what it should be.
        size: what the error is relative to, instead of max |b|.

    A gate of ReLUs can switch a block off, and then b is all zeros. Such zeros come from comparisons and from products
    with 0, which round nothing: zeros agree, with an error of 0, and any other number is off by inf.
    """
    if a.shape != b.shape:
        return math.inf
    a = a.astype(np.float64, copy=False)
    with np.errstate(invalid="ignore"):  # inf - inf
        largest = float(np.abs(b).max(initial=0)) if size is None else size
        off = float(np.abs(a - b).max(initial=0))
    if not math.isfinite(largest) or not math.isfinite(off):
        return math.inf
    return off / largest if largest else (math.inf if off else 0.0)
