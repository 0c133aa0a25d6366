"""What several commands share: options, reading a checkpoint, finding adapters, the exit code of a run."""

import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conformance.cli.printing import message, say, shown, volume

if TYPE_CHECKING:
    from conformance.report.run import Run
    from weights.networks.spec import Spec
    from weights.params import Checkpoint, Labels, Preprocessing

FRAMEWORKS = ("torch", "jax", "tf", "onnx")
"""The adapters that commands run, beside the NumPy reference, where none is named."""

DTYPES = ("float64", "float32", "tf32", "bfloat16", "float16")

FILE = click.Path(path_type=Path)


def listed(value: str) -> tuple[str, ...]:
    """The parts of a list with commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in value.split(",")))


def complete_networks(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The names of published networks that begin so, for the completion of shells."""
    from weights import MODELS

    return [name for name in MODELS if name.startswith(incomplete)]


def complete_frameworks(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The same of adapters, the last one of a list."""
    from conformance.adapters import ADAPTERS

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in ADAPTERS if name.startswith(last)]


def _names(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = listed(value) if value is not None else ()
    if "all" not in names:
        return names
    from conformance.adapters import ADAPTERS

    return tuple(dict.fromkeys((*ADAPTERS, *(name for name in names if name != "all"))))


def _dtypes(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    return some_of(DTYPES, value) or DTYPES[:1]


def some_of(known: Sequence[str], value: str) -> tuple[str, ...]:
    """The names in a list with commas, "float64,float32"; () of an empty text.

    Raises:
        click.BadParameter: a name that is not known.
    """
    found = listed(value) if value else ()
    for name in found:
        if name not in known:
            raise click.BadParameter(f"{name!r} is unknown; expected some of {', '.join(known)}")
    return found


def height_and_width(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Of a text like 224x224.

    Raises:
        click.BadParameter: it is none.
    """
    if value is None:
        return None
    from weights.params import LARGEST_IMAGE

    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", value)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 < max(size) <= LARGEST_IMAGE:
        what = f"height x width, as in 224x224, at most {LARGEST_IMAGE}"
        raise click.BadParameter(f"{value[:100]!r} is not a size; write {what}")
    return size


prototxt = click.option(
    "--prototxt",
    type=FILE,
    help="Layer definitions of a Caffe file, if they are in another file than the one beside it.",
)
size = click.option(
    "--size",
    callback=height_and_width,
    metavar="HxW",
    help="Size of the input. Default: the size that the checkpoint expects.",
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
    shell_complete=complete_frameworks,
    metavar="NAME,...",
    help=f"One or more of {', '.join(FRAMEWORKS)}, of the others that senet models lists, or of your own adapters as "
    f"package.module; or all. Default: {','.join(FRAMEWORKS)}.",
)
framework = click.option(
    "--framework",
    default="numpy",
    show_default=True,
    metavar="NAME",
    help="The framework that computes: one that senet models lists, or your own adapter as package.module.",
)

max_pixels = click.option(
    "--max-pixels",
    type=click.IntRange(1, 178_956_970),  # Pillow's own limit
    metavar="N",
    help="Pixels that a photograph may have. Default: 28 million, which take 300 MB to decode.",
)


def _amount(_ctx: click.Context, _param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise click.BadParameter(f"{value:g} is not an amount; write a number above 0")
    return value


timeout = click.option(
    "--timeout",
    type=float,
    callback=_amount,
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a framework may take.",
)
memory = click.option(
    "--memory",
    type=float,
    callback=_amount,
    metavar="MB",
    help="How much memory a framework's processes may take together. Default: any amount.",
)


def _device(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    from conformance.adapters.devices import check_name

    if value:
        check_name(value)
    return value


device = click.option(
    "--device",
    callback=_device,
    default="",
    metavar="NAME",
    help="Where a framework computes: cpu, gpu, cuda:1. Default: where it does by itself.",
)

spec = click.option(
    "--spec",
    metavar="NAME|FILE.json[,FIELD=VALUE...]",
    help="The network, if the file does not state it: se-resnet-50,classes=10,se.gate=tanh.",
)
allow_dtype = click.option(
    "--allow-dtype",
    callback=lambda _ctx, _param, value: some_of(DTYPES, value),
    default="",
    metavar="DTYPE,...",
    help="Precisions that a framework may compute in instead.",
)
dialect = click.option(
    "--dialect",
    type=click.Choice(["torch", "timm", "cadene", "torchvision", "pytorchcv", "moskomule", "keras.applications"]),
    help="Names of the tensors in a state dict; keras.applications: in a .weights.h5 that is written.",
)
labels = click.option(
    "--labels",
    type=click.Choice(["sorted", "devkit"]),
    help="Order of the 1000 ImageNet classes, if the file does not state it.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What is said about a checkpoint by options, because its file does not state it."""

    prototxt: Path | None
    spec: str | None
    preprocessing: str | None
    class_names: Path | None
    weights_key: str | None


def given(command: Callable[..., None]) -> Callable[..., None]:
    """The options for what a file does not state, as one argument ``given`` of a command."""
    command = grouped(given=Given)(command)
    for option in (
        click.option("--weights-key", metavar="KEY", help="Which weights of a file with several sets: state_dict_ema."),
        click.option(
            "--class-names", type=FILE, metavar="FILE", help="Names of your own classes, one a line, in their order."
        ),
        click.option(
            "--preprocessing",
            metavar="NAME|FILE.json|JSON",
            help="What the network expects of an image, if the file does not state it: caffe, imagenet, or fields.",
        ),
        spec,
        prototxt,
    ):
        command = option(command)
    return command


def grouped(**records: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hands a command some of its options as one record: ``@grouped(outputs=Outputs)`` above the command's function.

    Args:
        records: argument of the function to a dataclass whose fields are named after the options.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def called(**values: Any) -> None:
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
def _current_folder_first() -> Generator[None]:
    before, here = list(sys.path), str(Path.cwd())
    sys.path[:] = [here, *(path for path in before if path not in ("", here))]
    try:
        yield
    finally:
        sys.path[:] = before


def checkpoint(file: Path, given: Given, *, dialect: str | None = None, labels: "Labels | None" = None) -> "Checkpoint":
    """Reads a checkpoint; what of it is not used becomes a warning in a line on stderr.

    Raises:
        InputError: the file cannot be read, or does not take the options.
    """
    from weights import read

    with warnings_in_a_line():
        return with_labels(file, read(file, dialect=dialect, **reading(given)), labels)


def reading(given: Given) -> dict[str, Any]:
    """The options as arguments of ``weights.read``.

    Raises:
        InputError: a preprocessing or class names that cannot be read.
    """
    return {
        "prototxt": given.prototxt,
        "spec": None if given.spec is None else described(given.spec),
        "preprocessing": None if given.preprocessing is None else _preprocessing(given.preprocessing),
        "class_names": None if given.class_names is None else _lines(given.class_names),
        "weights_key": given.weights_key,
    }


def described(network: str) -> "Spec":
    """The record that a text describes; the small networks of the suite have names as well.

    Raises:
        InputError: an unknown network or field, or a value that does not fit.
    """
    from conformance.cases import TINY
    from weights.networks.models import MODELS, parse

    return parse(network, {**MODELS, **TINY})


def with_labels(file: Path, found: "Checkpoint", labels: "Labels | None") -> "Checkpoint":
    """The same checkpoint with an order of ImageNet's classes that its file does not state.

    Raises:
        InputError: the file states another order or its own classes, or has not 1000 of them.
    """
    from weights import Checkpoint, InputError, Params

    info = found.info
    if labels is None:
        return found
    if info.class_names:
        raise InputError(f"{file}: has classes of its own; leave out --labels")
    if found.spec.classes != 1000:
        raise InputError(f"{file}: has {found.spec.classes} classes, ImageNet has 1000; leave out --labels")
    if info.labels not in (None, labels) and "labels" not in info.assumed:
        raise InputError(f"{file}: states its label order itself ({info.labels}); leave out --labels")
    stated = replace(info, labels=labels, assumed=tuple(name for name in info.assumed if name != "labels"))
    return Checkpoint(found.spec, Params(found.params, stated))


def say_what_is_assumed(file: Path, found: "Checkpoint", *, err: bool = True) -> None:
    """Prints in a line, on stderr unless told otherwise, what of a checkpoint its file does not say."""
    from conformance.report.wording import assumed

    said = assumed(found.spec, found.info)
    if said:
        say(f"assumed, not stated by {shown(file.name)}: {said}", err=err)


def _preprocessing(text: str) -> "Preprocessing":
    """Of a name, of a file with the fields as JSON, or of that JSON itself.

    Raises:
        InputError: none of these, or fields that do not fit.
    """
    from weights import CAFFE, InputError, Preprocessing
    from weights.files.state_dict import IMAGENET
    from weights.storage import json_text

    known = {"caffe": CAFFE, "imagenet": IMAGENET}
    if text in known:
        return known[text]
    inline = text.lstrip().startswith("{")
    if not inline and not text.lower().endswith(".json"):
        raise InputError(f"--preprocessing {text[:100]!r}: expected {', '.join(known)}, a file FILE.json or an object")
    source = "--preprocessing" if inline else text
    content = text if inline else _text(Path(text))
    try:
        data = json_text.parse(content)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{source}: holds a {type(data).__name__}, expected an object with the fields channels, ...")
    try:
        return Preprocessing.from_data(data)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def _lines(file: Path) -> list[str]:
    return [line.strip() for line in _text(file).splitlines() if line.strip()]


def _text(file: Path) -> str:
    from weights import limits
    from weights.storage.contents import text_of

    return text_of(file, limits.TEXT)


@contextmanager
def warnings_in_a_line() -> Generator[None]:
    """Prints warnings about input on stderr, a line each, when the block ends."""
    from weights.errors import InputWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InputWarning)
        try:
            yield
        finally:
            for warning in caught:
                say(message(f"senet: warning: {warning.message}"), err=True)


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None for a pipe or a file, whose lines have no limit, or for ``-v``."""
    if not sys.stdout.isatty() or volume() > 0:
        return None
    from rich.console import Console

    return Console().width


def say_table(
    header: Sequence[str], lines: Iterable[Sequence[str]], *, spare: Sequence[str] = (), err: bool = False
) -> None:
    """Prints a table that fits the terminal, with colours where stdout is one that takes them.

    Args:
        header, lines, spare: as of ``report.table.aligned``.
        err: on stderr.
    """
    from conformance.report.table import aligned

    painted = colours(err)
    say(aligned(header, lines, terminal_width(), spare=spare, colours=painted), err=err, coloured=painted)


def colours(err: bool = False) -> bool:
    """Whether a stream is a terminal that takes colours, and whose reader wants them (https://no-color.org)."""
    stream = sys.stderr if err else sys.stdout
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def exit_by(run: "Run", named: Sequence[str], device: str = "") -> None:
    """Ends the command with 1 if an adapter disagreed.

    Args:
        run: what was compared.
        named: the adapters that were asked for by name.
        device: the one that was asked for, or "".

    Raises:
        InputError: an adapter that was asked for by name is not installed or has no such device, or none is or has.
    """
    from conformance.adapters import ADAPTERS
    from weights import InputError

    verdicts = [verdict for comparison in run.comparisons for verdict in comparison.results.values()]
    required = set(named) - (set(ADAPTERS) if set(ADAPTERS) <= set(named) else set())
    for comparison in run.comparisons:
        for verdict in comparison.results.values():
            # Of what is not installed, nothing; of what is, at least outputs.
            needed = verdict.adapter in required and (not verdict.version or comparison.what == "taps")
            if verdict.status == "absent" and needed:
                raise InputError(verdict.message)
    if all(verdict.status == "absent" for verdict in verdicts):
        if device:
            said = "; ".join(dict.fromkeys(verdict.message for verdict in verdicts))
            raise InputError(f"--device {device}: nothing was compared: {said}")
        raise InputError("no framework is installed, nothing was compared: pip install 'senet[all]', or one of them")
    if not run.agreed:
        click.get_current_context().exit(1)
