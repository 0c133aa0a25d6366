"""A run as a report in Markdown, for pull requests and issues."""

from collections.abc import Iterator

from conformance.adapters import title_of
from conformance.report.run import Run
from conformance.report.table import HEADER, markdown, rows
from conformance.report.titles import error_in_words


def to_markdown(run: Run) -> str:
    """The agreement table, the errors where each framework first disagrees, and how to run it again."""
    checkpoint = run.checkpoint
    facts = (
        ("checkpoint", f"`{checkpoint.file}`" + (f", {checkpoint.note}" if checkpoint.note else "")),
        ("sha256", f"`{checkpoint.sha256}`" if checkpoint.sha256 else "not known"),
        ("input", f"{run.input.what}, {' and '.join('x'.join(map(str, shape)) for shape in run.input.shapes)}"),
        ("versions", ", ".join(f"{name} {found}" for name, found in run.machine.versions.items())),
        ("again", f"`{run.command}`"),
    )
    title = f"# {run.network.name}: {'all agree' if run.agreed else 'they do not all agree'}"
    lines = [title, "", markdown(HEADER, rows(run)), ""]
    for title, around in _divergences(run):
        lines += [f"## {title}", "", markdown(("tap", "error"), around), ""]
    return "\n".join([*lines, markdown(("", ""), facts)]) + "\n"


def _divergences(run: Run) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """For each framework that disagrees, a title and the errors around the first tensor above the bound."""
    for comparison in run.comparisons:
        for name, found in comparison.results.items():
            if first := found.first_divergent:
                errors = list(found.errors.items())
                at = list(found.errors).index(first) if first in found.errors else 0
                title = f"{title_of(name)}, {comparison.what} in {found.dtype}: first at {first}"
                yield title, [(f"`{tap}`", error_in_words(error)) for tap, error in errors[max(at - 2, 0) : at + 4]]
