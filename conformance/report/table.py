"""Tables in the terminal and in Markdown; and the table of a run, a row for each framework and precision."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from conformance.judge.verdict import Verdict
from conformance.report.run import Run
from conformance.report.titles import titled
from weights.errors import in_a_line, printable

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

HEADER = (
    "framework",
    "version",
    "asked",
    "dtype",
    "taps",
    "worst tap",
    "its error",
    "roundings",
    "worst layer",
    "its share",
    "logits error",
    "top-1",
    "verdict",
)
SPARE = (
    "version",
    "roundings",
    "taps",
    "asked",
    "top-1",
    "logits error",
    "its share",
    "worst layer",
    "its error",
    "worst tap",
)
"""Columns that a narrow terminal does without, the first one first."""
NUMBERS = tuple(HEADER.index(name) for name in ("taps", "its error", "roundings", "its share", "logits error", "top-1"))


def rows(run: Run) -> Iterator[tuple[str, ...]]:
    """The agreement table, a row for each framework and precision."""
    for comparison in run.comparisons:
        for name, found in comparison.results.items():
            worst, layer, logits = found.worst, found.worst_layer, found.errors.get("logits")
            yield (
                titled(name, comparison.what),
                found.version,
                comparison.dtype,
                found.dtype,
                str(len(found.errors)) if worst else "",
                worst[0] if worst else "",
                f"{worst[1]:.1e}" if worst else "",
                f"{found.roundings[worst[0]]:.3g}" if worst else "",
                layer[0] if layer else "",
                f"{layer[1]:.2g}" if layer else "",
                f"{logits:.1e}" if logits is not None else "",
                str(found.top1) if found.top1 is not None else "",
                in_words(found),
            )


def in_words(found: Verdict) -> str:
    """A verdict in a few words: the status, the first tensor that is off, the layers that are wrong, the message."""
    said = f"agreed in {found.dtype}" if found.status in ("agreed", "otherwise") and found.other_dtype else found.status
    if found.first_divergent:
        said += f", first at {found.first_divergent}"
    if len(found.wrong_layers) > 1:
        said += f", {len(found.wrong_layers)} layers by themselves"
    return f"{said}: {found.message}" if found.message else said


STYLES: Mapping[str, str] = {
    **dict.fromkeys(("agreed", "identical", "equal"), "green"),
    **dict.fromkeys(("disagreed", "failed", "different", "missing"), "bold red"),
    **dict.fromkeys(("suspicious", "rounded"), "yellow"),
    "absent": "dim",
}
"""The colours of verdicts, by their first word."""

_WIDE = 30  # characters of a word that may be broken, such as a path


def aligned(
    header: Sequence[str],
    lines: Iterable[Sequence[str]],
    width: int | None = None,
    *,
    spare: Sequence[str] = (),
    colours: bool = False,
) -> str:
    """A table of plain text: numbers to the right, words to the left.

    Args:
        header: the columns' titles.
        lines: the cells of each row.
        width: characters in a line, beyond which cells are wrapped, but not inside of words; None: no limit.
        spare: columns that are left out, one after the other, where wrapping is not enough; a last line names them.
        colours: whether verdicts are coloured, for a terminal.
    """
    from rich.box import Box
    from rich.table import Table

    lines = [tuple(map(in_a_line, line)) for line in lines]  # names may come from anywhere
    numeric = _numeric(header, lines)
    columns = list(zip(header, *lines, strict=True))
    # The titles of numbers stand in as many lines as they have words; numbers, "3 of 12" too, stand in one.
    least = [
        max(_longest(title), *map(len, cells)) if right else min(_WIDE, max(map(_longest, (title, *cells))))
        for right, (title, *cells) in zip(numeric, columns, strict=True)
    ]
    kept = _kept(header, least, width, spare)
    whole = [max(map(len, column)) for column in columns]
    room = width and width - sum(least[i] for i in kept) - 2 * (len(kept) - 1)
    if room is None or room < 0 or sum(whole[i] - least[i] for i in kept) <= room:
        width = room = None  # it fits; or words would be broken, which is harder to read than lines the terminal breaks
    rule = Box("    \n    \n -  \n    \n    \n    \n    \n    \n", ascii=True)
    table = Table(box=rule, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    most = [small if right else large for right, small, large in zip(numeric, least, whole, strict=True)]
    widths = whole if room is None else _widths(least, most, kept, room)
    for i in kept:
        shown = header[i].replace(" ", "\n") if numeric[i] and width else header[i]
        justify = "right" if numeric[i] else "left"
        table.add_column(_text(shown), justify=justify, no_wrap=numeric[i], width=widths[i], overflow="fold")
    text = _printed(table, ([line[i] for i in kept] for line in lines), width, colours)
    left_out = [title for i, title in enumerate(header) if i not in kept]
    return f"{text}\n(no room for: {', '.join(left_out)})" if left_out else text


def _kept(header: Sequence[str], least: Sequence[int], width: int | None, spare: Sequence[str]) -> list[int]:
    """The places of the columns that are shown: as many as fit; all, where even the fewest do not."""
    kept = list(range(len(header)))
    for title in (None, *spare):
        kept = [i for i in kept if header[i] != title]
        if width is None or sum(least[i] for i in kept) + 2 * (len(kept) - 1) <= width:
            return kept
    return list(range(len(header)))


def _widths(least: Sequence[int], most: Sequence[int], kept: Sequence[int], room: int) -> list[int]:
    """The widths of the columns: the characters that are left go, one by one, to the column that lacks most."""
    widths = list(least)
    for _ in range(room):
        widths[max(kept, key=lambda i: most[i] - widths[i])] += 1
    return widths


def _longest(cell: str) -> int:
    """Characters of the longest word, the first one with what it is indented by."""
    indent = len(cell) - len(cell.lstrip())
    return max((len(word) + (0 if i else indent) for i, word in enumerate(cell.split())), default=0)


def listed(facts: Iterable[tuple[str, str]], width: int | None = None) -> str:
    """Names and values, one pair a line, the values below each other.

    Args:
        facts: the pairs.
        width: characters in a line, beyond which values are wrapped; None: no limit.
    """
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return _printed(table, ((name, in_a_line(value)) for name, value in facts), width)


def _printed(table: "Table", lines: Iterable[Sequence[str]], width: int | None, colours: bool = False) -> str:
    from rich.console import Console

    for line in lines:
        table.add_row(*(_text(cell, STYLES.get(_first_word(cell), "") if colours else "") for cell in line))
    # Without a limit: as wide as the widest row could be, for which a million characters are more than enough.
    system = "standard" if colours else None
    console = Console(
        file=StringIO(), width=width or 10**6, color_system=system, force_terminal=colours, legacy_windows=False
    )
    with console.capture() as captured:
        console.print(table, crop=False)
    return "\n".join(_PADDING.sub(r"\1", line) for line in captured.get().splitlines())


_PADDING = re.compile(r" +((?:\x1b\[[0-9;]*m)*)$")
"""Spaces at the end of a line, before the end of a colour."""


def _first_word(cell: str) -> str:
    return re.split("[ ,:]", cell, maxsplit=1)[0]


def _text(cell: str, style: str = "") -> "Text":
    from rich.text import Text

    return Text(cell, style)  # rich would take square brackets in a string for markup


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """The same table in Markdown. Rich has such a box too, but without the colons that align numbers."""
    lines = [tuple(map(_cell, line)) for line in lines]
    rule = ["---:" if right else "---" for right in _numeric(header, lines)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *lines))


def _cell(text: str) -> str:
    """Text that does not end a cell of a table."""
    return printable(" ".join(text.split())).replace("|", "\\|")


def _numeric(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[bool]:
    """Which columns hold numbers alone."""
    columns = [[line[i] for line in lines if line[i]] for i in range(len(header))]
    return [bool(cells) and all(map(_number, cells)) for cells in columns]


def _number(cell: str) -> bool:
    return cell.lstrip("-")[:1].isdigit() and not cell.count(".") > 1 and "-" not in cell.replace("e-", "")
