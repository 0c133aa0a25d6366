"""The bytes of files, read at once, and parts of them as files of their own."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np

from weights.errors import InputError
from weights.storage.whole import reading, reason

_PIECE = 1 << 22  # bytes read at a time: ten times faster than at once, where pages of memory are large


def contents(path: str | Path, most: int | None = None) -> memoryview:
    """The bytes of a regular file, read-only.

    They are a copy. A map of the file would cost nothing to make, but whoever touches it after the file has shrunk is
    killed, and its values would change under the reader with the file.

    Args:
        path: of the file.
        most: bytes that it may have; None: any number that there is memory for.

    Raises:
        InputError: there is no such file, it is a folder, a device or the like, it may not be read, has more bytes, or
            was changed meanwhile.
    """
    with reading(path) as file:
        before = os.fstat(file.fileno())
        size = before.st_size
        if most is not None and size > most:
            raise InputError(f"{path}: has {size:,} bytes, at most {most:,} are read of a file of this kind")
        try:
            data = np.empty(size, np.uint8).data
            read = 0
            while read < size and (count := file.readinto(data[read : read + _PIECE])):  # type: ignore[attr-defined]  # BinaryIO
                read += count
        except MemoryError:
            raise InputError(f"{path}: has {size:,} bytes, for which there is no room in memory") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {reason(error, path)}") from error
        after = os.fstat(file.fileno())
    if read < size or (after.st_size, after.st_mtime_ns) != (size, before.st_mtime_ns):
        raise InputError(f"{path}: was changed while it was read; wait until it is whole")
    return data.toreadonly()


def text_of(path: str | Path, most: int | None = None, *, errors: str = "strict") -> str:
    """The text of a file in UTF-8, without the byte order mark that editors put before it.

    Args:
        path, most: as of ``contents``.
        errors: what becomes of bytes that are no UTF-8, as of ``bytes.decode``.

    Raises:
        InputError: as of ``contents``; or the bytes are no UTF-8.
    """
    try:
        return str(contents(path, most), "utf-8-sig", errors)
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text in UTF-8") from None


def sha256(data: bytes | memoryview) -> str:
    """The checksum by which a file is known, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


class Window(io.RawIOBase):
    """Bytes in memory as a file to read, without a copy."""

    def __init__(self, data: memoryview, most: int | None = None, pieces: int | None = None):
        """Opens it.

        Args:
            data: the bytes.
            most: bytes that one ``read`` may return; None: any number. Asking for more raises InputError.
            pieces: how often ``read`` may be called; None: any number. Asking more often raises InputError.
        """
        self.data, self.position, self.most, self.pieces = data, 0, most, pieces
        self._reads = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The position of the next byte to read."""
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position, which may lie beyond the end but not before the beginning, and returns it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: len(self.data)}[whence]
        self.position = start + offset
        if self.position < 0:
            raise ValueError(f"a position of {self.position}")
        return self.position

    def read(self, size: int = -1) -> bytes:
        """The bytes from the position on, as many as there are: nothing is allocated for those that are not."""
        self._reads += 1
        if self.pieces is not None and self._reads > self.pieces:
            raise InputError(f"is in more than {self.pieces:,} pieces; save it anew, in another form")
        end = len(self.data) if size < 0 else min(self.position + size, len(self.data))
        if self.most is not None and end - self.position > self.most:
            raise InputError(f"has a directory of {end - self.position:,} bytes, at most {self.most:,} are read")
        part = bytes(self.data[self.position : end])
        self.position += len(part)
        return part

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # its name is private
        """Fills a buffer from the position on and returns how many bytes there were."""
        part = self.data[self.position : self.position + len(buffer)]
        buffer[: len(part)] = part
        self.position += len(part)
        return len(part)
