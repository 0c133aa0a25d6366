"""Progress bars for the command line: on a terminal, and only for work that takes longer than a second."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from conformance.cli.printing import say, shown, volume

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bars:
    """Shows on stderr what it is told: a ``conformance.judge.progress.Progress``. One bar at a time, with its steps."""

    def __init__(self) -> None:
        self._shown: tuple[Progress, TaskID] | None = None
        self._verbose = volume() > 0  # asked here, for steps run in threads of their own

    @contextmanager
    def busy(self, text: str, total: int | None = None) -> Generator[None]:
        """A bar while the block runs.

        Args:
            text: stands beside the bar.
            total: the number of steps; None: it is not known, and the bar pulses.
        """
        if self._verbose:
            with _told(text):
                yield
            return
        if volume() < 0 or not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        from weights.hub.bar import started_late

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._shown = progress, progress.add_task(shown(text), total=total)
        try:
            with started_late(progress):
                yield
        finally:
            self._shown = None

    @contextmanager
    def step(self, text: str) -> Generator[None]:
        """One step of the work: a line of its own below the bar while the block runs, in any thread."""
        if self._verbose:
            with _told(f"  {text}"):
                yield
            return
        if self._shown is None:
            yield
            return
        progress, whole = self._shown
        part = progress.add_task(f"  {shown(text)}", total=None)
        try:
            yield
        finally:
            progress.remove_task(part)
            progress.advance(whole)


@contextmanager
def _told(text: str) -> Generator[None]:
    """A line when the block ends, with its seconds."""
    start = time.perf_counter()
    try:
        yield
    finally:
        say(f"{text}: {time.perf_counter() - start:.1f} s", err=True)
