"""From the names and shapes of tensors to records, and which fields of a record these do not tell.

Each family guesses its record (``Spec.from_shapes``) by asking for the shapes of parameters; the guess counts only if
the parameters of the guessed network are exactly the ones that were found.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Literal, TypeVar, get_args, get_origin, get_type_hints

from weights.errors import InputError
from weights.networks.check import Record
from weights.networks.operations import Kind, Shape
from weights.networks.parameters import schema
from weights.networks.se import Excitation
from weights.networks.spec import ShapeOf, Spec, field_names

R = TypeVar("R", bound=Record)


def consecutive(shape: ShapeOf, template: str, first: int, kind: Kind = "conv") -> Iterator[Shape]:
    """The weights of modules that are numbered without a gap: "stem.conv{}" from 1."""
    while (found := shape(template.format(first), kind)) is not None:
        yield found
        first += 1


def excitation(shape: ShapeOf, block: str) -> Excitation | None:
    """The SE block of that name as its matrices show it; None where the file has none."""
    matrix = shape(f"{block}.fc1", "linear")
    if matrix is None:
        return None
    bias = shape(f"{block}.fc1", "linear", "bias") is not None
    return Excitation(channels=matrix[1], hidden=matrix[0], squeeze="avg", gate="sigmoid", bias=bias)


def same_tensors(a: Spec, b: Spec) -> bool:
    """Whether the parameters of two networks have the same names and shapes."""
    first, second = ({p.name: p.shape for p in schema(spec)} for spec in (a, b))
    return first == second


def differing(a: object, b: object) -> tuple[str, ...]:
    """The paths of the fields in which two records differ, as of ``untold``; "" where they are of other kinds."""
    if type(a) is not type(b) or not is_dataclass(a):
        return ("",)
    found: dict[str, None] = {}
    for field in (f.name for f in fields(a)):
        one, other = getattr(a, field), getattr(b, field)
        if one == other:
            continue
        nested = [(one, other)]
        if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
            nested = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
        for pair in nested:
            inner = differing(*pair) if all(map(is_dataclass, pair)) else ("",)
            found |= {".".join(filter(None, (field, path))): None for path in inner}
    return tuple(found)


def computing_otherwise(a: Spec, b: Spec) -> tuple[str, ...]:
    """The fields in which two records differ and that change what the network makes of its parameters in inference."""
    return tuple(path for path in differing(a, b) if path not in ("name", "classes", "dropout", "shares"))


@lru_cache(maxsize=128)
def untold(spec: Spec) -> tuple[str, ...]:
    """The fields of a record that the names and shapes of its parameters do not tell: "eps", "se.gate", "modules.pool".

    A field is among them if with another value the network computes otherwise and its parameters still have the same
    names and shapes. That is found by trying, so it holds for every family and for every new field.
    """
    found: dict[str, None] = {}
    nodes = spec.network().nodes
    for field, other in _alternatives(spec):
        if field not in found and field != "name":
            try:
                if other.network().nodes != nodes and same_tensors(other, spec):
                    found[field] = None
            except InputError:  # no network has this value
                continue
    order = field_names(spec)
    return tuple(sorted(found, key=lambda path: order.index(path.partition(".")[0])))


def _alternatives(record: R) -> Iterator[tuple[str, R]]:
    """A record with one field changed, and the field's path; records that cannot be are left out."""
    hints = get_type_hints(type(record))
    for field in (f.name for f in fields(record)):
        for path, value in _others(getattr(record, field), hints[field]):
            try:
                yield ".".join(filter(None, (field, path))), replace(record, **{field: value})
            except InputError:
                continue


def _others(value: object, hint: object) -> Iterator[tuple[str, object]]:
    """Other values of a kind; the path is that of a field within a nested record."""
    if is_dataclass(value) and not isinstance(value, type):
        yield from _alternatives(value)
    elif isinstance(value, tuple) and value and is_dataclass(value[0]):
        for i, record in enumerate(value):
            for path, other in _alternatives(record):
                yield path, (*value[:i], other, *value[i + 1 :])
    elif isinstance(value, tuple):  # whole numbers, which count or measure tensors: all of them at once will do
        yield "", _doubled(value)
    elif choices := [c for kind in (hint, *get_args(hint)) if get_origin(kind) is Literal for c in get_args(kind)]:
        yield from (("", other) for other in choices if other != value)
    elif isinstance(value, bool):
        yield "", not value
    elif isinstance(value, int):
        yield from (("", other) for other in (2 * value, value + 2))
    elif isinstance(value, float):
        yield "", value / 2 + 0.25


def _doubled(value: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(_doubled(v) if isinstance(v, tuple) else 2 * v if isinstance(v, int) else v for v in value)
