"""What each framework's arithmetic is off by, in every precision, beside the bounds: docs/precision.md.

python -m benchmarks.precision            # measures, and writes precision.json beside this file and the page
python -m benchmarks.precision --render   # writes the page only
"""

import json
import platform
import statistics
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from conformance import cases
from conformance.adapters import STANDARD as FRAMEWORKS
from conformance.judge.bounds import BOUNDS, ROUNDING
from conformance.judge.compare import Comparison, compare, compare_gradients, compare_training
from conformance.reference.training import Recipe
from weights.networks.models import MODELS
from weights.networks.spec import Spec

EVIDENCE = Path(__file__).with_name("precision.json")
PAGE = Path(__file__).parents[1] / "docs" / "precision.md"

TINY = ("tiny-se-resnext", "tiny-se-bn-inception")
LARGE = "se-resnet-50"
STEPS = 10


def measure(networks: Sequence[str] = (*TINY, LARGE)) -> Iterator[dict[str, Any]]:
    """One row for each framework, precision and network: the worst tensor and the middle one."""
    for name in networks:
        tiny = name in cases.TINY
        spec = cases.TINY[name] if tiny else MODELS[name]
        params = cases.seeded(spec, 11)
        n, side = (4, 64) if tiny else (1, 224)
        x, cotangent = cases.image(12, n, side, side), cases.top_diff(13, n, spec.classes)
        for dtype in BOUNDS["taps"]:
            yield from rows(compare(spec, params, x, FRAMEWORKS, dtype, isolated=False))
        for dtype in BOUNDS["gradients"]:
            for training in (False, True) if tiny else (False,):
                found = compare_gradients(spec, params, x, cotangent, dtype=dtype, training=training, isolated=False)
                yield from rows(found, "batch statistics" if training else "")
        if tiny:
            for dtype in BOUNDS["training"]:
                yield from rows(compare_training(spec, params, batches(spec), Recipe(), dtype=dtype, isolated=False))


def batches(spec: Spec) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ten seeded ones of four images."""
    rng = np.random.default_rng(14)
    return [(cases.image(15 + i, 4, 64, 64), rng.integers(0, spec.classes, 4)) for i in range(STEPS)]


def rows(found: Comparison, mode: str = "") -> Iterator[dict[str, Any]]:
    """A comparison as evidence."""
    for framework, result in found.results.items():
        row = {"what": found.what, "mode": mode, "dtype": found.dtype, "framework": framework, "network": found.network}
        if result.dtype != found.dtype or not result.worst:
            yield row | {"absent": result.message or f"computes in {result.dtype}"}
            continue
        tap, error = result.worst
        yield row | {
            "version": result.version,
            "tensor": tap,
            "error": error,
            "roundings": error / ROUNDING[found.dtype],
            "middle": statistics.median(result.errors.values()) / ROUNDING[found.dtype],
        }


def page(evidence: dict[str, Any]) -> str:
    """The evidence as Markdown."""
    lines = [
        "# Precision: bounds and what was measured",
        "",
        "Made by `python -m benchmarks.precision`; the bounds are those of `conformance/judge/bounds.py`.",
        "",
        "An error is the largest difference from the NumPy reference in float64, relative to the largest value of the",
        "tensor. In units of the rounding of one number in that precision it is called roundings: a sum of a few",
        "thousand products, rounded plainly, is off by some units to some tens. The rows of `numpy` say what plain",
        "rounding makes; what is well above them is worse than that.",
        "",
        f"Measured {evidence['date']} on {evidence['machine']}, with seeded weights: {', '.join(TINY)} at 64x64,",
        f"batches of 4; {LARGE} at 224x224, one image.",
        "TF32, which exists on GPUs only: not measured, neither on nor off.",
    ]
    for what, bounds in BOUNDS.items():
        lines += ["", f"## {_TITLES[what]}"]
        for dtype, bound in bounds.items():
            lines += ["", f"### {dtype}: bound {bound:.0e}, {_units(bound / ROUNDING[dtype])} roundings", ""]
            lines += ["| network | framework | error | roundings | of the middle tensor | worst tensor |"]
            lines += ["|---|---|---|---|---|---|"]
            for row in evidence["rows"]:
                if (row["what"], row["dtype"]) == (what, dtype):
                    lines.append(_line(row))
    versions = {row["framework"]: row["version"] for row in evidence["rows"] if "version" in row}
    return "\n".join([*lines, "", f"Versions: {'; '.join(versions.values())}.", ""])


_TITLES = {
    "taps": "Outputs of every node",
    "gradients": "Gradients with respect to the input and every parameter",
    "training": f"Parameters and running statistics after {STEPS} steps of training",
}


def _line(row: dict[str, Any]) -> str:
    network = row["network"] + (f", {row['mode']}" if row["mode"] else "")
    if "absent" in row:
        return f"| {network} | {row['framework']} | absent: {row['absent']} | | | |"
    return (
        f"| {network} | {row['framework']} | {row['error']:.1e} | {_units(row['roundings'])} "
        f"| {_units(row['middle'])} | `{row['tensor']}` |"
    )


def _units(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def main(render: bool) -> None:
    if not render:
        found = []
        for row in measure():
            print(row.get("error", row.get("absent")), *row.values(), file=sys.stderr)
            found.append(row)
        evidence = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "machine": f"a CPU, {platform.system()} {platform.machine()}",
            "rows": found,
        }
        EVIDENCE.write_text(json.dumps(evidence, indent=1) + "\n")
    PAGE.write_text(page(json.loads(EVIDENCE.read_text())))


if __name__ == "__main__":
    main("--render" in sys.argv[1:])
