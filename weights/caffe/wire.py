"""Protocol Buffers at the wire: messages of Caffe's tables to dicts and back, on a buffer that nobody copies.

Whatever the bytes are, reading ends in time and memory proportional to what a real file needs: nothing is allocated
from a declared length, nothing recurses on nesting, and the number of fields is bounded.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from weights.caffe.schema import ENUMS, MESSAGES, Field
from weights.errors import InputError

VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = range(6)

_FIELDS = 250_000  # in one file; SENet-154 has 12,000
_GROUPS = 100  # protobuf's own limit to nesting
_BY_NUMBER = {name: {field.number: field for field in fields.values()} for name, fields in MESSAGES.items()}
_FIXED = {"float": ("<f", FIXED32), "double": ("<d", FIXED64)}
_BITS = {"int32": 32, "uint32": 32, "enum": 32, "int64": 64, "bool": 64}
_SIGNED = frozenset({"int32", "int64", "enum"})
_VALUES = {name: {number: key for key, number in values.items()} for name, values in ENUMS.items()}


class Budget:
    """How many more fields a file may have, so that no file costs more memory than any real one."""

    def __init__(self, fields: int = _FIELDS):
        self.left = fields

    def spend(self, fields: int = 1) -> None:
        """Raises InputError once the file has had too many."""
        self.left -= fields
        if self.left < 0:
            raise InputError(f"has more than {_FIELDS:,} fields; no Caffe network needs that many")


class Message:
    """The fields of one message, in file order: iterate for (number, wire type, value, end).

    For VARINT ``value`` is the number, otherwise the payload is ``data[value:end]``. Groups are skipped; ``at`` may be
    moved forward between two fields. At the top level a tag of 0 or an end-group tag ends the message, whatever
    follows, as in protobuf's parser; ``at`` then is where that tag begins, otherwise it is the end.
    """

    def __init__(self, data: memoryview, at: int, end: int, budget: Budget, top: bool = False):
        self.data, self.at, self.end, self.budget, self.top = data, at, end, budget, top

    def __iter__(self) -> Iterator[tuple[int, int, int, int]]:
        while self.at < self.end:
            start = self.at
            number, kind, at = self._tag(start)
            if self.top and (kind == END_GROUP or not (number or kind)):
                return
            if kind == END_GROUP:
                raise InputError(f"is damaged: a group ends at byte {start} that never began")
            if kind == VARINT:
                value, self.at = varint(self.data, at, self.end)
                yield number, kind, value, self.at
            elif kind == GROUP:
                self.at = self._skip_group(number, at)
            else:
                value, self.at = self._payload(kind, at)
                yield number, kind, value, self.at

    def _tag(self, at: int) -> tuple[int, int, int]:
        self.budget.spend()
        tag, after = varint(self.data, at, self.end)
        if (tag >> 3 == 0 and not (self.top and tag == 0)) or tag >> 32 or tag & 7 > FIXED32:
            raise InputError(f"is damaged: no field can begin as byte {at} does")
        return tag >> 3, tag & 7, after

    def _payload(self, kind: int, at: int) -> tuple[int, int]:
        """Where the bytes of a field begin and end."""
        size = 8 if kind == FIXED64 else 4
        if kind == BYTES:
            begin = at
            size, at = varint(self.data, at, self.end)
            if size > self.end - at:
                raise InputError(
                    f"is damaged or cut off: at byte {begin} it declares {size:,} more bytes, {self.end - at:,} follow"
                )
        if size > self.end - at:
            raise _cut_off(at)
        return at, at + size

    def _skip_group(self, number: int, at: int) -> int:
        """Where the group ends that began before ``at``."""
        open_groups = [number]
        while open_groups:
            start = at
            if at >= self.end:
                raise InputError(f"is damaged: group {open_groups[-1]} never ends")
            number, kind, at = self._tag(at)
            if not number:
                raise InputError(f"is damaged: no field can begin as byte {start} does")
            if kind == GROUP:
                open_groups.append(number)
                if len(open_groups) > _GROUPS:
                    raise InputError(f"is damaged: more than {_GROUPS} groups inside each other at byte {start}")
            elif kind == END_GROUP:
                if open_groups.pop() != number:
                    raise InputError(f"is damaged: group {number} ends at byte {start} inside another one")
            elif kind == VARINT:
                _, at = varint(self.data, at, self.end)
            else:
                _, at = self._payload(kind, at)
        return at


def varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    """The unsigned 64-bit number at ``at``, and where it ends. It need not be minimal."""
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift == 70:
            raise InputError(f"is damaged: the number at byte {at - 10} has more than 10 bytes")
    raise _cut_off(at)


def _cut_off(at: int) -> InputError:
    return InputError(f"is damaged or cut off: a value ends at byte {at}, before all of it was there")


def signed(value: int, bits: int = 64) -> int:
    """Two's complement of the low bits."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


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
        return tag(field.number, BYTES) + to_varint(len(payload)) + payload if values else b""
    kind = _FIXED[field.kind][1] if field.kind in _FIXED else VARINT if field.kind in _BITS else BYTES
    head = tag(field.number, kind)
    if field.message:
        bodies = [encode(field.message, v) for v in values]
    elif field.kind == "string":
        bodies = [v.encode("utf-8", "surrogateescape") for v in values]
    else:
        return b"".join(head + _scalar(field, v) for v in values)
    return b"".join(head + to_varint(len(body)) + body for body in bodies)


def tag(number: int, kind: int) -> bytes:
    """What stands before a field."""
    return to_varint(number << 3 | kind)


def to_varint(value: int) -> bytes:
    """The minimal form; a negative number is its 64-bit two's complement."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


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
