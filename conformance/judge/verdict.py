"""The verdict on one adapter's answer, and the comparison of several adapters on one question."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from conformance.judge.bounds import BOUNDS, ROUNDING, What

Status = Literal["agreed", "otherwise", "suspicious", "disagreed", "absent", "failed"]
"""otherwise: agreed, but in a precision that was not asked for; suspicious: within the bounds, but far above what the
reference makes in the same precision; absent: not installed, or without the function that the question needs; failed:
an exception, a crash, a timeout, or tensors that are no real numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How far one adapter is from the reference.

    Attributes:
        adapter: its name.
        status: see ``Status``.
        version: of what computed.
        asked: the precision that was asked for.
        dtype: the precision that it computed in, which need not be the one asked for.
        bound: the largest error that agrees in that precision.
        message: what is missing or has another shape, or the last words of what failed.
        errors: relative error by tensor, the largest over the inputs: taps in graph order, gradients in backward order.
            inf means a NaN, an infinity or a wrong shape.
        layers: of each tap whose inputs were shown, the error that its layer makes of them, as a share of what rounding
            can explain there; above 1 the layer is wrong, whatever its inputs are.
        missing: tensors of the reference that were not answered.
        top1: the most probable class of the first image, where the logits are compared.
        seconds: to build the model, load the parameters and answer.
    """

    adapter: str
    status: Status
    version: str = ""
    asked: str = ""
    dtype: str = ""
    bound: float = 0.0
    message: str = ""
    errors: Mapping[str, float] = field(default_factory=dict)
    layers: Mapping[str, float] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    top1: int | None = None
    seconds: float = 0.0

    @property
    def other_dtype(self) -> bool:
        """Whether it computed in another precision than the one asked for."""
        return self.dtype not in ("", self.asked)

    @property
    def worst(self) -> tuple[str, float] | None:
        """The tensor with the largest error, and that error; None without errors."""
        return max(self.errors.items(), key=lambda item: item[1], default=None)

    @property
    def worst_layer(self) -> tuple[str, float] | None:
        """The layer that rounding explains least, and its share; None where no layer was judged by itself."""
        return max(self.layers.items(), key=lambda item: item[1], default=None)

    @property
    def wrong_layers(self) -> tuple[str, ...]:
        """The layers whose own error rounding cannot explain."""
        return tuple(name for name, share in self.layers.items() if not share <= 1)

    @property
    def first_divergent(self) -> str | None:
        """The first tensor, in the order of the computation, whose layer is wrong or whose error is above the bound."""
        off = {name for name, error in self.errors.items() if not error <= self.bound}.union(self.wrong_layers)
        # Of gradients a layer may be wrong in the pass before them.
        return next((name for name in (*self.errors, *self.wrong_layers) if name in off), None)

    @property
    def roundings(self) -> dict[str, float]:
        """Errors in units of the dtype's rounding error. Plain rounding gives up to a few tens."""
        return {name: error / ROUNDING[self.dtype] for name, error in self.errors.items()}


def all_agreed(verdicts: Iterable[Verdict]) -> bool:
    """Whether every adapter that is there agreed, and at least one was there."""
    found = [verdict.status for verdict in verdicts if verdict.status != "absent"]
    return bool(found) and all(status == "agreed" for status in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Several adapters against the reference, on one network and one question.

    Attributes:
        network: the network's name.
        dtype: the precision that was asked for.
        shapes: of the inputs, (N, 3, H, W).
        results: the verdicts by the adapters' names.
        truth: the reference's tensors in float64, in the order of the computation.
        what: what was compared.
    """

    network: str
    dtype: str
    shapes: tuple[tuple[int, ...], ...]
    results: Mapping[str, Verdict]
    truth: Mapping[str, np.ndarray] = field(compare=False)
    what: What = "taps"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first input."""
        return self.shapes[0]

    @property
    def output(self) -> np.ndarray:
        """The reference's output: the logits, or the pooled features of a network without a classifier."""
        return list(self.truth.values())[-1]

    @property
    def agreed(self) -> bool:
        """Whether every adapter that is installed agreed, and at least one was."""
        return all_agreed(self.results.values())

    @property
    def bound(self) -> float:
        """The largest error that agrees in the precision that was asked for."""
        return BOUNDS[self.what][self.dtype]
