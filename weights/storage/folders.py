"""A folder in the place of another one, in one step where the system has it."""

import ctypes
import errno
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

_HERE = -100  # AT_FDCWD: paths are as they are everywhere else
_EXCHANGE = 2  # RENAME_EXCHANGE


def put(new: Path, target: Path, aside: Path) -> None:
    """Moves a folder to ``target``.

    Args:
        new: the folder, on the same disk.
        target: where it goes; a folder that stands there is moved out of the way, to one of the two other places.
        aside: where it is moved in systems that cannot exchange two folders. If the process ends then, or fails, it
            stays there, and nothing stands at ``target``: see ``parts.part_folder``.

    Raises:
        OSError: it cannot be moved.
    """
    with suppress(OSError):  # nothing may stand there, or another's
        shutil.copymode(target, new)
    while True:
        try:
            new.rename(target)  # nothing stands there, or an empty folder
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        with suppress(FileNotFoundError):  # another process took away what stood there
            if not _exchanged(new, target):
                target.rename(aside)
                new.rename(target)
            return


def _exchanged(one: Path, other: Path) -> bool:
    """Exchanges two folders in one step; False where this system or disk cannot.

    Raises:
        OSError: they cannot be moved.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    found = ctypes.get_errno()
    if found in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(found, os.strerror(found), str(other))
