"""The small CIFAR networks of which the original Caffe computed golden data, and the peers' names of the large ones."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weights import SE, Info, Params, PreActSpec, ShakeSpec, Spec, schema
from weights.names.dialect import Dialect
from weights.networks.operations import Add, BatchNorm, Conv, Linear

DATA = Path(__file__).parents[1] / "data" / "families"
_SE = SE(reduction=4)

_WRN = PreActSpec(
    name="cifar-se-wrn",
    depths=(2, 1, 1),
    stem=8,
    width=(16, 24, 32),
    out_channels=(16, 24, 32),
    se=_SE,
    classes=10,
)
_PREACT = replace(_WRN, name="cifar-se-preact", unit="bottleneck", width=(4, 8, 16), out_channels=(16, 32, 64))
_BASIC_A = replace(_WRN, name="cifar-se-preact-basic-a", width=(8, 16, 32), out_channels=(8, 16, 32), shortcut="zeros")
_POST = replace(_BASIC_A, name="cifar-se-resnet", order="post", shortcut="projection")
_SHAKE = ShakeSpec(
    name="cifar-se-shake-shake",
    depths=(1, 2, 1),
    stem=6,
    width=(8, 16, 32),
    out_channels=(8, 16, 32),
    se=_SE,
    classes=10,
)
_EVEN = replace(
    _SHAKE,
    name="cifar-se-shake-even",
    depths=(2, 1),
    stem=8,
    unit="bottleneck",
    width=(16, 32),
    out_channels=(16, 32),
    groups=4,
    shares="shake-even",
)

PREACT: dict[str, tuple[PreActSpec, int]] = {
    spec.name: (spec, seed)
    for spec, seed in (
        (_PREACT, 7024),
        (replace(_PREACT, name="cifar-preact", se=None), 7025),
        (_BASIC_A, 7242),
        (_WRN, 7026),
        (_POST, 7021),
        (replace(_POST, name="cifar-resnet", se=None), 7022),
        (replace(_POST, name="cifar-se-resnet-a", shortcut="zeros"), 7023),
        (replace(_WRN, name="cifar-wrn", se=None), 7027),
    )
}
SHAKE: dict[str, tuple[ShakeSpec, int]] = {
    spec.name: (spec, seed)
    for spec, seed in (
        (_SHAKE, 7128),
        (replace(_SHAKE, name="cifar-shake-shake", se=None), 7029),
        (replace(_SHAKE, name="cifar-se-shake-shake-branch", place="branch"), 7243),
        (_EVEN, 7044),
        (replace(_EVEN, name="cifar-se-shake-even-branch", place="branch"), 7145),
    )
}
CAFFES: Mapping[str, tuple[Spec, int]] = {**PREACT, **SHAKE}
"""Record and seed of the weights of each net, by its name."""

FACTOR = np.float32(999.98236)
"""Of all BatchNorm statistics."""

INPUTS = {"32x32": (6101, 2, 32, 32), "29x35": (6102, 1, 29, 35)}
"""Seed and shape of the inputs, by tag."""


def image(tag: str) -> np.ndarray:
    """Whole pixels minus Caffe's means, (N, 3, H, W) in float64."""
    seed, n, h, w = INPUTS[tag]
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 3, h, w)).astype(np.float32)
    return (pixels - np.array([104, 117, 123], np.float32)[:, None, None]).astype(np.float64)


def params(name: str) -> Params:
    """The weights of a net, drawn as those of the golden data, in the order of the nodes."""
    spec, seed = CAFFES[name]
    rng, network = np.random.default_rng(seed), spec.network()
    shapes = {p.name: p.shape for p in schema(network)}
    units = sum(isinstance(node.op, Add) for node in network.nodes)
    ends = re.compile(r".*\.conv" + ("3" if getattr(spec, "unit", "") == "bottleneck" else "2"))
    found: dict[str, np.ndarray] = {}
    for node in network.nodes:
        m = node.module
        match node.op:
            case Conv():
                shape = shapes[f"{m}.weight"]
                w = rng.standard_normal(shape) * np.sqrt(2.0 / int(np.prod(shape[1:])))
                w *= 1.2 / np.sqrt(units) if ends.fullmatch(m) and "shortcut" not in m else 1.0
                found[f"{m}.weight"] = w / 60.0 if node.inputs == ("data",) else w
            case Linear(out):
                shape, classifier = shapes[f"{m}.weight"], node is network.classifier
                w = rng.standard_normal(shape) * np.sqrt((1.0 if classifier else 2.0) / shape[1])
                found[f"{m}.weight"] = w * 0.3 if m.endswith("fc2") else w
                found[f"{m}.bias"] = rng.standard_normal(out) * (0.1 if classifier else 0.5)
            case BatchNorm():
                shape = shapes[f"{m}.weight"]
                for leaf, drawn in (
                    ("running_mean", rng.standard_normal(shape) * 0.1),
                    ("running_var", rng.uniform(0.5, 1.5, shape)),
                ):
                    found[f"{m}.{leaf}"] = (drawn * FACTOR).astype(np.float32) * (1 / np.float64(FACTOR))
                found[f"{m}.weight"] = rng.uniform(0.5, 1.5, shape)
                found[f"{m}.bias"] = rng.standard_normal(shape) * 0.1
            case _:
                pass
    factors = {p.module: float(FACTOR) for p in schema(network) if p.leaf == "running_mean"}
    cast = {p.name: found[p.name].astype(np.float32) if p.learnable else found[p.name] for p in schema(network)}
    return Params(cast, Info(factors=factors))


@cache
def golden(name: str) -> dict[str, np.ndarray]:
    """What the original Caffe computed, and its prototxt, by the keys that data/families/make_cifar.py describes."""
    with np.load(DATA / f"{name}.npz") as file:
        return dict(file)


def golden_errors(name: str, found: Mapping[str, NDArray[np.floating]], what: str) -> dict[str, float]:
    """The error of every tensor that is there, in its golden samples, relative to the tensor's largest value."""
    data, off = golden(name), {}
    for row, tensor in enumerate(map(str, data[f"{what}_name"])):
        if tensor in found:
            at = data[f"{what}_idx"][row]
            error = np.abs(found[tensor].ravel()[at[at >= 0]] - data[f"{what}_val"][row][at >= 0])
            off[tensor] = float(error.max() / data[f"{what}_max"][row])
    return off


PYTORCHCV = Dialect(
    "pytorchcv",
    paths=(
        ("stem", "features.init_block"),
        *(
            (rf"stage(\d)\.{unit}\.{module}", rf"features.stage\1.unit{unit + 1}.{theirs}")
            for unit in range(18)
            for module, theirs in (
                (r"(conv|bn)(\d)", r"body.conv\3.\2"),
                (r"se\.fc(\d)", r"se.conv\2"),
                ("shortcut", "identity_conv"),
            )
        ),
        ("bn", "features.post_activ.bn"),
        ("fc", "output"),
    ),
    as_conv=r"stage.*\.se\.fc\d",
)
"""Of ``preresnet*_cifar`` and ``wrn*_cifar``, where units count from 1; SE blocks as of its ``SEPreResUnit``."""


def shake_dialect(spec: ShakeSpec) -> Dialect:
    """Of the Lua files' networks as a sequence of PyTorch: stem, BatchNorm, of bottlenecks ReLU, units, and the end."""
    basic = spec.unit == "basic"
    first = 2 if basic else 3
    units = [block.name for block in spec.blocks()]
    last = str(first + len(units) + (3 if basic else 2))
    # In a branch: ReLU, 3x3, BatchNorm, ...; or 1x1, BatchNorm, ReLU, ...
    modules = [(rf"conv{i + 1}", 3 * i + basic) for i in range(3)] + [
        (rf"bn{i + 1}", 3 * i + 1 + basic) for i in range(3)
    ]
    modules.append((r"se(\.\w+)", 6 if basic else 8))
    paths: list[tuple[str, str]] = [(r"stem\.conv1", "0"), (r"stem\.bn1", "1"), ("fc", last)]
    for i, name in enumerate(units, first):
        unit = re.escape(name)
        for module, at in modules:
            end = r"\2" if "(" in module else ""
            paths.append((rf"{unit}\.(branch\d)\.{module}", rf"{i}.\1.{at}{end}"))
        paths.append((rf"{unit}\.shortcut\.conv", f"{i}.skip.0"))
        paths.append((rf"{unit}\.shortcut\.bn", f"{i}.skip.{'bn' if basic else 1}"))
        paths.append((rf"{unit}\.shortcut\.(conv\d)", rf"{i}.skip.\1"))
        paths.append((rf"{unit}\.se(.*)", rf"{i}.se\1"))
    return Dialect("shake", paths=tuple(paths))
