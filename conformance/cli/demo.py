"""The whole job on one network, for ``make demo``: a Caffe checkpoint, converted, loaded everywhere, and compared."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import weights
from conformance.cases import seeded
from conformance.progress import busy
from conformance.report.run import record
from conformance.report.table import HEADER, aligned, rows
from conformance.report.table import write as write_report
from weights.storage.whole import reason, replacing

PHOTO = Path(__file__).with_name("balloon.jpg")
"""A picture that benchmarks/balloon.py draws."""

SEED = 1001  # of the weights, where there is no checkpoint


def demo(
    caffemodel: Path | None, output: Path, frameworks: tuple[str, ...], say: Callable[[str], None]
) -> dict[str, Any]:
    """Converts a Caffe checkpoint, compares the frameworks on a photograph, and writes the report.

    Args:
        caffemodel: a real checkpoint; without one, a genuine Caffe pair of SE-ResNet-50 with seeded weights is written.
        output: folder of everything that is written.
        say: takes each line of what is done.

    Returns:
        The run, as ``conformance.record`` has it.

    Raises:
        InputError: the checkpoint cannot be used, or the folder not written.
    """
    note = ""
    if caffemodel is None:
        note = "seeded weights"
        say("No checkpoint given: writing a Caffe pair of SE-ResNet-50 with seeded weights. Its classes mean nothing.")
    _folder(output)
    photo = output / PHOTO.name
    with replacing(photo) as file:
        file.write(PHOTO.read_bytes())
    if caffemodel is None:
        caffemodel = output / "SE-ResNet-50.caffemodel"
        _seeded(caffemodel)
        say(f"Wrote     {caffemodel} and {caffemodel.with_suffix('.prototxt').name}, as Caffe would have")
    canonical = output / f"{caffemodel.name.split('.')[0]}.safetensors"
    with busy(f"Converting {caffemodel.name}"):
        weights.write(canonical, *weights.read(caffemodel))
        spec, params = weights.read(canonical)
    say(f"Converted {canonical}: {spec.name}")
    options = ("--image", str(photo), "--dtype", "float64,float32", "--report", str(output / "report.html"))
    command = shlex.join(("senet", "compare", str(canonical), *options))
    run = record(
        spec,
        params,
        file=canonical,
        frameworks=frameworks,
        dtypes=("float64", "float32"),
        command=command,
        photo=photo,
        note=note,
    )
    say("")
    say(aligned(HEADER, list(rows(run))))
    report = output / "report.html"
    write_report(report, run)
    say("")
    say(f"Report    {report}: a heat map of every tap, error along the depth, classes, what was run")
    say(f"Next      senet inspect {canonical}")
    say(f"          senet classify {photo} --weights {canonical}")
    if note:
        say("          make demo CAFFEMODEL=path/to/SE-ResNet-50.caffemodel, with a real checkpoint")
    return run


def _seeded(path: Path) -> None:
    spec = weights.MODELS["se-resnet-50"]
    with busy(f"Writing {path.name}"):
        weights.write(path, spec, seeded(spec, SEED))


def _folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "it is a file" if isinstance(error, FileExistsError | NotADirectoryError) else reason(error, path)
        raise weights.InputError(f"{path}: cannot be made a folder: {what}") from error
