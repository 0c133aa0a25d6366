"""One run of the suite as a record, and as the data of its JSON, which docs/formats.md describes field by field."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from conformance.judge.bounds import ROUNDING
from conformance.judge.verdict import Comparison, Verdict, all_agreed
from weights.images import names
from weights.params import Labels

FORMAT = 2
"""The version of the JSON's layout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Where the parameters came from.

    Attributes:
        file: the path given, or where the weights come from.
        file_sha256: of that file; "" of a folder, or where there is no file.
        source: the file that it was converted from, or "".
        format: "caffemodel", "safetensors", ... or "".
        sha256: of the source, or "".
        note: what a reader has to know about the weights, or "".
    """

    file: str
    file_sha256: str = ""
    source: str = ""
    format: str = ""
    sha256: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The network that was compared: its name, learnable parameters, and 10^9 multiply-adds at 224x224."""

    name: str
    parameters: int
    gmacs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What the network was shown.

    Attributes:
        what: in words.
        shapes: (N, 3, H, W) of each size.
        preprocessing: in words; "none" of noise.
        photo: a photograph as a data URI, or "".
    """

    what: str
    shapes: tuple[tuple[int, ...], ...]
    preprocessing: str = "none"
    photo: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class of an image: its index, its name ("" where the label order is not known), its probability."""

    index: int
    name: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where and when: the system, the cores that the run could use, the date in UTC, and package to version."""

    system: str
    cpus: int | None
    date: str
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was compared, on what input, with which result.

    Attributes:
        checkpoint: where the parameters came from.
        network: the network.
        input: what it was shown.
        comparisons: one for each precision, and for taps or gradients.
        top5: the most probable classes of the first image by the reference, the most probable first.
        labels: the order of the classes; None where it is not known.
        assumed: what the checkpoint does not state itself, "labels" or "preprocessing".
        machine: where and when.
        command: what was typed.
    """

    checkpoint: Weights
    network: Compared
    input: Input
    comparisons: tuple[Comparison, ...]
    top5: tuple[Prediction, ...]
    labels: Labels | None
    assumed: tuple[str, ...]
    machine: Machine
    command: str

    @property
    def agreed(self) -> bool:
        """Whether in all comparisons every adapter that is installed agreed, and at least one was."""
        return all_agreed(verdict for comparison in self.comparisons for verdict in comparison.results.values())


def top(
    scores: np.ndarray, labels: Labels | None, count: int = 5, class_names: Sequence[str] = ()
) -> tuple[Prediction, ...]:
    """The most probable classes of one image; without names where the label order is not known.

    Args:
        scores: logits, (classes,) or (1, classes).
        labels: order of the classes, as ``Info.labels``.
        count: how many classes.
        class_names: of classes that are not ImageNet's.
    """
    z = np.asarray(scores, np.float64).reshape(-1)
    e = np.exp(z - z.max())
    p = e / e.sum()
    words: Sequence[str] = class_names or (names(labels) if labels and len(z) == 1000 else ())
    order = np.argsort(-z, kind="stable")[:count]
    return tuple(Prediction(int(i), words[int(i)] if words else "", float(p[i])) for i in order)


def to_dict(run: Run) -> dict[str, Any]:
    """A run as plain data. Errors that are not finite stay infinite floats; ``to_json`` writes null for them."""
    return {
        "format": FORMAT,
        "checkpoint": asdict(run.checkpoint),
        "network": asdict(run.network),
        "input": {**asdict(run.input), "shapes": list(map(list, run.input.shapes))},
        "comparisons": [comparison_to_dict(comparison) for comparison in run.comparisons],
        "top5": [asdict(prediction) for prediction in run.top5],
        "labels": run.labels,
        "assumed": list(run.assumed),
        "machine": {**asdict(run.machine), "versions": dict(run.machine.versions)},
        "command": run.command,
    }


def comparison_to_dict(comparison: Comparison) -> dict[str, Any]:
    """A comparison as plain data, without the reference's tensors."""
    return {
        "what": comparison.what,
        "network": comparison.network,
        "dtype": comparison.dtype,
        "bound": comparison.bound,
        "eps": 2 * ROUNDING[comparison.dtype],
        "shapes": list(map(list, comparison.shapes)),
        "agreed": comparison.agreed,
        "frameworks": {name: _verdict(verdict) for name, verdict in comparison.results.items()},
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    worst, layer = verdict.worst, verdict.worst_layer
    return {
        "status": verdict.status,
        "version": verdict.version,
        "asked": verdict.asked,
        "dtype": verdict.dtype,
        "bound": verdict.bound,
        "message": verdict.message,
        "taps": dict(verdict.errors),
        "roundings": verdict.roundings,
        "worst": worst and {"tap": worst[0], "error": worst[1]},
        "layers": dict(verdict.layers),
        "worst_layer": layer and {"tap": layer[0], "share": layer[1]},
        "wrong_layers": list(verdict.wrong_layers),
        "missing": list(verdict.missing),
        "first_divergent": verdict.first_divergent,
        "logits_error": verdict.errors.get("logits"),
        "top1": verdict.top1,
        "seconds": verdict.seconds,
    }


def to_json(run: Run) -> str:
    """A run as JSON, without the photograph. JSON has no infinity and no NaN: they become null."""

    def finite(value: Any) -> Any:  # Any: whatever JSON holds
        match value:
            case dict():
                return {key: finite(inner) for key, inner in value.items()}
            case list():
                return [finite(inner) for inner in value]
            case float() if not math.isfinite(value):
                return None
            case _:
                return value

    data = to_dict(run)
    return json.dumps(finite({**data, "input": {**data["input"], "photo": ""}}), indent=1, allow_nan=False)
