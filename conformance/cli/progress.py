"""Progress bars for the command line: on a terminal, and only for work that takes longer than a second."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from conformance.cli.printing import say, shown, volume

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID


@contextmanager
def _bar(text: str, *columns: "ProgressColumn", **fields: Any) -> "Generator[tuple[Progress, TaskID]]":
    """A bar on stderr while the block runs, if it runs for long; gone afterwards."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from weights.hub.bar import started_late

    first = (TextColumn("{task.description}", markup=False), BarColumn())
    progress = Progress(*first, *columns, console=Console(stderr=True), transient=True)
    task = progress.add_task(text, **fields)
    with started_late(progress):
        yield progress, task


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
        if self._verbose:
            with _told(text):
                yield lambda _count: None
            return
        if volume() < 0 or not sys.stderr.isatty():
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
