"""The commands about files: init, inspect, convert, diff."""

import json
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.cli import onnx as onnx_options
from conformance.cli import options
from conformance.cli.options import FILE
from conformance.cli.outputs import OUTPUT, Command, is_stdout
from conformance.cli.printing import say, shown
from conformance.cli.progress import Bars

if TYPE_CHECKING:
    from weights.change.first_convolution import Convention
    from weights.files.onnx_options import OnnxOptions
    from weights.params import Labels


@click.command(cls=Command)
@click.argument("network", metavar="NAME|FILE.json[,FIELD=VALUE...]")
@click.argument("out", type=OUTPUT)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="What the weights are drawn from.")
def init(network: str, out: Path, seed: int) -> None:
    """Write a checkpoint with seeded weights.

    NETWORK is a name that senet models lists, one of the small ones of the tests, such as tiny-se-resnet, or a variant:
    se-resnet-50,classes=10,se.gate=tanh. Activations keep their size through the depth, so that such a checkpoint
    serves to compare ports; its classes mean nothing. The same seed gives the same numbers on every machine.
    """
    import weights
    from conformance import cases

    spec = options.described(network)
    params = cases.seeded(spec, seed)
    params.info = replace(params.info, history=(f"drawn from seed {seed}",))
    weights.write(out, spec, params)
    learnable = sum(p.size for p in weights.schema(spec) if p.learnable)
    say(f"{shown(out)}: {spec.name}, {learnable:,} parameters drawn from seed {seed}", err=is_stdout(out))


@click.command(cls=Command)
@click.argument("file", type=FILE)
@options.given
@options.dialect
@options.labels
def inspect(file: Path, given: options.Given, dialect: str | None, labels: "Labels | None") -> None:
    """Say what a checkpoint holds.

    Prints the network, what it expects of its input and its labels, and which of that is assumed.
    """
    from conformance.report.describe import describe, for_runtimes, foreign
    from weights import InputError
    from weights.files import format_of

    try:
        found = options.checkpoint(file, given, dialect=dialect, labels=labels)
    except InputError:
        if file.is_file() and format_of(file).name == "onnx":
            with suppress(InputError):
                say(for_runtimes(file, options.terminal_width()))
                return
        if file.is_file() and format_of(file).name == "caffemodel":
            with suppress(InputError), warnings.catch_warnings(action="ignore"):
                say(foreign(file, given.prototxt, options.terminal_width()))
        raise
    say(describe(file, found, options.terminal_width()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a conversion changes in a network; None: nothing."""

    labels: "Labels | None"
    convention: "Convention | None"


@click.command(cls=Command)
@click.argument("src", type=FILE)
@click.argument("dst", type=OUTPUT)
@options.given
@options.dialect
@click.option("--labels", type=click.Choice(["sorted", "devkit"]), help="Reorder the classifier to this label order.")
@click.option(
    "--input",
    "convention",
    type=click.Choice(["rgb01", "bgr255"]),
    help="Rewrite the first convolution for RGB 0..1 or BGR 0..255 images; the mean stays the original's.",
)
@onnx_options.given
@options.grouped(changes=Changes)
def convert(
    src: Path,
    dst: Path,
    given: options.Given,
    dialect: str | None,
    changes: Changes,
    onnx: onnx_options.Onnx,
) -> None:
    """Convert a checkpoint; the suffixes name the formats.

    Caffe: .caffemodel (with the .prototxt beside it), and .caffemodel.h5, which is only read; canonical: .safetensors;
    PyTorch: .pth, .pt, and .ckpt, .bin, .pth.tar, which training scripts leave; Keras: .keras, .weights.h5; Flax:
    .orbax (a folder); .onnx (read, if this program wrote it). Orbax and ONNX need their extras, senet[jax] and
    senet[onnx].

    The options marked ONNX say how an ONNX file is made for those who run it. Exits with 1 if one of less precision is
    further from the network than the bound for it.
    """
    import weights
    from conformance.report.wording import assumed
    from weights.change import reorder, rewrite
    from weights.files import format_of
    from weights.names.dialect import APPLICATIONS_DIALECT

    into, of_keras = format_of(dst), dialect == APPLICATIONS_DIALECT
    written = "dialect" in into.writes_with and (into.name == "keras") == of_keras
    if of_keras and not written:
        raise weights.InputError(f"--dialect {dialect}: is for a .weights.h5 that is written, and {dst} is none")
    if dialect and not written and "dialect" not in format_of(src).reads_with:
        raise weights.InputError(f"--dialect: neither {src} nor {dst} is a PyTorch state dict")
    made = onnx_options.made(dst, onnx, into.name == "onnx")
    bars = Bars()
    try:
        with bars.busy(f"Reading {src.name}"):
            found = options.checkpoint(src, given, dialect=None if written else dialect)
    except weights.InputError:
        if (format_of(src).name, format_of(dst).name) != ("caffemodel", "onnx"):
            raise
        _convert_bare(src, dst, given.prototxt, changes, made)
        return
    spec, params = found
    if changes.labels:
        params = reorder(spec, params, changes.labels)
    if changes.convention:
        params = rewrite(spec, params, changes.convention)
    with bars.busy(f"Writing {dst.name}"), options.warnings_in_a_line():
        weights.write(dst, spec, params, dialect=dialect if written else None, onnx=made)
    learnable = sum(p.size for p in weights.schema(spec) if p.learnable)
    err = is_stdout(dst)
    say(f"{shown(src)} -> {shown(dst)}: {spec.name}, {learnable:,} parameters, {spec.classes} classes", err=err)
    said = assumed(spec, params.info)
    if said:
        say(f"assumed, not stated by {shown(src.name)}: {said}", err=err)
    if made and made.reduced:
        onnx_options.say_how_far(dst, made)


def _convert_bare(src: Path, dst: Path, prototxt: Path | None, changes: Changes, made: "OnnxOptions | None") -> None:
    """Writes a Caffe network that no family has, but whose operations are all known, as an ONNX file."""
    from weights import InputError
    from weights.caffe import checkpoint as caffe
    from weights.files import onnx

    with options.warnings_in_a_line():
        network, params = caffe.network(src, prototxt)
        if changes.labels or changes.convention:
            raise InputError(f"{src}: is of no known family: leave out --labels and --input")
        onnx.write(dst, network, params, onnx=made)
    said = f"{network.name}, of no known family: computed by any ONNX runtime, and not read here"
    say(f"{shown(src)} -> {shown(dst)}: {said}", err=is_stdout(dst))
    if made and made.reduced:
        onnx_options.say_how_far(dst, made)


@click.command(cls=Command)
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@options.spec
@click.option("--rounding", is_flag=True, help="Ignore differences that rounding to a narrower dtype explains.")
@click.option("--all", "all_rows", is_flag=True, help="Show every tensor that differs. Default: at most 20.")
@click.option("--json", "as_json", is_flag=True, help="Print every tensor, as JSON.")
def diff(a: Path, b: Path, spec: str | None, rounding: bool, all_rows: bool, as_json: bool) -> None:
    """Compare two checkpoints of any formats, tensor by tensor.

    Says of each tensor whether it is identical, equal but stored in another layout or dtype, different (by how much) or
    missing. Exits with 0 if the checkpoints are the same network with the same numbers, else with 1.
    """
    from conformance.report.difference import text
    from weights.files.diff import diff as difference

    with options.warnings_in_a_line():
        found = difference(a, b, None if spec is None else options.described(spec))
    if as_json:
        say(json.dumps(found.to_dict(), indent=1))
    else:
        say(text(found, rounding, options.terminal_width(), all_rows))
    if not found.same(rounding):
        click.get_current_context().exit(1)
