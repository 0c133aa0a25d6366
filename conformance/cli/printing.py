"""What commands print: text that every terminal takes, on streams that may be closed, full, or read no longer."""

import json
import os
import re
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from shutil import which

import click

LONGEST = 1000
"""Characters in a message on stderr; names in it come from files."""


def say(text: str, *, err: bool = False, coloured: bool = False) -> None:
    """Prints a text and ends its line; what a terminal would take for a command is shown escaped.

    On stdout nothing is printed if the command is to be quiet.

    Args:
        text: may have several lines.
        err: on stderr, where nothing can be done about a failure.
        coloured: has colours, and the names in it are escaped already.

    Raises:
        click.ClickException: stdout is full.
        BrokenPipeError: the reader of stdout has gone.
    """
    if not err and volume() < 0:
        return
    _echo(f"{text if coloured else _printable(text)}\n".encode(_encoding(err), "backslashreplace"), err)


def volume() -> int:
    """How much the running command says: -1 for nothing but errors and warnings, 1 for every step of its work."""
    context = click.get_current_context(silent=True)
    return context.meta.get(f"{__name__}.volume", 0) if context else 0


def volume_options() -> list[click.Option]:
    """The options to hear less or more of a command, before or after its name."""

    def keep(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[f"{__name__}.volume"] = -1 if param.name == "quiet" else 1
        if value and param.name == "quiet":
            from weights.hub.bar import silent

            ctx.with_resource(silent())

    told = (
        ("quiet", "Print nothing but errors, warnings and what is sent to '-'."),
        ("verbose", "Print every step with its seconds on stderr, and all columns."),
    )
    return [
        click.Option([f"-{name[0]}", f"--{name}"], is_flag=True, expose_value=False, callback=keep, help=words)
        for name, words in told
    ]


def say_as_it_is(text: str) -> None:
    """Prints what is a file elsewhere, in UTF-8; otherwise as ``say``."""
    _echo(text.encode())


def say_json(data: object) -> None:
    """Prints data as JSON, also where a command is quiet; otherwise as ``say``."""
    say_as_it_is(f"{json.dumps(data, indent=1)}\n")


def message(text: str) -> str:
    """A message in a line, or one finding a line, and not longer than ``LONGEST``."""
    # Findings are indented; other line breaks are those of a name.
    whole = re.sub(r"\n(?!  )", r"\\n", _printable(text).strip())
    if len(whole) <= LONGEST:
        return whole
    end = f" ... ({len(whole):,} characters)"
    return whole[: LONGEST - len(end)] + end


def shown(path: object) -> str:
    """A name as it stands within a line."""
    from weights.errors import in_a_line

    return in_a_line(path)


def runnable(*args: str) -> str:
    """A command that runs as it is printed, also where the environment of this Python is not active."""
    installed = Path(sys.executable).with_name("senet")
    if which("senet") == str(installed):
        program = ("senet",)
    elif installed.is_file():
        program = (_short(installed),)
    else:
        program = (_short(Path(sys.executable)), "-m", "conformance")
    return shlex.join((*program, *args))


def _short(path: Path) -> str:
    """The path, relative to the current folder where it lies in it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def open_streams() -> None:
    """Opens those of the three standard streams that are closed, or the next file would be taken for one."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115, for those who write to it


def flush() -> None:
    """Writes what is still to be written to stdout.

    Raises:
        click.ClickException, BrokenPipeError: as of ``say``.
    """
    _echo(b"")


def silence() -> None:
    """Lets stdout swallow what is left of it: Python would complain once more when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _printable(text: str) -> str:
    try:
        from weights.errors import printable
    except ImportError:  # a module of the user's has that name, and that is what is to be told
        return text
    return printable(text)


def _encoding(err: bool) -> str:
    return getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"


def _echo(text: bytes, err: bool = False) -> None:
    try:
        if text:
            click.echo(text, nl=False, err=err)
        elif sys.stdout:
            sys.stdout.flush()
    except OSError as error:
        if err:
            return
        if isinstance(error, BrokenPipeError):
            raise
        raise click.ClickException(
            f"standard output cannot be written: {(error.strerror or str(error)).lower()}"
        ) from None
