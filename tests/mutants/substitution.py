"""Puts functions with bugs in the place of others for a while, and insists that they are used."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

from .mutant import Substitute


class StaleError(LookupError):
    """A substitute has nothing to replace any more, or is never called."""


@contextmanager
def substituted(substitutes: Iterable[Substitute]) -> Generator[None, None, None]:
    """Runs the block with the substitutes; afterwards everything is as before.

    Raises:
        StaleError: the name does not exist, or the block never called the substitute.
    """
    substitutes = tuple(substitutes)
    calls: Counter[str] = Counter()
    with ExitStack() as stack:
        for s in substitutes:
            function = _counted(s.function, calls, _place(s))
            if isinstance(s.owner, dict):
                if s.name not in s.owner:
                    raise StaleError(f"{_place(s)} does not exist")
                stack.enter_context(patch.dict(s.owner, {s.name: function}))
            else:
                if not hasattr(s.owner, s.name):
                    raise StaleError(f"{_place(s)} does not exist")
                stack.enter_context(patch.object(s.owner, s.name, function))
        yield
    unused = [_place(s) for s in substitutes if not calls[_place(s)]]
    if unused:
        raise StaleError(f"nothing called the substitute of {', '.join(unused)}")


def _place(s: Substitute) -> str:
    owner = "a table" if isinstance(s.owner, dict) else s.owner.__name__
    return f"{owner}.{s.name}"


def _counted(function: Callable[..., Any], calls: Counter[str], place: str) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        calls[place] += 1
        return function(*args, **kwargs)

    return wrapper
