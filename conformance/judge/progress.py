"""Where the suite says what it is doing; what becomes of that is the caller's business."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Progress(Protocol):
    """Two context managers, each for as long as its block runs."""

    def busy(self, text: str, total: int | None = None) -> AbstractContextManager[None]:
        """A part of the work, with the number of steps in it, where that is known."""
        ...

    def step(self, text: str) -> AbstractContextManager[None]:
        """One step of that part; steps run in several threads at a time."""
        ...


class Silent:
    """Tells nobody."""

    def busy(self, text: str, total: int | None = None) -> AbstractContextManager[None]:
        """Nothing."""
        del text, total
        return nullcontext()

    def step(self, text: str) -> AbstractContextManager[None]:
        """Nothing."""
        del text
        return nullcontext()


SILENT = Silent()
