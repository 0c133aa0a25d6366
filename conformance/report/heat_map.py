"""Shades of the heat maps in a report, which the page draws as SVG: every tensor in every framework."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from conformance.adapters import title_of
from conformance.judge.bounds import What
from conformance.judge.verdict import Comparison, Verdict
from conformance.report.plots import Span, eps, merged, spans, with_errors
from conformance.report.titles import KINDS, error_in_words


@dataclass(frozen=True, slots=True)
class MapStage:
    """A stage of a heat map: its name, its first place, its label and where that is centred, and its tensors."""

    name: str
    first: int
    label: str
    centre: str
    taps: Sequence[str]


class HeatMap:
    """Tensors in the order of computation, from left to right, by frameworks; the shade says how large the error is.

    A tensor is one unit wide; heights are in pixels. Errors above the bound, and tensors that are not there, differ by
    their height too.
    """

    row = 26
    steps = 5  # shades from epsilon to the bound
    beyond = (10, 1000)  # times the bound, where the next shade begins
    _narrow = 260  # pixels that the map has on a telephone

    def __init__(self, title: str, dtype: str, verdicts: Mapping[str, Verdict]):
        """Places everything.

        Args:
            title: of the map.
            dtype: the precision that all computed in.
            verdicts: by the adapters' names; each holds errors.
        """
        self.title = title
        self.taps = merged(verdict.errors for verdict in verdicts.values())
        self.rows = [(title_of(name), verdict) for name, verdict in verdicts.items()]
        self.height = self.row * len(self.rows)
        self._eps, self._bound = eps(dtype), next(iter(verdicts.values())).bound
        self.stages = [self._stage(span) for span in spans(self.taps)]
        self.paths = self._paths()

    def _stage(self, span: Span) -> MapStage:
        name, first, after = span
        pixel = max(self._narrow / len(self.taps), 1)
        label = name if (after - first) * pixel > 6.5 * len(name) else ""
        return MapStage(name, first, label, f"{50 * (first + after) / len(self.taps):.2f}%", self.taps[first:after])

    def _paths(self) -> dict[str, str]:
        """Shade to an SVG path: neighbours of one shade are one rectangle."""
        paths: dict[str, str] = {}
        for i, (_, verdict) in enumerate(self.rows):
            shades = [self.shade(verdict.errors.get(tap)) for tap in self.taps]
            start = 0
            for j, shade in enumerate(shades):
                if j + 1 < len(shades) and shades[j + 1] == shade:
                    continue
                inset = _inset(shade)
                across, down = j + 1 - start, self.row - 2 * inset
                paths[shade] = paths.get(shade, "") + f"M{start} {i * self.row + inset}h{across}v{down}h-{across}z"
                start = j + 1
        return paths

    def shade(self, error: float | None) -> str:
        """The name of an error's shade; "none" where the framework has no such tensor."""
        if error is None:
            return "none"
        if error == 0:
            return "zero"
        if error <= self._bound:
            share = math.log(error / self._eps) / math.log(self._bound / self._eps)
            return f"within{min(max(math.ceil(share * self.steps), 0), self.steps)}"
        return f"over{sum(not error <= factor * self._bound for factor in self.beyond)}"

    @property
    def key(self) -> Iterator[tuple[str, int, str]]:
        """Each shade, how much lower than the row it is on either side, and what it means."""
        shades = {"none": "not there", "zero": "0"}
        for i in range(self.steps + 1):
            edge = self._eps * (self._bound / self._eps) ** (i / self.steps)
            shades[f"within{i}"] = f"to {edge:.0e}" + {0: ", epsilon", self.steps: ", the bound"}.get(i, "")
        shades |= {f"over{i}": f"to {factor} bounds" for i, factor in enumerate(self.beyond)}
        shades[f"over{len(self.beyond)}"] = "more, or not a number"
        for shade, meaning in shades.items():
            yield shade, _inset(shade), meaning

    @property
    def divergences(self) -> Iterator[tuple[str, str, int]]:
        """Each framework that leaves the bound, the first tensor where it does, and the place of that, from 1."""
        for name, verdict in self.rows:
            first = verdict.first_divergent
            if first in self.taps:
                yield name, first, self.taps.index(first) + 1

    @property
    def description(self) -> str:
        """The map in words."""
        said = [f"Heat map of {len(self.taps)} {self.title}."]
        for name, verdict in self.rows:
            if verdict.worst:
                said.append(f"{name}: worst {error_in_words(verdict.worst[1])}, at {verdict.worst[0]}.")
        return " ".join(said)

    @property
    def hints(self) -> Iterator[str]:
        """For each tensor its name and its errors, a line for each framework."""
        rows = [(name, verdict.errors, verdict.roundings) for name, verdict in self.rows]
        for tap in self.taps:
            lines = [
                f"{name}: {error_in_words(errors[tap], roundings[tap])}"
                for name, errors, roundings in rows
                if tap in errors
            ]
            yield "\n".join([tap, *lines])


def _inset(shade: str) -> int:
    return {"none": 12, "over": 1}.get(shade.rstrip("0123456789"), 4)


def heat_maps(comparisons: Sequence[Comparison]) -> list[HeatMap]:
    """A map for each precision that was computed in and thing compared: each has its own bound."""
    groups: dict[tuple[What, str], dict[str, Verdict]] = {}
    for what, name, verdict in with_errors(comparisons):
        groups.setdefault((what, verdict.dtype), {})[name] = verdict
    return [HeatMap(f"{KINDS[what] or 'taps'} in {dtype}", dtype, found) for (what, dtype), found in groups.items()]
