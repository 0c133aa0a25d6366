"""The verdict on one adapter's answer, and the comparison of several adapters on one question."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from conformance.judge.bounds import BOUNDS, ROUNDING, What

Status = Literal["agreed", "disagreed", "absent", "failed"]
"""absent: not installed, or without the function that the question needs; failed: an exception, a crash, a timeout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How far one adapter is from the reference.

    Attributes:
        adapter: its name.
        status: see ``Status``.
        version: of what computed.
        dtype: the precision that it computed in, which need not be the one asked for.
        bound: the largest error that agrees in that precision.
        message: what is missing or has another shape, or the last words of what failed.
        errors: relative error by tensor: taps in graph order, gradients in backward order. inf means a NaN, an
            infinity or a wrong shape.
        top1: the most probable class of the first image, where the logits are compared.
        seconds: to build the model, load the parameters and answer.
    """

    adapter: str
    status: Status
    version: str = ""
    dtype: str = ""
    bound: float = 0.0
    message: str = ""
    errors: Mapping[str, float] = field(default_factory=dict)
    top1: int | None = None
    seconds: float = 0.0

    @property
    def worst(self) -> tuple[str, float] | None:
        """The tensor with the largest error, and that error; None without errors."""
        return max(self.errors.items(), key=lambda item: item[1], default=None)

    @property
    def first_divergent(self) -> str | None:
        """The first tensor, in the order of the computation, whose error is above the bound."""
        return next((name for name, error in self.errors.items() if not error <= self.bound), None)

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
        shape: of the input, (N, 3, H, W).
        results: the verdicts by the adapters' names.
        truth: the reference's tensors in float64, in the order of the computation.
        what: what was compared.
    """

    network: str
    dtype: str
    shape: tuple[int, ...]
    results: Mapping[str, Verdict]
    truth: Mapping[str, np.ndarray] = field(compare=False)
    what: What = "taps"

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
