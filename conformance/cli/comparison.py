"""The commands that judge: compare, and freeze, which keeps what a network answers for a comparison years later."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.cli import options
from conformance.cli.options import FILE, FRAMEWORKS
from conformance.cli.progress import Bars

if TYPE_CHECKING:
    from conformance.recording import Source
    from conformance.report.run import Run
    from weights.params import Checkpoint, Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is compared, and how."""

    frameworks: tuple[str, ...]
    dtypes: tuple[str, ...]
    size: tuple[int, int] | None
    image: Path | None
    max_pixels: int | None
    gradients: bool
    against: Path | None
    in_process: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where the result goes, beside the table on stdout."""

    report: Path | None
    result: Path | None
    junit: Path | None
    markdown: bool


@click.command()
@click.argument("file", type=FILE, required=False)
@options.given
@options.dialect
@options.labels
@options.frameworks
@options.dtypes
@options.size
@click.option("--image", type=FILE, help="A photograph to run on. Default: seeded noise.")
@options.max_pixels
@click.option("--gradients", is_flag=True, help="Also compare gradients (always done with --against).")
@click.option("--against", type=FILE, metavar="GOLDEN", help="Compare with a file that senet freeze wrote.")
@click.option("--report", type=FILE, metavar="FILE.html", help="Write a self-contained page.")
@click.option("--json", "result", type=FILE, metavar="FILE.json", help="Write the numbers of every tap.")
@click.option("--junit", type=FILE, metavar="FILE.xml", help="Write a test case for every tap.")
@click.option("--in-process", is_flag=True, help="Run all in this process, for a debugger; else each in its own.")
@click.option("--markdown", is_flag=True, help="Print a report in Markdown.")
@options.grouped(question=Question, outputs=Outputs)
def compare(
    file: Path | None,
    given: options.Given,
    dialect: str | None,
    labels: "Labels | None",
    question: Question,
    outputs: Outputs,
) -> None:
    """Compare the frameworks layer by layer.

    Runs the checkpoint FILE in each and compares every layer with the NumPy reference. Exits with 0 if all agree
    within the bounds (1e-13 of a layer's largest value in float64, 1e-5 in float32, 1e-1 in bfloat16, 2e-2 in
    float16), with 1 if one does not. With --gradients, of the input and every parameter, the bounds are 1e-12 in
    float64 and 1e-2 in float32.

    With --against, FILE holds the weights that were frozen, and may be left out if they were seeded.
    """
    from conformance.recording import Asked, record

    options.check_adapters(question.frameworks)
    bars = Bars()
    asked = Asked(
        adapters=question.frameworks or FRAMEWORKS,
        dtypes=question.dtypes,
        command=shlex.join(["senet", *sys.argv[1:]]),
        isolated=not question.in_process,
    )
    found = None
    if file is not None:
        with bars.busy(f"Reading {file.name}"):
            found = options.checkpoint(file, given, dialect=dialect, labels=labels)
        options.say_what_is_assumed(file, found)
    run = record(_source(file, found, question), asked, bars)
    _write(run, outputs)
    options.exit_by(run, question.frameworks)


def _source(file: Path | None, found: "Checkpoint | None", question: Question) -> "Source":
    from conformance import recording
    from weights import InputError

    if question.against and (question.image or question.size):
        raise InputError(f"--against: {question.against} has an input of its own; leave out --image and --size")
    if file is None or found is None:
        if question.against is None:
            raise click.UsageError("Missing argument 'FILE', or --against", click.get_current_context())
        return recording.Golden(golden=question.against)
    spec, params = found
    if question.against:
        return recording.Golden(golden=question.against, file=file, params=params)
    return recording.Checkpoint(
        file=file,
        spec=spec,
        params=params,
        photo=question.image,
        max_pixels=question.max_pixels,
        size=question.size,
        gradients=question.gradients,
    )


def _write(run: "Run", outputs: Outputs) -> None:
    from conformance.report.junit import to_junit
    from conformance.report.markdown import to_markdown
    from conformance.report.page import to_html
    from conformance.report.run import to_json
    from conformance.report.table import HEADER, aligned, rows
    from weights.storage.whole import replacing

    for path, text in ((outputs.result, to_json), (outputs.junit, to_junit), (outputs.report, to_html)):
        if path:
            with replacing(path) as out:
                out.write(text(run).encode())
    click.echo(to_markdown(run) if outputs.markdown else aligned(HEADER, rows(run), options.terminal_width()))


@click.command()
@click.argument("source", metavar="MODEL|FILE")
@click.argument("golden", type=FILE)
@options.given
@options.dialect
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of a model's weights and of the input."
)
@options.size
def freeze(
    source: str,
    golden: Path,
    given: options.Given,
    dialect: str | None,
    seed: int,
    size: tuple[int, int] | None,
) -> None:
    """Keep what a network answers, for years.

    Writes the input, the logits, and samples of every layer's output and of every gradient, with checksums of the
    weights, to a small .safetensors file: senet compare --against judges any framework by it. MODEL is a network's
    name, whose weights are drawn from the seed.
    """
    from conformance.golden.file import freeze as keep

    with Bars().busy(f"Freezing {source}"), options.warnings_in_a_line():
        kept = keep(source, golden, seed=seed, size=size, dialect=dialect, **options.reading(given))
    n, _, h, w = kept.x.shape
    click.echo(
        f"{golden}: {kept.spec.name} at {n}x3x{h}x{w}, samples of {len(kept.taps)} taps and {len(kept.gradients)} "
        f"gradients, {golden.stat().st_size / 1e6:.2f} MB"
    )
