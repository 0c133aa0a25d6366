"""The command about networks: models, and the tables of the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import click

from conformance.cli import options
from conformance.cli.options import FRAMEWORKS
from conformance.cli.outputs import Command
from conformance.cli.printing import say, say_json

if TYPE_CHECKING:
    from conformance.report.describe import Model

MANY = 12
"""So many names, and more, are not all told in a message."""


@click.command(cls=Command)
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...", shell_complete=options.complete_networks)
@click.option("--paper", is_flag=True, help="Print the tables of the paper, with our counts beside its figures.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown.")
def models(patterns: tuple[str, ...], paper: bool, as_json: bool, as_markdown: bool) -> None:
    """List the networks by family, their costs, and the frameworks that senet compare knows.

    PATTERN chooses some networks, or families: senet models 'se-*' inception. With --paper, the tables of the article
    on Squeeze-and-Excitation networks, and PATTERN chooses tables: senet models --paper gate position.
    """
    from weights import InputError

    if as_json and as_markdown:
        raise InputError("--json and --markdown: take one of them")
    if paper:
        _print_paper(patterns, as_json, as_markdown)
    else:
        _print_models(patterns, as_json, as_markdown)


def _print_models(patterns: Sequence[str], as_json: bool, as_markdown: bool) -> None:
    from conformance.adapters import ADAPTERS
    from conformance.report import describe
    from conformance.report.table import markdown

    every = list(describe.models())
    families = {network.name: network.family for network in every}
    names = _chosen(list(families), patterns, "network", families)
    found = [network for network in every if network.name in names]
    if as_json:
        say_json([asdict(network) for network in found])
        return
    header = ("name", "parameters", "GMACs", "at", "SE r", "Caffe MB")
    lines: list[tuple[str, ...]] = []
    for family in dict.fromkeys(network.family for network in found):
        # Indented, so that a family's networks stand under its name.
        lines.append((family, *[""] * (len(header) - 1)))
        lines += [(f"  {network.name}", *_costs(network)) for network in found if network.family == family]
    if as_markdown:
        rows = [(network.family, network.name, *_costs(network)) for network in found]
        say(markdown(("family", *header), rows))
        return
    options.say_table(header, lines, spare=("Caffe MB", "at"))
    others = ", ".join(name for name in ADAPTERS if name not in FRAMEWORKS)
    say(f"\nframeworks to compare: {', '.join(FRAMEWORKS)}; with --frameworks also")
    say(click.wrap_text(f"{others}, or all", options.terminal_width() or 100))


def _costs(network: "Model") -> tuple[str, ...]:
    return (
        f"{network.parameters:,}",
        f"{network.gmacs:.3f}",
        "x".join(map(str, network.size)),
        str(network.reduction or "none"),
        f"{network.stored * 4 / 1e6:.1f}",
    )


def _print_paper(patterns: Sequence[str], as_json: bool, as_markdown: bool) -> None:
    from conformance.report import paper_tables
    from conformance.report.paper import tables

    rows = list(tables())
    names = _chosen(list(dict.fromkeys(row.table for row in rows)), patterns, "table")
    rows = [row for row in rows if row.table in names]
    if as_json:
        say_json(paper_tables.to_dict(rows))
    elif as_markdown:
        say(paper_tables.to_markdown(rows))
    else:
        say(paper_tables.to_text(rows, options.terminal_width()))


def _chosen(
    names: Sequence[str], patterns: Sequence[str], what: str, groups: Mapping[str, str] | None = None
) -> list[str]:
    """The names that fit one of the patterns, or whose groups do; all, without patterns.

    Raises:
        InputError: a pattern that fits none.
    """
    from weights import InputError

    def fits(name: str, pattern: str) -> bool:
        return any(fnmatchcase(of.lower(), pattern.lower()) for of in (name, (groups or {}).get(name, "")))

    for pattern in patterns:
        if not any(fits(name, pattern) for name in names):
            near = get_close_matches(pattern.lower(), names, 3, 0.5) if len(names) >= MANY else names
            there_are = f"; there {'are' if len(near) > 1 else 'is'} {', '.join(near)}" if near else ""
            all_of_them = f"; senet models lists all {len(names)}" if len(names) >= MANY else ""
            raise InputError(f"no {what} is named {pattern!r}{there_are}{all_of_them}")
    return [name for name in names if not patterns or any(fits(name, pattern) for pattern in patterns)]
