"""The entries as a page, docs/divergences.md."""

from .entries import DIVERGENCES


def page() -> str:
    """All entries as Markdown."""
    lines = [
        "# Where Caffe and the frameworks differ",
        "",
        "Made by `make docs` from `tests/divergences/entries.py`. Each entry is demonstrated, with the effect that it",
        "states, by the function of its name in the files beside that one.",
    ]
    for d in DIVERGENCES:
        lines += ["", f"## {d.name}", "", d.what, ""]
        lines += [f"- {who}: {rule}".replace("*", r"\*") for who, rule in d.who.items()]
        lines += ["", f"Effect: {d.effect:.3g}, {d.of}.", "", f"Here: {d.handled}"]
    return "\n".join([*lines, ""])
