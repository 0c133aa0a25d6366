"""Makes the record of a run: compares adapters with the reference or a golden file, in every precision asked for."""

import hashlib
import os
import platform
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path

import numpy as np

from conformance import cases
from conformance.adapters import ADAPTERS
from conformance.golden.against import against
from conformance.golden.file import read
from conformance.judge.bounds import BOUNDS
from conformance.judge.compare import USUAL, Conditions, compared
from conformance.judge.measure import check_asked
from conformance.judge.memory import check_memory
from conformance.judge.progress import SILENT, Progress
from conformance.judge.question import GRADIENTS, TRAINING, Given, every
from conformance.judge.verdict import Comparison
from conformance.report.run import Compared, Input, Machine, Run, Weights, top
from weights.images import prepare, takes_photographs
from weights.images.decode import opened
from weights.networks.cost import cost
from weights.networks.spec import Spec
from weights.params import CAFFE, Info, Params

SEED = 0  # of the noise that serves as input where there is no photograph
_SIDE = 256  # pixels of the photograph in a report
_ASSUMED = " (assumed: the checkpoint does not state it)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Parameters of a file, whose adapters are compared with the reference.

    Attributes:
        file: where they come from.
        spec: the network.
        params: its parameters by canonical name.
        photo: what the networks look at; without it, seeded noise.
        max_pixels: that it may have; None for ``limits.PIXELS``.
        size: height and width of the input; None for two sizes: what the preprocessing says, 224x224, and a smaller one
            that is higher than wide.
        batch: images of each size; where a photograph is one of them, the others are noise.
        gradients: whether those are compared too, of a seeded functional of the output, where the outputs agree, for
            the images of the smaller size.
        training: whether that is compared too: gradients through the statistics of a batch, running statistics after a
            step, and in float64 all parameters after ten steps.
        note: what a reader has to know about the weights.
    """

    file: Path
    spec: Spec
    params: Params
    photo: Path | None = None
    max_pixels: int | None = None
    size: tuple[int, int] | None = None
    batch: int = 2
    gradients: bool = False
    training: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """A golden file, with which adapters are compared forward, and backward where they agree and have gradients.

    Attributes:
        golden: the golden file.
        file: where the parameters come from, if they do not come from the golden file's seed.
        params: those of ``file``; None for parameters that the golden file can draw again.
    """

    golden: Path
    file: Path | None = None
    params: Params | None = None


Source = Checkpoint | Golden
"""What a run compares with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a run is made: adapters by name, precisions, what was typed, and how each adapter is asked."""

    adapters: Sequence[str]
    dtypes: Sequence[str] = ("float64",)
    command: str = ""
    conditions: Conditions = USUAL


def record(source: Source, asked: Asked, progress: Progress = SILENT) -> Run:
    """Compares the adapters in each precision.

    Args:
        source: the parameters, and what is compared with.
        asked: how.
        progress: is told what is being done.

    Raises:
        InputError: the photograph or the golden file cannot be used, the network cannot take the size, the parameters
            are others than those that were frozen, an adapter is unknown, or something is demanded that has no bound.
    """
    check_asked(asked.conditions.demands, asked.dtypes)
    match source:
        case Checkpoint():
            return _with_the_reference(source, asked, progress)
        case Golden():
            return _with_a_golden_file(source, asked, progress)


def _with_the_reference(source: Checkpoint, asked: Asked, progress: Progress) -> Run:
    spec, params, network = source.spec, source.params, source.spec.network()
    conditions = replace(asked.conditions, progress=progress)
    inputs, seen = _images(source)
    batches = cases.batches(network, SEED) if network.classes else ()
    wanted = (GRADIENTS if source.gradients else ()) + (TRAINING if source.training else ())
    taps_of, *more = every(network, inputs, SEED, batches)
    further = [question for question in more if question.what in wanted]
    forward: list[Comparison] = []
    others: list[Comparison] = []
    for dtype in asked.dtypes:
        # ONNX Runtime computes in float32 whatever is asked for; once is enough.
        done = {name for c in forward for name, verdict in c.results.items() if verdict.dtype == dtype}
        left = [name for name in asked.adapters if name not in done]
        with progress.busy(f"Comparing in {dtype}", 1 + len(left)):
            taps = compared(Given(network, params, dtype, taps_of), left, conditions)
        forward.append(taps)
        for question in further:
            if dtype in BOUNDS[question.what]:
                names = list(_agreed(taps))
                with progress.busy(f"Comparing {question.what} in {dtype}", 1 + len(names)):
                    others.append(compared(Given(network, params, dtype, question), names, conditions))
    weights = _weights(params.info, source.file, source.note)
    return _run(spec, params.info, weights, seen, (*forward, *others), asked)


def _images(source: Checkpoint) -> tuple[tuple[np.ndarray, ...], Input]:
    """What the networks look at: different images, of two sizes where nobody states one."""
    spec, expected = source.spec, source.params.info.preprocessing or CAFFE
    usual = spec.only_size or (expected.crop, expected.crop)
    check_memory(spec, (source.batch, spec.in_channels, *(source.size or usual)))
    inputs = cases.inputs(spec, SEED, source.size, source.batch, usual)
    noise, shapes = f"noise of seed {SEED}", tuple(x.shape for x in inputs)
    if source.photo is None:
        return inputs, Input(what=noise, shapes=shapes)
    takes_photographs(spec, source.photo)
    inputs[0][:1] = prepare(source.photo, expected, source.size, source.max_pixels)
    what = f"the photograph {source.photo.name}" + (f" and {noise}" if source.batch > 1 or len(inputs) > 1 else "")
    said = str(expected) + ("" if source.params.info.preprocessing else _ASSUMED)
    return inputs, Input(what=what, shapes=shapes, preprocessing=said, photo=_thumbnail(source))


def _with_a_golden_file(source: Golden, asked: Asked, progress: Progress) -> Run:
    kept = read(source.golden)
    conditions = replace(asked.conditions, progress=progress)
    comparisons: list[Comparison] = []
    for dtype in asked.dtypes:
        with progress.busy(f"Comparing in {dtype}", len(asked.adapters)):
            taps = against(source.golden, source.params, asked.adapters, dtype, conditions=conditions)
        comparisons.append(taps)
        if dtype in BOUNDS["gradients"]:
            names = list(_agreed(taps))
            with progress.busy(f"Comparing gradients in {dtype}", len(names)):
                found = against(source.golden, source.params, names, dtype, "gradients", conditions)
            comparisons.append(found)
    versions = ", ".join(f"{name} {found}" for name, found in kept.versions.items())
    note = f"against {source.golden.name}, frozen with {versions}"
    info = source.params.info if source.params is not None else Info(source=kept.weights)
    seen = Input(what=f"that of {source.golden.name}", shapes=(kept.x.shape,))
    weights = _weights(info, source.file or kept.weights, note)
    return _run(kept.spec, info, weights, seen, tuple(comparisons), asked)


def _agreed(taps: Comparison) -> Iterator[str]:
    """Adapters worth asking for more: what went wrong forward goes wrong backward."""
    return (name for name, verdict in taps.results.items() if verdict.status in ("agreed", "otherwise"))


def _run(
    spec: Spec, info: Info, weights: Weights, seen: Input, comparisons: tuple[Comparison, ...], asked: Asked
) -> Run:
    c = cost(spec)
    return Run(
        checkpoint=weights,
        network=Compared(name=spec.name, parameters=c.learnable, gmacs=c.macs / 1e9),
        input=seen,
        comparisons=comparisons,
        top5=top(comparisons[0].output[0], info.labels, class_names=info.class_names) if spec.classes else (),
        labels=info.labels,
        assumed=tuple(info.assumed),
        machine=this_machine(),
        command=asked.command,
    )


def _weights(info: Info, file: Path | str, note: str) -> Weights:
    return Weights(
        file=str(file),
        file_sha256=_sha256(file) if isinstance(file, Path) and file.is_file() else "",
        source=info.source,
        format=info.format,
        sha256=info.sha256,
        note=note,
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()  # type: ignore[arg-type]  # the stub wants less


def _thumbnail(source: Checkpoint) -> str:
    """The photograph as a data URI, small enough to travel in a page."""
    assert source.photo is not None  # it has been prepared
    small = opened(source.photo, source.max_pixels)
    small.thumbnail((2 * _SIDE, 2 * _SIDE))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"


def this_machine() -> Machine:
    """Where and when this is."""
    packages = ("senet", "numpy", *(name for row in ADAPTERS.values() if row.standard for name in row.packages))
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        versions={"Python": platform.python_version(), **{p: v for p in packages if (v := _version(p))}},
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
