"""Files that appear whole or not at all, and the errors of opening them in plain words."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from weights.errors import InputError


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file to write, beside ``path`` until the block ends and in its place after.

    When the block raises, nothing is left behind and what stood at ``path`` still stands there.

    Raises:
        InputError: the place cannot be written (no such folder, no permission, no space, a folder of that name).
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: cannot be written: it is a folder; name a file")
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(temporary, _mode(path))
        os.replace(temporary, path)
    except OSError as error:
        _remove(temporary)
        raise InputError(f"{path}: cannot be written: {reason(error, path.parent)}") from error
    except BaseException:
        _remove(temporary)
        raise


@contextmanager
def reading(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file to read.

    Raises:
        InputError: there is none, it is a folder, or it may not be read.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115, closed by the block below
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error, path)}") from error
    with file:
        yield file


def reason(error: OSError, path: str | Path) -> str:
    """What an OSError says about ``path``, in words a user can act on."""
    if isinstance(error, FileNotFoundError):
        return f"there is no {path}"
    if isinstance(error, IsADirectoryError):
        return "it is a folder; name a file"
    if isinstance(error, PermissionError):
        return f"no permission for {path}"
    return (error.strerror or str(error)).lower()


def _mode(path: Path) -> int:
    """The permissions of the file to replace, otherwise those that a new file gets."""
    with suppress(OSError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _remove(temporary: str | None) -> None:
    if temporary:
        with suppress(OSError):
            os.unlink(temporary)
