"""Uncompressed zip archives, which PyTorch's and Keras' files are: members as views of the bytes."""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from weights import limits
from weights.errors import InputError
from weights.storage.contents import Window

_HEADER = b"PK\x03\x04"  # of a member; what follows up to the lengths of its name and extra field takes 26 bytes
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Member:
    data: memoryview
    checksum: int


class Archive(Mapping[str, memoryview]):
    """The members of an archive by name; the checksum of each is compared when it is asked for."""

    def __init__(self, data: memoryview, folder: bool = False):
        """Reads the directory.

        Args:
            data: of the file.
            folder: whether all members stand in one folder, whose name is left out.

        Raises:
            InputError: no zip archive, a damaged one, one that is compressed or encrypted, or whose members are not
                each its own: of one name, or of bytes of another one.
        """
        try:
            with ZipFile(Window(data, most=limits.DIRECTORY)) as archive:  # type: ignore[arg-type]  # typed for IO, which RawIOBase is not
                entries = archive.infolist()
        except InputError:
            raise
        except (BadZipFile, ValueError, NotImplementedError, EOFError, struct.error, OverflowError) as error:
            raise InputError(f"is no zip archive, or a damaged or cut off one: {error}") from None
        self._members: dict[str, _Member] = {}
        end, last = 0, ""
        for entry in sorted(entries, key=lambda entry: entry.header_offset):
            if entry.header_offset < end:
                raise InputError(f"is a damaged zip archive: {entry.filename[:80]!r} lies within {last[:80]!r}")
            end, member = _member(data, entry)
            last = entry.filename
            name = last.partition("/")[2] if folder else last
            if name in self._members:
                raise InputError(f"is a damaged zip archive: it has two members {name[:80]!r}")
            self._members[name] = member

    def __getitem__(self, name: str) -> memoryview:
        """A view of a member's bytes.

        Raises:
            InputError: its checksum does not match.
        """
        member = self._members[name]
        if zlib.crc32(member.data) != member.checksum:
            raise InputError(f"is damaged: the checksum of {name[:80]!r} does not match")
        return member.data

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def _member(data: memoryview, entry: ZipInfo) -> tuple[int, _Member]:
    """Where a member ends, and the member."""
    start = entry.header_offset
    header = bytes(data[start : start + 30]) if start >= 0 else b""
    if len(header) < 30 or header[:4] != _HEADER:
        raise InputError(f"is a damaged zip archive: {entry.filename[:80]!r} is not where its directory says")
    if entry.compress_type != ZIP_STORED or entry.flag_bits & 1:
        raise InputError(f"{entry.filename[:80]!r} is compressed or encrypted, which such files never are")
    begin = start + 30 + sum(struct.unpack_from("<HH", header, 26))
    end = begin + entry.file_size
    if end > len(data):
        raise InputError(f"is cut off: {entry.filename[:80]!r} reaches beyond the end of the file")
    return end, _Member(data[begin:end], entry.CRC)


def store(archive: ZipFile, name: str, data: bytes | memoryview | BinaryIO, size: int = 0, align: int = 1) -> None:
    """Writes one member, always with the same date, so that the same values give the same bytes.

    Args:
        archive: opened to write, ``ZipFile(file, "w", ZIP_STORED)``.
        name: with the folder.
        data: the bytes, or a file that holds them from its position on.
        size: of such a file, in bytes.
        align: the bytes begin at a multiple of it, so that numbers can be mapped.
    """
    entry = ZipInfo(name)
    if align > 1:
        assert archive.fp is not None  # it is open
        padding = -(archive.fp.tell() + 30 + len(entry.filename) + 4) % align
        entry.extra = struct.pack("<2sH", b"FB", padding) + bytes(padding)
    whole = isinstance(data, bytes | memoryview)
    entry.file_size = len(data) if whole else size  # known before, so that no other format is chosen for large ones
    with archive.open(entry, "w") as member:
        if whole:
            member.write(data)
        else:
            while chunk := data.read(_CHUNK):
                member.write(chunk)
