"""Progress bars for the command line: on a terminal, and only for work that takes longer than a second."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

from conformance.progress import Step, no_step

_DELAY = 1.0  # seconds


@contextmanager
def busy(text: str, total: int | None = None, /) -> Iterator[Step]:
    """A progress bar on stderr while the block runs; yields what shows a step of the work on a line of its own.

    Args:
        text: stands beside the bar.
        total: the number of steps; None: it is not known, and the bar pulses.
    """
    if not sys.stderr.isatty():
        yield no_step
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    whole = progress.add_task(text, total=total)

    @contextmanager
    def step(text: str, /) -> Iterator[None]:
        part = progress.add_task(f"  {text}", total=None)
        try:
            yield
        finally:
            progress.remove_task(part)
            progress.advance(whole)

    timer = Timer(_DELAY, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield step
    finally:
        timer.cancel()
        progress.stop()
