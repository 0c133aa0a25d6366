"""Runs as people read them: a table in the terminal or in Markdown, and a page that needs nothing beside it.

What a run is, as a dict, stands in ``conformance.record``.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from conformance.report import plots as charts
from conformance.report.plots import title_of, titled
from weights.storage.whole import replacing

HEADER = (
    "framework",
    "version",
    "dtype",
    "taps",
    "worst tap",
    "its error",
    "roundings",
    "logits error",
    "top-1",
    "verdict",
)
NUMBERS = tuple(HEADER.index(name) for name in ("taps", "its error", "roundings", "logits error", "top-1"))


def rows(run: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The agreement table, a row for each framework and dtype."""
    for comparison in run["comparisons"]:
        for name, found in comparison["frameworks"].items():
            worst, logits, best = found["worst"], found["logits_error"], found["top1"]
            yield (
                titled(name, comparison["what"]),
                found["version"],
                found["dtype"] or comparison["dtype"],
                str(len(found["taps"])) if worst else "",
                worst["tap"] if worst else "",
                f"{worst['error']:.1e}" if worst else "",
                f"{found['roundings'][worst['tap']]:.3g}" if worst else "",
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
        loader=PackageLoader("conformance.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["error"] = charts.error
    disagreeing = [
        (titled(name, c["what"]), f["dtype"] or c["dtype"], f["first_divergent"])
        for c in run["comparisons"]
        for name, f in c["frameworks"].items()
        if f["status"] not in ("agreed", "absent")
    ]
    plots = charts.plots(run["comparisons"])
    return environment.get_template("page.html").render(
        run=run,
        agreed=agreed(run),
        disagreeing=disagreeing,
        compared=list(dict.fromkeys(title_of(name) for _, name, _ in charts.found(run["comparisons"]))),
        commands=list(_commands(run)),
        header=HEADER,
        numbers=NUMBERS,
        rows=list(rows(run)),
        plots=plots,
        legend={(plot.what, s["dtype"]): s for plot in plots for s in plot.series},
        maps=charts.heat_maps(run["comparisons"]),
    )


def _commands(run: Mapping[str, Any]) -> Iterator[str]:
    """What a shell has to be told to compare the same file in the same way."""
    checkpoint = run["checkpoint"]
    if checkpoint["file_sha256"]:
        line = f"{checkpoint['file_sha256']}  {checkpoint['file']}"
        yield f"echo {shlex.quote(line)} | sha256sum --check"
    yield run["command"]
