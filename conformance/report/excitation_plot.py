"""The plot of excitations: a panel for the last block of each stage, a line for each class. It needs Matplotlib."""

from collections.abc import Sequence
from itertools import groupby
from math import ceil
from pathlib import Path

from conformance.report.excitation import Excited
from weights.storage.whole import replacing


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
    from matplotlib.figure import Figure

    panels = [(block, list(members)) for block, members in groupby(found, key=lambda e: e.block)]
    if not every_block:
        panels = list({_stage(block): (block, members) for block, members in panels}.values())
    columns = 2 if len(panels) in (2, 4) else min(3, len(panels))
    lines = ceil(len(panels) / columns)
    figure = Figure(figsize=(4.4 * columns, 0.7 + 2.6 * lines), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True).flatten()
    for panel, (block, members) in zip(axes, panels, strict=False):
        for i, e in enumerate(members):
            channels = range(len(e.mean))
            panel.plot(channels, e.mean, color=f"C{i}", linewidth=0.9, label=f"{e.kind} ({e.photos})")
            if e.photos > 1:
                low, high = e.mean - e.deviation, e.mean + e.deviation
                panel.fill_between(channels, low, high, color=f"C{i}", alpha=0.2, linewidth=0)
        panel.set(title=block, xlabel="channel", xmargin=0)
    for panel in axes[len(panels) :]:
        panel.set_visible(False)
    for row in range(lines):
        axes[row * columns].set_ylabel("activation of the gate")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), frameon=False)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=130)


def _stage(block: str) -> str:
    """The stage of a residual unit, "stage1" of "stage1.0"; of an Inception module, "inception3" of "inception3a"."""
    stage, dot, _ = block.rpartition(".")
    return stage if dot else block.rstrip("abcdefghijklmnopqrstuvwxyz")
