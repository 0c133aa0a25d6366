"""Programs: networks as other runtimes run them, which a framework writes and nothing reads back as a checkpoint.

What travels with a program lies in it as the JSON ``senet.json``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO
from zipfile import ZipFile

from weights.errors import InputError
from weights.files import metadata
from weights.params import Checkpoint

STATEMENT = "senet.json"
"""The name under which a program holds what travels with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One kind of program: what it is called, and whose ``save(model, path)`` writes it."""

    title: str  # for people
    package: str


PROGRAMS: Mapping[str, Program] = {
    ".pt2": Program(title="torch.export", package="se_torch"),
    ".savedmodel": Program(title="SavedModel", package="se_tf"),
    ".tflite": Program(title="LiteRT", package="se_tf"),
    ".stablehlo": Program(title="StableHLO", package="se_jax"),
}
"""By the suffix of their names."""


def suffix_of(path: str | PathLike[str]) -> str | None:
    """The suffix of a program's name; None where it is none."""
    suffix = Path(path).suffix.lower()
    return suffix if suffix in PROGRAMS else None


def check_package(path: str | PathLike[str], package: str) -> None:
    """Whether a program is written by a package.

    Raises:
        InputError: another one writes it.
    """
    program = PROGRAMS[Path(path).suffix.lower()]
    if program.package != package:
        raise InputError(f"{path}: {program.title} programs are written by {program.package}.save, not by {package}")


def statement(checkpoint: Checkpoint) -> str:
    """What travels with a network, as JSON: "spec", "preprocessing", "labels", "class_names", ... as far as known."""
    strings = metadata.encode(checkpoint.spec, checkpoint.info)
    labels = {"labels": checkpoint.info.labels} if checkpoint.info.labels else {}
    data = {k.removeprefix("senet."): json.loads(v) for k, v in strings.items() if k != "senet.labels"}
    return json.dumps(data | labels)


def append_statement(file: IO[bytes], checkpoint: Checkpoint) -> None:
    """Puts the statement behind a flatbuffer, as a zip archive, where files that belong to a LiteRT model lie too.

    ``zipfile.ZipFile(path).read("senet.json")`` returns it; runtimes read what stands before.
    """
    with ZipFile(file, "a") as archive:
        archive.writestr(STATEMENT, statement(checkpoint))
