"""The paper's tables as text, as Markdown and as data for JSON."""

from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import Any

from conformance.report.paper import NOTES, Row
from conformance.report.table import aligned, markdown

_HEADER = (
    "parameters",
    "without biases",
    "GMACs",
    "published M",
    "published GFLOPs",
    "top-1 error",
    "top-5 error",
    "notes",
)
_SPARE = ("without biases", "published GFLOPs", "published M", "notes")
_TITLES = {
    "baselines": "Networks without SE blocks and with them",
    "reduction": "Reduction of SE-ResNet-50",
    "squeeze": "Squeeze of SE-ResNet-50",
    "gate": "Gate of SE-ResNet-50",
    "position": "Position of the SE blocks in SE-ResNet-50",
    "stages": "Stages of SE-ResNet-50 that have SE blocks, counted as in the paper, from 2",
}
_LEGEND = (
    "Parameters are exact, with the biases that the released networks have, and without those of the SE blocks. GMACs "
    "are multiply-adds of convolutions and fully connected layers at 224x224. Published figures and errors (in %) are "
    "the paper's (arXiv 1709.01507)."
)


def to_text(rows: Sequence[Row], width: int | None = None) -> str:
    """The tables, each under its title, with the notes below.

    Args:
        rows: of ``paper.tables``.
        width: characters in a line; None: no limit.
    """
    parts: list[str] = []
    for table, members in _grouped(rows):
        parts += [
            _TITLES[table],
            "",
            aligned((table, *_HEADER), [_cells(row) for row in members], width, spare=_SPARE),
            "",
        ]
    parts += [fill(_LEGEND, width or 120), ""]
    parts += [fill(f"[{n}] {NOTES[n]}", width or 120, subsequent_indent="    ") for n in _used(rows)]
    return "\n".join(parts).rstrip()


def to_markdown(rows: Sequence[Row]) -> str:
    """The same in Markdown."""
    parts: list[str] = []
    for table, members in _grouped(rows):
        parts += [f"**{_TITLES[table]}**", "", markdown((table, *_HEADER), [_cells(row) for row in members]), ""]
    return "\n".join([*parts, _LEGEND, "", *(f"- [{n}] {NOTES[n]}" for n in _used(rows))])


def to_dict(rows: Sequence[Row]) -> dict[str, Any]:
    """The same as data; docs/formats.md describes the fields."""
    return {
        "rows": [
            {
                "table": row.table,
                "choice": row.choice,
                "parameters": row.learnable,
                "parameters_without_biases": row.without_biases,
                "macs": row.macs,
                "gate_multiplications": row.scaled,
                "published": {
                    "parameters_millions": row.published.params,
                    "gflops": row.published.gflops,
                    "top1_error": row.published.top1,
                    "top5_error": row.published.top5,
                },
                "notes": list(row.notes),
            }
            for row in rows
        ],
        "notes": {str(n): NOTES[n] for n in _used(rows)},
    }


def _grouped(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    for table in dict.fromkeys(row.table for row in rows):
        yield table, [row for row in rows if row.table == table]


def _cells(row: Row) -> tuple[str, ...]:
    published = row.published
    return (
        row.choice,
        f"{row.learnable:,}",
        "" if row.without_biases is None else f"{row.without_biases:,}",
        f"{row.macs / 1e9:.3f}",
        _number(published.params, 1),
        _number(published.gflops, 2),
        _number(published.top1, 2),
        _number(published.top5, 2),
        ", ".join(f"[{n}]" for n in row.notes),
    )


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _used(rows: Sequence[Row]) -> list[int]:
    return sorted({n for row in rows for n in row.notes})
