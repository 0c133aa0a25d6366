"""A program of its own that ends commands when the process that tells it of them is gone, in whatever way.

It reads lines, "+123 mark" for a command that was started and "-123 mark" for one that has ended, until the other end
is closed. ``guard`` says what session and mark are, and ends commands by the same function.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from shutil import rmtree
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psutil import Process

MARK = "SENET_PROCESS"
"""The variable of the environment by which a command's descendants are known, in whatever session they are."""


def end(session: int, mark: str) -> None:
    """Kills what is left of a command."""
    with suppress(OSError):
        os.killpg(session, signal.SIGKILL)
    for _ in range(50):  # what is being forked meanwhile is met the next time
        left = list(_left(session, mark))
        if not left:
            return
        for process in left:
            with suppress(OSError):
                os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.01)


def _left(session: int, mark: str) -> "Iterator[Process]":
    import psutil  # which costs more than the program, and seldom is needed there

    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE and (
                os.getsid(pid) == session or process.environ().get(MARK) == mark
            ):
                yield process


def main(places: str, folder: str) -> None:
    """Reads to the end, then ends the commands that are left, and removes their temporary files.

    Args:
        places: where modules are found.
        folder: of the temporary files.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # what they end is for the other process to say
    commands: set[str] = set()
    for line in sys.stdin:
        (commands.add if line[0] == "+" else commands.discard)(line[1:])
    sys.path[:] = places.split(os.pathsep)
    for session, mark in map(str.split, commands):
        end(int(session), mark)
    rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
