"""The command that names what a photograph shows."""

from pathlib import Path

import click

from conformance.cli import options
from conformance.cli.options import FILE
from conformance.cli.progress import Bars


@click.command()
@click.argument("photo", type=FILE)
@click.option("--weights", "file", type=FILE, required=True, help="The checkpoint, of any format.")
@options.prototxt
@click.option(
    "--framework",
    default="numpy",
    show_default=True,
    metavar="NAME",
    help="The framework that computes: one that senet models lists, or your own adapter as package.module.",
)
@click.option("--top", "count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many classes.")
def classify(photo: Path, file: Path, prototxt: Path | None, framework: str, count: int) -> None:
    """Say what a photograph shows.

    Prints the most probable classes, by the checkpoint's own preprocessing and label order.
    """
    from conformance.judge.compare import logits
    from conformance.report.run import top
    from conformance.report.table import aligned
    from weights import InputError
    from weights.images import prepare

    options.check_adapters([framework])
    bars = Bars()
    with bars.busy(f"Reading {file.name}"):
        spec, params = options.checkpoint(file, prototxt)
    info = params.info
    if not spec.classes:
        raise InputError(f"{file}: has no classifier, so it cannot classify")
    if info.preprocessing is None:
        raise InputError(f"{file}: the preprocessing it expects is not known; convert it from a file that states it")
    x = prepare(photo, info.preprocessing)
    with bars.busy(f"Classifying with {framework}"):
        found = top(logits(framework, spec, params, x), info.labels, count)
    named = bool(found[0].name)
    header = ("probability", "index", "class")[: 3 if named else 2]
    lines = [(f"{c.probability:.4f}", str(c.index), c.name)[: len(header)] for c in found]
    click.echo(aligned(header, lines, options.terminal_width()))
    if not named:
        click.echo(f"The label order of {file} is not known: indices only, no names.", err=True)
    elif info.assumed:
        click.echo(f"Assumed, not stated by {file}: {', '.join(info.assumed)}.", err=True)
