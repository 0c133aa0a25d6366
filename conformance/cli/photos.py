"""The photographs that a command names: files, folders, patterns, standard input."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weights.params import Checkpoint, Preprocessing


@dataclass(frozen=True, slots=True)
class Photo:
    """One photograph.

    Attributes:
        name: what people read.
        source: the file, or the bytes of one.
    """

    name: str
    source: Path | bytes


def photographs(named: Iterable[Path]) -> tuple[Photo, ...]:
    """The photographs in the order in which they are named, each once, by whatever names and links.

    Args:
        named: files; folders, of which those photographs are taken that stand in them and not in folders further down;
            patterns such as ``**/*.jpg``, for shells that leave them as they are; and ``-``, standard input.

    Raises:
        InputError: a folder without photographs, a pattern that nothing matches, or too much on standard input.
    """
    found: dict[str, Photo] = {}
    for path in named:
        if str(path) == "-":
            found.setdefault("-", Photo("standard input", _standard_input()))
        else:
            for file in _files(path):
                found.setdefault(os.path.realpath(file), Photo(str(file), file))
    return tuple(found.values())


def in_folder(folder: Path) -> list[Path]:
    """The photographs that stand in a folder, by their suffixes, in the order of their names.

    Raises:
        InputError: there are none.
    """
    from weights import InputError
    from weights.images.decode import SUFFIXES

    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise InputError(f"{folder}: has no photographs ({', '.join(SUFFIXES)})")
    return found


def classifying(file: Path, found: "Checkpoint") -> "Preprocessing":
    """How images are prepared for a checkpoint that classifies photographs.

    Raises:
        InputError: it has no classifier, takes no photographs, or its file does not say how images are prepared or
            which of ImageNet's orders its classes have.
    """
    from weights import InputError
    from weights.images import takes_photographs

    info = found.info
    if not found.spec.classes:
        raise InputError(f"{file}: has no classifier, so it cannot classify")
    if info.preprocessing is None:
        raise InputError(f"{file}: does not say how images are prepared; state --preprocessing (caffe, imagenet, ...)")
    if found.spec.classes == 1000 and not info.labels and not info.class_names:
        raise InputError(f"{file}: does not say which classes it counts; state --labels or --class-names")
    takes_photographs(found.spec, "a photograph")
    return info.preprocessing


def _files(path: Path) -> Iterator[Path]:
    from weights import InputError

    if path.is_dir():
        yield from in_folder(path)
    elif glob.has_magic(str(path)) and not path.exists():
        matches = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207, which takes absolute ones
        matches = [match for match in matches if not match.is_dir()]
        if not matches:
            raise InputError(f"{path}: there is no such file, and none that matches it as a pattern")
        yield from matches
    else:
        yield path


def _standard_input() -> bytes:
    from weights import InputError, limits

    try:
        data = sys.stdin.buffer.read(limits.STREAM + 1) if sys.stdin else b""
    except OSError as error:
        raise InputError(f"standard input: cannot be read: {(error.strerror or str(error)).lower()}") from None
    if not data:
        raise InputError("standard input: is closed or has nothing")
    if len(data) > limits.STREAM:
        raise InputError(f"standard input: has more than {limits.STREAM:,} bytes; name a file")
    return data
