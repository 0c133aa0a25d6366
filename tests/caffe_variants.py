"""The SE variants of which the original Caffe computed golden data: their records, weights and inputs."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weights import SE, Info, Params, ResNetSpec, schema
from weights.networks.operations import Add, BatchNorm, Conv, Linear

_BASE = ResNetSpec(
    name="",
    depths=(1, 2, 1, 1),
    stem=((8, 7),),
    reduce=(4, 6, 8, 12),
    width=(4, 6, 8, 12),
    out_channels=(16, 24, 32, 48),
    se=SE(reduction=4),
    classes=10,
)
_WIDE = replace(_BASE, reduce=(8, 12, 16, 24), width=(8, 12, 16, 24), groups=4, stride_on_3x3=True)

_VARIANTS: dict[str, tuple[int, SE]] = {
    "squeeze-max": (7001, SE(reduction=4, squeeze="max")),
    "squeeze-none": (7002, SE(reduction=4, squeeze="none")),
    "gate-tanh": (7103, SE(reduction=4, gate="tanh")),
    "gate-relu": (7004, SE(reduction=4, gate="relu")),
    "gate-hard-sigmoid": (7005, SE(reduction=4, gate="hard-sigmoid")),
    "reduction-2": (7106, SE(reduction=2)),
    "reduction-8": (7007, SE(reduction=8)),
    "width-6": (7008, SE(width=6)),
    "se-no-bias": (7009, SE(reduction=4, bias=False)),
    "position-pre": (7010, SE(reduction=4, position="pre")),
    "position-post": (7011, SE(reduction=4, position="post")),
    "position-identity": (7012, SE(reduction=4, position="identity")),
    "position-identity-before": (7040, SE(reduction=4, position="identity-before")),
    "position-3x3": (7013, SE(reduction=2, position="3x3")),
    "position-3x3-raw": (7241, SE(reduction=2, position="3x3-raw")),
    "stage-2": (7114, SE(reduction=4, stages=(1,))),  # the names count the stem as a stage
    "stage-3": (7115, SE(reduction=4, stages=(2,))),
    "stage-4": (7016, SE(reduction=4, stages=(3,))),
    "stage-5": (7039, SE(reduction=4, stages=(4,))),
    "mix-pre-max-tanh": (7217, SE(reduction=8, squeeze="max", gate="tanh", bias=False, position="pre")),
    "mix-post-none-relu": (7218, SE(reduction=2, squeeze="none", gate="relu", position="post", stages=(1, 2))),
    "mix-identity-max-hard": (7119, SE(reduction=8, squeeze="max", gate="hard-sigmoid", position="identity")),
    "mix-3x3-none-resnext": (7020, SE(reduction=2, squeeze="none", gate="tanh", bias=False, position="3x3")),
}

VARIANTS: dict[str, ResNetSpec] = {
    name: replace(_WIDE if name == "mix-3x3-none-resnext" else _BASE, name=name, se=se)
    for name, (_, se) in _VARIANTS.items()
}
"""The record of each net, by its name."""

FACTOR = np.float32(999.98236)
"""Of all BatchNorm statistics."""

INPUTS = {"48x48": (6001, 2, 48, 48), "51x43": (6002, 1, 51, 43)}
"""Seed and shape of the inputs, by tag."""


def image(tag: str) -> np.ndarray:
    """Whole pixels minus Caffe's means, (N, 3, H, W) in float64."""
    seed, n, h, w = INPUTS[tag]
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 3, h, w)).astype(np.float32)
    return (pixels - np.array([104, 117, 123], np.float32)[:, None, None]).astype(np.float64)


def params(name: str) -> Params:
    """The weights of a net, drawn as those of the golden data, in the order of the nodes."""
    seed, se = _VARIANTS[name]
    rng, network = np.random.default_rng(seed), VARIANTS[name].network()
    shapes = {p.name: p.shape for p in schema(network)}
    units = sum(isinstance(node.op, Add) for node in network.nodes)
    found: dict[str, np.ndarray] = {}
    for node in network.nodes:
        m = node.module
        match node.op:
            case Conv():
                shape = shapes[f"{m}.weight"]
                w = rng.standard_normal(shape) * np.sqrt(2.0 / int(np.prod(shape[1:])))
                w *= 1.2 / np.sqrt(units) if m.endswith("conv3") else 1.0
                found[f"{m}.weight"] = w / 60.0 if node.inputs == ("data",) else w
            case Linear(out, bias):
                shape, classifier = shapes[f"{m}.weight"], node is network.classifier
                w = rng.standard_normal(shape) * np.sqrt((1.0 if classifier else 2.0) / shape[1])
                found[f"{m}.weight"] = w * 0.3 if m.endswith("fc2") else w
                if bias:
                    b = rng.standard_normal(out) * (0.1 if classifier else 0.5)
                    found[f"{m}.bias"] = b + 0.5 if m.endswith("fc2") and se.gate == "relu" else b
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
def golden_values() -> dict[str, np.ndarray]:
    """What the original Caffe computed, by the keys that data/variants/make.py describes."""
    with np.load(Path(__file__).parent / "data" / "variants" / "golden.npz") as file:
        return dict(file)


def golden_errors(found: Mapping[str, NDArray[Any]], what: str) -> dict[str, float]:
    """The error of every tensor that is there, in its golden samples, relative to the tensor's largest value."""
    data, off = golden_values(), {}
    for row, name in enumerate(map(str, data[f"{what}_name"])):
        if name in found:
            at = data[f"{what}_idx"][row]
            error = np.abs(found[name].ravel()[at[at >= 0]] - data[f"{what}_val"][row][at >= 0])
            off[name] = float(error.max() / data[f"{what}_max"][row])
    return off
