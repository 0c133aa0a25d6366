"""What each framework's arithmetic is off by, in every precision, beside the bounds: docs/precision.md.

python -m benchmarks.precision            # measures, and writes precision.json beside this file and the page
python -m benchmarks.precision --render   # writes the page only
"""

import json
import platform
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from conformance import cases
from conformance.adapters import DIFFERENTIABLE
from conformance.adapters import STANDARD as FRAMEWORKS
from conformance.adapters.devices import TF32
from conformance.judge.bounds import BIAS, BOUNDS, FAST, LAYERS, MEAN, ROUNDING, What
from conformance.judge.compare import Conditions, compare, compare_gradients, compared
from conformance.judge.local import Known, computed_again, explained, kind
from conformance.judge.question import Given, Training
from conformance.judge.verdict import Comparison
from conformance.reference.training import Batch, Recipe
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
            if dtype == TF32:  # which a GPU has
                continue
            found = compare(spec, params, x, FRAMEWORKS, dtype, isolated=False)
            yield from rows(found)
            yield from layers(found, spec)
        yield from fast_paths(spec, params, x)
        for dtype in BOUNDS["gradients"]:
            for training in (False, True) if tiny else (False,):
                yield from rows(
                    compare_gradients(spec, params, x, cotangent, dtype=dtype, training=training, isolated=False)
                )
        if tiny:
            yield from sharpness(spec, params, x)
            steps = batches(spec)
            for question in (
                Training(steps[:1], Recipe(), "statistics"),
                Training(steps[:2], cases.ANOTHER_RECIPE, "momentum"),
                Training(steps, Recipe()),
            ):
                for dtype in BOUNDS[question.what]:
                    given = Given(spec.network(), params, dtype, question)
                    yield from rows(compared(given, DIFFERENTIABLE, Conditions(isolated=False)))


def fast_paths(spec: Spec, params: Mapping[str, np.ndarray], x: np.ndarray) -> Iterator[dict[str, Any]]:
    """The logits of the fast paths, in every precision that they have a bound for."""
    for name, bounds in FAST.items():
        for dtype in bounds:
            for row in rows(compare(spec, params, x, [name], dtype, isolated=False)):
                yield row | {"what": "fast"}


def batches(spec: Spec) -> tuple[Batch, ...]:
    """Ten seeded ones of four images."""
    rng = np.random.default_rng(14)
    return tuple((cases.image(15 + i, 4, 64, 64), rng.integers(0, spec.classes, 4)) for i in range(STEPS))


def layers(found: Comparison, spec: Spec) -> Iterator[dict[str, Any]]:
    """The largest share of every operation, in each framework."""
    nodes = spec.network().by_name
    for framework, result in found.results.items():
        if result.dtype != found.dtype:
            continue
        worst: dict[str, tuple[float, str]] = {}
        for tap, share in result.layers.items():
            worst[kind(nodes[tap])] = max(worst.get(kind(nodes[tap]), (0.0, "")), (share, tap))
        for operation, (share, tap) in worst.items():
            yield {
                "what": "layers",
                "dtype": found.dtype,
                "framework": framework,
                "network": found.network,
                "operation": operation,
                "share": share,
                "tensor": tap,
            }


def sharpness(spec: Spec, params: Mapping[str, np.ndarray], x: np.ndarray) -> Iterator[dict[str, Any]]:
    """By operation, the smallest error of one channel of a layer, relative to its values, that is caught in float32."""
    network = spec.network()
    values = {"data": Known(x.astype(np.float64))}
    caught: dict[str, list[float]] = {}
    for node in network.nodes:
        y, allowed = explained(node, [values[name] for name in node.inputs], params, ROUNDING["float32"])
        values[node.name] = Known(y, again=allowed if computed_again(node) else 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            needed = np.where(y == 0, np.inf, allowed / np.abs(y))
        of_channels = needed.min(axis=tuple(i for i in range(needed.ndim) if i != 1))
        caught.setdefault(kind(node), []).extend(float(v) for v in of_channels if np.isfinite(v))
    for operation, found in caught.items():
        yield {
            "what": "sharpness",
            "dtype": "float32",
            "network": spec.name,
            "operation": operation,
            "middle": statistics.median(found),
            "worst": max(found),
        }


def rows(found: Comparison) -> Iterator[dict[str, Any]]:
    """A comparison as evidence."""
    for framework, result in found.results.items():
        row = {"what": found.what, "dtype": found.dtype, "framework": framework, "network": found.network}
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
        "On GPUs nothing was measured: neither float32 and bfloat16, nor TF32, which exists there only.",
    ]
    tables: list[tuple[str, str, Mapping[str, float]]] = [(what, _TITLES[what], BOUNDS[what]) for what in BOUNDS]
    tables.insert(1, ("fast", "Logits of the fast paths", FAST["torch_fast"]))  # all have the same
    for what, title, bounds in tables:
        lines += ["", f"## {title}"]
        for dtype, bound in bounds.items():
            lines += ["", f"### {dtype}: bound {bound:.0e}, {_units(bound / ROUNDING[dtype])} roundings", ""]
            if not any((row["what"], row["dtype"]) == (what, dtype) for row in evidence["rows"]):
                lines += ["Not measured."]
                continue
            lines += ["| network | framework | error | roundings | of the middle tensor | worst tensor |"]
            lines += ["|---|---|---|---|---|---|"]
            for row in evidence["rows"]:
                if (row["what"], row["dtype"]) == (what, dtype):
                    lines.append(_line(row))
    lines += [*_layers_page(evidence["rows"]), *_sharpness_page(evidence["rows"])]
    versions = {row["framework"]: row["version"] for row in evidence["rows"] if "version" in row}
    return "\n".join([*lines, "", f"Versions: {'; '.join(dict.fromkeys(versions.values()))}.", ""])


def _layers_page(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield from (
        "",
        "## Every layer by itself",
        "",
        "What each layer makes of the inputs that the framework showed, value by value. The constant is what is",
        "allowed, in units of u times the sum of the absolute values of its terms, u being the rounding of one number;",
        f"of a mean of n values {MEAN:g} n more; of a bias that n products are added to, {BIAS:g} sqrt(n) of its own",
        "absolute value more. A cell is the largest share of that, over all networks.",
    )
    found = [row for row in rows if row["what"] == "layers"]
    for dtype in dict.fromkeys(row["dtype"] for row in found):
        here = [row for row in found if row["dtype"] == dtype]
        names = list(dict.fromkeys(row["framework"] for row in here))
        yield from ("", f"### {dtype}", "", f"| operation | constant | {' | '.join(names)} |")
        yield "|---|---|" + "---|" * len(names)
        for operation in dict.fromkeys(row["operation"] for row in here):
            worst = (
                max((r["share"] for r in here if (r["operation"], r["framework"]) == (operation, name)), default=None)
                for name in names
            )
            cells = ("" if share is None else f"{share:.2g}" for share in worst)
            yield f"| {operation} | {LAYERS[operation]:g} | {' | '.join(cells)} |"


def _sharpness_page(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield from (
        "",
        "## The smallest error that is caught in float32",
        "",
        "Of one channel of one layer, all of it too large by so much, relative to its values: in half of all channels",
        "less is caught, and in every channel the last column. Where a sum cancels, its terms are larger than it is.",
        "",
        "| network | operation | half of the channels | every channel |",
        "|---|---|---|---|",
    )
    for row in rows:
        if row["what"] == "sharpness":
            yield f"| {row['network']} | {row['operation']} | {row['middle']:.1e} | {row['worst']:.1e} |"


_TITLES: dict[What, str] = {
    "taps": "Outputs of every node",
    "gradients": "Gradients with respect to the input and every parameter",
    "training gradients": "The same through the statistics of a batch",
    "statistics": "Running statistics after one step of training",
    "momentum": "Parameters and running statistics after two steps, as a share of how far they moved",
    "training": f"Parameters and running statistics after {STEPS} steps of training",
}


def _line(row: dict[str, Any]) -> str:
    network = row["network"]
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
            print(*row.values(), file=sys.stderr)
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
