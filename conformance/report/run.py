"""One run of the suite as data, ready for JSON and for the report: what was compared, on what, with which result.

{"format": 1,
 "checkpoint": {"file", "file_sha256",                  # "" of a folder, or where there is no file
                "source", "format", "sha256", "note"},  # source: what it was converted from, or ""
 "network": {"name", "parameters", "gmacs"},
 "input": {"what", "shape", "preprocessing", "photo"},  # photo: a data URI, or ""
 "comparisons": [Comparison.to_dict(), ...],            # one for each dtype and thing compared
 "top5": [{"index", "name", "probability"}, ...],       # of the reference, the most probable first
 "labels": "devkit", "sorted" or None,
 "assumed": ["labels", ...],                            # what the checkpoint does not state itself
 "machine": {"system", "cpus", "date", "versions"},
 "command": "senet compare ..."}
"""

import hashlib
import json
import math
import os
import platform
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from conformance.cases import image as noise
from conformance.cases import top_diff
from conformance.judge import process as worker
from conformance.judge.bounds import BOUNDS
from conformance.judge.compare import Comparison, compare, compare_gradients
from conformance.progress import busy
from conformance.report.describe import preprocessing
from weights import CAFFE, Info, InputError, Params, Spec, cost
from weights.images import names, prepare

SEED = 0  # of the noise that serves as input where there is no photograph
_SIDE = 256  # pixels of the photograph in a report


def record(
    spec: Spec,
    params: Params,
    *,
    file: Path,
    frameworks: Sequence[str],
    dtypes: Sequence[str],
    command: str,
    photo: Path | None = None,
    size: tuple[int, int] | None = None,
    gradients: bool = False,
    note: str = "",
    isolated: bool = True,
) -> dict[str, Any]:
    """Compares the frameworks in each dtype and returns the run.

    Args:
        photo: what the networks look at; without it, seeded noise.
        size: height and width of the input; otherwise what the preprocessing says, 224x224.
        gradients: compares those too, of a seeded functional of the logits, where the outputs agree.
        note: what a reader has to know about the weights.
        isolated: see ``conformance.compare``.

    Raises:
        InputError: the photograph is none, or the network cannot take the size.
    """
    info = params.info
    expected = info.preprocessing or CAFFE
    if photo is None:
        x = noise(SEED, 1, *(size or (expected.crop, expected.crop)))
        what = f"noise of seed {SEED}"
    else:
        x = prepare(photo, expected, size)
        what = f"the photograph {photo.name}"
    forward: list[Comparison] = []
    backward: list[Comparison] = []
    for dtype in dtypes:
        # ONNX Runtime computes in float32 whatever is asked for; once is enough.
        over = {name for c in forward for name, result in c.results.items() if result.dtype == dtype}
        left = [name for name in frameworks if name not in over]
        with busy(f"Comparing in {dtype}", 1 + len(left)):
            taps = compare(spec, params, x, left, dtype, isolated=isolated)
        forward.append(taps)
        if gradients:
            cotangent = top_diff(SEED, *taps.output.shape)
            names = _differentiable(taps)
            with busy(f"Comparing gradients in {dtype}", 1 + len(names)):
                found = compare_gradients(spec, params, x, cotangent, names, dtype, isolated=isolated)
            backward.append(_with_gradients(found))
    seen = {
        "what": what,
        "shape": list(x.shape),
        "preprocessing": preprocessing(expected) if photo else "none",
        "photo": _thumbnail(photo) if photo else "",
    }
    return _run(spec, info, file, note, seen, [*forward, *backward], command)


def record_against(
    golden: Path,
    params: Params | None,
    *,
    file: Path | None,
    frameworks: Sequence[str],
    dtypes: Sequence[str],
    command: str,
    isolated: bool = True,
) -> dict[str, Any]:
    """Compares the frameworks with a golden file, forward; and backward those that agree and have gradients.

    Args:
        params: those of ``file``; None for weights that the golden file can draw again.

    Raises:
        InputError: as of ``conformance.freeze.against``.
    """
    from conformance.golden import file as freeze

    kept = freeze.read(golden)
    comparisons: list[Comparison] = []
    for dtype in dtypes:
        with busy(f"Comparing in {dtype}", len(frameworks)):
            taps = freeze.against(golden, params, frameworks, dtype, isolated=isolated)
        comparisons.append(taps)
        if dtype in BOUNDS["gradients"]:
            names = _differentiable(taps)
            with busy(f"Comparing gradients in {dtype}", len(names)):
                found = freeze.against(golden, params, names, dtype, "gradients", isolated=isolated)
            comparisons.append(_with_gradients(found))
    versions = ", ".join(f"{name} {found}" for name, found in kept.versions.items())
    note = f"against {golden.name}, frozen with {versions}"
    seen = {"what": f"that of {golden.name}", "shape": list(kept.x.shape), "preprocessing": "none", "photo": ""}
    info = params.info if params else Info(source=kept.weights)
    return _run(kept.spec, info, file or kept.weights, note, seen, comparisons, command)


def _differentiable(taps: Comparison) -> list[str]:
    """Frameworks worth asking for gradients: what went wrong forward goes wrong backward."""
    return [name for name, result in taps.results.items() if result.status == "agreed"]


def _with_gradients(found: Comparison) -> Comparison:
    """Without the frameworks that have none."""
    return replace(found, results={name: r for name, r in found.results.items() if r.status != "absent"})


def _run(
    spec: Spec,
    info: Info,
    file: Path | str,
    note: str,
    seen: dict[str, Any],
    comparisons: Sequence[Comparison],
    command: str,
) -> dict[str, Any]:
    c = cost(spec)
    return {
        "format": 1,
        "checkpoint": {
            "file": str(file),
            "file_sha256": _sha256(file) if isinstance(file, Path) and file.is_file() else "",
            "source": info.source,
            "format": info.format,
            "sha256": info.sha256,
            "note": note,
        },
        "network": {"name": spec.name, "parameters": c.learnable, "gmacs": c.macs / 1e9},
        "input": seen,
        "comparisons": [comparison.to_dict() for comparison in comparisons],
        "top5": top(comparisons[0].output, info.labels) if spec.classes else [],
        "labels": info.labels,
        "assumed": list(info.assumed),
        "machine": _machine(),
        "command": command,
    }


def to_json(run: dict[str, Any]) -> str:
    """A run as JSON, without the photograph; numbers that are none, which JSON has not, as null."""

    def finite(value: Any) -> Any:
        match value:
            case dict():
                return {key: finite(inner) for key, inner in value.items()}
            case list():
                return [finite(inner) for inner in value]
            case float() if not math.isfinite(value):
                return None
        return value

    return json.dumps(finite({**run, "input": {**run["input"], "photo": ""}}), indent=1, allow_nan=False)


def logits(framework: str, spec: Spec, params: Params, x: np.ndarray) -> np.ndarray:
    """The logits (N, classes) of one framework in float32; in a process of its own, whose chatter is not ours.

    Raises:
        InputError: the framework is not installed, or failed.
    """
    with TemporaryDirectory(prefix="senet-") as folder:
        worker.Job(spec, params, x, "float32").save(Path(folder))
        with worker.isolated(framework, Path(folder), timeout=600) as answer:
            if answer.message:
                raise InputError(answer.message)
            return answer.taps["logits"]


def top(scores: np.ndarray, labels: Any, count: int = 5) -> list[dict[str, Any]]:
    """The most probable classes of one image; without names where the label order is not known.

    Args:
        scores: logits, (classes,) or (1, classes).
        labels: order of the classes, as ``Info.labels``.
    """
    z = np.asarray(scores, np.float64).reshape(-1)
    e = np.exp(z - z.max())
    p = e / e.sum()
    words = names(labels) if labels and len(z) == 1000 else None
    order = np.argsort(-z, kind="stable")[:count]
    return [{"index": int(i), "name": words[i] if words else "", "probability": float(p[i])} for i in order]


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _thumbnail(photo: Path) -> str:
    """The photograph as a data URI, small enough to travel in a page."""
    from PIL import Image, ImageOps

    with Image.open(photo) as image:
        small = ImageOps.exif_transpose(image).convert("RGB")
        small.thumbnail((2 * _SIDE, 2 * _SIDE))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"


def _machine() -> dict[str, Any]:
    packages = ("senet", "numpy", "torch", "tensorflow", "keras", "jax", "flax", "onnx", "onnxruntime")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": {"Python": platform.python_version(), **{p: v for p in packages if (v := _version(p))}},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
