"""The command line ``senet``: what the networks are, what a checkpoint holds, conversion, comparison, classification.

Exit codes: 0 done, or agreed; 1 disagreed, or photographs were skipped; 2 bad input, or a place that cannot be written;
70 an error of the program itself; 130, 143 and 129 ended by SIGINT, SIGTERM, SIGHUP; 141 the reader of the output has
gone. All of them but 0, 1 and 141 come with one line on stderr. Everything heavy is imported inside the commands, so
that ``senet --help`` costs nothing and a command needs only what it uses.
"""

import errno
import os
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import click

from conformance.cli import (
    checkpoints,
    classification,
    comparison,
    demonstration,
    evaluation,
    excitation,
    fetching,
    networks,
)
from conformance.cli.ending import EndedError, signals_as_errors
from conformance.cli.outputs import debug_option, debugging
from conformance.cli.printing import flush, message, open_streams, say, silence, volume_options

_BAD_INPUT, _INTERNAL, _INTERRUPTED, _READER_GONE = 2, 70, 130, 141  # the last as shells report SIGINT and SIGPIPE


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""What writing fails with, through nobody's mistake here; so does whatever a file is named for."""


class _EndError(click.ClickException):
    """An end with a code of its own; without words where there are none."""

    def __init__(self, text: str, code: int):
        super().__init__(text)
        self.code = code


class _Commands(click.Group):
    """Commands whose failures are one line on stderr and an exit code, never a traceback."""

    def main(self, *args: Any, **extra: Any) -> Any:
        open_streams()
        if not sys.stdout:  # closed when Python started
            sys.exit(_fail("standard output is closed; redirect it to a file or to /dev/null", _BAD_INPUT))
        with signals_as_errors() as told:
            said, code = self._outcome(*args, **extra)
            if ended := told():  # whatever became of it on its way
                os._exit(_fail(ended.words, ended.code))  # libraries take seconds to end, and nothing is left to do
        sys.exit(code if said is None else _fail(said, code))

    def _outcome(self, *args: Any, **extra: Any) -> tuple[str | None, int]:
        """Runs the program: what is to be said of its failure, and its exit code."""
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except click.Abort:
            return "interrupted", _INTERRUPTED
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx else "senet"
            return f"{error.format_message()} ({where} --help says more)", _BAD_INPUT
        except click.ClickException as error:
            return error.format_message(), error.code if isinstance(error, _EndError) else _BAD_INPUT
        return None, code if isinstance(code, int) else 0

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Reads the arguments up to the name of a command."""
        with _told_in_a_line(lambda: False):
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command."""
        with _told_in_a_line(lambda: debugging(ctx)):
            try:
                return super().invoke(ctx)
            finally:
                flush()


@contextmanager
def _told_in_a_line(debug: Callable[[], bool]) -> Generator[None]:
    """Makes of whatever goes wrong in the block what click tells in a line and ends with its exit code."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except EndedError as ended:
        raise _EndError(ended.words, ended.code) from None
    except BrokenPipeError:
        silence()
        raise _EndError("", _READER_GONE) from None
    except OSError as error:
        if error.errno is None or (error.filename is None and error.errno not in _NO_ROOM):
            raise _internal(error, debug()) from None
        said = os.strerror(error.errno).lower()
        nameless = "cannot be written, on standard output or in a temporary folder"
        raise click.ClickException(f"{nameless if error.filename is None else error.filename}: {said}") from None
    except ImportError as error:
        raise _missing(error) or _internal(error, debug()) from None
    except SystemExit as error:  # of a package that should not; its code would pass for ours
        raise _internal(error, debug()) from None
    except Exception as error:
        from weights import InputError

        if isinstance(error, InputError):
            raise click.ClickException(str(error)) from None
        raise _internal(error, debug()) from None


def _internal(error: BaseException, debug: bool) -> _EndError:
    if debug:
        traceback.print_exception(error)
    said = " ".join(f"{type(error).__name__}: {error}".split())
    more = "" if debug else "; run again with --debug for the traceback"
    return _EndError(f"internal error: {message(said)[:900]}{more}", _INTERNAL)


def _fail(text: str, code: int) -> int:
    try:
        flush()
    except (OSError, click.ClickException):
        silence()
    if text:
        say(message(f"senet: {text}"), err=True)
    return code


def _missing(error: ImportError) -> click.ClickException | None:
    """What to install, if an extra installs the missing module, or what hides a package of ours; else nothing."""
    hiding = sys.modules.get("weights")
    if hiding is not None and not hasattr(hiding, "MODELS"):
        return click.ClickException(
            f"Python found {hiding.__file__} before the package weights of senet: rename that file or folder, or start "
            "elsewhere"
        )
    from conformance.adapters import EXTRAS, AbsentError

    if isinstance(error, AbsentError):
        return click.ClickException(str(error))
    name = (error.name or getattr(error.__cause__, "name", None) or "").partition(".")[0]
    extra = {**EXTRAS, "orbax": "jax", "matplotlib": "plots"}.get(name)
    return click.ClickException(f"{name} is not installed: pip install 'senet[{extra}]'") if extra else None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="senet", message="senet %(version)s")
def main() -> None:
    """Squeeze-and-Excitation networks in PyTorch, Keras and Flax, proven equal to the original Caffe.

    Exit codes: 0 done, or agreed; 1 disagreed, or photographs were skipped; 2 bad input; 70 an internal error.
    """


main.params += [*volume_options(), debug_option()]
for _command in (
    networks.models,
    fetching.fetch,
    checkpoints.init,
    checkpoints.inspect,
    checkpoints.convert,
    checkpoints.diff,
    comparison.compare,
    comparison.freeze,
    classification.classify,
    evaluation.evaluate,
    excitation.excite,
    demonstration.demo,
):
    main.add_command(_command)
