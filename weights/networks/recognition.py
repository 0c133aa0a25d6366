"""From the names and shapes of tensors to records, and which fields of a record these do not tell.

Each family guesses its record (``Spec.from_shapes``) by asking for the shapes of parameters; the guess counts only if
the parameters of the guessed network are exactly the ones that were found.
"""

from collections.abc import Collection, Iterator
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import TypeVar, get_type_hints

from weights.errors import InputError
from weights.networks.check import Record, words
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
    return tuple(path for path in differing(a, b) if path not in ("name", "classes", "dropout", *a.unshown))


@lru_cache(maxsize=128)
def untold(spec: Spec) -> tuple[str, ...]:
    """The fields of a record that the names and shapes of its parameters do not tell: "eps", "se.gate", "modules.pool".

    A field is among them if with another value the network computes otherwise and its parameters still have the same
    names and shapes: by itself, or where one of those fields has another value, on which it depends whether this one
    counts at all. That is found by trying, so it holds for every family and for every new field.
    """
    found: dict[str, None] = dict.fromkeys(spec.unshown)
    idle: set[str] = set()
    others: list[Spec] = []
    for field, other in _alternatives(spec):
        if field not in found and field != "name" and (differs := _differ(other, spec)) is not None:
            if differs:
                found[field] = None
                others.append(other)
            else:
                idle.add(field)
    for other in others if idle - found.keys() else ():
        for field, both in _alternatives(other, idle - found.keys()):
            if field not in found and _differ(both, other):
                found[field] = None
    order = field_names(spec)
    return tuple(sorted(found, key=lambda path: order.index(path.partition(".")[0])))


def _differ(a: Spec, b: Spec) -> bool | None:
    """Whether two networks compute otherwise; None where they have not the same tensors, or one is no network."""
    try:
        differs = a.network().nodes != b.network().nodes
        return differs if not differs or same_tensors(a, b) else None
    except InputError:  # no network has these values
        return None


def _alternatives(record: R, only: Collection[str] | None = None) -> Iterator[tuple[str, R]]:
    """A record with one field changed, of these or of all, and its path; records that cannot be are left out."""
    hints = get_type_hints(type(record))
    for field in (f.name for f in fields(record)):
        inner = only and {path.partition(".")[2] for path in only if path.partition(".")[0] == field}
        if inner is not None and not inner:
            continue
        for path, value in _others(getattr(record, field), hints[field], inner):
            try:
                yield ".".join(filter(None, (field, path))), replace(record, **{field: value})
            except InputError:
                continue


def _others(value: object, hint: object, only: Collection[str] | None) -> Iterator[tuple[str, object]]:
    """Other values of a kind; the path is that of a field within a nested record."""
    if is_dataclass(value) and not isinstance(value, type):
        yield from _alternatives(value, only)
    elif isinstance(value, tuple) and value and is_dataclass(value[0]):
        for i, record in enumerate(value):
            for path, other in _alternatives(record, only):
                yield path, (*value[:i], other, *value[i + 1 :])
    elif isinstance(value, tuple):  # whole numbers; where they count or measure tensors, all of them at once will do
        yield "", _doubled(value)
        if len(value) > 1:
            yield "", value[:-1]  # places, of which there may be fewer: doubled, they may lie behind the end
    elif choices := words(hint):
        yield from (("", other) for other in choices if other != value)
    elif isinstance(value, bool):
        yield "", not value
    elif isinstance(value, int):
        yield from (("", other) for other in (2 * value, value + 2))
    elif isinstance(value, float):
        yield "", value / 2 + (0.25 if value != 0.5 else 0.125)


def _doubled(value: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(_doubled(v) if isinstance(v, tuple) else 2 * v if isinstance(v, int) else v for v in value)
