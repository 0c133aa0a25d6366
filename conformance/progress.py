"""What is shown while a command works: on a terminal only, and only for what takes over a second."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

_DELAY = 1.0  # seconds


class Bar:
    """The steps of one piece of work; shows nothing unless it was started."""

    def __init__(self, progress: "Progress | None", total: int | None):
        self._progress = progress
        self._task = progress.add_task("", total=total) if progress else None

    def __call__(self, text: str, done: int | None = None) -> None:
        """Says what is being worked on, and how many steps are done."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=text, completed=done)


@contextmanager
def busy(text: str, total: int | None = None) -> Iterator[Bar]:
    """A progress bar on stderr for the time of the block; pulsing where the number of steps is not known."""
    if not sys.stderr.isatty():
        yield Bar(None, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    bar = Bar(progress, total)
    bar(text)
    timer = Timer(_DELAY, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield bar
    finally:
        timer.cancel()
        progress.stop()
