"""How work reports its progress: the library calls a ``Step``, a command line or a test decides what is shown."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Step(Protocol):
    """One step of a piece of work, under way while the block of ``with step("torch"):`` runs, in any thread."""

    def __call__(self, text: str, /) -> AbstractContextManager[object]: ...


class Stage(Protocol):
    """A piece of work in so many steps: ``with stage("Comparing in float64", 5) as step: ...``."""

    def __call__(self, text: str, total: int | None = None, /) -> AbstractContextManager[Step]: ...


def no_step(_text: str, /) -> AbstractContextManager[object]:
    """A step that nobody is shown."""
    return nullcontext()


def no_stage(_text: str, _total: int | None = None, /) -> AbstractContextManager[Step]:
    """A piece of work that nobody is shown."""
    return nullcontext(no_step)
