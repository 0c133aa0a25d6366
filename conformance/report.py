"""Runs as people read them: a table in the terminal or in Markdown, and a page that needs nothing beside it.

What a run is, as a dict, stands in ``conformance.record``.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from weights.atomic import replacing

TITLES = {
    "numpy": "NumPy reference",
    "torch": "PyTorch",
    "jax": "Flax (JAX)",
    "tf": "Keras (TensorFlow)",
    "onnx": "ONNX Runtime",
}
EPS = {"float64": 2.0**-52, "float32": 2.0**-23}
"""The distance from 1 to the next number."""

HEADER = ("framework", "version", "dtype", "taps", "worst tap", "its error", "logits error", "top-1", "verdict")


def title_of(framework: str) -> str:
    """What a framework is called on paper."""
    return TITLES.get(framework, framework)


def rows(run: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The agreement table, a row for each framework and dtype."""
    for comparison in run["comparisons"]:
        for name, found in comparison["frameworks"].items():
            worst, logits, best = found["worst"], found["logits_error"], found["top1"]
            what = comparison.get("what", "taps")
            yield (
                title_of(name) + ("" if what == "taps" else f", {what}"),
                found["version"],
                found["dtype"] or comparison["dtype"],
                str(len(found["taps"])) if worst else "",
                worst["tap"] if worst else "",
                f"{worst['error']:.1e}" if worst else "",
                f"{logits:.1e}" if logits is not None else "",
                str(best) if best is not None else "",
                verdict(found),
            )


def verdict(found: Mapping[str, Any]) -> str:
    """What became of one framework, in a few words."""
    first = found["first_divergent"]
    said = f"{found['status']}, first at {first}" if first else found["status"]
    return f"{said}: {found['message']}" if found["message"] else said


def agreed(run: Mapping[str, Any]) -> bool:
    """Whether every framework that was there agreed, and at least one was."""
    found = [f["status"] for c in run["comparisons"] for f in c["frameworks"].values() if f["status"] != "absent"]
    return bool(found) and all(status == "agreed" for status in found)


def aligned(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of plain text: numbers to the right, words to the left."""
    columns = list(zip(header, *lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [any(column[1:]) and all(_number(cell) for cell in column[1:] if cell) for column in columns]
    shown = [
        "  ".join(
            cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in (header, *lines)
    ]
    return "\n".join([shown[0], "  ".join("-" * w for w in widths), *shown[1:]])


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """The same table in Markdown."""
    right = [all(_number(line[i]) for line in lines if line[i]) for i in range(len(header))]
    rule = ["---:" if r else "---" for r in right]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *lines))


def _number(cell: str) -> bool:
    return cell.lstrip("-")[:1].isdigit() and not cell.count(".") > 1 and "-" not in cell.replace("e-", "")


def write(path: Path, run: Mapping[str, Any]) -> None:
    """Writes the page.

    Raises:
        InputError: the place cannot be written.
    """
    page = html(run).encode()
    with replacing(path) as file:
        file.write(page)


def html(run: Mapping[str, Any]) -> str:
    """The page: self-contained, nothing is fetched when it is opened."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("conformance", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    disagreeing = [
        (title_of(name), f["dtype"] or c["dtype"], f["first_divergent"])
        for c in run["comparisons"]
        for name, f in c["frameworks"].items()
        if f["status"] not in ("agreed", "absent")
    ]
    plots = _plots(run["comparisons"])
    return environment.get_template("report.html").render(
        run=run,
        agreed=agreed(run),
        disagreeing=disagreeing,
        header=HEADER,
        rows=list(rows(run)),
        plots=plots,
        legend={s["dtype"]: s for plot in plots for s in plot.series}.values(),
    )


def _plots(comparisons: Sequence[Mapping[str, Any]]) -> list["Plot"]:
    """A plot for each framework that has taps, in the order of the table, all with the same axes."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for comparison in comparisons:
        for name, result in comparison["frameworks"].items():
            if result["taps"]:
                found.setdefault(name, []).append(result)
    results = [result for group in found.values() for result in group]
    errors = [e for result in results for e in result["taps"].values() if math.isfinite(e)]
    highest = max([*errors, *(result["bound"] for result in results)], default=1.0)
    lowest = min((EPS[result["dtype"]] for result in results), default=1.0)
    decades = math.floor(math.log10(lowest)) - 1, math.ceil(math.log10(highest) + 0.3)
    return [Plot(name, group, decades) for name, group in found.items()]


class Plot:
    """Coordinates of one framework's errors along the depth of the network; the page draws them as SVG.

    Errors of exactly 0 stand on the axis, those that are no numbers at the top.
    """

    width, height = 440, 260
    left, right, top, bottom = 50, 8, 10, 44

    def __init__(self, framework: str, results: Sequence[Mapping[str, Any]], decades: tuple[int, int]):
        self.title = title_of(framework)
        self._low, self._high = decades
        self.taps = list(results[0]["taps"])
        self.series = [self._series(result) for result in results]
        self.decades = [(self._y(10.0**d), d) for d in range(self._low + 1, self._high + 1) if d % 4 == 0]
        self.stages = list(self._stages())

    def _series(self, result: Mapping[str, Any]) -> dict[str, Any]:
        bound, eps = result["bound"], EPS[result["dtype"]]
        place = {tap: i for i, tap in enumerate(self.taps)}
        points = [
            {"x": self._x(place[tap]), "y": self._y(e), "tap": tap, "error": e, "over": not e <= bound}
            for tap, e in result["taps"].items()
            if tap in place
        ]
        lines = {"bound": bound, "bound_y": self._y(bound), "eps": eps, "eps_y": self._y(eps)}
        return {"dtype": result["dtype"], "points": points, "worst": result["worst"], **lines}

    def _stages(self) -> Iterator[tuple[float, float, str]]:
        """Where each stage or module begins, where its label is centred, and the label where there is room for it."""
        spans: dict[str, list[int]] = {}
        for i, tap in enumerate(self.taps):
            spans.setdefault(tap.split(".")[0].removeprefix("inception"), []).append(i)
        for name, places in spans.items():
            start, end = self._x(places[0]), self._x(places[-1])
            yield start, round((start + end) / 2, 1), name if end - start > 6 * len(name) else ""

    def _x(self, i: int) -> float:
        return round(self.left + (self.width - self.left - self.right) * (i + 0.5) / len(self.taps), 1)

    def _y(self, error: float) -> float:
        decade = -math.inf if error == 0 else math.log10(error) if error > 0 else math.inf
        share = (self._high - min(max(decade, self._low), self._high)) / (self._high - self._low)
        return round(self.top + (self.height - self.top - self.bottom) * share, 1)
