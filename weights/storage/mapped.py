"""Files mapped into memory, read-only, and parts of them as files of their own."""

import hashlib
import io
import mmap
import os
from pathlib import Path

from weights.errors import InputError
from weights.storage.whole import reading


def mapped(path: str | Path) -> memoryview:
    """The bytes of a file, which stay on disk until they are touched; an empty file has none.

    Raises:
        InputError: there is no file, it is a folder, it may not be read, or there is no room in the address space.
    """
    with reading(path) as file:
        if not os.fstat(file.fileno()).st_size:  # cannot be mapped
            return memoryview(b"")
        try:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be mapped into memory: {error}") from error


def sha256(data: bytes | memoryview) -> str:
    """The checksum by which a file is known, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


class Window(io.RawIOBase):
    """Bytes in memory as a file to read, without a copy."""

    def __init__(self, data: memoryview):
        self.data, self.position = data, 0

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

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # its name is private
        """Fills a buffer from the position on and returns how many bytes there were."""
        part = self.data[self.position : self.position + len(buffer)]
        buffer[: len(part)] = part
        self.position += len(part)
        return len(part)
