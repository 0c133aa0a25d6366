"""Protocol Buffers at the wire, without any schema: the fields of a message on a buffer that nobody copies.

Whatever the bytes are, reading ends in time and memory proportional to what a real file needs: nothing is allocated
from a declared length, nothing recurses on nesting, and the number of fields is bounded.
"""

from collections.abc import Iterator

from weights import limits
from weights.errors import InputError

VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = range(6)

_GROUPS = 100  # protobuf's own limit to nesting


class Budget:
    """How many more fields a file may have, and bytes of values in pieces, so that none costs more than a real one."""

    def __init__(self, size: int = 0):
        """Of a file of so many bytes."""
        self.left, self.copies = limits.FIELDS, limits.copies(size)

    def spend(self, fields: int = 1) -> None:
        """Raises InputError once the file has had too many."""
        self.left -= fields
        if self.left < 0:
            raise InputError(f"has more than {limits.FIELDS:,} fields; no network needs that many")

    def copy(self, size: int) -> None:
        """Raises InputError once too many bytes of values have been copied."""
        self.copies -= size
        if self.copies < 0:
            raise InputError("has too many bytes of values in pieces, which have to be joined; write it with Caffe")


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


def tag(number: int, kind: int) -> bytes:
    """The bytes before a field that state its number and its wire type."""
    return to_varint(number << 3 | kind)


def field_head(number: int, length: int) -> bytes:
    """The bytes before a payload of so many bytes: the field's tag and the length."""
    return tag(number, BYTES) + to_varint(length)


def to_varint(value: int) -> bytes:
    """The minimal form; a negative number is its 64-bit two's complement."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
