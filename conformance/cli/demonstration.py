"""The command for ``make demo``: a Caffe checkpoint, converted, loaded everywhere, and compared."""

import shlex
from pathlib import Path

import click

from conformance.cli import options
from conformance.cli.options import FILE, FRAMEWORKS
from conformance.cli.outputs import Command, apart, deliver
from conformance.cli.printing import runnable, say, shown
from conformance.cli.progress import Bars

PHOTO = Path(__file__).with_name("balloon.jpg")
"""A picture that benchmarks/balloon.py draws."""

SEED = 1001  # of the weights, where there is no checkpoint
DTYPES = ("float64", "float32")


@click.command(cls=Command)
@click.option("--caffemodel", type=FILE, help="A real checkpoint. Default: one with seeded weights is written.")
@click.option("--output", type=FILE, default=Path("demo"), show_default=True, help="Folder for all that is written.")
@options.frameworks
@options.timeout
@options.memory
def demo(
    caffemodel: Path | None, output: Path, frameworks: tuple[str, ...], timeout: float, memory: float | None
) -> None:
    """Do the whole job on one network.

    Converts a Caffe checkpoint, runs it in all frameworks on a photograph, and writes a report.
    """
    import weights
    from conformance.judge.compare import Conditions
    from conformance.recording import Asked, Checkpoint, record
    from conformance.report.page import to_html
    from conformance.report.table import HEADER, SPARE, rows
    from weights.storage.whole import replacing

    options.check_adapters(frameworks)
    bars, note = Bars(), "" if caffemodel else "seeded weights"
    if note:
        say("No checkpoint given: writing a Caffe pair of SE-ResNet-50 with seeded weights. Its classes mean nothing.")
    _make_folder(output)
    photo, report = output / PHOTO.name, output / "report.html"
    if caffemodel:
        written = (photo, report, _canonical(output, caffemodel))
        apart([(path, "what is written") for path in written], [(caffemodel, "the source itself")])
    with replacing(photo) as file:
        file.write(PHOTO.read_bytes())
    caffemodel = caffemodel or _seeded(output, bars)
    canonical = _canonical(output, caffemodel)
    with bars.busy(f"Converting {caffemodel.name}"), options.warnings_in_a_line():
        weights.write(canonical, weights.read(caffemodel))
        spec, params = weights.read(canonical)
    say(f"Converted {shown(canonical)}: {spec.name}")
    dtypes = ",".join(DTYPES)
    again = ("senet", "compare", str(canonical), "--image", str(photo), "--dtype", dtypes, "--report", str(report))
    source = Checkpoint(file=canonical, spec=spec, params=params, photo=photo, note=note)
    conditions = Conditions(timeout=timeout, memory=memory)
    asked = Asked(adapters=frameworks or FRAMEWORKS, dtypes=DTYPES, command=shlex.join(again), conditions=conditions)
    run = record(source, asked, bars)
    deliver(report, to_html(run))
    say("")
    options.say_table(HEADER, rows(run), spare=SPARE)
    say("")
    say(f"Report    {shown(report)}: a heat map of every tap, error along the depth, classes, what was run")
    say(f"Next      {runnable('inspect', str(canonical))}")
    say(f"          {runnable('classify', str(photo), '--weights', str(canonical))}")
    if note:
        say(f"          {runnable('demo')} --caffemodel path/to/SE-ResNet-50.caffemodel, with a real checkpoint")
    options.exit_by(run, frameworks)


def _canonical(folder: Path, caffemodel: Path) -> Path:
    """Where the converted checkpoint goes."""
    return folder / f"{caffemodel.name.split('.')[0]}.safetensors"


def _seeded(folder: Path, bars: Bars) -> Path:
    """Writes a genuine Caffe pair of SE-ResNet-50 with seeded weights."""
    import weights
    from conformance.cases import seeded

    path, spec = folder / "SE-ResNet-50.caffemodel", weights.MODELS["se-resnet-50"]
    with bars.busy(f"Writing {path.name}"):
        weights.write(path, spec, seeded(spec, SEED))
    say(f"Wrote     {shown(path)} and {path.with_suffix('.prototxt').name}, as Caffe would have")
    return path


def _make_folder(path: Path) -> None:
    from weights import InputError
    from weights.storage.whole import reason

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "it is a file" if isinstance(error, FileExistsError | NotADirectoryError) else reason(error, path)
        raise InputError(f"{path}: cannot be made a folder: {what}") from error
