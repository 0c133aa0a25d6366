"""What several commands share: options, reading a checkpoint, finding adapters, the exit code of a run."""

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from conformance.report.run import Run
    from weights.params import Checkpoint

FRAMEWORKS = ("torch", "jax", "tf", "onnx")
"""The adapters that commands run, beside the NumPy reference, where none is named."""

DTYPES = ("float64", "float32", "bfloat16", "float16")

FILE = click.Path(path_type=Path)


def _listed(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in value.split(",")))


def _names(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = _listed(value) if value is not None else ()
    if "all" not in names:
        return names
    from conformance.adapters import ADAPTERS

    return tuple(dict.fromkeys((*ADAPTERS, *(name for name in names if name != "all"))))


def _dtypes(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    found = _listed(value)
    for name in found:
        if name not in DTYPES:
            raise click.BadParameter(f"{name!r} is unknown; expected some of {', '.join(DTYPES)}")
    return found


def _size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", value)
    if not match:
        raise click.BadParameter(f"{value!r} is not a size; write height x width, as in 224x224")
    return int(match[1]), int(match[2])


prototxt = click.option(
    "--prototxt",
    type=FILE,
    help="Layer definitions of a Caffe file, if they are in another file than the one beside it.",
)
size = click.option(
    "--size", callback=_size, metavar="HxW", help="Size of the input. Default: the size that the checkpoint expects."
)
dtypes = click.option(
    "--dtype",
    "dtypes",
    callback=_dtypes,
    default="float64",
    show_default=True,
    metavar="DTYPE,...",
    help=f"One or more of {', '.join(DTYPES)}.",
)
frameworks = click.option(
    "--frameworks",
    "--framework",
    callback=_names,
    metavar="NAME,...",
    help=f"One or more of {', '.join(FRAMEWORKS)}, of the others that senet models lists, or of your own adapters as "
    f"package.module; or all. Default: {','.join(FRAMEWORKS)}.",
)


def grouped(**records: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hands a command some of its options as one record: ``@grouped(outputs=Outputs)`` above the command's function.

    Args:
        records: argument of the function to a dataclass whose fields are named after the options.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def called(**values: Any) -> None:  # Any: what click hands over
            for name, record in records.items():
                values[name] = record(**{field.name: values.pop(field.name) for field in fields(record)})
            command(**values)

        return called

    return decorate


def check_adapters(names: Sequence[str]) -> None:
    """Checks the names of adapters. Until the command ends, modules in the current folder are found.

    ``python -m`` finds them; an installed command does not by itself.

    Raises:
        InputError: there is no adapter of one of the names.
    """
    from conformance.adapters import known

    click.get_current_context().with_resource(_current_folder_first())
    for name in names:
        known(name)


@contextmanager
def _current_folder_first() -> Iterator[None]:
    before, here = list(sys.path), os.getcwd()
    sys.path[:] = [here, *(path for path in before if path not in ("", here))]
    try:
        yield
    finally:
        sys.path[:] = before


def checkpoint(file: Path, prototxt: Path | None = None, dialect: str | None = None) -> "Checkpoint":
    """Reads a checkpoint; what of it is not used becomes a warning in a line on stderr.

    Raises:
        InputError: the file cannot be read, or does not take the options.
    """
    from weights import read

    with warnings_in_a_line():
        return read(file, prototxt=prototxt, dialect=dialect)


@contextmanager
def warnings_in_a_line() -> Iterator[None]:
    """Prints warnings about input on stderr, a line each, when the block ends."""
    from weights.errors import InputWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InputWarning)
        try:
            yield
        finally:
            for warning in caught:
                click.echo(f"senet: warning: {warning.message}", err=True)


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None for a pipe or a file, whose lines have no limit."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

    return Console().width


def exit_by(run: "Run", named: Sequence[str]) -> None:
    """Ends the command with 1 if an adapter disagreed.

    Args:
        run: what was compared.
        named: the adapters that were asked for by name.

    Raises:
        InputError: an adapter that was asked for by name is not installed, or none is.
    """
    from conformance.adapters import ADAPTERS
    from weights import InputError

    verdicts = [verdict for comparison in run.comparisons for verdict in comparison.results.values()]
    required = set(named) - (set(ADAPTERS) if set(ADAPTERS) <= set(named) else set())
    for verdict in verdicts:
        if verdict.status == "absent" and verdict.adapter in required:
            raise InputError(verdict.message)
    if all(verdict.status == "absent" for verdict in verdicts):
        raise InputError("no framework is installed, nothing was compared: pip install 'senet[all]', or one of them")
    if not run.agreed:
        click.get_current_context().exit(1)
