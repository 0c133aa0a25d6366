"""Photographs and the classes that they show: a folder for each class, or a list."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from weights.errors import InputError
from weights.images import wnids
from weights.images.decode import SUFFIXES
from weights.params import Checkpoint, Labels
from weights.storage.contents import contents


@dataclass(frozen=True, slots=True)
class Labelled:
    """One photograph.

    Attributes:
        name: its path within the folder, with slashes.
        file: its path.
        size: bytes.
        label: the class that it shows, as the network counts them.
    """

    name: str
    file: Path
    size: int
    label: int


@dataclass(frozen=True, slots=True)
class Classes:
    """What a network counts: ``names`` in its order, WordNet ids in ``labels`` order or names of its own, if known."""

    count: int
    names: tuple[str, ...]
    labels: Labels | None

    @classmethod
    def of(cls, found: Checkpoint) -> "Classes":
        """Those of a checkpoint."""
        info = found.info
        if info.class_names or found.spec.classes != 1000:
            return cls(found.spec.classes, info.class_names, None)
        return cls(1000, wnids(info.labels), info.labels)


def in_folders(folder: Path, classes: Classes) -> tuple[Labelled, ...]:
    """The photographs in a folder that has one for each class, named by its WordNet id or as the network calls it.

    Not every class has to be there. Names that begin with a dot, and files that are no photographs by their suffix, are
    passed over.

    Raises:
        InputError: a folder of no class or without photographs, photographs beside the folders, or folders in them.
    """
    place = {name: index for index, name in enumerate(classes.names)}
    if not place:
        raise InputError(
            f"{folder}: the checkpoint does not name its {classes.count} classes: state --class-names, or a --list "
            "with their numbers"
        )
    found: list[Labelled] = []
    for entry in _entries(folder):
        if entry.is_dir():
            if entry.name not in place:
                what = "a WordNet id of ImageNet's 1000 classes" if classes.labels else "a class of the checkpoint"
                raise InputError(f"{entry.path}: is no folder of {what}, as {classes.names[0]} is; move it elsewhere")
            found += _members(Path(entry.path), place[entry.name])
        elif _is_photograph(entry.name):
            raise InputError(f"{entry.path}: is in no folder of a class; move it into one, or name a --list")
    if not found:
        raise InputError(f"{folder}: has no folders of classes, as {classes.names[0]} would be")
    return tuple(found)


def _members(folder: Path, label: int) -> Iterator[Labelled]:
    count = 0
    for entry in _entries(folder):
        if entry.is_dir():
            raise InputError(f"{entry.path}: is a folder in the folder of a class; move it elsewhere")
        if _is_photograph(entry.name):
            count += 1
            yield Labelled(f"{folder.name}/{entry.name}", Path(entry.path), entry.stat().st_size, label)
    if not count:
        raise InputError(f"{folder}: has no photographs ({', '.join(SUFFIXES)})")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {(error.strerror or str(error)).lower()}") from error


def _is_photograph(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def in_list(file: Path, folder: Path, classes: Classes, order: Labels | None) -> tuple[Labelled, ...]:
    """The photographs in a list, a line for each: its path within the folder, and its class after the last space.

    Args:
        file: the list, in UTF-8. A class is its number from 0, or its name as of ``in_folders``; all are names where
            all can be.
        folder: what the paths begin in.
        classes: what the network counts.
        order: that of the numbers, for ImageNet's classes. Numbers of other classes are those of the network.

    Raises:
        InputError: a line that is none, a photograph that is not there or stands there twice, a class that the network
            has not; or the order of the numbers is not known, or stated where there are none.
    """
    try:
        lines = str(contents(file), "utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{file}: is not text in UTF-8") from None
    pairs: list[tuple[int, str, str]] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        name = name.strip()
        if not name:
            raise InputError(f"{file}: line {number} is {line[:100]!r}, expected a path and a class")
        if name in seen:
            raise InputError(f"{file}: {name} stands in line {seen[name]} and in line {number}")
        seen[name] = number
        pairs.append((number, name, label))
    if not pairs:
        raise InputError(f"{file}: has no lines")
    indices = _indices(file, [(number, label) for number, _, label in pairs], classes, order)
    return tuple(
        Labelled(name, folder / name, _size(file, number, folder / name), index)
        for (number, name, _), index in zip(pairs, indices, strict=True)
    )


def _indices(file: Path, labels: Sequence[tuple[int, str]], classes: Classes, order: Labels | None) -> list[int]:
    place = {name: index for index, name in enumerate(classes.names)}
    if all(label in place for _, label in labels):
        if order:
            raise InputError(f"{file}: names its classes; leave out --list-labels")
        return [place[label] for _, label in labels]
    stray = next(((number, label) for number, label in labels if not label.isascii() or not label.isdecimal()), None)
    if stray:
        number, label = stray
        raise InputError(f"{file}: line {number}: {label[:100]!r} is no class of the checkpoint, by name or by number")
    if classes.labels and not order:
        raise InputError(
            f"{file}: says its classes by numbers: state --list-labels, sorted (as in Caffe's val.txt) or devkit (ids "
            "of ILSVRC less 1)"
        )
    if order and not classes.labels:
        raise InputError(f"{file}: the checkpoint has classes of its own; leave out --list-labels")
    numbers = [int(label) if len(label) < 10 else classes.count for _, label in labels]
    for (line, label), number in zip(labels, numbers, strict=True):
        if number >= classes.count:
            hint = "; numbers begin with 0" if number == classes.count and 0 not in numbers else ""
            raise InputError(f"{file}: line {line}: class {label[:20]}, expected 0 to {classes.count - 1}{hint}")
    return [place[name] for name in map(wnids(order).__getitem__, numbers)] if classes.labels else numbers


def _size(file: Path, line: int, photo: Path) -> int:
    try:
        return photo.stat().st_size
    except (OSError, ValueError):
        raise InputError(f"{file}: line {line}: there is no {photo}") from None


def digest(images: Iterable[Labelled]) -> str:
    """A checksum of what is evaluated: names, sizes and classes."""
    found = hashlib.sha256()
    for image in images:
        found.update(f"{image.name}\0{image.size}\0{image.label}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()
