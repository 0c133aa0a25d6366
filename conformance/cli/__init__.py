"""The command line ``senet``: what the networks are, what a checkpoint holds, conversion, comparison, classification.

Exit codes: 0 done, or agreed; 1 disagreed; 2 bad input, in one clear line on stderr; 130 interrupted. Everything heavy
is imported inside the commands, so that ``senet --help`` costs nothing and a command needs only what it uses.
"""

import json
import os
import re
import shlex
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

FRAMEWORKS = ("torch", "jax", "tf", "onnx")
"""What is compared, with the NumPy reference, where nothing else is asked for."""

DTYPES = ("float64", "float32", "bfloat16", "float16")


class _Commands(click.Group):
    """Commands whose failures are one line on stderr and an exit code, never a traceback."""

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except click.Abort:
            code = _fail("interrupted", 130)
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx else "senet"
            code = _fail(f"{error.format_message()} ({where} --help says more)", 2)
        except click.ClickException as error:
            code = _fail(error.format_message(), 2)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read our output has gone. Python would complain once more when it closes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(141)  # what a shell reports for SIGPIPE
        except ImportError as error:
            raise _missing(error) from None
        except ValueError as error:
            from weights import InputError

            if not isinstance(error, InputError):
                raise
            raise click.ClickException(str(error)) from None
        return result


def _fail(message: str, code: int) -> int:
    click.echo(f"senet: {message}", err=True)
    return code


def _missing(error: ImportError) -> Exception:
    """What to install, where the module that could not be imported is one of an extra."""
    from conformance.adapters import EXTRAS, AbsentError

    if isinstance(error, AbsentError):
        return click.ClickException(str(error))
    name = (error.name or getattr(error.__cause__, "name", None) or "").partition(".")[0]
    extra = {**EXTRAS, "matplotlib": "report", "orbax": "jax"}.get(name)
    return click.ClickException(f"{name} is not installed: pip install 'senet[{extra}]'") if extra else error


def _list(value: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in value.split(","))) if value is not None else ()


def _dtypes(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    found = _list(value)
    for name in found:
        if name not in DTYPES:
            raise click.BadParameter(f"{name!r} is none of {', '.join(DTYPES)}")
    return found


def _frameworks(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...]:
    found = _list(value)
    if found:
        from conformance.adapters import KNOWN, known

        if "all" in found:
            found = tuple(dict.fromkeys((*KNOWN, *(name for name in found if name != "all"))))
        # As "python -m" has it and an installed command has not: an adapter may lie in the current folder.
        sys.path[:] = [os.getcwd(), *(path for path in sys.path if path not in ("", os.getcwd()))]
        for name in found:
            known(name)
    return found


def _size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", value)
    if not match:
        raise click.BadParameter(f"{value!r} is no size; write height x width, as in 224x224")
    return int(match[1]), int(match[2])


_FILE = click.Path(path_type=Path)
_prototxt = click.option(
    "--prototxt", type=_FILE, help="Layer definitions, if the Caffe file should be read by others."
)


def _read(file: Path, prototxt: Path | None = None, **options: Any) -> Any:
    """(spec, params), with options only where they are given: not every format has them."""
    from weights import InputError, read
    from weights.files import format_of

    given = {key: value for key, value in {"prototxt": prototxt, **options}.items() if value is not None}
    if prototxt is not None and format_of(file).name != "caffemodel":
        raise InputError(f"--prototxt: {file} is no Caffe file and takes none")
    with _warnings_in_a_line():
        return read(file, **given)


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """What is read in the block, but not wholly used, is told on stderr."""
    from weights.errors import InputWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InputWarning)
        try:
            yield
        finally:
            for warning in caught:
                click.echo(f"senet: warning: {warning.message}", err=True)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="senet", message="senet %(version)s")
def main() -> None:
    """Squeeze-and-Excitation networks in PyTorch, Keras and Flax, proven equal to the original Caffe.

    Exit codes: 0 done, or agreed; 1 disagreed; 2 bad input.
    """


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def models(as_json: bool) -> None:
    """List the networks, their costs at 224x224, and the frameworks that senet compare knows."""
    from conformance.adapters import CONTESTANTS
    from conformance.report.describe import models as rows
    from conformance.report.table import aligned

    table = rows()
    if as_json:
        click.echo(json.dumps(table, indent=1))
        return
    header = ("name", "parameters", "GMACs", "classes", "SE reduction", "blobs", "Caffe file")
    lines = [
        (
            row["name"],
            f"{row['parameters']:,}",
            f"{row['gmacs']:.3f}",
            str(row["classes"]),
            str(row["reduction"] or "none"),
            str(row["blobs"]),
            f"{row['stored'] * 4 / 1e6:.1f} MB",
        )
        for row in table
    ]
    click.echo(aligned(header, lines))
    click.echo(f"\nframeworks to compare: {', '.join(FRAMEWORKS)}; with --frameworks also")
    click.echo("\n".join(textwrap.wrap(f"numpy, {', '.join(CONTESTANTS)}, or all", 100)))


@main.command()
@click.argument("file", type=_FILE)
@_prototxt
def inspect(file: Path, prototxt: Path | None) -> None:
    """Say what a checkpoint holds.

    And what it expects of its input and its labels, and what of that is assumed.
    """
    from conformance.report.describe import describe, foreign
    from weights import InputError
    from weights.files import format_of

    try:
        spec, params = _read(file, prototxt)
    except InputError:
        if file.is_file() and format_of(file).name == "caffemodel":
            with suppress(InputError), warnings.catch_warnings(action="ignore"):
                click.echo(foreign(file, prototxt))
        raise
    click.echo(describe(file, spec, params))


@main.command()
@click.argument("src", type=_FILE)
@click.argument("dst", type=_FILE)
@_prototxt
@click.option("--dialect", type=click.Choice(["torch", "timm", "cadene"]), help="Names of the tensors in a state dict.")
@click.option("--labels", type=click.Choice(["sorted", "devkit"]), help="Reorder the classifier to this label order.")
@click.option(
    "--input",
    "convention",
    type=click.Choice(["rgb01", "bgr255"]),
    help="Rewrite the first convolution for RGB 0..1 or BGR 0..255 images; the mean stays the original's.",
)
def convert(
    src: Path, dst: Path, prototxt: Path | None, dialect: str | None, labels: str | None, convention: str | None
) -> None:
    """Convert a checkpoint; the suffixes name the formats.

    Caffe: .caffemodel (with the .prototxt beside it), .caffemodel.h5; canonical: .safetensors; PyTorch: .pth, .pt;
    Keras: .keras, .weights.h5; Flax: .orbax (a folder); .onnx.
    """
    import weights
    from conformance.progress import busy
    from weights.files import format_of

    target = format_of(dst)
    state_dict = target.name in ("pytorch", "safetensors")
    if dialect and not state_dict and format_of(src).name not in ("pytorch", "safetensors"):
        raise weights.InputError(f"--dialect: neither {src} nor {dst} is a PyTorch state dict")
    if src.exists() and dst.exists() and src.samefile(dst):
        raise weights.InputError(f"{dst}: is the source itself; name another file")
    with busy(f"Reading {src.name}"):
        spec, params = _read(src, prototxt, dialect=None if state_dict else dialect)
    if labels:
        from weights.change import reorder

        params = reorder(spec, params, labels)  # type: ignore[arg-type]
    if convention:
        from weights.change import rewrite

        params = rewrite(spec, params, convention)  # type: ignore[arg-type]
    with busy(f"Writing {dst.name}"):
        weights.write(dst, spec, params, dialect=dialect if state_dict else None)
    learnable = sum(p.size for p in weights.schema(spec) if p.learnable)
    click.echo(f"{src} -> {dst}: {spec.name}, {learnable:,} parameters, {spec.classes} classes")
    if params.info.assumed:
        click.echo(f"assumed, not stated by {src.name}: {', '.join(params.info.assumed)}")


@main.command()
@click.argument("file", type=_FILE, required=False)
@_prototxt
@click.option(
    "--frameworks",
    "--framework",
    callback=_frameworks,
    help=f"Some of {','.join(FRAMEWORKS)} (without this option, all of these), others that senet models lists, modules "
    "with an adapter, package.module; or all.",
)
@click.option("--dtype", "dtypes", callback=_dtypes, default="float64", show_default=True, help="Or both.")
@click.option("--size", callback=_size, metavar="HxW", help="Of the input; else what the checkpoint expects.")
@click.option("--image", type=_FILE, help="A photograph to run on; else seeded noise.")
@click.option("--gradients", is_flag=True, help="Compare these too; with --against always.")
@click.option("--against", type=_FILE, metavar="GOLDEN", help="What senet freeze wrote, instead of the reference.")
@click.option("--report", type=_FILE, metavar="FILE.html", help="Write a self-contained page.")
@click.option("--json", "result", type=_FILE, metavar="FILE.json", help="Write the numbers of every tap.")
@click.option("--junit", type=_FILE, metavar="FILE.xml", help="Write a test case for every tap.")
@click.option("--in-process", is_flag=True, help="All in this process, for a debugger; else each in its own.")
@click.option("--markdown", is_flag=True, help="Print a report in Markdown.")
def compare(
    file: Path | None,
    prototxt: Path | None,
    frameworks: tuple[str, ...],
    dtypes: tuple[str, ...],
    size: tuple[int, int] | None,
    image: Path | None,
    gradients: bool,
    against: Path | None,
    report: Path | None,
    result: Path | None,
    junit: Path | None,
    in_process: bool,
    markdown: bool,
) -> None:
    """Compare the frameworks layer by layer.

    Runs the checkpoint FILE in each and compares every layer with the NumPy reference. Exits with 0 if all agree
    within the bounds (1e-13 of a layer's largest value in float64, 1e-5 in float32, 1e-1 in bfloat16, 2e-2 in
    float16), with 1 if one does not. With --gradients, of the input and every parameter, the bounds are 1e-12 in
    float64 and 1e-2 in float32.

    With --against, FILE holds the weights that were frozen, and may be left out if they were seeded.
    """
    from conformance.progress import busy
    from conformance.report import formats
    from conformance.report import table as reports
    from conformance.report.run import record, record_against, to_json
    from weights import InputError
    from weights.storage.whole import replacing

    if file is None and against is None:
        raise click.UsageError("Missing argument 'FILE', or --against", click.get_current_context())
    if against and (image or size):
        raise InputError(f"--against: {against} has an input of its own; leave out --image and --size")
    spec: Any = None
    params: Any = None
    if file:
        with busy(f"Reading {file.name}"):
            spec, params = _read(file, prototxt)
    asked: Any = {
        "file": file,
        "frameworks": frameworks or FRAMEWORKS,
        "dtypes": dtypes,
        "command": shlex.join(["senet", *sys.argv[1:]]),
        "isolated": not in_process,
    }
    if against:
        run = record_against(against, params, **asked)
    else:
        run = record(spec, params, photo=image, size=size, gradients=gradients, **asked)
    for path, text in ((result, to_json), (junit, formats.junit)):
        if path:
            with replacing(path) as out:
                out.write(text(run).encode())
    if report:
        reports.write(report, run)
    click.echo(formats.markdown(run) if markdown else reports.aligned(reports.HEADER, list(reports.rows(run))))
    _judge(run, frameworks)


@main.command()
@click.argument("source", metavar="MODEL|FILE")
@click.argument("golden", type=_FILE)
@_prototxt
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of a model's weights and the input."
)
@click.option("--size", callback=_size, metavar="HxW", help="Of the input; else what the checkpoint expects.")
def freeze(source: str, golden: Path, prototxt: Path | None, seed: int, size: tuple[int, int] | None) -> None:
    """Keep what a network answers, for years.

    Writes the input, the logits, and samples of every layer's output and of every gradient, with checksums of the
    weights, to a small .safetensors file: senet compare --against judges any framework by it. MODEL is a network's
    name, whose weights are drawn from the seed.
    """
    from conformance.golden.file import freeze as keep
    from conformance.progress import busy

    with busy(f"Freezing {source}"), _warnings_in_a_line():
        options: Any = {"prototxt": prototxt} if prototxt else {}
        kept = keep(source, golden, seed=seed, size=size, **options)
    size_of = f"{golden.stat().st_size / 1e6:.2f} MB"
    n, _, h, w = kept.x.shape
    click.echo(
        f"{golden}: {kept.spec.name} at {n}x3x{h}x{w}, samples of {len(kept.taps)} taps and {len(kept.gradients)} "
        f"gradients, {size_of}"
    )


@main.command()
@click.argument("a", type=_FILE)
@click.argument("b", type=_FILE)
@click.option("--rounding", is_flag=True, help="Let pass what differs only by rounding to the narrower dtype.")
@click.option("--json", "as_json", is_flag=True, help="Every tensor, as JSON.")
def diff(a: Path, b: Path, rounding: bool, as_json: bool) -> None:
    """Compare two checkpoints, tensor by tensor.

    Of any formats. Says of each tensor whether it is identical, equal but stored in another layout or dtype, different
    (by how much) or missing. Exits with 0 if the checkpoints are the same network with the same numbers, else with 1.
    """
    from conformance.report.difference import text
    from weights.files.diff import diff as found_in

    with _warnings_in_a_line():
        found = found_in(a, b)
    click.echo(json.dumps(found.to_dict(), indent=1) if as_json else text(found, rounding))
    if not found.same(rounding):
        click.get_current_context().exit(1)


@main.command()
@click.argument("photo", type=_FILE)
@click.option("--weights", "file", type=_FILE, required=True, help="The checkpoint, of any format.")
@_prototxt
@click.option("--framework", default="numpy", show_default=True)
@click.option("--top", "count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many classes.")
def classify(photo: Path, file: Path, prototxt: Path | None, framework: str, count: int) -> None:
    """Say what a photograph shows.

    The most probable classes, by the checkpoint's own preprocessing and label order.
    """
    from conformance.adapters import known
    from conformance.progress import busy
    from conformance.report.run import logits, top
    from conformance.report.table import aligned
    from weights import InputError
    from weights.images import prepare

    known(framework)
    with busy(f"Reading {file.name}"):
        spec, params = _read(file, prototxt)
    info = params.info
    if not spec.classes:
        raise InputError(f"{file}: has no classifier, so it cannot classify")
    if info.preprocessing is None:
        raise InputError(f"{file}: the preprocessing it expects is not known; convert it from a file that states it")
    x = prepare(photo, info.preprocessing)
    with busy(f"Classifying with {framework}"):
        found = top(logits(framework, spec, params, x), info.labels, count)
    lines = [(f"{c['probability']:.4f}", str(c["index"]), c["name"]) for c in found]
    named = bool(found[0]["name"])
    header = ("probability", "index", "class")
    click.echo(aligned(header, lines) if named else aligned(header[:2], [line[:2] for line in lines]))
    if not named:
        click.echo(f"The label order of {file} is not known: indices only, no names.", err=True)
    elif info.assumed:
        click.echo(f"Assumed, not stated by {file}: {', '.join(info.assumed)}.", err=True)


@main.command()
@click.option("--caffemodel", type=_FILE, help="A real checkpoint; else one with seeded weights is written.")
@click.option("--output", type=_FILE, default=Path("demo"), show_default=True, help="Folder for all that is written.")
@click.option("--frameworks", callback=_frameworks, help="As in compare.")
def demo(caffemodel: Path | None, output: Path, frameworks: tuple[str, ...]) -> None:
    """Do the whole job on one network.

    Convert a Caffe checkpoint, run it in all frameworks on a photograph, and write a report.
    """
    from conformance.cli.demo import demo as job

    run = job(caffemodel, output, frameworks or FRAMEWORKS, click.echo)
    _judge(run, frameworks)


def _judge(run: dict[str, Any], wanted: tuple[str, ...]) -> None:
    """Turns a run into the exit code. What was asked for by its name must be there."""
    from conformance.adapters import KNOWN
    from conformance.report.table import agreed
    from weights import InputError

    found = [(name, f) for c in run["comparisons"] for name, f in c["frameworks"].items()]
    asked = set(wanted) - (set(KNOWN) if set(KNOWN) <= set(wanted) else set())
    for name, f in found:
        if f["status"] == "absent" and name in asked:
            raise InputError(f["message"])
    if all(f["status"] == "absent" for _, f in found):
        raise InputError("no framework is installed, nothing was compared: pip install 'senet[all]', or one of them")
    if not agreed(run):
        click.get_current_context().exit(1)
