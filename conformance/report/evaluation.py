"""The result of an evaluation in lines for people, and as the data of its JSON, which docs/formats.md describes."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from conformance.evaluate.evaluation import Evaluated
from conformance.report.run import Machine

FORMAT = 1
"""The version of the JSON's layout."""


def lines(found: Evaluated, run: Mapping[str, Any]) -> Iterator[str]:
    """The result in words.

    Args:
        found: the result, of one image at least.
        run: what it depends on, as of ``conformance.evaluate.provenance``.
    """
    skipped = f", {len(found.skipped):,} skipped" if found.skipped else ""
    for name, value in (
        ("images", f"{found.images:,}{skipped}"),
        ("top-1", f"{100 * found.top1 / found.images:.2f} %, {found.top1:,}"),
        ("top-5", f"{100 * found.top5 / found.images:.2f} %, {found.top5:,}"),
        ("images/s", f"{found.images / found.seconds:.3g}"),
        ("computed by", f"{run['version']}, {run['dtype']}"),
    ):
        yield f"{name:<12}{value}"


def to_dict(found: Evaluated, run: Mapping[str, Any], origin: Mapping[str, Any], machine: Machine) -> dict[str, Any]:
    """The result as plain data; arguments as of ``lines``."""
    return {
        "format": FORMAT,
        "images": found.images,
        "top1": {"right": found.top1, "share": found.top1 / found.images},
        "top5": {"right": found.top5, "share": found.top5 / found.images},
        "skipped": [{"image": name, "reason": why} for name, why in found.skipped],
        "seconds": found.seconds,
        "images_per_second": found.images / found.seconds,
        "run": dict(run),
        "origin": dict(origin),
        "machine": {**asdict(machine), "versions": dict(machine.versions)},
    }
