"""Runs a network in several frameworks and says where, along the graph, each first leaves the reference."""

import math
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from conformance import reference, worker
from conformance.frameworks import FRAMEWORKS, adapter, known
from weights.errors import InputError
from weights.graph import shapes
from weights.schema import check
from weights.spec import Spec

BOUNDS = {
    # The order of a sum changes the last bits: 1e-15 to 1e-14 measured over 50 to 154 layers. The smallest mistake that
    # is one, an eps of 1e-5 instead of Caffe's float32(1e-5), makes 1e-12.
    "float64": 1e-13,
    # Plain rounding makes 2e-6 (Caffe in float against Caffe in double: up to 2e-6 too). Where a sum over thousands of
    # terms cancels, a few times that.
    "float32": 1e-5,
}
"""By precision, the largest error that agrees: max |a - b| / max |b| of a tap, b being the reference in float64."""

Status = Literal["agreed", "disagreed", "absent", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one framework."""

    framework: str
    status: Status
    version: str = ""
    dtype: str = ""  # that it computed in
    bound: float = 0.0
    message: str = ""  # what is missing, or the last words of what failed
    errors: Mapping[str, float] = field(
        default_factory=dict
    )  # tap -> relative error, in graph order; inf: NaN or shape
    top1: int | None = None  # of the first image
    seconds: float = 0.0

    @property
    def worst(self) -> tuple[str, float] | None:
        """The tap with the largest error, and that error."""
        return max(self.errors.items(), key=lambda item: item[1], default=None)

    @property
    def first_divergent(self) -> str | None:
        """The first tap, in the order of the graph, whose error is above the bound."""
        return next((tap for tap, error in self.errors.items() if not error <= self.bound), None)

    def to_dict(self) -> dict[str, Any]:
        """As plain data; errors that are no numbers are inf."""
        worst = self.worst
        return {
            "status": self.status,
            "version": self.version,
            "dtype": self.dtype,
            "bound": self.bound,
            "message": self.message,
            "taps": dict(self.errors),
            "worst": worst and {"tap": worst[0], "error": worst[1]},
            "first_divergent": self.first_divergent,
            "logits_error": self.errors.get("logits"),
            "top1": self.top1,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Several frameworks against the reference, on one network and input."""

    network: str
    dtype: str  # asked for; a framework that cannot says its own
    shape: tuple[int, ...]  # of the input
    results: Mapping[str, Result]
    output: np.ndarray = field(compare=False)  # of the reference in float64: logits, or pooled features

    @property
    def agreed(self) -> bool:
        """Whether every framework that is installed agreed, and at least one was."""
        found = [r.status for r in self.results.values() if r.status != "absent"]
        return bool(found) and all(status == "agreed" for status in found)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "network": self.network,
            "dtype": self.dtype,
            "bound": BOUNDS[self.dtype],
            "eps": float(np.finfo(self.dtype).eps),
            "shape": list(self.shape),
            "agreed": self.agreed,
            "frameworks": {name: result.to_dict() for name, result in self.results.items()},
        }


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
        dtype: "float64" or "float32". A framework that cannot compute in it (ONNX Runtime in float64 on a large
            network) takes another, which is that of the arrays.

    Returns:
        Node names to outputs, (N, C, H, W) or (N, C), in the order of the graph; the last one is "logits" (without a
        classifier "pool"). Nodes that do not exist in the framework are left out.

    Raises:
        InputError: there is no such framework, or the parameters or the size do not fit the network.
        ImportError: the framework is not installed; the message says which extra to install.
    """
    _checked(spec, params, x, dtype)
    return dict(worker.taps(adapter(framework), spec, params, x, dtype).taps)


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
    _checked(spec, params, x, dtype)
    names = tuple(dict.fromkeys(frameworks))
    for name in names:
        known(name)
    truth = reference.run(spec, params, np.asarray(x, np.float64))
    job = worker.Job(spec, params, x, dtype)
    if isolated:
        results = _isolated(names, job, truth, timeout)
    else:
        results = [judge(name, worker.answer(name, job), truth) for name in names]
    return Comparison(
        network=spec.name,
        dtype=dtype,
        shape=tuple(x.shape),
        results=dict(zip(names, results, strict=True)),
        output=list(truth.values())[-1],
    )


def _isolated(names: tuple[str, ...], job: worker.Job, truth: Mapping[str, np.ndarray], timeout: float) -> list[Result]:
    with TemporaryDirectory(prefix="senet-") as folder, ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        job.save(Path(folder))

        def judged(name: str) -> Result:
            with worker.isolated(name, Path(folder), timeout) as answer:
                return judge(name, answer, truth)

        return list(pool.map(judged, names))


def _checked(spec: Spec, params: Mapping[str, np.ndarray], x: np.ndarray, dtype: str) -> None:
    if dtype not in BOUNDS:
        raise InputError(f"unknown dtype {dtype!r}: expected one of {', '.join(BOUNDS)}")
    if x.ndim != 4 or x.shape[1] != 3:
        raise InputError(f"the input has shape {x.shape}, expected (N, 3, H, W)")
    check(spec, params)
    shapes(spec, *x.shape[2:])


def judge(
    name: str, answer: worker.Answer, truth: Mapping[str, np.ndarray], bounds: Mapping[str, float] = BOUNDS
) -> Result:
    """Every tap of an answer against the truth, in the order of the truth; the last one of it must be there."""
    if answer.message:
        status: Status = "absent" if answer.absent else "failed"
        return Result(framework=name, status=status, version=answer.version, message=answer.message)
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
    if unknown := [tap for tap in taps if tap not in truth]:
        notes.insert(0, f"taps that the network does not have: {', '.join(unknown)}")
    if output not in taps:
        notes.insert(0, f"there is no tap {output!r}")
    bound = bounds[answer.dtype]
    agreed = all(error <= bound for error in errors.values()) and not notes
    if not agreed and (bad := next((tap for tap, b in truth.items() if not np.isfinite(b).all()), None)):
        notes.insert(0, f"the reference itself is not finite from {bad} on")
    return Result(
        framework=name,
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
