"""What networks and checkpoints are, in words and numbers, for ``senet models`` and ``senet inspect``."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conformance.report import architecture
from conformance.report.table import listed
from conformance.report.wording import EXPECTED, assumed_fields, value, words
from weights.caffe import checkpoint as caffe
from weights.files import format_of, metadata, onnx_options
from weights.files.onnx_measured import AGREEMENT, WIDE, Agreement, kept_wide
from weights.files.onnx_reading import stated
from weights.networks.cost import cost
from weights.networks.models import MODELS
from weights.networks.models import to_dict as spec_to_dict
from weights.networks.sizes import usual_size
from weights.networks.spec import Spec, field_names
from weights.params import Checkpoint, Info


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One published network.

    Attributes:
        family: the family's name.
        name: the network's name.
        parameters: learnable scalars.
        stored: scalars in a Caffe file.
        gmacs: 10^9 multiply-adds.
        size: height and width of the image that these are of.
        blobs: arrays in a Caffe file.
        classes: outputs of the classifier.
        reduction: of the SE blocks; None without SE blocks.
    """

    family: str
    name: str
    parameters: int
    stored: int
    gmacs: float
    size: tuple[int, int]
    blobs: int
    classes: int
    reduction: int | None


def models() -> Iterator[Model]:
    """Every published network."""
    for name, spec in MODELS.items():
        c = cost(spec)
        yield Model(
            family=spec.family,
            name=name,
            parameters=c.learnable,
            stored=c.stored,
            gmacs=c.macs / 1e9,
            size=usual_size(spec),
            blobs=c.blobs,
            classes=spec.classes,
            reduction=spec.se.reduction if spec.se else None,
        )


def describe(file: Path, checkpoint: Checkpoint, width: int | None = None) -> str:
    """A checkpoint, one fact a line.

    Args:
        file: where it was read.
        checkpoint: what the file holds.
        width: characters in a line; None: no limit.
    """
    return listed(facts(file, checkpoint), width)


def facts(file: Path, checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """Names and values; what the file does not state is marked as assumed.

    Args:
        file: where it was read.
        checkpoint: what the file holds.
    """
    info = checkpoint.info
    mark = dict.fromkeys(info.assumed, " (assumed: the file does not say)")
    own = tuple(name for name in info.assumed if name not in EXPECTED)
    return [
        ("file", str(file)),
        ("format", _format(file)),
        *_network(checkpoint.spec),
        *([("assumed", f"the file does not say: {', '.join(assumed_fields(checkpoint.spec, own))}")] if own else []),
        *_arrays(checkpoint.spec, checkpoint.params),
        ("input", str(info.preprocessing or "not known") + mark.get("preprocessing", "")),
        ("label order", (info.labels or "not known") + mark.get("labels", "")),
        *([("classes", ", ".join(info.class_names))] if info.class_names else []),
        *(_made(stated(file)) if format_of(file).name == "onnx" else ()),
        *_provenance(info),
    ]


def to_dict(file: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as data; docs/formats.md describes the fields.

    Args:
        file: where it was read.
        checkpoint: what the file holds.
    """
    spec, params = checkpoint
    info, costs, size = checkpoint.info, cost(spec), usual_size(spec)
    dtypes = Counter(array.dtype.name for array in params.values())
    return {
        "file": str(file),
        "format": format_of(file).name,
        "network": {
            "name": spec.name,
            "published": next((name for name, known in MODELS.items() if known == spec), None),
            "spec": spec_to_dict(spec),
            "parameters": costs.learnable,
            "macs": costs.macs,
            "size": list(size),
        },
        "arrays": {
            "count": len(params),
            "scalars": sum(array.size for array in params.values()),
            "dtypes": dict(dtypes),
        },
        "not_finite": [name for name, array in params.items() if not np.isfinite(array).all()],
        "preprocessing": info.preprocessing and asdict(info.preprocessing),
        "labels": info.labels,
        "class_names": list(info.class_names),
        "assumed": list(info.assumed),
        "factors": dict(info.factors),
        "source": {"file": info.source, "format": info.format, "sha256": info.sha256},
        "history": list(info.history),
        "layers": architecture.to_dict(list(architecture.stages(spec.network(), size))),
    }


def for_runtimes(file: Path, width: int | None = None) -> str:
    """What an ONNX file says whose parameters do not come back, but that this program wrote.

    Raises:
        InputError: it is another file.
    """
    strings = stated(file)
    facts = [("file", str(file)), ("format", _format(file))]
    if "senet.spec" in strings:
        spec, info = metadata.decode(strings, str(file))
        expected = [("input", str(info.preprocessing or "not known")), ("label order", info.labels or "not known")]
        facts += [*_network(spec), *expected, *_provenance(info)]
    else:
        facts.append(("network", "only its nodes, which an ONNX runtime computes"))
    return listed([*facts, *_made(strings)], width)


def _made(strings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """How an ONNX file was made, by its metadata."""
    yield "made with", str(onnx_options.decode(strings.get(onnx_options.KEY, "{}")))
    if AGREEMENT in strings:
        yield "compared with float32", str(Agreement.of(strings))
    if WIDE in strings:
        yield "float32 is kept for", ", ".join(f"{name} ({why})" for name, why in kept_wide(strings).items())
    for key, what in (("class_names", "names of the classes"), ("wnids", "WordNet ids"), ("license", "licence")):
        if key in strings:
            yield what, strings[key] if key == "license" else "in the metadata"


def foreign(file: Path, prototxt: Path | None, width: int | None = None) -> str:
    """What a Caffe file holds that no family recognises: its layers, and what it computes if all operations are known.

    Raises:
        InputError: it is not a Caffe file.
    """
    found = caffe.describe(file, prototxt)
    types = ", ".join(f"{count} {kind or 'of no stated type'}" for kind, count in found.types.items())
    told = [
        ("file", str(file)),
        ("format", _format(file)),
        ("network", f"{found.name or 'without a name'}: none of this family"),
        ("layers", f"{sum(found.types.values())}: {types}"),
        ("arrays", f"{found.blobs} blobs, {found.scalars:,} scalars, {' and '.join(found.dtypes) or 'no numbers'}"),
        *_computation(found),
    ]
    return listed(told, width)


def _computation(found: caffe.Summary) -> Iterator[tuple[str, str]]:
    network = found.network
    if network is None:
        yield "operations", f"not all known: {found.unknown}"
        return
    counts = Counter(type(node.op).__name__ for node in network.nodes)
    size = found.size or (224, 224)
    costs = cost(network, *size)
    yield "operations", f"{len(network.nodes)}, all known: " + ", ".join(f"{n} {name}" for name, n in counts.items())
    yield "parameters", f"{costs.learnable:,} learnable"
    yield "cost", f"{costs.macs / 1e9:.3f} GMACs at {size[0]}x{size[1]}"
    yield "input", f"3 channels of {size[0]}x{size[1]}" + ("" if found.size else " (assumed: the file does not say)")
    yield "output", f"{network.output.name}, " + (f"{network.classes} classes" if network.classes else "no classifier")


def _format(file: Path) -> str:
    parts = [file] if file.is_file() else file.rglob("*")
    return f"{format_of(file).name}, {sum(part.stat().st_size for part in parts) / 1e6:.1f} MB"


def _network(spec: Spec) -> Iterator[tuple[str, str]]:
    yield "network", f"{'SE-' if spec.se else ''}{spec.title} {_kinship(spec)}"
    for name in field_names(spec):
        if name != "name":
            yield f"  {words(name)}", value(spec, name)


def _kinship(spec: Spec) -> str:
    """Which of the published networks it is, exactly or but for a few hyper-parameters."""
    nearest: tuple[int, str] | None = None
    for model, known in MODELS.items():
        if known.family != spec.family:
            continue
        differ = [
            f"{words(name)} {value(spec, name)} instead of {value(known, name)}"
            for name in field_names(spec)
            if name != "name" and getattr(spec, name) != getattr(known, name)
        ]
        if not differ:
            return f"({model}, exactly)"
        if nearest is None or len(differ) < nearest[0]:
            nearest = (len(differ), f"({model}, but for {'; '.join(differ)})")
    return nearest[1] if nearest and nearest[0] <= 2 else "(none of the published)"


def _arrays(spec: Spec, params: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    c = cost(spec)
    yield "parameters", f"{c.learnable:,} learnable, {c.stored:,} scalars in Caffe's {c.blobs} blobs"
    yield "cost", f"{c.macs / 1e9:.3f} GMACs at {_by(usual_size(spec))}"
    kinds: dict[str, Counter[str]] = {}
    for name, array in params.items():
        what = "statistics" if name.endswith(("running_mean", "running_var")) else "weights"
        kinds.setdefault(array.dtype.name, Counter())[what] += 1
    dtypes = [f"{dtype} ({', '.join(f'{n} {what}' for what, n in c.items())})" for dtype, c in kinds.items()]
    yield "arrays", f"{len(params)}: " + ", ".join(dtypes)
    broken = [name for name, array in params.items() if not np.isfinite(array).all()]
    if broken:
        yield "not finite", ", ".join(broken[:5]) + (f" and {len(broken) - 5} more" if len(broken) > 5 else "")


def _by(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))


def _provenance(info: Info) -> Iterator[tuple[str, str]]:
    if info.factors:
        values = sorted(set(info.factors.values()))
        shown = f"{values[0]:.9g}" if len(values) == 1 else f"{values[0]:.9g} to {values[-1]:.9g}"
        zero = sum(v == 0 for v in info.factors.values())
        note = f"; {zero} are 0: these statistics count as 0, as in Caffe" if zero else ""
        yield "BatchNorm factors", f"{shown} in {len(info.factors)} layers, divided out{note}"
    if info.source:
        yield "source", f"{info.source} ({info.format})" if info.format else info.source
    if info.sha256:
        yield "sha256 of the source", info.sha256
    for line in info.history:
        yield "since then", line
