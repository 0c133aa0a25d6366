"""How a command ends early: signals that leave time to clean up, and their exit codes."""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_GRACE = 3.0  # seconds for cleaning up; then the process ends wherever it is, and the next run removes what is left


class EndedError(KeyboardInterrupt):
    """The process was told to end, which passes through everything that handles errors, as an interrupt does.

    Attributes:
        code: the exit code, 128 and the number of the signal.
        words: what happened.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.code = 128 + number
        self.words = "interrupted" if number == signal.SIGINT else "terminated"


@contextmanager
def signals_as_errors() -> Generator[None]:
    """While the block runs, SIGINT, SIGTERM and SIGHUP raise ``EndedError`` in it, once; later ones are ignored."""
    numbers = [n for name in ("SIGINT", "SIGTERM", "SIGHUP") if (n := getattr(signal, name, None)) is not None]

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        for other in before:
            signal.signal(other, signal.SIG_IGN)  # a second one would cut the cleaning short
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, lambda *_: os._exit(128 + number))
            signal.setitimer(signal.ITIMER_REAL, _GRACE)
        raise EndedError(number)

    before = {}
    try:
        for number in numbers:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):  # nohup ignores one
                before[number] = signal.signal(number, end)
    except ValueError:  # not the main thread, which alone hears signals
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
