"""Progress bars: on a terminal, on stderr, and only for work that takes longer than a second."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Timer
from typing import TYPE_CHECKING

from weights.errors import in_a_line

if TYPE_CHECKING:
    from rich.progress import Progress

_DELAY = 1.0  # seconds

Told = Callable[[int, int | None], None]
"""What a download tells, again and again: bytes that have come, and bytes that there are, if that is known."""


_SILENT = ContextVar("_SILENT", default=False)


@contextmanager
def silent() -> Generator[None]:
    """No bar is shown while the block runs."""
    before = _SILENT.set(True)
    try:
        yield
    finally:
        _SILENT.reset(before)


@contextmanager
def started_late(progress: "Progress") -> Generator[None]:
    """Shows rich's progress while the block runs, if it runs long enough."""
    timer = Timer(_DELAY, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        progress.stop()


@contextmanager
def bytes_coming(text: str) -> Generator[Told]:
    """A bar of bytes while the block runs; it pulses until it is told of the first ones.

    Args:
        text: stands beside the bar.

    Returns:
        What the bar is told by.
    """
    if _SILENT.get() or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task = progress.add_task(in_a_line(text), total=None)
    with started_late(progress):
        yield lambda done, total: progress.update(task, completed=done, total=total)
