"""What is in the making: locked while its maker lives, found and removed by the next run when it does not.

A killed process cannot clean up. What it leaves is known by its name and by a lock, which ends with the process and is
seen from every container that has the disk; the number of a process is another one's after a while, or elsewhere.
"""

import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from weights.errors import InputError

try:
    import fcntl
except ImportError:  # Windows; nothing is locked there, and nothing taken for a leftover
    fcntl = None

_LOCK = ".senet-lock"  # in a folder
_LONGEST = 200  # bytes of the target's name in that of its part: file systems take 255 in all
_AFTERWARDS = 1.0  # seconds in which threads of a library that has failed may still write into a folder
_PATIENCE = 10.0  # seconds to wait for a lock, which is held for moments; anybody could hold one for ever

_making: dict[Path, Path] = {}
"""What this process has in the making, each with its target."""


def part_file(target: Path) -> tuple[Path, BinaryIO]:
    """A new file beside its target, locked, to write and to read back; those that were left there are removed.

    Raises:
        OSError: none can be made.
    """
    before, after = _around(target)
    for left in _left(target.parent, before, after):
        with suppress(OSError), _abandoned(left):
            left.unlink()
    while True:
        path = _new(target.parent, before, after)
        _making[path] = target
        file = path.open("x+b")
        if _is_ours(file):
            return path, file
        file.close()


def discard(part: Path) -> None:
    """Removes a file of ``part_file``, if it has not come to its target."""
    with suppress(OSError):
        part.unlink(missing_ok=True)
    _making.pop(part, None)


@contextmanager
def part_folder(target: Path) -> Generator[Path]:
    """A new folder beside a target that is a folder too; gone when the block ends. Those left there are removed.

    What stands in it under the target's own name then, in this one or in one that was left, is the target, moved out of
    the way for a new one that did not come: it is put back.

    Raises:
        OSError: none can be made.
    """
    before, after = _around(target)
    for left in _left(target.parent, before, after):
        with suppress(OSError):
            left.rmdir()  # if it is empty: killed before it had a lock, or about to have one, and then made again
        with suppress(OSError), _abandoned(left / _LOCK):
            _remove_folder(left, target)
    path, lock = _folder(target.parent, before, after)
    _making[path] = target
    try:
        yield path
    finally:
        lock.close()  # Windows removes no open files
        _remove_folder(path, target)
        _making.pop(path, None)


@contextmanager
def scratch() -> Generator[Path]:
    """A new folder among the temporary files; gone when the block ends. Those that were left there are removed.

    Raises:
        InputError: none can be made.
    """
    with ExitStack() as made:
        try:
            folder = made.enter_context(part_folder(Path(tempfile.gettempdir()) / "senet"))
        except OSError as error:
            said = (error.strerror or str(error)).lower()
            raise InputError(f"no temporary folder can be made: {said}; name a place in TMPDIR") from error
        yield folder


def abandon() -> None:
    """Removes all that this process has in the making, where it ends without going back through its blocks."""
    for path, target in list(_making.items()):
        if path.is_dir():
            _remove_folder(path, target)
        else:
            discard(path)


@contextmanager
def alone_in(folder: Path, patience: float = _PATIENCE) -> Generator[bool]:
    """While the block runs, no other process is in such a block of the same folder, where folders can be locked.

    Args:
        folder: that is there already.
        patience: how many seconds to wait for another process; then, too, the block runs.

    Returns:
        Whether this process is alone.
    """
    descriptor = None
    with suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor is not None and _lock(descriptor, patience)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _folder(parent: Path, before: str, after: str) -> tuple[Path, BinaryIO]:
    """A new folder, and the file in it that is locked."""
    while True:
        path = _new(parent, before, after)
        path.mkdir(mode=0o700)
        with suppress(FileNotFoundError):
            lock = (path / _LOCK).open("xb")
            if _is_ours(lock):
                return path, lock
            lock.close()


def _remove_folder(path: Path, target: Path) -> None:
    with suppress(OSError):
        if (path / target.name).exists() and not target.exists():
            (path / target.name).rename(target)
    if (path / target.name).exists() and not target.exists():
        return
    last = time.monotonic() + _AFTERWARDS
    while path.exists():
        shutil.rmtree(path, ignore_errors=True)
        if time.monotonic() > last:
            return


def _around(target: Path) -> tuple[str, str]:
    """What the name of a target's part begins and ends with."""
    name = os.fsencode(target.name)[:_LONGEST].decode(sys.getfilesystemencoding(), "ignore")
    return f".{name}.", ".part"


def _new(parent: Path, before: str, after: str) -> Path:
    return parent / f"{before}{secrets.token_hex(8)}{after}"


def _left(parent: Path, before: str, after: str) -> list[Path]:
    """What has such a name, whether or not somebody is at it."""
    name = re.compile(f"{re.escape(before)}[0-9a-f]{{16}}{re.escape(after)}")
    try:
        return [found for found in parent.iterdir() if name.fullmatch(found.name)]
    except OSError:  # a folder may be written but not listed
        return []


@contextmanager
def _abandoned(path: Path) -> Generator[None]:
    """Runs the block with the lock of a file that nobody else has.

    Raises:
        OSError: somebody has it, or files cannot be locked, or it is none.
    """
    # Where everybody may write, anything could stand under the name.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW) if fcntl else -1
    try:
        if not fcntl or not stat.S_ISREG(os.fstat(descriptor).st_mode) or not _lock(descriptor, 0):
            raise OSError(f"{path} is not known to be abandoned")
        yield
    finally:
        if fcntl:
            os.close(descriptor)


def _is_ours(file: BinaryIO) -> bool:
    """Locks a new file; whether it still stands, for it may have been taken for a leftover before."""
    _lock(file.fileno(), _PATIENCE)
    return not fcntl or os.fstat(file.fileno()).st_nlink > 0


def _lock(descriptor: int, patience: float) -> bool:
    """Whether this process has the lock of an open file now; for some seconds another one's end is waited for."""
    end = time.monotonic() + patience
    while fcntl:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.01)
        except OSError:  # not on this file system
            return False
    return False
