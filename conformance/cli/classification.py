"""The command that names what a photograph shows."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.cli import options
from conformance.cli.options import FILE
from conformance.cli.outputs import Command
from conformance.cli.printing import say, shown
from conformance.cli.progress import Bars

if TYPE_CHECKING:
    from weights.params import Labels


@click.command(cls=Command)
@click.argument("photo", type=FILE)
@click.option("--weights", "file", type=FILE, required=True, help="The checkpoint, of any format.")
@options.given
@options.dialect
@options.labels
@options.max_pixels
@click.option(
    "--framework",
    default="numpy",
    show_default=True,
    metavar="NAME",
    help="The framework that computes: one that senet models lists, or your own adapter as package.module.",
)
@options.timeout
@options.memory
@options.device
@click.option("--top", "count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many classes.")
def classify(
    photo: Path,
    file: Path,
    framework: str,
    count: int,
    timeout: float,
    memory: float | None,
    device: str,
    given: options.Given,
    dialect: str | None,
    labels: "Labels | None",
    max_pixels: int | None,
) -> None:
    """Say what a photograph shows.

    Prints the most probable classes, by the preprocessing and the label order that the checkpoint states or that the
    options give. Nothing is guessed: what is not known is asked for.
    """
    from conformance.judge.compare import Conditions, logits
    from conformance.report.run import top
    from conformance.report.table import aligned
    from weights import InputError
    from weights.images import prepare, takes_photographs

    options.check_adapters([framework])
    bars = Bars()
    with bars.busy(f"Reading {file.name}"):
        found = options.checkpoint(file, given, dialect=dialect, labels=labels)
    spec, params = found
    info = found.info
    if not spec.classes:
        raise InputError(f"{file}: has no classifier, so it cannot classify")
    if info.preprocessing is None:
        raise InputError(f"{file}: does not say how images are prepared; state --preprocessing (caffe, imagenet, ...)")
    if spec.classes == 1000 and not info.labels and not info.class_names:
        raise InputError(f"{file}: does not say which classes it counts; state --labels or --class-names")
    options.say_what_is_assumed(file, found)
    takes_photographs(spec, photo)
    x = prepare(photo, info.preprocessing, max_pixels=max_pixels)
    with bars.busy(f"Classifying with {framework}"):
        conditions = Conditions(timeout=timeout, memory=memory, device=device)
        best = top(logits(framework, spec, params, x, conditions), info.labels, count, info.class_names)
    named = bool(best[0].name)
    header = ("probability", "index", "class")[: 3 if named else 2]
    lines = [(f"{c.probability:.4f}", str(c.index), c.name)[: len(header)] for c in best]
    say(aligned(header, lines, options.terminal_width()))
    if not named:
        say(
            f"The label order of {shown(file)} is not known: indices only, no names; --class-names FILE gives them.",
            err=True,
        )
