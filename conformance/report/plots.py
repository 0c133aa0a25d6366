"""Coordinates of the curves in a report, which the page draws as SVG: errors along the depth of the network."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from conformance.judge.bounds import ROUNDING, What
from conformance.judge.verdict import Comparison, Verdict
from conformance.report.titles import KINDS, titled


class Judged(NamedTuple):
    """One verdict of a run: what is compared, the adapter, the verdict."""

    what: What
    adapter: str
    verdict: Verdict


def with_errors(comparisons: Iterable[Comparison]) -> list[Judged]:
    """The verdicts that hold errors, in the order of the table."""
    return [
        Judged(comparison.what, name, verdict)
        for comparison in comparisons
        for name, verdict in comparison.results.items()
        if verdict.errors
    ]


def eps(dtype: str) -> float:
    """The distance from 1 to the next number."""
    return 2 * ROUNDING[dtype]


class Span(NamedTuple):
    """Tensors of one stage or module: its name, the place of the first one, and the place after the last one."""

    name: str
    first: int
    after: int


def spans(tensors: Sequence[str]) -> Iterator[Span]:
    """The stages or modules among tensors in order."""
    start = 0
    for i, name in enumerate(tensors):
        if i + 1 == len(tensors) or _part(tensors[i + 1]) != _part(name):
            yield Span(_part(name), start, i + 1)
            start = i + 1


def _part(name: str) -> str:
    return name.split(".")[0].removeprefix("inception")


def merged(orders: Iterable[Iterable[str]]) -> list[str]:
    """All names in one order that keeps each of the given ones, where these do not contradict each other."""
    merged: list[str] = []
    for order in sorted(map(list, orders), key=len, reverse=True):
        known, at = set(merged), 0
        for name in order:
            if name in known:
                at = merged.index(name) + 1
            else:
                merged.insert(at, name)
                at += 1
    return merged


@dataclass(frozen=True, slots=True)
class Point:
    """One error in the drawing: its place in pixels, the tensor, the error, and whether it is above the bound."""

    x: float
    y: float
    tap: str
    error: float
    roundings: float
    over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The errors in one precision, with the heights of its bound and of its epsilon in pixels."""

    dtype: str
    points: tuple[Point, ...]
    worst: Point
    bound: float
    bound_y: float
    eps: float
    eps_y: float


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a stage begins, where its label is centred, and the label: "" where there is no room for it."""

    start: float
    centre: float
    label: str


class Curve:
    """One adapter's errors along the depth of the network, on a logarithmic scale.

    Errors of exactly 0 lie on the axis, those that are not finite at the top.
    """

    width, height = 440, 260
    left, right, top, bottom = 50, 8, 10, 44

    def __init__(self, title: str, what: str, verdicts: Sequence[Verdict], decades: tuple[int, int]):
        """Places everything.

        Args:
            title: of the drawing.
            what: the errors are of, "" for taps.
            verdicts: of one adapter, one for each precision.
            decades: powers of ten, the lowest and the highest.
        """
        self.title = title
        self.what = what
        self._low, self._high = decades
        self.taps = merged(verdict.errors for verdict in verdicts)
        self.series = [self._series(verdict) for verdict in verdicts]
        self.decades = [(self._y(10.0**d), d) for d in range(self._low + 1, self._high + 1) if d % 4 == 0]
        self.stages = list(self._stages())

    def _series(self, verdict: Verdict) -> Series:
        place = {tap: i for i, tap in enumerate(self.taps)}
        roundings, bound, one = verdict.roundings, verdict.bound, eps(verdict.dtype)
        points = tuple(
            Point(self._x(place[tap]), self._y(error), tap, error, roundings[tap], not error <= bound)
            for tap, error in verdict.errors.items()
        )
        return Series(
            dtype=verdict.dtype,
            points=points,
            worst=max(points, key=lambda point: point.error),
            bound=bound,
            bound_y=self._y(bound),
            eps=one,
            eps_y=self._y(one),
        )

    def _stages(self) -> Iterator[Stage]:
        for name, first, after in spans(self.taps):
            start, end = self._x(first), self._x(after - 1)
            yield Stage(start, round((start + end) / 2, 1), name if end - start > 6 * len(name) else "")

    def _x(self, i: int) -> float:
        return round(self.left + (self.width - self.left - self.right) * (i + 0.5) / len(self.taps), 1)

    def _y(self, error: float) -> float:
        decade = -math.inf if error == 0 else math.log10(error) if error > 0 else math.inf
        share = (self._high - min(max(decade, self._low), self._high)) / (self._high - self._low)
        return round(self.top + (self.height - self.top - self.bottom) * share, 1)


def curves(comparisons: Sequence[Comparison]) -> list[Curve]:
    """A drawing for each adapter and thing compared, all with the same axes."""
    groups: dict[tuple[What, str], list[Verdict]] = {}
    for what, name, verdict in with_errors(comparisons):
        groups.setdefault((what, name), []).append(verdict)
    verdicts = [verdict for group in groups.values() for verdict in group]
    errors = [error for verdict in verdicts for error in verdict.errors.values() if math.isfinite(error)]
    highest = max([*errors, *(verdict.bound for verdict in verdicts)], default=1.0)
    lowest = min((eps(verdict.dtype) for verdict in verdicts), default=1.0)
    decades = math.floor(math.log10(lowest)) - 1, math.ceil(math.log10(highest) + 0.3)
    return [Curve(titled(name, what), KINDS[what], group, decades) for (what, name), group in groups.items()]
