"""What commands write beside what they print: never what they read, and never two things in one place."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from conformance.cli.options import warnings_in_a_line
from conformance.cli.printing import say_as_it_is, volume_options


class _Output(click.Path):
    """A file that a command writes, or a checkpoint that may be a folder."""


class _Folder(_Output):
    """A folder that a command writes."""


OUTPUT = _Output(path_type=Path)
"""The type of a parameter that names a file, or a checkpoint, to write; as an option also ``-``, for stdout."""

FOLDER = _Folder(path_type=Path)
"""The same of a folder, which is made where there is none."""


class _Checkpoint(click.Path):
    """A checkpoint to read."""


CHECKPOINT = _Checkpoint(path_type=Path)
"""The type of a parameter that names a checkpoint: a file, or a network whose trained weights are fetched."""

_FOLDERS = (".orbax", ".savedmodel")
"""Suffixes of the checkpoints and programs that are folders; one that stands there is replaced."""

_FILES_IN_WORDS = ("network", "source", "spec", "preprocessing")
"""Parameters that may name a file to read among other things: before a comma."""


class Command(click.Command):
    """A command that refuses to write what it reads, takes names for trained weights, and options that all have."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.params += [*volume_options(), debug_option()]

    def invoke(self, ctx: click.Context) -> Any:
        """Runs it.

        Raises:
            InputError: an output is also an input, or another output, or cannot be written; or trained weights that are
                named are not had.
            click.UsageError: a checkpoint or a golden file is to be printed.
        """
        inputs: list[tuple[Path, str]] = []
        outputs: list[tuple[Path, str]] = []
        for param in self.params:
            if isinstance(param.type, _Output):
                _check_place(param, ctx.params.get(param.name or ""))
        for param in self.params:
            if isinstance(param.type, _Checkpoint):
                ctx.params[param.name or ""] = _located(ctx.params[param.name or ""])
            option = isinstance(param, click.Option)
            value = ctx.params.get(param.name or "")
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(param.type, _Output) and one:
                    if str(one) == "-" and not option:
                        raise click.UsageError("-: name a file; only --json, --junit, --html and --report print", ctx)
                    outputs.append((one, param.opts[0] if option else "what is written"))
                elif isinstance(one, Path) and str(one) != "-":
                    inputs.append((one, f"what {param.opts[0]} reads" if option else "the source itself"))
                elif isinstance(one, str) and param.name in _FILES_IN_WORDS:
                    named = one if os.path.lexists(one) else one.partition(",")[0]
                    inputs.append((Path(named), f"what {param.opts[0]} reads" if option else "the source itself"))
        apart(outputs, inputs)
        return super().invoke(ctx)


def _check_place(param: click.Parameter, path: Path | None) -> None:
    """Whether an output can be written, before there is work for it.

    Raises:
        InputError: it cannot.
    """
    if path is None or str(path) == "-":
        return
    from weights.storage.whole import check_folder, check_place

    if isinstance(param.type, _Folder):
        check_folder(path)
    elif path.suffix.lower() in _FOLDERS and path.is_dir():
        check_folder(Path(os.path.realpath(path)).parent)
    else:
        check_place(path)


def _located(path: Path | None) -> Path | None:
    """The file of a checkpoint, where a network is named that of its trained weights."""
    if path is None:
        return None
    from weights.hub import located

    with warnings_in_a_line():
        return Path(located(path))


def debug_option() -> click.Option:
    """The option to see where an internal error comes from; ``debugging`` says whether it was given."""

    def keep(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
        ctx.meta[__name__] = value or debugging(ctx)

    words = "Show the traceback of an internal error."
    return click.Option(["--debug"], is_flag=True, expose_value=False, callback=keep, help=words)


def debugging(ctx: click.Context) -> bool:
    """Whether ``--debug`` was given, before or after the command's name."""
    return ctx.meta.get(__name__, False)


def apart(outputs: Iterable[tuple[Path, str]], inputs: Iterable[tuple[Path, str]]) -> None:
    """Whether all outputs are other files than the inputs, and than each other, by whatever names.

    Args:
        outputs: each with what it is, in words.
        inputs: likewise.

    Raises:
        InputError: one is not.
    """
    from weights import InputError

    outputs = list(outputs)
    inputs = list(inputs) if outputs else []  # a folder may have many files
    taken = {key: what for path, what in inputs for part, what in _with_parts(path, what) for key in _keys(part)}
    folders = [(path, what) for path, what in inputs if path.is_dir()]
    for output, what in outputs:
        for path, role in _with_companion(output, what):
            for key in _keys(path):
                if key in taken:
                    raise InputError(f"{path}: is {taken[key]}; name another file")
                taken[key] = f"also {role}"
        for folder, role in folders:
            if output.exists() and _within(output, folder):
                raise InputError(f"{output}: is a part of {folder}, {role}; name another file")
        for path, role in inputs:
            if output.is_dir() and _within(path, output):
                raise InputError(f"{output}: holds {path}, {role}; name another folder")


def outside(output: Path | None, folder: Path | None, what: str) -> None:
    """Whether an output is not in a folder whose files only the command itself writes.

    Args:
        output: a file, or ``-``; None: there is none.
        folder: the folder; None: there is none.
        what: what the folder is, in words.

    Raises:
        InputError: it is.
    """
    from weights import InputError

    if output and folder and not is_stdout(output) and _within(output, folder):
        raise InputError(f"{output}: is in {folder}, {what}; name another file")


def deliver(path: Path, text: str) -> None:
    """Writes a text to a file, or prints it where that is ``-``.

    Raises:
        InputError: the place cannot be written.
    """
    from weights.storage.whole import replacing

    if str(path) == "-":
        say_as_it_is(text if text.endswith("\n") else f"{text}\n")
        return
    with replacing(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def is_stdout(path: Path | None) -> bool:
    """Whether an output goes to stdout, so that words for people have to go elsewhere."""
    from weights.storage.whole import is_stdout

    return path is not None and (str(path) == "-" or is_stdout(path))


def _with_parts(path: Path, what: str) -> Iterator[tuple[Path, str]]:
    """An input, what belongs to it, and the files in it, if it is a folder of photographs or of a checkpoint."""
    yield from _with_companion(path, what)
    if path.is_dir():
        for part in path.iterdir():
            yield part, f"a part of {what}"


def _with_companion(path: Path, what: str) -> Iterator[tuple[Path, str]]:
    from weights.caffe.notes import prototxt_of
    from weights.files.beside import bin_of, data_of

    yield path, what
    if ".caffemodel" in path.name:
        yield prototxt_of(path), f"the .prototxt that belongs to {path.name}"
    elif path.suffix.lower() == ".xml":
        yield bin_of(path), f"the .bin that belongs to {path.name}"
    elif path.suffix.lower() == ".onnx":
        yield data_of(path), f"the .data that belongs to {path.name}"


def _keys(path: Path) -> Iterator[object]:
    """What a file is known by: its number on its disk; before it exists, that of its folder and its name."""
    if is_stdout(path):
        yield "stdout"
        return
    try:
        found = path.stat()
        if not path.is_char_device():  # which many may write to
            yield found.st_dev, found.st_ino
    except OSError:
        try:
            parent = path.parent.stat()
        except OSError:
            return  # an error of its own
        yield parent.st_dev, parent.st_ino, path.name


def _within(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
