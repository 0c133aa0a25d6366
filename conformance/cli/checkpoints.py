"""The commands about networks and their files: models, inspect, convert, diff."""

import json
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.cli import options
from conformance.cli.options import FILE, FRAMEWORKS
from conformance.cli.progress import Bars

if TYPE_CHECKING:
    from weights.change.first_convolution import Convention
    from weights.params import Labels


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(as_json: bool) -> None:
    """List the networks, their costs at 224x224, and the frameworks that senet compare knows."""
    from conformance.adapters import ADAPTERS
    from conformance.report.describe import models as published
    from conformance.report.table import aligned

    networks = list(published())
    if as_json:
        click.echo(json.dumps([asdict(network) for network in networks], indent=1))
        return
    header = ("name", "parameters", "GMACs", "classes", "SE reduction", "blobs", "Caffe file")
    lines = [
        (
            network.name,
            f"{network.parameters:,}",
            f"{network.gmacs:.3f}",
            str(network.classes),
            str(network.reduction or "none"),
            str(network.blobs),
            f"{network.stored * 4 / 1e6:.1f} MB",
        )
        for network in networks
    ]
    click.echo(aligned(header, lines, options.terminal_width()))
    others = ", ".join(name for name in ADAPTERS if name not in FRAMEWORKS)
    click.echo(f"\nframeworks to compare: {', '.join(FRAMEWORKS)}; with --frameworks also")
    click.echo(click.wrap_text(f"{others}, or all", options.terminal_width() or 100))


@click.command()
@click.argument("file", type=FILE)
@options.prototxt
def inspect(file: Path, prototxt: Path | None) -> None:
    """Say what a checkpoint holds.

    Prints the network, what it expects of its input and its labels, and which of that is assumed.
    """
    from conformance.report.describe import describe, foreign
    from weights import InputError
    from weights.files import format_of

    try:
        found = options.checkpoint(file, prototxt)
    except InputError:
        if file.is_file() and format_of(file).name == "caffemodel":
            with suppress(InputError), warnings.catch_warnings(action="ignore"):
                click.echo(foreign(file, prototxt, options.terminal_width()))
        raise
    click.echo(describe(file, found, options.terminal_width()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a conversion changes in a network; None: nothing."""

    labels: "Labels | None"
    convention: "Convention | None"


@click.command()
@click.argument("src", type=FILE)
@click.argument("dst", type=FILE)
@options.prototxt
@click.option("--dialect", type=click.Choice(["torch", "timm", "cadene"]), help="Names of the tensors in a state dict.")
@click.option("--labels", type=click.Choice(["sorted", "devkit"]), help="Reorder the classifier to this label order.")
@click.option(
    "--input",
    "convention",
    type=click.Choice(["rgb01", "bgr255"]),
    help="Rewrite the first convolution for RGB 0..1 or BGR 0..255 images; the mean stays the original's.",
)
@options.grouped(changes=Changes)
def convert(src: Path, dst: Path, prototxt: Path | None, dialect: str | None, changes: Changes) -> None:
    """Convert a checkpoint; the suffixes name the formats.

    Caffe: .caffemodel (with the .prototxt beside it), .caffemodel.h5 (to read); canonical: .safetensors; PyTorch: .pth,
    .pt; Keras: .keras, .weights.h5; Flax: .orbax (a folder); .onnx (to read: only files written here). Orbax and ONNX
    need their extras, senet[jax] and senet[onnx].
    """
    import weights
    from weights.change import reorder, rewrite
    from weights.files import format_of

    written = "dialect" in format_of(dst).writes_with
    if dialect and not written and "dialect" not in format_of(src).reads_with:
        raise weights.InputError(f"--dialect: neither {src} nor {dst} is a PyTorch state dict")
    if src.exists() and dst.exists() and src.samefile(dst):
        raise weights.InputError(f"{dst}: is the source itself; name another file")
    bars = Bars()
    try:
        with bars.busy(f"Reading {src.name}"):
            spec, params = options.checkpoint(src, prototxt, None if written else dialect)
    except weights.InputError:
        if (format_of(src).name, format_of(dst).name) != ("caffemodel", "onnx"):
            raise
        _convert_bare(src, dst, prototxt, changes)
        return
    if changes.labels:
        params = reorder(spec, params, changes.labels)
    if changes.convention:
        params = rewrite(spec, params, changes.convention)
    with bars.busy(f"Writing {dst.name}"), options.warnings_in_a_line():
        weights.write(dst, spec, params, dialect=dialect if written else None)
    learnable = sum(p.size for p in weights.schema(spec) if p.learnable)
    click.echo(f"{src} -> {dst}: {spec.name}, {learnable:,} parameters, {spec.classes} classes")
    if params.info.assumed:
        click.echo(f"assumed, not stated by {src.name}: {', '.join(params.info.assumed)}")


def _convert_bare(src: Path, dst: Path, prototxt: Path | None, changes: Changes) -> None:
    """Writes a Caffe network that no family has, but whose operations are all known, as an ONNX file."""
    from weights import InputError
    from weights.caffe import checkpoint as caffe
    from weights.files import onnx

    with options.warnings_in_a_line():
        network, params = caffe.network(src, prototxt)
        if changes.labels or changes.convention:
            raise InputError(f"{src}: is of no known family: leave out --labels and --input")
        onnx.write(dst, network, params)
    click.echo(f"{src} -> {dst}: {network.name}, of no known family: computed by any ONNX runtime, and not read here")


@click.command()
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@click.option("--rounding", is_flag=True, help="Ignore differences that rounding to a narrower dtype explains.")
@click.option("--json", "as_json", is_flag=True, help="Print every tensor, as JSON.")
def diff(a: Path, b: Path, rounding: bool, as_json: bool) -> None:
    """Compare two checkpoints of any formats, tensor by tensor.

    Says of each tensor whether it is identical, equal but stored in another layout or dtype, different (by how much) or
    missing. Exits with 0 if the checkpoints are the same network with the same numbers, else with 1.
    """
    from conformance.report.difference import text
    from weights.files.diff import diff as difference

    with options.warnings_in_a_line():
        found = difference(a, b)
    shown = json.dumps(found.to_dict(), indent=1) if as_json else text(found, rounding, options.terminal_width())
    click.echo(shown)
    if not found.same(rounding):
        click.get_current_context().exit(1)
