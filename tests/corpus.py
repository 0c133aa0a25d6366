"""Files that stood for a kind of damage once, by reader: ``corpus/READER/NAME``; each below 20 KB."""

import io
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from crafted import READERS

CORPUS = Path(__file__).parent / "corpus"
LARGEST = 20_000  # bytes of a file


def files(reader: str) -> list[Path]:
    """The files for a reader."""
    return sorted((CORPUS / reader).glob("*"))


def placed(reader: str, data: bytes, folder: Path) -> Path:
    """Puts a file of the corpus where a reader can read it: a folder is kept as a zip archive of its files."""
    path = folder / f"x{READERS[reader].suffix}"
    if reader != "orbax":
        path.write_bytes(data)
        return path
    shutil.rmtree(path, ignore_errors=True)
    for name, part in parts_of_zip(data) or ():
        place = path / os.path.normpath(f"/{name}")[1:]
        if not place.is_relative_to(path) or len(str(place)) > 500 or "\0" in name:
            continue
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(part)
        except OSError:  # a name that is a folder already, or too long
            continue
    path.mkdir(exist_ok=True)
    return path


# Containers, taken apart and put together again, so that damage gets past their checksums.


def parts_of_zip(data: bytes) -> list[tuple[str, bytes]] | None:
    """The members of a zip archive; None of anything else."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [(info.filename, archive.read(info)) for info in archive.infolist() if info.file_size < LARGEST * 20]
    except Exception:
        return None


def zipped(parts: Sequence[tuple[str, bytes]]) -> bytes:
    """The archive of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, part in dict(parts).items():
            archive.writestr(zipfile.ZipInfo(name), part)
    return buffer.getvalue()


def parts_of_folder(path: Path) -> list[tuple[str, bytes]]:
    """The files in a folder, by their names below it."""
    return [(str(file.relative_to(path)), file.read_bytes()) for file in sorted(path.rglob("*")) if file.is_file()]


def parts_of_safetensors(data: bytes) -> tuple[bytes, bytes]:
    """Header and values."""
    size = int.from_bytes(data[:8], "little")
    return data[8 : 8 + min(size, len(data))], data[8 + min(size, len(data)) :]


def safetensors(header: bytes, values: bytes) -> bytes:
    """The file of both."""
    return struct.pack("<Q", len(header)) + header + values


def with_checksums(png: bytes) -> bytes:
    """A PNG whose chunks have the checksums of their contents."""
    out, at = bytearray(png[:8]), 8
    while at + 12 <= len(png):
        size = min(int.from_bytes(png[at : at + 4], "big"), len(png) - at - 12)
        body = png[at + 4 : at + 8 + size]
        out += struct.pack(">I", size) + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + size
    return bytes(out)
