"""The messages of Caffe 1.0's definitions and weights files, read from ``schema.txt``: fields, defaults, enums."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    ``kind`` is a scalar type of protobuf ("int64", "float", "string", ...), "enum" or "message"; then ``enum`` or
    ``message`` is the key in ``ENUMS`` or ``MESSAGES``. ``default`` is what an absent field reads as (a float is the
    value that float32 holds, an enum its name); None for repeated fields and messages.
    """

    number: int
    name: str
    kind: str
    repeated: bool = False
    packed: bool = False
    default: bool | int | float | str | None = None
    message: str | None = None
    enum: str | None = None


def float32(value: float) -> float:
    """The nearest float32: what Caffe computes with where a definition states ``value``."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


_SCALARS: dict[str, Callable[[str], bool | int | float | str]] = {
    "int32": int,
    "int64": int,
    "uint32": int,
    "bool": lambda text: text == "true",
    "float": lambda text: float32(float(text)),
    "double": float,
    "string": str,
}
_ABSENT = {"bool": False, "float": 0.0, "double": 0.0, "string": ""}


def _enums(paragraph: str) -> dict[str, dict[str, int]]:
    found = {}
    for entry in paragraph.replace("\n  ", " ").splitlines():
        name, values = entry.split(": ")
        found[name] = {key: int(number) for key, number in (value.split("=") for value in values.split())}
    return found


def _field(line: str) -> Field:
    name, number, kind, *stated = line.split()
    kind, star, packed = kind.partition("*")
    text = stated[0][1:] if stated else None
    if kind in ENUMS:
        default = None if star else text or next(iter(ENUMS[kind]))
        return Field(int(number), name, "enum", bool(star), default=default, enum=kind)
    if kind not in _SCALARS:
        return Field(int(number), name, "message", bool(star), message=kind)
    default = None if star else _ABSENT.get(kind, 0) if text is None else _SCALARS[kind](text)
    return Field(int(number), name, kind, bool(star), bool(packed), default)


def _messages(paragraphs: list[str]) -> dict[str, dict[str, Field]]:
    found = {}
    for paragraph in paragraphs:
        name, *lines = paragraph.splitlines()
        found[name] = {field.name: field for field in map(_field, lines)}
    return found


_comment, _first, *_rest = files("weights.caffe").joinpath("schema.txt").read_text().strip().split("\n\n")

ENUMS: dict[str, dict[str, int]] = _enums(_first)
"""Names and numbers of each enum."""

MESSAGES: dict[str, dict[str, Field]] = _messages(_rest)
"""The fields of each message by name. A message's value is a plain dict of the fields that are set: repeated fields are
lists, enums their names (the number where it is unknown), messages dicts, strings str (surrogateescape for bytes that
are not UTF-8)."""
