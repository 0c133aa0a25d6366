"""What the networks and checkpoints are, in words and numbers, for ``senet models`` and ``senet inspect``."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from weights import EPS, MODELS, InceptionSpec, Info, Preprocessing, ResNetSpec, Spec, cost
from weights.caffe import checkpoint as caffe
from weights.files import format_of
from weights.networks.spec import field_names
from weights.params import info_of

_FIELDS = {
    "depths": "bottlenecks by stage",
    "stem": "stem, channels of kernel",
    "reduce": "first 1x1, channels by stage",
    "width": "3x3, channels by stage",
    "out_channels": "output, channels by stage",
    "groups": "groups of the 3x3",
    "stride_on_3x3": "stride of a stage in",
    "shortcut": "projection kernel at stride 2",
    "se": "SE reduction",
    "modules": "modules",
    "dropout": "dropout",
    "classes": "classes",
    "eps": "BatchNorm epsilon",
}


def models() -> list[dict[str, Any]]:
    """One row a network: parameters (learnable), stored (scalars in a Caffe file), GMACs at 224x224."""
    rows = []
    for name, spec in MODELS.items():
        c = cost(spec)
        row = {"name": name, "parameters": c.learnable, "stored": c.stored, "gmacs": c.macs / 1e9, "blobs": c.blobs}
        rows.append({**row, "classes": spec.classes, "reduction": spec.se.reduction if spec.se else None})
    return rows


def describe(file: Path, spec: Spec, params: Mapping[str, np.ndarray]) -> str:
    """A checkpoint, one fact a line; what its file does not state itself is marked as assumed."""
    info = info_of(params)
    rows = [("file", str(file)), ("format", _format(file)), *_network(spec), *_arrays(spec, params)]
    mark = dict.fromkeys(info.assumed, " (assumed: the file does not say)")
    rows.append(("input", preprocessing(info.preprocessing) + mark.get("preprocessing", "")))
    rows.append(("label order", (info.labels or "not known") + mark.get("labels", "")))
    rows += _provenance(info)
    return _aligned(rows)


def foreign(file: Path, prototxt: Path | None) -> str:
    """What a Caffe file holds that is none of our networks.

    Raises:
        InputError: it is no file of Caffe's.
    """
    found = caffe.describe(file, prototxt)
    types = ", ".join(f"{count} {kind or 'of no stated type'}" for kind, count in found.types.items())
    rows = [
        ("file", str(file)),
        ("format", _format(file)),
        ("network", f"{found.name or 'without a name'}: none of this family"),
        ("layers", f"{sum(found.types.values())}: {types}"),
        ("arrays", f"{found.blobs} blobs, {found.scalars:,} scalars, {' and '.join(found.dtypes) or 'no numbers'}"),
    ]
    return _aligned(rows)


def preprocessing(p: Preprocessing | None) -> str:
    """An input convention in one line."""
    return str(p or "not known")


def _format(file: Path) -> str:
    parts = [file] if file.is_file() else file.rglob("*")
    return f"{format_of(file).name}, {sum(part.stat().st_size for part in parts) / 1e6:.1f} MB"


def _network(spec: Spec) -> Iterator[tuple[str, str]]:
    yield "network", f"{_family(spec)} {_kinship(spec)}"
    for name in field_names(spec):
        if name in _FIELDS:
            yield f"  {_FIELDS[name]}", _value(spec, name)


def _family(spec: Spec) -> str:
    kinds = {InceptionSpec.family: "BN-Inception", ResNetSpec.family: "ResNet"}
    kind = "ResNeXt" if isinstance(spec, ResNetSpec) and spec.groups > 1 else kinds.get(spec.family, spec.family)
    return f"SE-{kind}" if spec.se else kind


def _kinship(spec: Spec) -> str:
    """Which of the published networks it is, exactly or but for a few hyper-parameters."""
    nearest: tuple[int, str] | None = None
    for model, known in MODELS.items():
        if type(known) is not type(spec):
            continue
        differ = [
            f"{_FIELDS[name]} {_value(spec, name)} instead of {_value(known, name)}"
            for name in field_names(spec)
            if name != "name" and getattr(spec, name) != getattr(known, name)
        ]
        if not differ:
            return f"({model}, exactly)"
        if nearest is None or len(differ) < nearest[0]:
            nearest = (len(differ), f"({model}, but for {'; '.join(differ)})")
    return nearest[1] if nearest and nearest[0] <= 2 else "(none of the published)"


def _value(spec: Spec, name: str) -> str:
    value = getattr(spec, name)
    match name:
        case "stem":
            return ", ".join(f"{out} of {kernel}x{kernel}" for out, kernel in value)
        case "modules":
            return " ".join(m.name for m in value)
        case "stride_on_3x3":
            return "the 3x3" if value else "the first 1x1"
        case "shortcut":
            return f"{value}x{value}"
        case "se":
            return str(value.reduction) if value else "none: no SE blocks"
        case "classes":
            return str(value or "none: no classifier")
        case "eps":
            return f"{value!r}" + (" (1e-5 as a float, Caffe's)" if value == EPS else "")
        case _:
            return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _arrays(spec: Spec, params: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    c = cost(spec)
    yield "parameters", f"{c.learnable:,} learnable, {c.stored:,} scalars in Caffe's {c.blobs} blobs"
    yield "cost", f"{c.macs / 1e9:.3f} GMACs at 224x224"
    kinds: dict[str, Counter[str]] = {}
    for name, array in params.items():
        what = "statistics" if name.endswith(("running_mean", "running_var")) else "weights"
        kinds.setdefault(array.dtype.name, Counter())[what] += 1
    dtypes = [f"{dtype} ({', '.join(f'{n} {what}' for what, n in c.items())})" for dtype, c in kinds.items()]
    yield "arrays", f"{len(params)}: " + ", ".join(dtypes)
    broken = [name for name, array in params.items() if not np.isfinite(array).all()]
    if broken:
        yield "not finite", ", ".join(broken[:5]) + (f" and {len(broken) - 5} more" if len(broken) > 5 else "")


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


def _aligned(rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
