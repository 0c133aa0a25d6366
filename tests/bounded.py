"""Reads files in a process of its own and says what each cost: ``python bounded.py READER=FILE...``, JSON lines.

What ``docs/robustness.md`` promises of any file at all: a result or an ``InputError``, within ``seconds`` of a plain
read and ``MEMORY`` bytes above the file's size.
"""

import gc
import json
import os
import resource
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

MEMORY = 300e6  # bytes above the file's size
TIMES, SECONDS = 5, 2  # of a plain read, and beside them
ROOM = 1 << 30  # bytes of address space above what there is, the file's size and this


@dataclass(frozen=True, slots=True)
class Cost:
    """Of reading one file."""

    path: str
    outcome: str  # "read", "refused" or what was raised instead
    message: str
    seconds: float  # of the processor, which other programs do not slow down
    plain: float  # seconds that reading its bytes took
    memory: int  # bytes resident above those before
    size: int

    @property
    def within(self) -> bool:
        """Whether this is what is promised."""
        return (
            self.outcome in ("read", "refused")
            and "\n" not in self.message.split("\n  ")[0]
            and self.seconds <= TIMES * self.plain + SECONDS
            and self.memory <= self.size + MEMORY
        )


def _status(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def _plain(path: Path) -> tuple[float, int]:
    """How long reading all bytes takes, and how many there are."""
    start, size = time.process_time(), 0
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    for file in files:
        with file.open("rb") as opened:
            while data := opened.read(1 << 20):
                size += len(data)
    return time.process_time() - start, size


def _read(reader: str, path: Path) -> None:
    from crafted import READERS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        READERS[reader].read(path)


def cost(reader: str, path: Path) -> Cost:
    """Reads a file and measures."""
    from weights import InputError

    plain, size = _plain(path)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
    before = _status("VmRSS")
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + size + ROOM, resource.RLIM_INFINITY))
    start = time.process_time()
    outcome, message = "read", ""
    try:
        _read(reader, path)
    except InputError as error:
        outcome, message = "refused", str(error)
    except BaseException as error:
        outcome, message = type(error).__name__, str(error)
    seconds = time.process_time() - start
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return Cost(str(path), outcome, message[:2000], seconds, plain, _status("VmHWM") - before, size)


def main(*files: str) -> None:
    """The first file of each reader is sound: read once without limits, so that all is imported before it counts."""
    known: set[str] = set()
    for file in files:
        reader, _, path = file.partition("=")
        if reader not in known:
            known.add(reader)
            _read(reader, Path(path))
        print(json.dumps(asdict(cost(reader, Path(path)))), flush=True)


if __name__ == "__main__":
    sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    main(*sys.argv[1:])
