"""What has been counted already, kept in a folder: a file for each process, only ever added to, a line for each batch.

The first line of a file says what is evaluated and how; a file of another evaluation is refused. A line is whole when
it ends: what a killed process left unfinished is dropped, and its batch is counted again. Batches are numbered, so that
no image is counted twice whichever processes were at work.
"""

import json
import os
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from conformance.evaluate.counting import Counted
from weights import limits
from weights.errors import InputError
from weights.storage import json_text
from weights.storage.contents import Window, contents
from weights.storage.whole import reading, reason

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_DAMAGED = "is a damaged journal of an evaluation; name another folder, or start anew with --fresh"
_FOREIGN = "is no journal of an evaluation; name another folder"
_BEGINS = b'{"journal":1,'

_LONGEST = 1e9  # seconds of a batch

Run = Mapping[str, Any]
"""What is evaluated and how, as plain data that JSON holds."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a journal: what is evaluated, what it is known by besides, and the batches that were counted."""

    file: Path
    run: Run
    origin: Run
    counted: tuple[Counted, ...]


def read(folder: Path) -> tuple[Shard, ...]:
    """The files of a journal, none where there is no folder. Files that have not even their first line are passed over.

    Raises:
        InputError: a file that cannot be read, or is none of a journal.
    """
    return tuple(shard for file in _files(folder) if (shard := _shard(file)))


def check_same(shards: Iterable[Shard], run: Run, but: Collection[str] = ()) -> None:
    """Whether all files of a journal are of one evaluation.

    Args:
        shards: the files.
        run: the evaluation.
        but: what of it is not compared, for it is not known yet.

    Raises:
        InputError: one is of another; what differs is named.
    """
    for shard in shards:
        for name in (name for name in dict.fromkeys((*run, *shard.run)) if name not in but):
            then, now = shard.run.get(name), run.get(name)
            if then != now:
                raise InputError(
                    f"{shard.file}: is of another evaluation: {name} was {_short(then)}, and is {_short(now)} now; "
                    "name another folder, or start anew with --fresh"
                )


def check_count(batches: int) -> None:
    """Whether a journal can hold so many batches, and be read again.

    Raises:
        InputError: it cannot.
    """
    if batches > limits.BATCHES:
        raise InputError(
            f"--journal: {batches:,} batches, at most {limits.BATCHES:,} are kept; take more photographs at a time "
            "with --batch"
        )


def batches(shards: Iterable[Shard]) -> dict[int, Counted]:
    """The batches of a journal by their numbers, each once."""
    found: dict[int, Counted] = {}
    for shard in shards:
        for counted in shard.counted:
            found.setdefault(counted.batch, counted)
    return dict(sorted(found.items()))


@contextmanager
def appending(folder: Path, rank: int, run: Run, origin: Run) -> Generator[Callable[[Counted], None]]:
    """Hands out what adds a batch to the file of a process; the folder and the file are made where there are none.

    Args:
        folder: of the journal.
        rank: of the process.
        run: what is evaluated. The files that are there have been compared with it.
        origin: what it is known by besides, which may differ from process to process.

    Raises:
        InputError: another process is writing the file, it is none of a journal, or it cannot be written.
    """
    file = folder / f"rank-{rank}.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0), 0o666)
    except OSError as error:
        raise InputError(f"{file}: cannot be written: {reason(error, file)}") from error
    try:
        _lock(descriptor, file)
        os.ftruncate(descriptor, _whole(file, contents(file, limits.JOURNAL)))

        def write(line: Run) -> None:
            text = memoryview(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            try:
                while text:  # less is written than was asked for where a disk is full
                    text = text[os.write(descriptor, text) :]
            except OSError as error:
                raise InputError(f"{file}: cannot be written: {reason(error, file)}") from error

        if not os.fstat(descriptor).st_size:
            write({"journal": 1, "run": run, "origin": origin})
        yield lambda counted: write(asdict(counted))
    finally:
        os.close(descriptor)


def remove(folder: Path) -> None:
    """Removes a journal's files, to start anew; what else the folder holds stays.

    Raises:
        InputError: one is none of a journal, another process is writing one, or it cannot be removed.
    """
    files = _files(folder)
    for file in files:
        with reading(file) as begun:
            _check_begun(file, begun.read(len(_BEGINS)))
    for file in files:
        try:
            descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            try:
                _lock(descriptor, file)
                file.unlink()
            finally:
                os.close(descriptor)
        except OSError as error:
            raise InputError(f"{file}: cannot be removed: {reason(error, file)}") from error


def _files(folder: Path) -> list[Path]:
    try:
        found = [path for path in folder.glob("rank-*.jsonl") if path.stem.removeprefix("rank-").isdecimal()]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {reason(error, folder)}") from error
    return sorted(found, key=lambda path: int(path.stem.removeprefix("rank-")))


def _lock(descriptor: int, file: Path) -> None:
    """Keeps other processes from writing an open file, where files can be locked.

    Raises:
        InputError: one is at it.
    """
    try:
        if fcntl:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"{file}: another process is writing it; wait until it has ended, or name another folder"
        ) from None
    except OSError:  # not on this file system
        pass


def _check_begun(file: Path, data: bytes | memoryview) -> None:
    """Whether a file begins as a journal's does, or is the beginning of such a beginning, as a kill may leave it."""
    first = bytes(data[: len(_BEGINS)])
    if first != _BEGINS[: len(first)]:
        raise InputError(f"{file}: {_FOREIGN}")


def _whole(file: Path, data: memoryview) -> int:
    """Bytes up to the end of the last line that has one.

    Raises:
        InputError: they are none of a journal.
    """
    _check_begun(file, data)
    return bytes(data).rfind(b"\n") + 1


def _shard(file: Path) -> Shard | None:
    data = contents(file, limits.JOURNAL)
    lines = iter(BufferedReader(Window(data[: _whole(file, data)])))
    first = next(lines, None)
    if first is None:
        return None
    try:
        header = json_text.parse(first)
    except InputError:
        header = None
    match header:
        case {"journal": 1, "run": dict(run), "origin": dict(origin)} if _is_run(run):
            return Shard(file, run, origin, tuple(_counted_in(file, lines, run)))
        case _:
            raise InputError(f"{file}: {_DAMAGED}")


def _is_run(run: Run) -> bool:
    """Whether it says what a result is told by."""
    sizes = all(type(run.get(name)) is int and run[name] > 0 for name in ("images", "batch"))
    return sizes and all(isinstance(run.get(name), str) for name in ("framework", "version", "dtype"))


def _counted_in(file: Path, lines: Iterable[bytes], run: Run) -> Iterable[Counted]:
    """The batches in the lines after the first one, each once."""
    found: dict[int, Counted] = {}
    for number, line in enumerate(lines, 2):
        if number > limits.BATCHES + 1:
            raise InputError(f"{file}: has more than {limits.BATCHES:,} lines")
        counted = _counted(_parsed(line))
        if counted is None or not _fits(counted, run):
            raise InputError(f"{file}: {_DAMAGED} (line {number:,})")
        found.setdefault(counted.batch, counted)
    return found.values()


def _parsed(line: bytes) -> object:
    """The value of a line, which the file's size bounds; None if it is no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _counted(line: object) -> Counted | None:
    match line:
        case {
            "batch": int(batch),
            "places": list(places),
            "elsewhere": [int(of_network), int(of_labels)],
            "skipped": list(skipped),
            "seconds": float(seconds),
        } if all(map(_is_count, (batch, of_network, of_labels, *places))) and all(map(_is_pair_of_texts, skipped)):
            return Counted(
                batch=batch,
                places=tuple(places),
                elsewhere=(of_network, of_labels),
                skipped=tuple((name, why) for name, why in skipped),
                seconds=seconds,
            )
        case _:
            return None


def _fits(counted: Counted, run: Run) -> bool:
    """Whether a batch is one of an evaluation: of as many images as it has under its number."""
    size = min(run["batch"], run["images"] - counted.batch * run["batch"])
    return (
        len(counted.places) + len(counted.skipped) == size
        and all(count <= size for count in counted.elsewhere)
        and 0 < counted.seconds < _LONGEST
    )


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_pair_of_texts(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
