"""What two checkpoints differ in, in words, for ``senet diff``."""

import json
from collections.abc import Sequence

from conformance.report.table import aligned
from weights.errors import in_a_line
from weights.files.diff import Difference, Tensor

_ROWS = 20  # about a screen
_SPARE = ("float32 ulp", "values", "B", "A", "relative")


def text(
    found: Difference, rounding: bool = False, width: int | None = None, all_rows: bool = False, colours: bool = False
) -> str:
    """A difference as people read it: what differs, in tables, and one last line with the verdict.

    Args:
        found: the difference.
        rounding: whether tensors that differ only by rounding count as the same.
        width: characters in a line; None: no limit.
        all_rows: whether every tensor that differs is shown. Otherwise at most 20 are: those missing or different
            before those rounded, in the order of the network.
        colours: whether verdicts are coloured, for a terminal.
    """
    lines = [
        f"A  {in_a_line(found.paths[0])} ({found.formats[0]})",
        f"B  {in_a_line(found.paths[1])} ({found.formats[1]})",
        "",
    ]
    for title, pairs in (("network", found.spec), ("expected of the input", found.expects)):
        if pairs:
            rows = [(field, _shown(x), _shown(y)) for field, (x, y) in pairs.items()]
            lines += [aligned((title, "A", "B"), rows, width), ""]
    shown = [t for t in found.tensors if t.verdict not in ("identical", "equal")]
    if shown:
        header = ("tensor", "verdict", "values", "max abs", "relative", "float32 ulp", "A", "B")
        first = shown if all_rows else _first(shown)
        lines += [aligned(header, [_row(t) for t in first], width, spare=_SPARE, colours=colours), ""]
        if len(first) < len(shown):
            lines += [f"and {len(shown) - len(first)} more tensors that differ", ""]
    verdicts = ("identical", "equal", "rounded", "different", "missing")
    counts = [f"{n} {verdict}" for verdict in verdicts if (n := found.count(verdict))]
    summary = f"{'the same' if found.same(rounding) else 'different'}: {len(found.tensors)} tensors, "
    return "\n".join([*lines, summary + ", ".join(counts) + _storage(found)])


def _first(differing: Sequence[Tensor]) -> list[Tensor]:
    """As many as a screen holds, the worst verdicts before the harmless one."""
    worst = sorted(differing, key=lambda t: t.verdict == "rounded")[:_ROWS]
    return [t for t in differing if t in worst]


def _row(t: Tensor) -> tuple[str, ...]:
    sides = [f"{side.dtype} {side.layout} {side.shape}" if side else "missing" for side in t.stored]
    numbers = ("", "", "", "")
    if t.count:
        ulp = "" if t.ulp is None else str(t.ulp)
        numbers = (f"{t.count} of {t.size}", f"{t.max_abs:.3g}", f"{t.relative:.3g}", ulp)
    return t.name, t.verdict, *numbers, *sides


def _storage(found: Difference) -> str:
    """In what the storage of tensors that are equal differs."""
    pairs = [(a, b) for t in found.tensors if t.verdict == "equal" for a, b in [t.stored] if a and b]
    layouts, dtypes = sum(a.layout != b.layout for a, b in pairs), sum(a.dtype != b.dtype for a, b in pairs)
    ways = [f"{n} in another {what}" for n, what in ((layouts, "layout"), (dtypes, "dtype")) if n]
    return f" (stored: {', '.join(ways)})" if ways else ""


def _shown(value: object) -> str:
    if value is None:
        return "not stated"
    return json.dumps(value) if isinstance(value, dict) else str(value)
