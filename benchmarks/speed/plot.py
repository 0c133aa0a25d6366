"""The plot of the page: one image through one network, in every framework and way."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.speed.page import SHOWN, plotted, title


def draw(evidence: Mapping[str, Any], path: Path) -> None:
    """Draws it as an SVG file, the same bytes for the same numbers; without any there is no file."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = plotted(evidence["rows"])
    if not rows:
        path.unlink(missing_ok=True)
        return
    rows.sort(key=lambda row: row["seconds"], reverse=True)
    names = [title(row).replace("`", "") for row in rows]
    middle, low, high = ([1e3 * row[key] for row in rows] for key in ("seconds", "low", "high"))
    errors = [[m - a for m, a in zip(middle, low, strict=True)], [b - m for m, b in zip(middle, high, strict=True)]]
    colours = {"model": "#4477aa", "fast": "#228833", "peer": "#bbbbbb", "predict": "#66ccee"}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "senet", "font.size": 9}):
        figure = Figure(figsize=(7, 0.6 + 0.3 * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.barh(names, middle, xerr=errors, color=[colours[row["way"]] for row in rows], height=0.7)
        axes.set_xlabel(f"{SHOWN}, one image: ms (median, quartiles)")
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})
