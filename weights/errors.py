"""The one error that bad input raises, in every package and on the command line (exit code 2), and the one warning."""

from collections.abc import Generator
from contextlib import contextmanager


class InputError(ValueError):
    """Something that was handed in cannot be used.

    The message is one clear line (or a list, one finding a line): which file, which layer or tensor, what was
    expected, what was found, what to do. Names in it come from files, so it is made printable.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


@contextmanager
def about(source: object) -> Generator[None]:
    """Puts the name of a file before the message of an InputError that is raised within, which says what is wrong."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


class InputWarning(UserWarning):
    """Something that was handed in is used, but not all of it, or not all is known: which file, and what of it."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """A text that every terminal and every file can take: control characters and lone surrogates as escapes.

    Line breaks stay. A text that is printable already is returned as it is.
    """
    if text.isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def in_a_line(text: object) -> str:
    """The same with line breaks as escapes too: what stands in a cell, or as a name among words."""
    return printable(str(text)).replace("\n", "\\n")
