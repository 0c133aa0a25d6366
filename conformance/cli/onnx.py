"""The options of ``convert`` that say how an ONNX file is made, and what is said of the file."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conformance.cli import options
from conformance.cli.options import FILE
from conformance.cli.outputs import is_stdout
from conformance.cli.printing import say

if TYPE_CHECKING:
    from weights.files.onnx_options import OnnxOptions

_PRECISIONS = {"float32": "float32", "fp16": "float16", "bf16": "bfloat16", "int8": "int8"}
_DYNAMIC = "dynamic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Onnx:
    """The options as they were given; None or empty: not."""

    opset: int | None
    batch: int | str | None
    size: tuple[int, int] | str | None
    precision: str | None
    fold: bool | None
    calibrate: tuple[Path, ...]
    embed_preprocessing: str | None
    softmax: bool | None
    taps: tuple[str, ...]
    licence: str | None

    def named(self) -> dict[str, object]:
        """Those that were given, as they are called on the command line."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {_called(name): _written(value) for name, value in values.items() if _given(value)}


def _given(value: object) -> bool:
    return value is not None and value != ()


def _called(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _written(value: object) -> object:
    match value:
        case True:
            return ""
        case (int(height), int(width)):
            return f"{height}x{width}"
        case tuple():
            return ",".join(map(str, value))
        case _:
            return value


def _batch(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | str | None:
    if value in (None, _DYNAMIC):
        return value
    if not value.isdecimal() or not 0 < len(value) < 6:
        raise click.BadParameter(f"{value[:100]!r} is not a number of images; write one, or {_DYNAMIC}")
    return int(value)


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | str | None:
    return _DYNAMIC if value == _DYNAMIC else options.height_and_width(ctx, param, value)


def _taps(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(filter(None, options.listed(value))) if value else ()


def given(command: Callable[..., None]) -> Callable[..., None]:
    """The options as one argument ``onnx`` of a command."""
    command = options.grouped(onnx=Onnx)(command)
    for option in (
        click.option("--licence", "--license", "licence", metavar="TEXT", help="Of the weights, kept in an ONNX file."),
        click.option(
            "--taps", callback=_taps, metavar="all|NAME,...", help="Nodes that are outputs of an ONNX file too."
        ),
        click.option("--softmax", is_flag=True, default=None, help="ONNX: the output is probabilities."),
        click.option(
            "--embed-preprocessing",
            type=click.Choice(["normalize", "resize"]),
            help="ONNX: the input is photographs, uint8 RGB (N, H, W, 3); resize: of any size, resized and cropped.",
        ),
        click.option(
            "--calibrate",
            type=FILE,
            multiple=True,
            metavar="FOLDER|IMAGE",
            help="ONNX: photographs to measure ranges of values with; a quarter is kept to compare with. For int8.",
        ),
        click.option("--fold", is_flag=True, default=None, help="ONNX: convolutions take in BatchNorms."),
        click.option(
            "--precision",
            type=click.Choice([*_PRECISIONS]),
            help="ONNX: of the computation; all but float32 fold BatchNorms and say how far they are from it.",
        ),
        click.option(
            "--size",
            callback=_size,
            metavar=f"HxW|{_DYNAMIC}",
            help=f"ONNX: size of the images. Default: {_DYNAMIC}, where the network takes any.",
        ),
        click.option(
            "--batch", callback=_batch, metavar=f"N|{_DYNAMIC}", help=f"ONNX: images at a time. Default: {_DYNAMIC}."
        ),
        click.option(
            "--opset",
            type=int,
            metavar="N",
            help="ONNX: version of the operators, from 13 on. Default: 20; for bf16 22.",
        ),
    ):
        command = option(command)
    return command


def made(dst: Path, onnx: Onnx, is_onnx: bool) -> "OnnxOptions | None":
    """How a file is made; None where nothing is said.

    Raises:
        InputError: something is said of a file that is no ONNX file, or does not fit.
    """
    from weights import InputError
    from weights.files.onnx_options import BFLOAT16, OnnxOptions
    from weights.files.options import refuse

    if not is_onnx:
        refuse(dst, "is no ONNX file, and only those are made so", **onnx.named())
    if not onnx.named():
        return None
    found: dict[str, Any] = {
        "opset": BFLOAT16 if onnx.opset is None and onnx.precision == "bf16" else onnx.opset,
        "batch": None if onnx.batch == _DYNAMIC else onnx.batch,
        "size": None if onnx.size == _DYNAMIC else onnx.size,
        "precision": None if onnx.precision is None else _PRECISIONS[onnx.precision],
        "folded": onnx.fold,
        "preprocessing": onnx.embed_preprocessing,
        "softmax": onnx.softmax,
        "taps": onnx.taps,
        "images": onnx.calibrate,
        "licence": onnx.licence,
    }
    try:
        return OnnxOptions(**{name: value for name, value in found.items() if value is not None})
    except InputError as error:
        raise InputError(f"{dst}: {error}") from None


def say_how_far(dst: Path, made: "OnnxOptions") -> None:
    """Prints how far a file of less precision is from the network, and ends with 1 if that is further than its bound.

    What went to a FIFO or to stdout cannot be looked into any more; its metadata say it all the same.

    Args:
        dst: the file, as it was written.
        made: how.
    """
    if is_stdout(dst) or not dst.is_file():
        return
    from conformance.judge.bounds import REDUCED
    from weights.files.onnx_measured import Agreement, kept_wide
    from weights.files.onnx_reading import stated

    strings = stated(dst)
    found = Agreement.of(strings)
    bound = REDUCED[made.precision]
    say(f"{made.precision}: {found}; the bound is {bound:g}")
    if wide := kept_wide(strings):
        say(f"float32 is kept for {', '.join(f'{name} ({why})' for name, why in wide.items())}")
    if not found.largest <= bound:
        say(f"senet: {dst.name} is too far from the network: {found.largest:.2g}, the bound is {bound:g}", err=True)
        click.get_current_context().exit(1)
