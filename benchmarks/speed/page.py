"""What was measured, as Markdown: docs/speed-tables.md, and the table in the README between two marks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.speed.conversion import MEMORY, TIMES
from benchmarks.speed.rounds import FRAMEWORKS, What, ways
from conformance.report.table import markdown

Rows = Sequence[Mapping[str, Any]]

MARKS = "<!-- speed: made by python -m benchmarks.speed --render -->", "<!-- /speed -->"
"""Around the table in the README."""

NOT_MEASURED = "not measured"
SHOWN = "se-resnet-50"
"""The network of the README's table and of the plot."""


def page(evidence: Mapping[str, Any]) -> str:
    """The page."""
    rows: Rows = evidence["rows"]
    parts = (
        _introduction(evidence),
        _timed(rows, "inference", "Inference", "Milliseconds of one run, and in brackets the quartiles."),
        _timed(rows, "training", "A step of training", "SGD with momentum on the cross entropy, in milliseconds."),
        _memory(rows),
        _conversion(rows),
        _starts(rows),
        _gpu(rows),
    )
    return "\n".join(line for part in parts for line in part) + "\n"


def _introduction(evidence: Mapping[str, Any]) -> Iterator[str]:
    machine, versions = evidence["machine"], evidence["versions"]
    yield from (
        "# Speed, measured",
        "",
        "Made by `python -m benchmarks.speed` (`make bench`). Every framework runs in a process of its own, and",
        "all have a run each in turn. A ratio is the median of those within each round: to the time of ONNX Runtime,",
        "and to that of the network written by hand in the same framework (`benchmarks/plain`). Weights and images are",
        "random.",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory'] / 1e9:.0f} GB; {evidence['date']}.",
        ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        *_disturbed(evidence),
    )
    if plotted(evidence["rows"]):
        yield from ("", f"![Milliseconds of one image through {SHOWN}, in each framework](speed.svg)")


def plotted(rows: Rows) -> list[Mapping[str, Any]]:
    """The rows of the plot."""
    return [row for row in _of(rows, part="inference", network=SHOWN, batch=1) if "seconds" in row]


def _disturbed(evidence: Mapping[str, Any]) -> Iterator[str]:
    """A warning, where other programs were running."""
    cores, load = evidence["machine"]["cores"], max((row.get("load", 0.0) for row in evidence["rows"]), default=0.0)
    if load > cores / 2:
        yield from (
            "",
            f"**Other programs were running: up to {load:g} wanted one of {cores} cores. What waits for all of its",
            "threads suffers most from that; neither times nor ratios are those of a machine that is left alone.**",
        )


def title(row: Mapping[str, Any], what: What | None = None) -> str:
    """A contestant in words."""
    way = ways(what or row["part"], row["framework"])[row["way"]]
    return ", ".join(filter(None, (FRAMEWORKS[row["framework"]], way)))


def _of(rows: Rows, **fields: object) -> list[Mapping[str, Any]]:
    return [row for row in rows if all(row.get(key) == value for key, value in fields.items())]


def _timed(rows: Rows, part: str, heading: str, unit: str) -> Iterator[str]:
    found = _of(rows, part=part)
    yield from ("", f"## {heading}", "", unit)
    for network, batch in dict.fromkeys((row["network"], row["batch"]) for row in found):
        here = _of(found, network=network, batch=batch)
        rounds = max(row.get("rounds", 0) for row in here)
        yield from ("", f"### {network}, {batch} {'image' if batch == 1 else 'images'}, {rounds} rounds", "")
        header = ("", "ms", "of ONNX Runtime", "of the one by hand", "the first run, s")
        if part == "training":
            header = ("", "ms", "of the one by hand", "the first run, s")
        yield markdown(header, [_cells(row, part) for row in here]).rstrip()
    if not found:
        yield from ("", "Not measured.")


def _cells(row: Mapping[str, Any], part: str) -> tuple[str, ...]:
    if "failed" in row:
        return title(row), f"failed: {row['failed']}", *[""] * (2 if part == "training" else 3)
    own = row["way"] == "peer" or None
    to_onnx = () if part == "training" else (times(row["to_onnx"]),)
    return title(row), spread(row), *to_onnx, "" if own else times(row["to_peer"]), f"{row['first']:.1f}"


def spread(row: Mapping[str, Any]) -> str:
    """The median in milliseconds, and the quartiles."""
    middle, low, high = (f"{1e3 * row[key]:.3g}" for key in ("seconds", "low", "high"))
    return f"{middle} ({low} to {high})"


def times(ratio: float | None) -> str:
    """A ratio, or nothing."""
    return "" if ratio is None else f"{ratio:.2f}"


def _memory(rows: Rows) -> Iterator[str]:
    yield from ("", "## Memory", "", "The most that a process of its own had resident, after two runs.", "")
    found = _of(rows, part="memory")
    cells = [
        (
            f"{row['network']}, {row['what']}, {row['batch']} images",
            title(row, row["what"]),
            f"{row['peak'] / 1e6:.0f}",
            "" if row["way"] == "peer" else times(row["to_peer"]),
        )
        for row in found
    ]
    yield markdown(("", "", "MB", "of the one by hand"), cells).rstrip() if cells else "Not measured."


def _conversion(rows: Rows) -> Iterator[str]:
    yield from (
        "",
        "## Conversion",
        "",
        "`senet convert X.caffemodel out.safetensors` as a whole process, beside one that reads and writes the same",
        "bytes; and `senet diff` of two checkpoints that differ in every number, beside a process that reads both.",
        f"Bounds: {TIMES:g} times as long, and the files' size and {MEMORY / 1e6:.0f} MB.",
        "",
    )
    cells = [
        (
            f"{row['network']}, {row['what']}",
            f"{row['size'] / 1e6:.0f}",
            f"{row['seconds']:.2f} ({row['low']:.2f} to {row['high']:.2f})",
            times(row["to_plain"]),
            f"{row['peak'] / 1e6:.0f}",
            "kept" if row["kept"] else "not kept",
        )
        for row in _of(rows, part="conversion")
    ]
    header = ("", "files, MB", "s", "of the plain one", "peak, MB", "bounds")
    yield markdown(header, cells).rstrip() if cells else "Not measured."


def _starts(rows: Rows) -> Iterator[str]:
    yield from ("", "## Start", "", "Whole processes, with compiled modules.", "")
    found = _of(rows, part="start")
    cells = [(f"`{r['name']}`", f"{r['seconds']:.2f} ({r['low']:.2f} to {r['high']:.2f})") for r in found]
    yield markdown(("", "s"), cells).rstrip() if cells else "Not measured."


def _gpu(rows: Rows) -> Iterator[str]:
    yield from (
        "",
        "## On a GPU",
        "",
        "PyTorch, images a second, and the share of the card's ceiling: of what it makes of a product of two matrices",
        "of 8192x8192 in the same precision.",
        "",
    )
    cells = [
        (
            f"{row['network']}, {row['what']}",
            row["way"],
            str(row["batch"]),
            f"{row['images']:.0f}" if "images" in row else NOT_MEASURED,
            f"{row['share']:.0%}" if "share" in row else NOT_MEASURED,
        )
        for row in _of(rows, part="gpu")
    ]
    header = ("", "", "images at a time", "images a second", "share of the ceiling")
    yield markdown(header, cells).rstrip() if cells else "Not measured."


def readme_table(evidence: Mapping[str, Any]) -> str:
    """The README's table: each framework on one network, in the way that it has and in its fast way."""
    rows: Rows = evidence["rows"]
    found: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = {}
    for row in _of(rows, part="inference", network=SHOWN):
        if row["way"] in ("model", "fast") and "seconds" in row:
            found.setdefault((row["framework"], row["way"]), {})[row["batch"]] = row
    cells = []
    for (framework, way), by_batch in found.items():
        step = _of(rows, part="training", network=SHOWN, framework=framework, way=way)
        cells.append(
            (
                title(next(iter(by_batch.values()))),
                *(_short(by_batch.get(batch)) for batch in (1, 8)),
                *(times(by_batch[batch]["to_onnx"]) if batch in by_batch else NOT_MEASURED for batch in (1, 8)),
                times(step[0]["to_peer"]) if step else "",
            )
        )
    header = (
        SHOWN,
        "1 image, ms",
        "8 images, ms",
        "of ONNX Runtime",
        "8 images",
        "training, of one by hand",
    )
    return markdown(header, cells)


def _short(row: Mapping[str, Any] | None) -> str:
    return NOT_MEASURED if row is None else f"{1e3 * row['seconds']:.3g}"


def with_table(text: str, evidence: Mapping[str, Any]) -> str:
    """A text with the table between the two marks; one without marks as it is."""
    first, last = map(re.escape, MARKS)
    made = f"{MARKS[0]}\n{readme_table(evidence)}\n{MARKS[1]}"
    return re.sub(f"{first}.*?{last}", lambda _: made, text, flags=re.S)
