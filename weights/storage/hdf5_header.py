"""The messages of an object in an HDF5 file, read from the bytes before HDF5 itself looks at them.

HDF5 opens other files by what stands there, and dies of some that are damaged; what it is to be kept from is found
here. The layout is that of the HDF5 File Format Specification, 3.0, section IV.A.1; addresses have 8 bytes.
"""

import struct
from collections.abc import Iterator

from weights.errors import InputError

EXTERNAL, LAYOUT = 7, 8
"""Types of messages: values in other files; where the values are."""

_CONTINUATION = 16
_MOST = 50_000  # messages of one object


def messages(data: memoryview, at: int) -> Iterator[tuple[int, memoryview]]:
    """Type and body of each message of the object at an address.

    Raises:
        InputError: no object is there, or a damaged one.
    """
    new = bytes(data[at : at + 4]) == b"OHDR"
    try:
        begin, size, tracked = _start_of_new(data, at) if new else (at + 16, *_sizes_of_old(data, at))
        blocks, count = [(begin, begin + size)], 0
        while blocks:
            place, end = blocks.pop()
            if not 0 <= place <= end <= len(data):
                raise InputError(f"is damaged or cut off: what stands at byte {at} reaches from {place} to {end}")
            head = 4 + 2 * tracked if new else 8
            while place + head <= end:
                kind, length = struct.unpack_from("<BH" if new else "<HH", data, place)
                body = data[place + head : min(place + head + length, end)]
                place += head + length
                count += 1
                if count > _MOST:
                    raise InputError(f"has more than {_MOST:,} messages at byte {at}")
                if kind == _CONTINUATION:
                    first, extent = struct.unpack_from("<QQ", body)
                    blocks.append((first + 4, first + extent - 4) if new else (first, first + extent))
                yield kind, body
    except (struct.error, IndexError):
        raise InputError(f"is damaged or cut off at byte {at}") from None


def _sizes_of_old(data: memoryview, at: int) -> tuple[int, bool]:
    if data[at] != 1:
        raise InputError(f"is damaged: no object of HDF5 begins at byte {at}")
    return struct.unpack_from("<I", data, at + 8)[0], False


def _start_of_new(data: memoryview, at: int) -> tuple[int, int, bool]:
    """Where the messages begin, how many bytes they have, and whether each has the order of its creation."""
    flags = data[at + 5]
    place = at + 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)
    width = 1 << (flags & 3)
    return place + width, int.from_bytes(data[place : place + width], "little"), bool(flags & 4)
