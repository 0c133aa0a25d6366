"""Photographs and the classes that they show: a folder for each class."""

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from weights.errors import InputError, InputWarning, in_a_line
from weights.images import wnids
from weights.images.decode import SUFFIXES
from weights.params import Checkpoint, Labels


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

    Not every class has to be there. Names that begin with a dot are passed over, and so are files that are no
    photographs by their suffix: one ``InputWarning`` says how many of which. A link to nowhere counts as a photograph,
    as a damaged one does.

    Raises:
        InputError: a folder of no class or without photographs, photographs beside the folders, or folders in them; or
            a folder or a photograph that stands there under two names.
    """
    place = {name: index for index, name in enumerate(classes.names)}
    if not place:
        raise InputError(
            f"{folder}: the checkpoint does not name its {classes.count} classes: state --class-names, or a --list "
            "with their numbers"
        )
    found: list[Labelled] = []
    others: list[str] = []
    files: dict[str, str] = {}
    for entry in _entries(folder):
        if _is_folder(entry):
            if entry.name not in place:
                what = "a WordNet id of ImageNet's 1000 classes" if classes.labels else "a class of the checkpoint"
                raise InputError(f"{entry.path}: is no folder of {what}, as {classes.names[0]} is; move it elsewhere")
            _check_once(entry.path, files)
            found += _members(Path(entry.path), place[entry.name], others)
        elif entry.name in place:
            raise InputError(f"{entry.path}: is no folder, and has the name of a class; move it elsewhere")
        elif _is_photograph(entry.name):
            raise InputError(f"{entry.path}: is in no folder of a class; move it into one, or name a --list")
        else:
            others.append(entry.name)
    if not found:
        raise InputError(f"{folder}: has no folders of classes, as {classes.names[0]} would be")
    for image in found:
        _check_once(str(image.file), files)
    if others:
        said = f"{folder}: passed over, as no photographs by their suffix: {_counts(others)}"
        warnings.warn(InputWarning(said), stacklevel=2)
    return tuple(found)


def _members(folder: Path, label: int, others: list[str]) -> Iterator[Labelled]:
    count = 0
    for entry in _entries(folder):
        if _is_folder(entry):
            raise InputError(f"{entry.path}: is a folder in the folder of a class; move it elsewhere")
        if _is_photograph(entry.name):
            count += 1
            yield Labelled(f"{folder.name}/{entry.name}", Path(entry.path), size_of(Path(entry.path)), label)
        else:
            others.append(entry.name)
    if not count:
        raise InputError(f"{folder}: has no photographs ({', '.join(SUFFIXES)})")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def _check_once(path: str, seen: dict[str, str]) -> None:
    """Whether a file or a folder is another one than those before, by whatever links."""
    first = seen.setdefault(os.path.realpath(path), path)
    if first != path:
        raise InputError(f"{path}: is {first} under another name, and would count twice; remove one of them")


def _counts(names: Iterable[str]) -> str:
    """How many there are of each suffix: "2 of .txt, 1 of .avif"."""
    suffixes = Counter(Path(name).suffix.lower() or "no suffix" for name in names)
    shown = [f"{count} of {in_a_line(suffix[:20])}" for suffix, count in suffixes.most_common(10)]
    more = len(suffixes) - len(shown)
    return ", ".join(shown) + (f", and {more} more suffixes" if more else "")


def size_of(photo: Path) -> int:
    """Bytes of a photograph; those of a link that leads nowhere, which is found out when it is read.

    Raises:
        OSError: there is none.
    """
    try:
        return photo.stat().st_size
    except OSError:
        return photo.lstat().st_size


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {(error.strerror or str(error)).lower()}") from error


def _is_photograph(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def digest(images: Iterable[Labelled]) -> str:
    """A checksum of what is evaluated: names, sizes and classes."""
    found = hashlib.sha256()
    for image in images:
        found.update(f"{image.name}\0{image.size}\0{image.label}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()
