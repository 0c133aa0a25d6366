"""The commands that judge: compare, and freeze, which keeps what a network answers for a comparison years later."""

import re
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.cli import options
from conformance.cli.options import FILE, FRAMEWORKS
from conformance.cli.outputs import CHECKPOINT, OUTPUT, Command, deliver, is_stdout
from conformance.cli.printing import say, shown
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
    batch: int
    image: Path | None
    max_pixels: int | None
    gradients: bool
    training: bool
    against: Path | None
    in_process: bool
    timeout: float
    memory: float | None
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Demanded:
    """What is demanded of a framework beyond agreement."""

    allow_dtype: tuple[str, ...]
    require: tuple[str, ...]
    require_taps: int | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where the result goes, beside the table: on stdout, or on stderr where stdout has one of these."""

    report: Path | None
    result: Path | None
    junit: Path | None
    markdown: bool


def _required(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    from conformance.judge.measure import REQUIRABLE

    return options.some_of(REQUIRABLE, value)


def _taps(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "all":
        return "all" if value else None
    if not re.fullmatch("[1-9][0-9]{0,8}", value):
        raise click.BadParameter(f"{value!r} is not a number of layers; write one, or all")
    return int(value)


@click.command(cls=Command)
@click.argument("file", type=CHECKPOINT, required=False)
@options.given
@options.dialect
@options.labels
@options.frameworks
@options.dtypes
@options.size
@click.option("--batch", type=click.IntRange(1, 1024), default=2, show_default=True, help="Images of each size.")
@click.option("--image", type=FILE, help="A photograph to run on, beside noise. Default: seeded noise alone.")
@options.max_pixels
@click.option("--gradients", is_flag=True, help="Also compare gradients (always done with --against).")
@click.option("--training", is_flag=True, help="Also compare gradients and ten steps in training mode.")
@options.allow_dtype
@click.option(
    "--require",
    callback=_required,
    default="",
    metavar="WHAT,...",
    help="What a framework has to answer at all: taps, gradients, training.",
)
@click.option("--require-taps", callback=_taps, metavar="N|all", help="How many layers a framework has to show.")
@click.option("--against", type=FILE, metavar="GOLDEN", help="Compare with a file that senet freeze wrote.")
@click.option("--report", type=OUTPUT, metavar="FILE.html", help="Write a self-contained page; -: print it.")
@click.option(
    "--json", "result", type=OUTPUT, metavar="FILE.json", help="Write the numbers of every tap; -: print them."
)
@click.option("--junit", type=OUTPUT, metavar="FILE.xml", help="Write a test case for every tap; -: print them.")
@options.timeout
@options.memory
@options.device
@click.option("--in-process", is_flag=True, help="Run all in this process, for a debugger; else each in its own.")
@click.option("--markdown", is_flag=True, help="Print a report in Markdown.")
@options.grouped(question=Question, demanded=Demanded, outputs=Outputs)
def compare(
    file: Path | None,
    given: options.Given,
    dialect: str | None,
    labels: "Labels | None",
    question: Question,
    demanded: Demanded,
    outputs: Outputs,
) -> None:
    """Compare the frameworks layer by layer.

    Runs the checkpoint FILE, or trained weights by name (senet fetch), in each, on two images of the size that it
    expects and on two of a smaller size that is not square, and compares every layer with the NumPy reference: from the
    image on (within 1e-13 of a layer's largest value in float64, 1e-5 in float32, 2e-2 in tf32, 1e-1 in bfloat16, 2e-2
    in float16), and by itself, from the inputs that the framework itself showed, within what rounding can explain.
    Exits with 0 if all agree, with 1 if not.
    With --gradients, of the input and every parameter, the bounds are 1e-12 in float64 and 1e-4 in float32.

    With --against, FILE holds the weights that were frozen, and may be left out if they were seeded.
    """
    from conformance.judge.compare import Conditions
    from conformance.judge.measure import demanding
    from conformance.recording import Asked, record

    options.check_adapters(question.frameworks)
    bars = Bars()
    asked = Asked(
        adapters=question.frameworks or FRAMEWORKS,
        dtypes=question.dtypes,
        command=shlex.join(["senet", *sys.argv[1:]]),
        conditions=Conditions(
            isolated=not question.in_process,
            timeout=question.timeout,
            memory=question.memory,
            device=question.device,
            demands=demanding(demanded.require, demanded.require_taps, demanded.allow_dtype),
        ),
    )
    found = None
    if file is not None:
        with bars.busy(f"Reading {file.name}"):
            found = options.checkpoint(file, given, dialect=dialect, labels=labels)
        options.say_what_is_assumed(file, found)
    run = record(_source(file, found, question, demanded), asked, bars)
    _write(run, outputs)
    options.exit_by(run, question.frameworks, question.device)


def _source(file: Path | None, found: "Checkpoint | None", question: Question, demanded: Demanded) -> "Source":
    from conformance import recording
    from weights import InputError

    training = question.training or "training" in demanded.require
    if question.against and (question.image or question.size):
        raise InputError(f"--against: {question.against} has an input of its own; leave out --image and --size")
    if question.against and training:
        raise InputError(f"--against: {question.against} has nothing of training; leave out --training")
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
        batch=question.batch,
        gradients=question.gradients or "gradients" in demanded.require,
        training=training,
    )


def _write(run: "Run", outputs: Outputs) -> None:
    from conformance.report.junit import to_junit
    from conformance.report.markdown import to_markdown
    from conformance.report.page import to_html
    from conformance.report.run import to_json
    from conformance.report.table import HEADER, SPARE, rows

    for path, text in ((outputs.result, to_json), (outputs.junit, to_junit), (outputs.report, to_html)):
        if path:
            deliver(path, text(run))
    err = any(map(is_stdout, (outputs.result, outputs.junit, outputs.report)))
    if outputs.markdown:
        say(to_markdown(run), err=err)
    else:
        options.say_table(HEADER, rows(run), spare=SPARE, err=err)


@click.command(cls=Command)
@click.argument("source", metavar="MODEL|FILE", shell_complete=options.complete_networks)
@click.argument("golden", type=OUTPUT)
@options.given
@options.dialect
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of a model's weights and of the input."
)
@options.size
@click.option("--batch", type=click.IntRange(1, 1024), default=2, show_default=True, help="Images.")
@options.timeout
@options.memory
def freeze(
    source: str,
    golden: Path,
    given: options.Given,
    dialect: str | None,
    seed: int,
    size: tuple[int, int] | None,
    batch: int,
    timeout: float,
    memory: float | None,
) -> None:
    """Keep what a network answers, for years.

    Writes the input, the logits, and samples of every layer's output and of every gradient, with checksums of the
    weights, to a small .safetensors file: senet compare --against judges any framework by it. MODEL is a network's
    name, whose weights are drawn from the seed.
    """
    from conformance.golden.file import freeze as keep
    from conformance.golden.file import is_name
    from conformance.judge.compare import Conditions
    from weights import InputError

    stated = {**asdict(given), "dialect": dialect}
    if is_name(source) and (option := next((name for name, value in stated.items() if value is not None), None)):
        raise InputError(
            f"--{option.replace('_', '-')}: is for a file, and {source} is a network, whose weights are drawn; leave "
            f"it out, or write a file first: senet init {source},FIELD=VALUE FILE.safetensors"
        )

    def reading(file: Path) -> "Checkpoint":
        found = options.checkpoint(file, given, dialect=dialect)
        options.say_what_is_assumed(file, found)
        return found

    conditions = Conditions(timeout=timeout, memory=memory)
    with Bars().busy(f"Freezing {source}"), options.warnings_in_a_line():
        kept = keep(source, golden, seed=seed, size=size, batch=batch, conditions=conditions, reading=reading)
    size_of_input = "x".join(map(str, kept.x.shape))
    say(
        f"{shown(golden)}: {kept.spec.name} at {size_of_input}, samples of {len(kept.taps)} taps and "
        f"{len(kept.gradients)} gradients, {golden.stat().st_size / 1e6:.2f} MB",
        err=is_stdout(golden),
    )
