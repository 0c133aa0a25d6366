"""The plot of excitations: a panel for the last block of each stage, a line for each class. It needs Matplotlib."""

import warnings
from collections.abc import Sequence
from itertools import cycle, groupby
from math import ceil
from pathlib import Path
from typing import Any

from conformance.report.excitation import Excited
from weights.errors import in_a_line
from weights.storage.whole import replacing

_INK, _SOFT, _LINE = "#1c2024", "#5b6570", "#c3c9d0"
_COLOURS = ("#1f5fa8", "#b45309", "#12683f", "#b3261e", "#6b4fa0", "#0e7490", "#8a6d00", "#9d3a77", "#3f6212")
_LOOK: dict[Any, Any] = {
    "font.family": "sans-serif",
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _SOFT,
    "axes.titlecolor": _INK,
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "text.parse_math": False,  # names are no formulas
    "text.usetex": False,
}
"""The look of the pages, ``style.css``, in the light."""

_LONGEST_NAME = 60  # characters, in the legend


def draw(found: Sequence[Excited], title: str, path: Path, every_block: bool = False) -> None:
    """Writes the plot as PNG or SVG.

    Args:
        found: of ``excitation.excited``.
        title: above the panels.
        path: ends in .png or .svg.
        every_block: a panel for every block, not only for the last one of each stage.

    Raises:
        InputError: the file cannot be written.
        ImportError: Matplotlib is not installed.
    """
    from matplotlib import rc_context

    with rc_context(_LOOK), warnings.catch_warnings(action="ignore"):  # of glyphs that no font has, of long legends
        _draw(found, title, path, every_block)


def _draw(found: Sequence[Excited], title: str, path: Path, every_block: bool) -> None:
    from matplotlib.figure import Figure

    panels = [(block, list(members)) for block, members in groupby(found, key=lambda e: e.block)]
    if not every_block:
        panels = list({_stage(block): (block, members) for block, members in panels}.values())
    columns = 2 if len(panels) in (2, 4) else min(3, len(panels))
    lines = ceil(len(panels) / columns)
    figure = Figure(figsize=(4.4 * columns, 0.7 + 2.6 * lines), layout="constrained")
    figure.suptitle(in_a_line(title))
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True).flatten()
    for panel, (block, members) in zip(axes, panels, strict=False):
        for e, colour in zip(members, cycle(_COLOURS)):
            channels = range(len(e.mean))
            panel.plot(channels, e.mean, color=colour, linewidth=0.9, label=f"{_name(e.kind)} ({e.photos})")
            if e.photos > 1:
                low, high = e.mean - e.deviation, e.mean + e.deviation
                panel.fill_between(channels, low, high, color=colour, alpha=0.2, linewidth=0)
        panel.set(title=block, xlabel="channel", xmargin=0)
    for panel in axes[len(panels) :]:
        panel.set_visible(False)
    for row in range(lines):
        axes[row * columns].set_ylabel("activation of the gate")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), frameon=False)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=130)


def _name(kind: str) -> str:
    """A folder's name in the legend, which leaves out what begins with an underscore and takes any length."""
    name = in_a_line(kind)
    short = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."
    return f" {short}" if short.startswith("_") else short


def _stage(block: str) -> str:
    """The stage of a residual unit, "stage1" of "stage1.0"; of an Inception module, "inception3" of "inception3a"."""
    stage, dot, _ = block.rpartition(".")
    return stage if dot else block.rstrip("abcdefghijklmnopqrstuvwxyz")
