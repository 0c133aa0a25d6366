"""Runs a network in several frameworks, forward, backward or in training, and says where each leaves the reference."""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from conformance.adapters import DIFFERENTIABLE, FRAMEWORKS, adapter, known
from conformance.judge import process as worker
from conformance.judge.bounds import BOUNDS, TAPS
from conformance.judge.verdict import Comparison, Status, Verdict
from conformance.progress import step
from conformance.reference.training import Batch, Recipe
from weights.errors import InputError
from weights.networks.network import graph
from weights.networks.parameters import check
from weights.networks.sizes import shapes
from weights.networks.spec import Spec


def run(
    framework: str,
    spec: Spec,
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    dtype: str = "float64",
) -> dict[str, np.ndarray]:
    """The taps of one framework, in this process.

    Args:
        framework: one of ``FRAMEWORKS``, or a module "package.module" with an adapter's functions.
        x: (N, 3, H, W), cast to the dtype.
        dtype: "float64", "float32", "bfloat16" or "float16" (the last two come back in float32). A framework that
            cannot compute in it (ONNX Runtime in float64 on a large network) takes another.

    Returns:
        Node names to outputs, (N, C, H, W) or (N, C), in the order of the graph; the last one is "logits" (without a
        classifier "pool"). Nodes that do not exist in the framework are left out.

    Raises:
        InputError: there is no such framework, or the parameters or the size do not fit the network.
        ImportError: the framework is not installed; the message says which extra to install.
    """
    _checked(spec, params, x, dtype)
    return dict(worker.taps(adapter(framework), spec, params, x, dtype).taps)


def gradients(
    framework: str,
    spec: Spec,
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    cotangent: np.ndarray,
    dtype: str = "float64",
    *,
    training: bool = False,
) -> dict[str, np.ndarray]:
    """The gradients of sum(logits * cotangent) by one framework, in this process.

    Args:
        framework: as of ``run``.
        x: (N, 3, H, W).
        cotangent: (N, classes).
        training: BatchNorm normalises with the statistics of the batch, and gradients run through them. Nothing is
            dropped out: what is dropped depends on each framework's own random numbers.

    Returns:
        That of the input as "data", that of each learnable parameter by its name, in canonical layouts.

    Raises:
        InputError: as of ``run``, or the framework has no gradients.
        ImportError: the framework is not installed.
    """
    job = _job(spec, params, x, dtype, "gradients", cotangent, training=training)
    return dict(_answer(framework, job).taps)


def train(
    framework: str,
    spec: Spec,
    params: Mapping[str, np.ndarray],
    batches: Sequence[Batch],
    recipe: Recipe,
    dtype: str = "float64",
) -> dict[str, np.ndarray]:
    """Parameters and running statistics after a step for each batch, by one framework's own optimizer, in this process.

    Args:
        framework: as of ``run``.
        params: to start from.
        batches: all of one shape. Nothing is dropped out.

    Raises:
        InputError: as of ``run``, or the framework does not train.
        ImportError: the framework is not installed.
    """
    return dict(_answer(framework, _training_job(spec, params, batches, recipe, dtype)).taps)


def compare(
    spec: Spec,
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    frameworks: Iterable[str] = FRAMEWORKS,
    dtype: str = "float64",
    *,
    isolated: bool = True,
    timeout: float = 600.0,
) -> Comparison:
    """Compares every tap of every framework with the reference in float64.

    Args:
        x: (N, 3, H, W).
        dtype: what the frameworks compute in.
        isolated: each framework in a process of its own, two at a time, so that a crash, a lack of memory or a hang
            is one framework's only. Otherwise one after the other in this process.
        timeout: seconds that an isolated framework has.

    Raises:
        InputError: an unknown framework, or parameters or a size that do not fit the network.
    """
    return _compare(frameworks, _job(spec, params, x, dtype), isolated, timeout)


def compare_gradients(
    spec: Spec,
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    cotangent: np.ndarray,
    frameworks: Iterable[str] = DIFFERENTIABLE,
    dtype: str = "float64",
    *,
    training: bool = False,
    isolated: bool = True,
    timeout: float = 600.0,
) -> Comparison:
    """Compares every gradient of every framework with the reference's in float64; arguments as of the functions above.

    The errors stand in the order in which gradients come about, so the first divergent one is next to the mistake.
    """
    job = _job(spec, params, x, dtype, "gradients", cotangent, training=training)
    return _compare(frameworks, job, isolated, timeout)


def compare_training(
    spec: Spec,
    params: Mapping[str, np.ndarray],
    batches: Sequence[Batch],
    recipe: Recipe,
    frameworks: Iterable[str] = DIFFERENTIABLE,
    dtype: str = "float64",
    *,
    isolated: bool = True,
    timeout: float = 600.0,
) -> Comparison:
    """Compares every parameter and running statistic after training with the reference's in float64."""
    return _compare(frameworks, _training_job(spec, params, batches, recipe, dtype), isolated, timeout)


def _compare(frameworks: Iterable[str], job: worker.Job, isolated: bool, timeout: float) -> Comparison:
    frameworks = tuple(frameworks)
    for name in frameworks:
        known(name)
    with step("the reference"):
        truth = truth_of(job)

    def judged_by_truth(name: str, answer: worker.Answer) -> Verdict:
        return judge(name, answer, truth, BOUNDS[job.what])

    return Comparison(
        network=job.spec.name,
        dtype=job.dtype,
        shape=tuple(job.x.shape),
        results=judged(job, frameworks, judged_by_truth, isolated, timeout),
        truth=truth,
        what=job.what,
    )


def judged(
    job: worker.Job,
    frameworks: Iterable[str],
    judge: Callable[[str, worker.Answer], Verdict],
    isolated: bool = True,
    timeout: float = 600.0,
) -> dict[str, Verdict]:
    """What a judge, who is told a framework's name and answer, makes of each; the rest is as of ``compare``.

    Raises:
        InputError: an unknown framework.
    """
    names = tuple(dict.fromkeys(frameworks))
    for name in names:
        known(name)

    def in_this_process(name: str) -> Verdict:
        with step(name):
            return judge(name, worker.answer(name, job))

    if not isolated:
        return {name: in_this_process(name) for name in names}
    with TemporaryDirectory(prefix="senet-") as folder, ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        job.save(Path(folder))

        def result(name: str) -> Verdict:
            with step(name), worker.isolated(name, Path(folder), timeout) as answer:
                return judge(name, answer)

        return dict(zip(names, pool.map(result, names), strict=True))


def truth_of(job: worker.Job) -> Mapping[str, np.ndarray]:
    """What the reference has in float64; what goes wrong in it is nobody's disagreement, and passes through."""
    return worker.ask(adapter("numpy"), replace(job, dtype="float64")).taps


def _answer(framework: str, job: worker.Job) -> worker.Answer:
    loaded = adapter(framework)
    if not hasattr(loaded, worker.FUNCTIONS[job.what]):
        raise InputError(f"{loaded.NAME} has no {job.what}: its adapter has no function '{worker.FUNCTIONS[job.what]}'")
    return worker.ask(loaded, job)


def _job(
    spec: Spec,
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    dtype: str,
    what: str = "taps",
    cotangent: np.ndarray | None = None,
    *,
    training: bool = False,
) -> worker.Job:
    _checked(spec, params, x, dtype, what)
    if cotangent is not None:
        output = (len(x), *shapes(spec)[graph(spec)[-1].name])
        if cotangent.shape != output:
            raise InputError(f"the cotangent has shape {cotangent.shape}, expected that of the output, {output}")
    if training:
        spec = replace(spec, dropout=0.0)
    return worker.Job(spec, params, x, dtype, what, cotangent, training=training)


def _training_job(
    spec: Spec, params: Mapping[str, np.ndarray], batches: Sequence[Batch], recipe: Recipe, dtype: str
) -> worker.Job:
    images = np.stack([x for x, _ in batches])
    _checked(spec, params, images[0], dtype, "training")
    classes = np.stack([classes for _, classes in batches])
    if classes.shape != images.shape[:2] or not np.issubdtype(classes.dtype, np.integer) or not spec.classes:
        raise InputError(
            f"the classes have shape {classes.shape}, expected integers, one for each of {images.shape[:2]}"
        )
    return worker.Job(replace(spec, dropout=0.0), params, images, dtype, "training", classes, recipe=recipe)


def _checked(spec: Spec, params: Mapping[str, np.ndarray], x: np.ndarray, dtype: str, what: str = "taps") -> None:
    if dtype not in BOUNDS[what]:
        raise InputError(f"unknown dtype {dtype!r}: expected one of {', '.join(BOUNDS[what])}")
    if x.ndim != 4 or x.shape[1] != 3:
        raise InputError(f"the input has shape {x.shape}, expected (N, 3, H, W)")
    check(spec, params)
    shapes(spec, *x.shape[2:])


def judge(
    name: str, answer: worker.Answer, truth: Mapping[str, np.ndarray], bounds: Mapping[str, float] = TAPS
) -> Verdict:
    """Every tensor of an answer against the truth, in its order. All must be there; of taps only the last one."""
    if answer.message:
        status: Status = "absent" if answer.absent else "failed"
        return Verdict(adapter=name, status=status, version=answer.version, message=answer.message)
    taps, output = answer.taps, list(truth)[-1]
    errors, notes, top1 = {}, [], None
    for tap, b in truth.items():
        if tap not in taps:
            continue
        a = taps[tap]
        errors[tap] = relative_error(a, b)
        if a.shape != b.shape:
            notes.append(f"{tap} has shape {a.shape}, expected {b.shape}")
        elif tap == "logits" and math.isfinite(errors[tap]):
            top1 = int(np.argmax(a[0]))
    kind, wanted = ("tap", [output]) if bounds is TAPS else ("tensor", truth)
    if unknown := [tap for tap in taps if tap not in truth]:
        notes.insert(0, f"{kind}s that the network does not have: {', '.join(unknown)}")
    if missing := [tap for tap in wanted if tap not in taps]:
        notes.insert(0, f"there is no {kind} {missing[0]!r}" + (f", nor {len(missing) - 1} more" * (len(missing) > 1)))
    bound = bounds[answer.dtype]
    agreed = all(error <= bound for error in errors.values()) and not notes
    if not agreed and (bad := next((tap for tap, b in truth.items() if not np.isfinite(b).all()), None)):
        notes.insert(0, f"the reference itself is not finite from {bad} on")
    return Verdict(
        adapter=name,
        status="agreed" if agreed else "disagreed",
        version=answer.version,
        dtype=answer.dtype,
        bound=bound,
        message="; ".join(notes[:3]),
        errors=errors,
        top1=top1,
        seconds=answer.seconds,
    )


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """max |a - b| / max |b|; inf where the shapes differ or either has a value that is not finite."""
    if a.shape != b.shape:
        return math.inf
    a = a.astype(np.float64, copy=False)
    with np.errstate(invalid="ignore"):  # inf - inf
        largest, off = float(np.abs(b).max(initial=0)), float(np.abs(a - b).max(initial=0))
    if not math.isfinite(largest) or not math.isfinite(off):
        return math.inf
    return off / largest if largest else (math.inf if off else 0.0)


def logits(name: str, spec: Spec, params: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The logits (N, classes) of one adapter in float32; in a process of its own, whose chatter is not ours.

    Raises:
        InputError: the adapter's framework is not installed, or it failed.
    """
    with TemporaryDirectory(prefix="senet-") as folder:
        worker.Job(spec, params, x, "float32").save(Path(folder))
        with worker.isolated(name, Path(folder), timeout=600) as answer:
            if answer.message:
                raise InputError(answer.message)
            return answer.taps["logits"]
