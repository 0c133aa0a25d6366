"""Coordinates and shades of the pictures in a report, which the page draws as SVG: curves along depth, heat maps."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from conformance.judge.bounds import ROUNDING

TITLES = {
    "numpy": "NumPy reference",
    "torch": "PyTorch",
    "jax": "Flax (JAX)",
    "tf": "Keras (TensorFlow)",
    "onnx": "ONNX Runtime",
    "torch_channels_last": "PyTorch, channels last",
    "torch_compiled": "PyTorch, compiled",
    "torch_exported": "PyTorch, exported",
    "torch_scripted": "PyTorch, scripted",
    "jax_eager": "Flax, eager",
    "keras_jax": "Keras (JAX)",
    "keras_torch": "Keras (PyTorch)",
    "tf_eager": "Keras (TF), eager",
    "tf_xla": "Keras (TF), XLA",
    "tf_saved_model": "SavedModel",
    "tf_lite": "TFLite",
    "onnx_torch": "ONNX of torch.onnx",
    "onnx_jax": "ONNX of jax2onnx",
    "openvino": "OpenVINO",
}
KINDS = {"taps": "", "gradients": "gradients", "training": "training"}
"""What is compared, in a title that stands beside a framework's."""


def title_of(framework: str) -> str:
    """What a framework is called on paper."""
    return TITLES.get(framework, framework)


def titled(framework: str, what: str) -> str:
    """A framework, and what of it is compared."""
    return ", ".join(filter(None, (title_of(framework), KINDS[what])))


def eps(dtype: str) -> float:
    """The distance from 1 to the next number."""
    return 2 * ROUNDING[dtype]


def error(value: float, roundings: float | None = None) -> str:
    """An error in words, also in roundings where they are given."""
    if not math.isfinite(value):
        return "no finite number"
    return f"{value:.1e}" + (f", {roundings:.3g} roundings" if roundings is not None else "")


Found = tuple[str, str, Mapping[str, Any]]
"""What is compared, the framework, and its result."""


def found(comparisons: Iterable[Mapping[str, Any]]) -> list[Found]:
    """The results that hold numbers, in the order of the table."""
    return [
        (comparison["what"], name, result)
        for comparison in comparisons
        for name, result in comparison["frameworks"].items()
        if result["taps"]
    ]


def spans(taps: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """The stages or modules among taps in order: name, first place, and place after the last."""
    start = 0
    for i, tap in enumerate(taps):
        if i + 1 == len(taps) or _span(taps[i + 1]) != _span(tap):
            yield _span(tap), start, i + 1
            start = i + 1


def _span(tap: str) -> str:
    return tap.split(".")[0].removeprefix("inception")


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


class Plot:
    """One framework's errors along the depth of the network, on a logarithmic scale.

    Errors of exactly 0 stand on the axis, those that are no numbers at the top.
    """

    width, height = 440, 260
    left, right, top, bottom = 50, 8, 10, 44

    def __init__(self, title: str, what: str, results: Sequence[Mapping[str, Any]], decades: tuple[int, int]):
        self.title = title
        self.what = what
        self._low, self._high = decades
        self.taps = merged(result["taps"] for result in results)
        self.series = [self._series(result) for result in results]
        self.decades = [(self._y(10.0**d), d) for d in range(self._low + 1, self._high + 1) if d % 4 == 0]
        self.stages = list(self._stages())

    def _series(self, result: Mapping[str, Any]) -> dict[str, Any]:
        bound, one = result["bound"], eps(result["dtype"])
        place = {tap: i for i, tap in enumerate(self.taps)}
        points = [
            {
                "x": self._x(place[tap]),
                "y": self._y(error),
                "tap": tap,
                "error": error,
                "roundings": result["roundings"][tap],
                "over": not error <= bound,
            }
            for tap, error in result["taps"].items()
        ]
        lines = {"bound": bound, "bound_y": self._y(bound), "eps": one, "eps_y": self._y(one)}
        worst = result["worst"] | {"roundings": result["roundings"][result["worst"]["tap"]]}
        return {"dtype": result["dtype"], "points": points, "worst": worst, **lines}

    def _stages(self) -> Iterator[tuple[float, float, str]]:
        """Where each stage or module begins, where its label is centred, and the label where there is room for it."""
        for name, first, after in spans(self.taps):
            start, end = self._x(first), self._x(after - 1)
            yield start, round((start + end) / 2, 1), name if end - start > 6 * len(name) else ""

    def _x(self, i: int) -> float:
        return round(self.left + (self.width - self.left - self.right) * (i + 0.5) / len(self.taps), 1)

    def _y(self, error: float) -> float:
        decade = -math.inf if error == 0 else math.log10(error) if error > 0 else math.inf
        share = (self._high - min(max(decade, self._low), self._high)) / (self._high - self._low)
        return round(self.top + (self.height - self.top - self.bottom) * share, 1)


def plots(comparisons: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """A plot for each framework and thing compared, all with the same axes."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for what, name, result in found(comparisons):
        groups.setdefault((what, name), []).append(result)
    results = [result for group in groups.values() for result in group]
    errors = [e for result in results for e in result["taps"].values() if math.isfinite(e)]
    highest = max([*errors, *(result["bound"] for result in results)], default=1.0)
    lowest = min((eps(result["dtype"]) for result in results), default=1.0)
    decades = math.floor(math.log10(lowest)) - 1, math.ceil(math.log10(highest) + 0.3)
    return [Plot(titled(name, what), KINDS[what], group, decades) for (what, name), group in groups.items()]


class HeatMap:
    """Taps in the order of the graph, from left to right, by frameworks; the shade says how large the error is.

    One unit is a tap wide; heights are pixels. What is above the bound, or not there, differs by its height too.
    """

    row = 26
    steps = 5  # shades from epsilon to the bound
    beyond = (10, 1000)  # times the bound, where the next shade begins
    _narrow = 260  # pixels that the map has on a telephone

    def __init__(self, title: str, dtype: str, results: Mapping[str, Mapping[str, Any]]):
        self.title, self.dtype = title, dtype
        self.taps = merged(result["taps"] for result in results.values())
        self.rows = [(title_of(name), result) for name, result in results.items()]
        self.height = self.row * len(self.rows)
        self._eps, self._bound = eps(dtype), next(iter(results.values()))["bound"]
        self.stages = [self._stage(*span) for span in spans(self.taps)]
        self.paths = self._paths()

    def _stage(self, name: str, first: int, after: int) -> dict[str, Any]:
        pixel = max(self._narrow / len(self.taps), 1)
        label = name if (after - first) * pixel > 6.5 * len(name) else ""
        centre = f"{50 * (first + after) / len(self.taps):.2f}%"
        return {"name": name, "first": first, "label": label, "centre": centre, "taps": self.taps[first:after]}

    def _paths(self) -> dict[str, str]:
        """Shade to an SVG path: neighbours of one shade are one rectangle."""
        paths: dict[str, str] = {}
        for i, (_, result) in enumerate(self.rows):
            shades = [self.shade(result["taps"].get(tap)) for tap in self.taps]
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
        """The name of an error's shade; none where the framework has no such tap."""
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
        shades[f"over{len(self.beyond)}"] = "more, or no number"
        for shade, meaning in shades.items():
            yield shade, _inset(shade), meaning

    @property
    def divergences(self) -> Iterator[tuple[str, str, int]]:
        """Each framework that leaves the bound, the first tap where it does, and the place of that, from 1."""
        for name, result in self.rows:
            if first := result["first_divergent"]:
                yield name, first, self.taps.index(first) + 1

    @property
    def description(self) -> str:
        """The map in words."""
        said = [f"Heat map of {len(self.taps)} {self.title}."]
        for name, result in self.rows:
            worst = result["worst"]
            said.append(f"{name}: worst {error(worst['error'])}, at {worst['tap']}.")
        return " ".join(said)

    def hint(self, tap: str) -> str:
        """What the map shows of one tap, a line for each framework."""
        lines = [
            f"{name}: {error(result['taps'][tap], result['roundings'][tap])}"
            for name, result in self.rows
            if tap in result["taps"]
        ]
        return "\n".join([tap, *lines])


def _inset(shade: str) -> int:
    return {"none": 12, "over": 1}.get(shade.rstrip("0123456789"), 4)


def heat_maps(comparisons: Sequence[Mapping[str, Any]]) -> list[HeatMap]:
    """A map for each precision that was computed in and thing compared: each has its own bound."""
    groups: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for what, name, result in found(comparisons):
        groups.setdefault((what, result["dtype"]), {})[name] = result
    return [HeatMap(f"{KINDS[what] or 'taps'} in {dtype}", dtype, results) for (what, dtype), results in groups.items()]
