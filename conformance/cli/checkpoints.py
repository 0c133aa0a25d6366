"""The commands about files: init, inspect, convert, diff."""

import os
import warnings
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conformance.cli import onnx as onnx_options
from conformance.cli import options
from conformance.cli.ending import temporary_files_of_its_own
from conformance.cli.outputs import CHECKPOINT, OUTPUT, Command, deliver, is_stdout
from conformance.cli.printing import say, say_json, shown
from conformance.cli.progress import Bars

if TYPE_CHECKING:
    from weights.change.first_convolution import Convention
    from weights.files.onnx_options import OnnxOptions
    from weights.params import Labels


@click.command(cls=Command)
@click.argument("network", metavar="NAME|FILE.json[,FIELD=VALUE...]", shell_complete=options.complete_networks)
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
@click.argument("file", type=CHECKPOINT)
@options.given
@options.dialect
@options.labels
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every layer.")
@click.option(
    "--html", "page", type=OUTPUT, metavar="FILE.html", help="Write a page with the architecture; -: print it."
)
def inspect(
    file: Path, given: options.Given, dialect: str | None, labels: "Labels | None", as_json: bool, page: Path | None
) -> None:
    """Say what a checkpoint holds.

    Prints the network, what it expects of its input and its labels, and which of that is assumed. With --html, a page
    shows every layer by stage: its operation, shape, parameters and multiply-adds.
    """
    from conformance.report import architecture
    from conformance.report.describe import describe, facts, for_runtimes, foreign, to_dict
    from weights import InputError
    from weights.files import format_of
    from weights.networks.sizes import usual_size

    if as_json and is_stdout(page):
        raise InputError("--json and --html -: take one of them; two things cannot be printed in one place")
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
    if page:
        network, size = found.spec.network(), usual_size(found.spec)
        stages = list(architecture.stages(network, size))
        deliver(page, architecture.to_html(network.name, facts(file, found), stages, size))
    if as_json:
        say_json(to_dict(file, found))
    elif not is_stdout(page):
        say(describe(file, found, options.terminal_width()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a conversion changes in a network; None: nothing."""

    labels: "Labels | None"
    convention: "Convention | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Whether a model card is written beside a converted file."""

    card: bool
    replace_card: bool

    def place(self, dst: Path) -> Path | None:
        """Where it is written, if it is.

        Raises:
            InputError: something else stands there, or the converted file goes nowhere that a card can be beside.
        """
        if not (self.card or self.replace_card):
            return None
        from conformance.report.card import MARK
        from weights import InputError
        from weights.storage.contents import contents

        if is_stdout(dst):
            raise InputError(f"--card: {dst} has no folder that a README.md can stand in; name a file")
        path = dst.parent / "README.md"
        if path.exists() and not self.replace_card and not bytes(contents(path)).rstrip().endswith(MARK.encode()):
            raise InputError(f"{path}: was not written by senet; --replace-card replaces it")
        return path


@click.command(cls=Command)
@click.argument("src", type=CHECKPOINT)
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
@click.option("--card", is_flag=True, help="Write a model card beside it, README.md in the hub's format.")
@click.option("--replace-card", is_flag=True, help="The same, also over a README.md that senet did not write.")
@onnx_options.given
@options.grouped(changes=Changes, card=Card)
def convert(
    src: Path,
    dst: Path,
    given: options.Given,
    dialect: str | None,
    changes: Changes,
    card: Card,
    onnx: onnx_options.Onnx,
) -> None:
    """Convert a checkpoint; the suffixes name the formats.

    SRC is a file or the name of a network, whose trained weights are then fetched (senet fetch).

    Caffe: .caffemodel (with the .prototxt beside it), and .caffemodel.h5, which is only read; canonical: .safetensors;
    PyTorch: .pth, .pt, and .ckpt, .bin, .pth.tar, which training scripts leave; Keras: .keras, .weights.h5; Flax:
    .orbax (a folder); .onnx (read, if this program wrote it). Orbax and ONNX need their extras, senet[jax] and
    senet[onnx]. OpenVINO: .xml with its .bin. And programs, which a framework writes: .pt2 (PyTorch), .savedmodel and
    .tflite (TensorFlow), .stablehlo (JAX). Neither is read.

    The options marked ONNX say how an ONNX file is made for those who run it. Exits with 1 if one of less precision is
    further from the network than the bound for it.
    """
    import weights
    from weights.change import with_changes
    from weights.files import format_of
    from weights.files.programs import PROGRAMS, suffix_of
    from weights.names.dialect import APPLICATIONS_DIALECT
    from weights.storage.whole import replacing

    if suffix := suffix_of(dst):
        onnx_options.made(dst, onnx, False)
        if card.card or card.replace_card:
            raise weights.InputError(f"{dst}: is a program, which has no model card; leave out --card")
        found = with_changes(
            options.checkpoint(src, given, dialect=dialect), labels=changes.labels, convention=changes.convention
        )
        with temporary_files_of_its_own(), Bars().busy(f"Writing {dst.name}"):
            package = _package(dst, suffix)
            package.save(package.restore(*found, dtype="float32"), dst)
        say(f"{shown(src)} -> {shown(dst)}: {found.spec.name}, a program of {PROGRAMS[suffix].title} in float32")
        options.say_what_is_assumed(src, found, err=False)
        return
    into, of_keras = format_of(dst), dialect == APPLICATIONS_DIALECT
    written = "dialect" in into.writes_with and (into.name == "keras") == of_keras
    if of_keras and not written:
        raise weights.InputError(f"--dialect {dialect}: is for a .weights.h5 that is written, and {dst} is none")
    if dialect and not written and "dialect" not in format_of(src).reads_with:
        raise weights.InputError(f"--dialect: neither {src} nor {dst} is a PyTorch state dict")
    made = onnx_options.made(dst, onnx, into.name == "onnx")
    readme = card.place(dst)
    bars = Bars()
    try:
        with bars.busy(f"Reading {src.name}"):
            found = options.checkpoint(src, given, dialect=None if written else dialect)
    except weights.InputError:
        if (format_of(src).name, format_of(dst).name) != ("caffemodel", "onnx"):
            raise
        if readme:
            raise weights.InputError(f"{src}: is of no known family: leave out --card") from None
        _convert_bare(src, dst, given.prototxt, changes, made)
        return
    spec, params = with_changes(found, labels=changes.labels, convention=changes.convention)
    # ONNX Runtime forgets some of its temporary files. The card comes before DST, which a bad place would leave alone.
    kept_apart = temporary_files_of_its_own() if made and made.reduced else nullcontext()
    with kept_apart, replacing(readme) if readme else nullcontext() as beside:
        with bars.busy(f"Writing {dst.name}"), options.warnings_in_a_line():
            weights.write(dst, spec, params, dialect=dialect if written else None, onnx=made)
        if beside:
            from conformance.report.card import card as model_card

            beside.write(model_card(dst, weights.Checkpoint(spec, params), made).encode("utf-8", "backslashreplace"))
    learnable = sum(p.size for p in weights.schema(spec) if p.learnable)
    err = is_stdout(dst)
    say(f"{shown(src)} -> {shown(dst)}: {spec.name}, {learnable:,} parameters, {spec.classes} classes", err=err)
    options.say_what_is_assumed(src, weights.Checkpoint(spec, params), err=err)
    if made and made.reduced:
        onnx_options.say_how_far(dst, made)


def _package(dst: Path, suffix: str) -> Any:
    """The package that writes a program."""
    from importlib import import_module

    from weights import InputError
    from weights.files.programs import PROGRAMS

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # otherwise pages of notes on stderr
    program = PROGRAMS[suffix]
    try:
        package = import_module(program.package)
        if program.package == "se_jax":
            import_module("jax").devices()
    except ImportError as error:
        raise InputError(f"{dst}: {error}") from None
    except (RuntimeError, ValueError) as error:  # JAX_PLATFORMS or KERAS_BACKEND names one that is not there
        raise InputError(
            f"{dst}: {program.title} programs need {program.package}, which does not start: {error}"
        ) from None
    return package


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
@click.argument("a", type=CHECKPOINT)
@click.argument("b", type=CHECKPOINT)
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
        say_json(found.to_dict())
    else:
        coloured = options.colours()
        say(text(found, rounding, options.terminal_width(), all_rows, coloured), coloured=coloured)
    if not found.same(rounding):
        click.get_current_context().exit(1)
