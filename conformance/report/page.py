"""A run as a page in HTML, self-contained: nothing is fetched when it is opened."""

import shlex
from collections.abc import Iterator

from conformance.adapters import title_of
from conformance.report.heat_map import heat_maps
from conformance.report.pages import rendered
from conformance.report.plots import curves, with_errors
from conformance.report.run import Run
from conformance.report.table import HEADER, NUMBERS, rows
from conformance.report.titles import titled


def to_html(run: Run) -> str:
    """The page."""
    disagreeing = [
        (titled(name, comparison.what), found.dtype or comparison.dtype, found.first_divergent)
        for comparison in run.comparisons
        for name, found in comparison.results.items()
        if found.status not in ("agreed", "absent")
    ]
    drawn = curves(run.comparisons)
    return rendered(
        "page.html",
        run=run,
        disagreeing=disagreeing,
        compared=list(dict.fromkeys(title_of(name) for _, name, _ in with_errors(run.comparisons))),
        commands=list(_commands(run)),
        header=HEADER,
        numbers=NUMBERS,
        rows=list(rows(run)),
        curves=drawn,
        legend={(curve.what, series.dtype): series for curve in drawn for series in curve.series},
        maps=heat_maps(run.comparisons),
    )


def _commands(run: Run) -> Iterator[str]:
    """What to type into a shell to compare the same file in the same way."""
    if run.checkpoint.file_sha256:
        line = f"{run.checkpoint.file_sha256}  {run.checkpoint.file}"
        yield f"echo {shlex.quote(line)} | sha256sum --check"
    yield run.command
