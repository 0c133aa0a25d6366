"""Files that appear whole or not at all, and the errors of opening them in plain words."""

import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from weights.errors import InputError


@contextmanager
def replacing(path: str | Path) -> Generator[BinaryIO]:
    """A binary file to write (and read back), beside ``path`` until the block ends and in its place after.

    When the block raises, nothing is left behind and what stood at ``path`` still stands there.

    Raises:
        InputError: the place cannot be written (no such folder, no permission, no space, a folder of that name).
    """
    target = Path(os.path.realpath(path))  # a link stays one
    if target.is_dir():
        raise InputError(f"{path}: cannot be written: it is a folder; name a file")
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("x+b") as file:
            yield file
        temporary.replace(target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise InputError(f"{path}: cannot be written: {reason(error, target.parent)}") from error
        raise


@contextmanager
def reading(path: str | Path) -> Generator[BinaryIO]:
    """A regular file to read. Nothing else is opened: a FIFO would wait for a writer, a device may do anything.

    Raises:
        InputError: there is none, it is a folder, a FIFO, a socket or a device, or it may not be read.
    """
    try:
        _refuse_special(path, Path(path).stat().st_mode)
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115, closed by the block below
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error, path)}") from error
    except ValueError as error:  # a name with a zero byte
        raise InputError(f"{path}: cannot be read: {error}") from None
    with file:
        _refuse_special(path, os.fstat(file.fileno()).st_mode)  # what stood there may have been replaced
        yield file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # which Windows has not


_SPECIAL = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _refuse_special(path: str | Path, mode: int) -> None:
    if what := _SPECIAL.get(stat.S_IFMT(mode)):
        raise InputError(f"{path}: cannot be read: it is {what}; name a file")


def reason(error: OSError, path: str | Path) -> str:
    """What an OSError says about ``path``, in words a user can act on."""
    if isinstance(error, FileNotFoundError):
        return f"there is no {path}"
    if isinstance(error, IsADirectoryError):
        return "it is a folder; name a file"
    if isinstance(error, PermissionError):
        return f"no permission for {path}"
    return (error.strerror or str(error)).lower()
