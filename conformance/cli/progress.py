"""Progress bars for the command line: on a terminal, and only for work that takes longer than a second."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING, Any

from conformance.cli.printing import shown

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

_DELAY = 1.0  # seconds


@contextmanager
def _bar(text: str, *columns: "ProgressColumn", **fields: Any) -> "Generator[tuple[Progress, TaskID]]":
    """A bar on stderr while the block runs, if it runs for long; gone afterwards."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    first = (TextColumn("{task.description}", markup=False), BarColumn())
    progress = Progress(*first, *columns, console=Console(stderr=True), transient=True)
    task = progress.add_task(text, **fields)
    timer = Timer(_DELAY, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield progress, task
    finally:
        timer.cancel()
        progress.stop()


class Bars:
    """Shows on stderr what it is told: a ``conformance.judge.progress.Progress``. One bar at a time, with its steps."""

    def __init__(self) -> None:
        self._shown: tuple[Progress, TaskID] | None = None

    @contextmanager
    def busy(self, text: str, total: int | None = None) -> Generator[None]:
        """A bar while the block runs.

        Args:
            text: stands beside the bar.
            total: the number of steps; None: it is not known, and the bar pulses.
        """
        if not sys.stderr.isatty():
            yield
            return
        from rich.progress import TimeElapsedColumn

        with _bar(shown(text), TimeElapsedColumn(), total=total) as (progress, task):
            self._shown = progress, task
            try:
                yield
            finally:
                self._shown = None

    @contextmanager
    def counting(self, text: str, total: int, done: int = 0) -> Generator[Callable[[int], None]]:
        """A bar over images while the block runs, with how many come in a second and when it will end.

        Args:
            text: stands beside the bar.
            total: the number of images.
            done: how many of them there are at first.

        Yields:
            What is told how many more there are.
        """
        if not sys.stderr.isatty():
            yield lambda _count: None
            return
        from rich.progress import MofNCompleteColumn, TextColumn, TimeRemainingColumn

        rate = TextColumn("{task.fields[rate]}", markup=False)
        columns = (MofNCompleteColumn(), rate, TimeRemainingColumn())
        with _bar(shown(text), *columns, total=total, completed=done, rate="") as (progress, task):
            start, new = time.monotonic(), 0

            def advance(count: int) -> None:
                nonlocal new
                new += count
                progress.update(task, advance=count, rate=f"{new / (time.monotonic() - start):.3g} images/s")

            yield advance

    @contextmanager
    def step(self, text: str) -> Generator[None]:
        """One step of the work: a line of its own below the bar while the block runs, in any thread."""
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
