"""Files that appear whole or not at all, and the errors of opening them in plain words."""

import os
import secrets
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
    """A binary file to read.

    Raises:
        InputError: there is none, it is a folder, or it may not be read.
    """
    try:
        file = Path(path).open("rb")  # noqa: SIM115, closed by the block below
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
