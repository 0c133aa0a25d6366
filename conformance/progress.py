"""What is shown while a command works: on a terminal only, and only for what takes over a second."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_DELAY = 1.0  # seconds

_shown: "tuple[Progress, TaskID] | None" = None  # the terminal is one, so the bar that it shows is too


@contextmanager
def busy(text: str, total: int | None = None) -> Iterator[None]:
    """A progress bar on stderr for the time of the block.

    Args:
        total: how many ``step`` there will be in the block; where that is not known, the bar pulses.
    """
    global _shown
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    _shown = progress, progress.add_task(text, total=total)
    timer = Timer(_DELAY, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        _shown = None
        timer.cancel()
        progress.stop()


@contextmanager
def step(text: str) -> Iterator[None]:
    """One step of the work that ``busy`` shows: a line of its own below it while the block runs, in any thread."""
    if _shown is None:
        yield
        return
    progress, whole = _shown
    part = progress.add_task(f"  {text}", total=None)
    try:
        yield
    finally:
        progress.remove_task(part)
        progress.advance(whole)
