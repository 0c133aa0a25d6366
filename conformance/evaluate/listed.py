"""Photographs and the classes that they show: a list."""

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Literal

from conformance.evaluate.labelled import Classes, Labelled, size_of
from weights.errors import InputError
from weights.images import wnids
from weights.params import Labels
from weights.storage.contents import Window, contents

ListLabels = Labels | Literal["names", "indices"]
"""What numbers in a list are: places in an order of ImageNet's classes, or of classes of one's own names or places."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a list: its number, the path, the class as it stands there."""

    number: int
    name: str
    label: str


def in_list(file: Path, folder: Path, classes: Classes, kind: ListLabels | None) -> tuple[Labelled, ...]:
    """The photographs in a list, a line for each: its path within the folder, a tab or a space, its class.

    Without a tab the class is the last word; or a name of several words, if the network has a class of that name.

    Args:
        file: the list, in UTF-8. A class is its number from 0, or its name as of ``in_folders``; all are names where
            all can be.
        folder: what the paths begin in.
        classes: what the network counts.
        kind: what the numbers are. Of classes of one's own they need not be said to be ``"indices"``, unless the names
            of some classes are numbers as well.

    Raises:
        InputError: a line that is none or can be read in two ways, a photograph that is not there or stands there
            twice, by whatever name, a class that the network has not; or what the numbers are is not known, or stated
            where there are none.
    """
    names = frozenset(classes.names) if kind in (None, "names") else frozenset[str]()
    lengths = sorted({len(name) for name in names}, reverse=True)
    lines: list[_Line] = []
    sizes: list[int] = []
    seen: dict[str, _Line] = {}
    for number, text in _texts(file):
        line = _line(file, number, text, folder, names, lengths)
        sizes.append(_size(file, line, folder / line.name))  # so that no more lines are kept than photographs are there
        _check_once(file, line, seen.setdefault(os.path.realpath(folder / line.name), line))
        lines.append(line)
    if not lines:
        raise InputError(f"{file}: has no lines")
    indices = _indices(file, lines, classes, kind)
    return tuple(
        Labelled(line.name, folder / line.name, size, index)
        for line, size, index in zip(lines, sizes, indices, strict=True)
    )


def _texts(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not empty, with their numbers, one after the other: a list may be a large one."""
    # Of the ends that str.splitlines knows, only line breaks end a line: the others may stand in names.
    with TextIOWrapper(BufferedReader(Window(contents(file))), "utf-8-sig") as lines:
        try:
            for number, text in enumerate(lines, 1):
                if stripped := text.strip():
                    yield number, stripped
        except UnicodeDecodeError:
            raise InputError(f"{file}: is not text in UTF-8") from None


def _line(file: Path, number: int, text: str, folder: Path, names: Collection[str], lengths: Sequence[int]) -> _Line:
    """What a line says.

    Args:
        file, number: where it stands.
        text: the line.
        folder: of the photographs, one of which decides where the path ends, if that can be read in two ways.
        names: those of classes.
        lengths: that they have, the longest first.
    """
    if "\t" in text:
        name, _, label = text.rpartition("\t")
        splits = [(name.strip(), label.strip())]
    else:
        starts = [len(text) - length for length in lengths if length < len(text)]
        ends = [i - 1 for i in starts if text[i - 1] == " " and text[i:] in names]
        last = text.rfind(" ")
        if last >= 0 and last not in ends and (not ends or _is_number(text[last + 1 :])):
            ends.append(last)
        splits = [(text[:end].strip(), text[end + 1 :]) for end in ends]
    splits = [(name, label) for name, label in splits if name]
    if len(splits) > 1:
        there = [(name, label) for name, label in splits if os.path.lexists(folder / name)]
        if len(there) > 1:
            shown = " or ".join(repr(label[:50]) for _, label in there)
            raise InputError(f"{file}: line {number}: its class is {shown}; put a tab before the class")
        splits = there or splits
    if not splits:
        raise InputError(f"{file}: line {number} is {text[:100]!r}, expected a path and a class")
    return _Line(number, *splits[0])


def _is_number(label: str) -> bool:
    return label.isascii() and label.isdecimal()


def _indices(file: Path, lines: Sequence[_Line], classes: Classes, kind: ListLabels | None) -> list[int]:
    place = {name: index for index, name in enumerate(classes.names)}
    numbered = all(_is_number(line.label) for line in lines)
    named = all(line.label in place for line in lines)
    if named and not numbered and kind not in (None, "names"):
        raise InputError(f"{file}: names its classes; leave out --list-labels")
    if kind == "names" or not numbered:
        _check_names(file, lines, place)
        return [place[line.label] for line in lines]
    if classes.labels and kind not in ("sorted", "devkit"):
        raise InputError(
            f"{file}: says its classes by numbers: state --list-labels, sorted (as in Caffe's val.txt) or devkit (ids "
            "of ILSVRC less 1)"
        )
    if not classes.labels and kind in ("sorted", "devkit"):
        raise InputError(f"{file}: the checkpoint has classes of its own; leave out --list-labels")
    like_a_number = next(filter(_is_number, classes.names), None)
    if like_a_number and not kind:
        raise InputError(
            f"{file}: its classes are numbers, and so are names of the checkpoint's classes ({like_a_number[:20]}): "
            "state --list-labels, names or indices (places from 0)"
        )
    return _numbers(file, lines, classes, kind)


def _check_names(file: Path, lines: Sequence[_Line], place: Collection[str]) -> None:
    """Whether all classes are names; one that is not even a number is the first to be told."""
    strays = [line for line in lines if line.label not in place]
    for line in strays:
        if not _is_number(line.label):
            raise InputError(
                f"{file}: line {line.number}: {line.label[:100]!r} is no class of the checkpoint, by name or by number"
            )
    for line in strays:
        raise InputError(
            f"{file}: line {line.number}: {line.label[:100]!r} is the name of no class; all are names, or all numbers"
        )


def _numbers(file: Path, lines: Sequence[_Line], classes: Classes, kind: ListLabels | None) -> list[int]:
    numbers = [int(line.label) if len(line.label) < 10 else classes.count for line in lines]
    for line, number in zip(lines, numbers, strict=True):
        if number >= classes.count:
            hint = "; numbers begin with 0" if number == classes.count and 0 not in numbers else ""
            raise InputError(
                f"{file}: line {line.number}: class {line.label[:20]}, expected 0 to {classes.count - 1}{hint}"
            )
    if kind not in ("sorted", "devkit"):
        return numbers
    place = {name: index for index, name in enumerate(classes.names)}
    return [place[name] for name in map(wnids(kind).__getitem__, numbers)]


def _size(file: Path, line: _Line, photo: Path) -> int:
    try:
        return size_of(photo)
    except (OSError, ValueError):
        raise InputError(f"{file}: line {line.number}: there is no {photo}") from None


def _check_once(file: Path, line: _Line, first: _Line) -> None:
    """Whether a photograph stands in a list for the first time."""
    if first is not line:
        again = "" if first.name == line.name else f" as {line.name}"
        classes = "with the same class" if first.label == line.label else "with another class"
        raise InputError(
            f"{file}: {first.name} stands in line {first.number} and in line {line.number}{again}, {classes}; "
            "leave one out"
        )
