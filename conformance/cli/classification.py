"""The command that names what photographs show."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conformance.cli import options
from conformance.cli.options import FILE
from conformance.cli.outputs import CHECKPOINT, OUTPUT, Command, apart, deliver, is_stdout
from conformance.cli.photos import Photo, classifying, photographs
from conformance.cli.printing import message, say, shown
from conformance.cli.progress import Bars

if TYPE_CHECKING:
    from conformance.judge.compare import Conditions
    from conformance.report.run import Prediction
    from weights import Checkpoint
    from weights.params import Info, Labels, Preprocessing


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How photographs are classified, and where that is written."""

    count: int
    batch: int
    max_pixels: int | None
    as_json: Path | None
    as_csv: Path | None
    allow_dtype: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Classified:
    """One photograph and its most probable classes; without any if it could not be read, and then why not."""

    photo: Photo
    classes: "Sequence[Prediction]" = ()
    error: str = ""


@click.command(cls=Command)
@click.argument("photos", nargs=-1, type=FILE, required=True, metavar="PHOTO|FOLDER|PATTERN|-...")
@click.option(
    "--weights",
    "file",
    type=CHECKPOINT,
    required=True,
    help="The checkpoint, of any format, or a name as of senet fetch.",
)
@options.given
@options.dialect
@options.labels
@options.max_pixels
@options.framework
@options.timeout
@options.memory
@options.device
@options.allow_dtype
@click.option("--top", "count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many classes.")
@click.option(
    "--batch", type=click.IntRange(1, 4096), default=16, show_default=True, help="How many photographs at a time."
)
@click.option("--json", "as_json", type=OUTPUT, metavar="FILE.json", help="Write the classes as JSON; -: print it.")
@click.option("--csv", "as_csv", type=OUTPUT, metavar="FILE.csv", help="Write the classes as a table; -: print it.")
@options.grouped(how=How)
def classify(
    photos: tuple[Path, ...],
    file: Path,
    framework: str,
    timeout: float,
    memory: float | None,
    device: str,
    given: options.Given,
    dialect: str | None,
    labels: "Labels | None",
    how: How,
) -> None:
    """Say what photographs show.

    Prints the most probable classes, by the preprocessing and the label order that the checkpoint states or that the
    options give. Nothing is guessed: what is not known is asked for. Of a FOLDER those photographs are taken that stand
    in it, not in folders further down; a PATTERN such as '**/*.jpg' reaches these; - is standard input. Photographs
    that cannot be read are said and skipped. Exit codes: 0 all were classified, 1 some, or in another precision than
    float32, 2 none.
    """
    from conformance.judge.compare import Conditions
    from weights import InputError

    options.check_adapters([framework])
    members = photographs(photos)
    outputs = [(path, option) for path, option in ((how.as_json, "--json"), (how.as_csv, "--csv")) if path]
    apart(outputs, [(member.source, "a photograph") for member in members if isinstance(member.source, Path)])
    with Bars().busy(f"Reading {file.name}"):
        found = options.checkpoint(file, given, dialect=dialect, labels=labels)
    preprocessing = classifying(file, found)
    options.say_what_is_assumed(file, found)
    conditions = Conditions(timeout=timeout, memory=memory, device=device)
    run: dict[str, str] = {"weights": str(file), "network": found.spec.name, "framework": framework}
    classified = list(_classified(members, found, preprocessing, framework, conditions, how, run))
    skipped = [one for one in classified if one.error]
    if len(members) == len(skipped) == 1:
        raise InputError(skipped[0].error)
    for one in skipped:
        say(message(f"senet: skipped: {one.error}"), err=True)
    if len(skipped) == len(members):
        raise InputError(f"none of the {len(members)} photographs can be read")
    wnids = _wnids(found.info)
    rows = [row for one in classified for row in _rows(one, wnids)]
    named = bool(rows[0].name)
    header = ("photo", "probability", "index", "wnid", "class")
    kept = [len(members) > 1, True, True, bool(wnids), named]
    cells = [_kept(row.cells(), kept) for row in rows]
    options.say_table(
        _kept(header, kept), cells, spare=("index", "wnid"), err=any(is_stdout(path) for path, _ in outputs)
    )
    if not named:
        say(
            f"The label order of {shown(file)} is not known: indices only, no names; --class-names FILE gives them.",
            err=True,
        )
    if how.as_json:
        deliver(how.as_json, json.dumps(run | _data(classified, wnids), indent=1))
    if how.as_csv:
        deliver(how.as_csv, _table(rows))
    if skipped or run["dtype"] not in ("float32", *how.allow_dtype):
        click.get_current_context().exit(1)


def _classified(
    members: Sequence[Photo],
    found: "Checkpoint",
    preprocessing: "Preprocessing",
    framework: str,
    conditions: "Conditions",
    how: How,
    run: dict[str, str],
) -> "Iterator[_Classified]":
    """Every photograph with its classes, in order. The framework is started when the first one could be read.

    In which precision it computes is added to the run, and said where it is not float32.
    """
    import numpy as np

    from conformance.evaluate.decoding import decoded
    from conformance.judge.stream import predicting
    from conformance.report.run import top
    from weights import InputError

    info, logits = found.info, None
    batches = [members[i : i + how.batch] for i in range(0, len(members), how.batch)]
    sources = ([member.source for member in batch] for batch in batches)
    with ExitStack() as stack:
        advance = stack.enter_context(Bars().counting(f"Classifying with {framework}", len(members)))
        for batch, images in zip(batches, decoded(sources, preprocessing, how.max_pixels), strict=True):
            read = [image for image in images if not isinstance(image, InputError)]
            scores: Iterator[Any] = iter(())
            if read:
                if logits is None:
                    predictor = predicting(framework, found.spec, found.params, read[0].shape, conditions)
                    logits = stack.enter_context(predictor)
                    run["dtype"] = logits.dtype
                    if logits.dtype != "float32":
                        say(message(f"senet: {framework} computes in {logits.dtype}, asked for float32"), err=True)
                scores = iter(logits(np.stack(read)))
            for member, image in zip(batch, images, strict=True):
                if isinstance(image, InputError):
                    yield _Classified(member, error=_said(member, image))
                else:
                    yield _Classified(member, top(next(scores), info.labels, how.count, info.class_names))
            advance(len(batch))


def _said(photo: Photo, error: Exception) -> str:
    """An error of an image without a name, with that by which it was named."""
    return str(error) if isinstance(photo.source, Path) else str(error).replace("the image", photo.name, 1)


@dataclass(frozen=True, slots=True)
class _Row:
    photo: str
    rank: int
    index: int
    wnid: str
    name: str
    probability: float

    def cells(self) -> tuple[str, ...]:
        """As people read it: the photograph's name stands at its first class."""
        return self.photo if self.rank == 1 else "", f"{self.probability:.4f}", str(self.index), self.wnid, self.name


def _rows(one: _Classified, wnids: Sequence[str]) -> "Iterator[_Row]":
    from weights.errors import in_a_line

    for rank, c in enumerate(one.classes, 1):
        yield _Row(in_a_line(one.photo.name), rank, c.index, wnids[c.index] if wnids else "", c.name, c.probability)


def _kept(cells: Sequence[str], kept: Sequence[bool]) -> tuple[str, ...]:
    return tuple(cell for cell, keep in zip(cells, kept, strict=True) if keep)


def _wnids(info: "Info") -> tuple[str, ...]:
    """The WordNet ids of the classes, () where they are not ImageNet's, or their order is not known."""
    from weights.images import wnids

    return wnids(info.labels) if info.labels and not info.class_names else ()


def _data(classified: Sequence[_Classified], wnids: Sequence[str]) -> dict[str, Any]:
    return {
        "photos": [
            {
                "photo": one.photo.name,
                "classes": [
                    {
                        "index": c.index,
                        "wnid": wnids[c.index] if wnids else None,
                        "name": c.name or None,
                        "probability": c.probability,
                    }
                    for c in one.classes
                ],
            }
            for one in classified
            if not one.error
        ],
        "skipped": [{"photo": one.photo.name, "reason": one.error} for one in classified if one.error],
    }


def _table(rows: Sequence[_Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("photo", "rank", "index", "wnid", "class", "probability"))
    writer.writerows((r.photo, r.rank, r.index, r.wnid, r.name, r.probability) for r in rows)
    return text.getvalue()
