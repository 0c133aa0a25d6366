"""How a command ends early: signals that leave time to clean up, and their exit codes."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

_GRACE = 3.0  # seconds for going back through all blocks; then the process ends wherever it is


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
def signals_as_errors() -> Generator[Callable[[], EndedError | None]]:
    """While the block runs, SIGINT, SIGTERM and SIGHUP raise ``EndedError`` in it, once; later ones are ignored.

    Where a library swallows the error, or does not return in time, what is in the making is removed and the process
    ends there.

    Returns:
        What tells whether there was a signal, also if another error came of it.
    """
    numbers = [n for name in ("SIGINT", "SIGTERM", "SIGHUP") if (n := getattr(signal, name, None)) is not None]
    told: list[EndedError] = []

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        for other in before:
            signal.signal(other, signal.SIG_IGN)  # a second one would cut the cleaning short
        told.append(EndedError(number))
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, lambda *_: _end_here(told[0]))
            signal.setitimer(signal.ITIMER_REAL, _GRACE)
        raise told[0]

    def unraisable(swallowed: "sys.UnraisableHookArgs") -> None:
        if swallowed.exc_value in told:  # raised in a finalizer or a callback, where errors end
            _end_here(told[0])
        else:
            hook(swallowed)

    before = {}
    hook, sys.unraisablehook = sys.unraisablehook, unraisable
    try:
        for number in numbers:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):  # nohup ignores one
                before[number] = signal.signal(number, end)
    except ValueError:  # not the main thread, which alone hears signals
        pass
    try:
        yield lambda: told[0] if told else None
    finally:
        sys.unraisablehook = hook
        if not told:
            for number, handler in before.items():
                signal.signal(number, handler)


def _end_here(ended: EndedError) -> NoReturn:
    """Ends the process without a word from anybody else."""
    from weights.storage.parts import abandon

    with suppress(Exception):
        abandon()
    with suppress(OSError):
        os.write(2, f"senet: {ended.words}\n".encode())
    os._exit(ended.code)


@contextmanager
def temporary_files_of_its_own() -> Generator[None]:
    """While the block runs, libraries make temporary files in a folder that goes with it, and so does what they forget.

    Raises:
        InputError: there is no place for temporary files.
    """
    from weights.storage.parts import scratch

    with scratch() as folder:
        before, tempfile.tempdir = tempfile.tempdir, str(folder)
        named = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = str(folder)  # for what is not Python
        try:
            yield
        finally:
            tempfile.tempdir = before
            if named is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = named
