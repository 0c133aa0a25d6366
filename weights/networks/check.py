"""Records are checked when they are made, by ``dataclasses.replace`` and from files alike."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, ClassVar, Literal, Protocol, TypeVar, get_args, get_origin, get_type_hints

from weights.errors import InputError

LARGEST = 2**20  # of any whole number in a record: no network has more channels
LONGEST = 1000  # of any list in a record


class Record(Protocol):
    """A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


_R = TypeVar("_R", bound=Record)


def decode(kind: type[_R], data: Mapping[str, Any]) -> _R:
    """A record from plain data, as JSON has it: lists become tuples, inner mappings the records that fields name.

    Raises:
        InputError: fields that are missing or unknown, or of another kind.
    """
    hints = _hints(kind)
    unknown = [str(name) for name in data if name not in hints]
    if unknown:
        raise InputError(f"unknown field {', '.join(unknown)[:100]}; the fields are {', '.join(hints)}")
    try:
        return kind(**{name: _decoded(value, hints[name]) for name, value in data.items()})
    except TypeError as error:  # a field is missing
        raise InputError(f"{error}; the fields are {', '.join(hints)}") from None


def words(hint: object) -> tuple[str, ...]:
    """The words that a field of this annotation may be; () where it is no choice among words."""
    kinds = (hint, *get_args(hint))
    return tuple(word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind))


def _decoded(value: Any, hint: Any) -> Any:
    kinds = get_args(hint)
    if isinstance(value, list | tuple) and get_origin(hint) is tuple:
        kinds = kinds[:1] * len(value) if kinds[-1] is ... else kinds
        return tuple(_decoded(v, kind) for v, kind in zip(value, kinds, strict=False)) + tuple(value[len(kinds) :])
    if isinstance(value, Mapping):
        for kind in (hint, *kinds):
            if is_dataclass(kind) and isinstance(kind, type):
                return decode(kind, value)
    return value


def check_fields(record: Record, name: str) -> None:
    """Holds every field of a record against its annotation.

    Whole numbers are 1 or more ("classes" may be 0), fractions at least 0 and less than 1, lists not empty.

    Args:
        record: a frozen dataclass; its lists become tuples.
        name: what the message begins with.

    Raises:
        InputError: a value of another kind; the field, the value and what is expected are named.
    """
    for field, hint in _hints(type(record)).items():
        value = _tuples(getattr(record, field))
        object.__setattr__(record, field, value)  # the record is frozen, but not yet handed out
        if not _fits(value, hint) and not (field == "classes" and type(value) is int and value == 0):
            expected = _expected(hint)
            expected = expected.replace("from 1", "from 0") if field == "classes" else expected
            raise InputError(f"{name}: {field} is {value!r:.100}, expected {expected}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def _fits(value: Any, hint: Any) -> bool:
    kinds = get_args(hint)
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple) or not 0 < len(value) < LONGEST:
            return False
        kinds = kinds[:1] * len(value) if kinds[-1] is ... else kinds
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if get_origin(hint) is Literal:
        return value in kinds
    if kinds:  # a union
        return any(_fits(value, kind) for kind in kinds)
    if hint is int:  # bool is a subclass of it
        return type(value) is int and 0 < value < LARGEST
    return isinstance(value, hint) and (hint is not float or 0 <= value < 1)


def _expected(hint: Any) -> str:
    kinds = get_args(hint)
    if get_origin(hint) is tuple:
        inner = ", ".join(_expected(kind) for kind in kinds if kind is not ...)
        return f"a list, each {inner}" if kinds[-1] is ... else f"({inner})"
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, kinds))
    if kinds:
        return " or ".join(map(_expected, kinds))
    names = {int: f"a whole number from 1 to {LARGEST - 1}", float: "a number from 0 to less than 1", str: "a text"}
    return names.get(hint, {bool: "true or false", type(None): "nothing"}.get(hint, f"a {hint.__name__}"))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value
