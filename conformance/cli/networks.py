"""The command about networks: models, and the tables of the paper."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase

import click

from conformance.cli import options
from conformance.cli.options import FRAMEWORKS


@click.command()
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--paper", is_flag=True, help="Print the tables of the paper, with our counts beside its figures.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown.")
def models(patterns: tuple[str, ...], paper: bool, as_json: bool, as_markdown: bool) -> None:
    """List the networks, their costs at 224x224, and the frameworks that senet compare knows.

    PATTERN chooses some: senet models 'se-*'. With --paper, the tables of the article on Squeeze-and-Excitation
    networks, and PATTERN chooses tables: senet models --paper gate position.
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
    from conformance.report.table import aligned, markdown
    from weights.networks.models import MODELS

    names = _chosen(list(MODELS), patterns, "network")
    found = [network for network in describe.models() if network.name in names]
    if as_json:
        click.echo(json.dumps([asdict(network) for network in found], indent=1))
        return
    header = ("family", "name", "parameters", "GMACs", "classes", "SE reduction", "blobs", "Caffe file")
    families = list(dict.fromkeys(MODELS[network.name].family for network in found))
    lines = [
        (
            family if i == 0 else "",
            network.name,
            f"{network.parameters:,}",
            f"{network.gmacs:.3f}",
            str(network.classes),
            str(network.reduction or "none"),
            str(network.blobs),
            f"{network.stored * 4 / 1e6:.1f} MB",
        )
        for family in families
        for i, network in enumerate(n for n in found if MODELS[n.name].family == family)
    ]
    if as_markdown:
        click.echo(markdown(header, lines))
        return
    click.echo(aligned(header, lines, options.terminal_width()))
    others = ", ".join(name for name in ADAPTERS if name not in FRAMEWORKS)
    click.echo(f"\nframeworks to compare: {', '.join(FRAMEWORKS)}; with --frameworks also")
    click.echo(click.wrap_text(f"{others}, or all", options.terminal_width() or 100))


def _print_paper(patterns: Sequence[str], as_json: bool, as_markdown: bool) -> None:
    from conformance.report import paper_tables
    from conformance.report.paper import tables

    rows = list(tables())
    names = _chosen(list(dict.fromkeys(row.table for row in rows)), patterns, "table")
    rows = [row for row in rows if row.table in names]
    if as_json:
        click.echo(json.dumps(paper_tables.to_dict(rows), indent=1))
    elif as_markdown:
        click.echo(paper_tables.to_markdown(rows))
    else:
        click.echo(paper_tables.to_text(rows, options.terminal_width()))


def _chosen(names: Sequence[str], patterns: Sequence[str], what: str) -> list[str]:
    """The names that fit one of the patterns; all, without patterns.

    Raises:
        InputError: a pattern that fits none.
    """
    from weights import InputError

    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(f"no {what} is named {pattern!r}; there are {', '.join(names)}")
    return [name for name in names if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]
