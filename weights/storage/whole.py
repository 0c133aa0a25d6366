"""Files that appear whole or not at all, and the errors of opening them in plain words."""

import errno
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from weights.errors import InputError
from weights.storage.folders import put
from weights.storage.parts import alone_in, discard, part_file, part_folder


@contextmanager
def replacing(path: str | Path) -> Generator[BinaryIO]:
    """A binary file to write (and read back), which comes to ``path`` when the block ends.

    A regular file is replaced whole, and keeps its mode and, where that is allowed, its owner; a link stays one, and
    the file that it names is replaced. A FIFO, a character device or ``/dev/stdout`` stays what it is: the whole file
    is written through it. When the block raises, nothing is written or left behind, and what stood at ``path`` still
    stands there.

    Raises:
        InputError: the place cannot be written (no such folder, no permission, no space, a folder of that name, a link
            to nowhere).
        BrokenPipeError: the reader of a FIFO or of stdout has gone.
    """
    with together(path) as (file,):
        yield file


@contextmanager
def together(*paths: str | Path) -> Generator[tuple[BinaryIO, ...]]:
    """The same for several files that belong together: once all are written they come in the order given.

    Between one and the next the process can be killed; the earlier ones have to tell what belongs to them. Other
    processes that write together in the same folder wait.
    """
    with ExitStack() as made:
        try:
            outputs = [made.enter_context(closing(_output(path))) for path in paths]
            yield tuple(output.file for output in outputs)
            if len(outputs) > 1:
                made.enter_context(alone_in(Path(os.path.realpath(paths[0])).parent))
            for output in outputs:
                output.come()
        except BrokenPipeError:
            raise
        except OSError as error:
            parent = Path(os.path.realpath(paths[0])).parent
            named = " and ".join(map(str, paths))
            raise InputError(f"{named}: cannot be written: {reason(error, parent)}") from error


@contextmanager
def replacing_folder(path: Path, is_one: Callable[[Path], bool], what: str) -> Generator[Path]:
    """The place of a new folder, which the block makes there, and which comes to ``path`` when the block ends.

    Another one of its kind is replaced in one step where the system has it; when the block raises, it still stands.

    Args:
        path: where it comes to.
        is_one: whether a folder is one of the kind.
        what: the kind, for people.

    Raises:
        InputError: the place cannot be written, or something else stands there.
    """
    if (path.exists() or path.is_symlink()) and not is_one(path):
        raise InputError(f"{path}: stands already and is no {what}; remove it or choose another name")
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():  # libraries would make it
        raise InputError(f"{path}: cannot be written: there is no {target.parent}")
    try:
        with part_folder(target) as part:  # temporary folders of the library that writes are in it too
            yield part / "new"
            put(part / "new", target, aside=part / target.name)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {reason(error, target.parent)}") from error


def is_stdout(path: str | Path) -> bool:
    """Whether a path, such as ``/dev/stdout``, stands for this process's standard output."""
    return _descriptor(path) == 1


def check_place(path: str | Path) -> None:
    """Whether ``replacing`` could write to a path, as far as that can be told before anything is made.

    Raises:
        InputError: it could not.
    """
    if _descriptor(path) is not None:
        return
    parent = Path(os.path.realpath(path)).parent
    try:
        standing = _standing(Path(path))
        _check_writable(Path(path) if standing and _is_stream(standing) else parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {reason(error, parent)}") from error


def check_folder(path: Path) -> None:
    """The same of a folder in which files are made, itself and its parents too where there are none.

    Raises:
        InputError: none could be made.
    """
    needed = next(place for place in (path, *path.parents) if os.path.lexists(place))
    try:
        if not stat.S_ISDIR(needed.stat().st_mode):
            raise InputError(f"{path}: cannot be written: {needed} is no folder; name a folder")
        _check_writable(needed)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {reason(error, needed)}") from error


def _check_writable(place: Path) -> None:
    is_folder = stat.S_ISDIR(place.stat().st_mode)
    if not os.access(place, os.W_OK | os.X_OK if is_folder else os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


class _Replacement:
    """A part beside the target, renamed to it."""

    def __init__(self, target: Path, standing: os.stat_result | None):
        self._target = target
        self._part, self.file = part_file(target)
        if standing:
            with suppress(OSError, AttributeError):  # Windows has no owners; elsewhere only root gives files away
                os.fchown(self.file.fileno(), standing.st_uid, standing.st_gid)
            with suppress(OSError):
                self._part.chmod(stat.S_IMODE(standing.st_mode))

    def come(self) -> None:
        self.file.flush()
        if os.name == "nt":
            self.file.close()  # open files are not renamed there; elsewhere the lock has to hold until it is done
        self._part.replace(self._target)

    def close(self) -> None:
        with suppress(OSError):  # bytes that found no room would be written once more
            self.file.close()
        discard(self._part)


class _Stream:
    """A FIFO, a device or an open descriptor, which gets the file once it is whole; formats want to go back in it."""

    def __init__(self, path: str | Path, descriptor: int | None):
        self._path, self._descriptor = path, descriptor
        try:
            self.file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115, closed below
        except OSError as error:
            raise InputError(f"{path}: no temporary file can be made; name a place in TMPDIR ({error})") from error

    def come(self) -> None:
        self.file.seek(0)
        if self._descriptor == 1:
            sys.stdout.flush()
        opened = os.open(self._path, os.O_WRONLY) if self._descriptor is None else os.dup(self._descriptor)
        with os.fdopen(opened, "wb") as out:
            shutil.copyfileobj(self.file, out, 1 << 20)

    def close(self) -> None:
        self.file.close()


def _output(path: str | Path) -> _Replacement | _Stream:
    """What is written in the place of what stands at a path now."""
    descriptor = _descriptor(path)
    if descriptor is not None:
        return _Stream(path, descriptor)
    target = Path(path)
    standing = _standing(target)
    if standing is None:
        return _Replacement(target, None)
    if _is_stream(standing):
        return _Stream(path, None)
    return _Replacement(Path(os.path.realpath(path)), standing)


def _standing(path: Path) -> os.stat_result | None:
    """What stands where a file is to be written; None: nothing.

    Raises:
        InputError: something that is not replaced by a file, nor written through.
        OSError: it cannot be told.
    """
    try:
        standing = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            nowhere = f"it is a link to {path.readlink()}, which is not there"
            raise InputError(f"{path}: cannot be written: {nowhere}") from None
        return None
    if _is_stream(standing):
        return standing
    kind = stat.S_IFMT(standing.st_mode)
    if kind != stat.S_IFREG:
        others = {stat.S_IFDIR: "a folder", stat.S_IFBLK: "a block device", stat.S_IFSOCK: "a socket"}
        raise InputError(f"{path}: cannot be written: it is {others.get(kind, 'no file')}; name a file")
    with suppress(OSError):  # stdout may be closed
        if os.path.samestat(standing, os.fstat(1)):
            raise InputError(f"{path}: cannot be written: standard output goes there already; name another file")
    return standing


def _is_stream(standing: os.stat_result) -> bool:
    return stat.S_IFMT(standing.st_mode) in (stat.S_IFIFO, stat.S_IFCHR)


def _descriptor(path: str | Path) -> int | None:
    """The open descriptor of this process that a path stands for, as ``/dev/stdout`` does by links; None of others."""
    link = Path(path)
    for _ in range(40):  # as many links as Linux follows
        if link.name.isdecimal() and os.path.realpath(link.parent) in ("/dev/fd", f"/proc/{os.getpid()}/fd"):
            return int(link.name)
        if not link.is_symlink():
            return None
        link = link.parent / link.readlink()
    return None


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
