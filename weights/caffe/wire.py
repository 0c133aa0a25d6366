"""Caffe's messages at the wire: bytes to plain data and back, by the tables of ``schema``."""

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from weights.caffe.schema import ENUMS, MESSAGES, Field
from weights.errors import InputError
from weights.protobuf import BYTES, FIXED32, FIXED64, VARINT, Message, field_head, signed, tag, to_varint, varint

_BY_NUMBER = {name: {field.number: field for field in fields.values()} for name, fields in MESSAGES.items()}
_FIXED = {"float": ("<f", FIXED32), "double": ("<d", FIXED64)}
_BITS = {"int32": 32, "uint32": 32, "enum": 32, "int64": 64, "bool": 64}
_SIGNED = frozenset({"int32", "int64", "enum"})
_VALUES = {name: {number: key for key, number in values.items()} for name, values in ENUMS.items()}


def decode(
    name: str, message: Message, into: dict[str, Any] | None = None, spans: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """A message as a dict of the fields that are set.

    Args:
        name: in ``MESSAGES``.
        message: where it lies.
        into: a dict to merge into, as protobuf does when a message is given in several pieces.
        spans: messages that are not decoded: their values are (begin, end).

    Fields that the table does not have, or has with another wire type, and enum values out of range are passed over.
    """
    found = {} if into is None else into
    for number, kind, begin, end in message:
        field = _BY_NUMBER[name].get(number)
        if field is None:
            continue
        for value in _values(field, kind, begin, end, message, found, spans):
            if field.repeated:
                found.setdefault(field.name, []).append(value)
            else:
                found[field.name] = value
    return found


def _values(
    field: Field, kind: int, begin: int, end: int, message: Message, found: Mapping[str, Any], spans: frozenset[str]
) -> Iterator[Any]:
    data = message.data
    if field.message:
        if kind != BYTES:
            return
        if field.message in spans:
            yield begin, end
        else:
            into = None if field.repeated else found.get(field.name)
            yield decode(field.message, Message(data, begin, end, message.budget), into, spans)
    elif field.kind == "string":
        if kind == BYTES:
            message.budget.spend((end - begin) // 64)
            yield bytes(data[begin:end]).decode("utf-8", "surrogateescape")
    elif field.kind in _FIXED:
        code, wanted = _FIXED[field.kind]
        if kind == wanted:
            yield from struct.unpack_from(code, data, begin)
        elif kind == BYTES and field.repeated:
            size = struct.calcsize(code)
            if (end - begin) % size:
                raise InputError(f"is damaged: {field.name} has {end - begin} bytes, no multiple of {size}")
            message.budget.spend((end - begin) // size)
            yield from (value for (value,) in struct.iter_unpack(code, data[begin:end]))
    elif kind == VARINT:
        yield from _number(field, begin)
    elif kind == BYTES and field.repeated:
        while begin < end:
            message.budget.spend()
            value, begin = varint(data, begin, end)
            yield from _number(field, value)


def _number(field: Field, value: int) -> Iterator[bool | int | str]:
    bits = _BITS[field.kind]
    value = signed(value, bits) if field.kind in _SIGNED else value & ((1 << bits) - 1)
    if field.kind == "bool":
        yield bool(value)
    elif field.enum is None:
        yield value
    elif value in _VALUES[field.enum]:
        yield _VALUES[field.enum][value]


def encode(name: str, message: Mapping[str, Any]) -> bytes:
    """The bytes of a message given as the dict of its fields, in the order of their numbers, as protobuf writes them.

    Raises:
        InputError: a field that the message does not have, or a value that it cannot hold.
    """
    fields = MESSAGES[name]
    unknown = message.keys() - fields.keys()
    if unknown:
        raise InputError(f"{name} of Caffe 1.0 has no {', '.join(sorted(unknown))}")
    return b"".join(
        encode_field(fields[key], message[key]) for key in sorted(message, key=lambda key: fields[key].number)
    )


def encode_field(field: Field, value: Any) -> bytes:
    """One field with its tag; a repeated one takes its list."""
    values = value if field.repeated else [value]
    if field.packed:
        payload = b"".join(_scalar(field, v) for v in values)
        return field_head(field.number, len(payload)) + payload if values else b""
    kind = _FIXED[field.kind][1] if field.kind in _FIXED else VARINT if field.kind in _BITS else BYTES
    head = tag(field.number, kind)
    if field.message:
        bodies = [encode(field.message, v) for v in values]
    elif field.kind == "string":
        bodies = [v.encode("utf-8", "surrogateescape") for v in values]
    else:
        return b"".join(head + _scalar(field, v) for v in values)
    return b"".join(head + to_varint(len(body)) + body for body in bodies)


def _scalar(field: Field, value: Any) -> bytes:
    try:
        if field.kind in _FIXED:
            return struct.pack(_FIXED[field.kind][0], value)
        number = ENUMS[field.enum][value] if field.enum and isinstance(value, str) else int(value)
        low, high = (-(1 << 31), 1 << 31) if field.kind in ("int32", "enum") else (0, 1 << 32)
        if field.kind in ("int32", "uint32", "enum") and not low <= number < high:
            raise ValueError
    except (KeyError, ValueError, TypeError, OverflowError, struct.error):
        raise InputError(f"{field.name} cannot be {value!r}; it is of type {field.enum or field.kind}") from None
    return to_varint(number)
