"""Small VGG and Inception-ResNet networks that the original Caffe computed golden data of: records, weights, inputs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weights import SE, InceptionResNetSpec, Info, Params, Spec, VGGSpec, schema
from weights.networks.inception_resnet import Module, Stage, StemLayer
from weights.networks.operations import BatchNorm, Conv, Linear

DATA = Path(__file__).parents[1] / "data" / "families"
FACTOR = np.float32(999.98236)
"""Of all BatchNorm statistics."""


@dataclass(frozen=True)
class CaffeNet:
    """A network of the original Caffe's.

    Attributes:
        spec: what it is here.
        seed: of its weights.
        gain: of its convolutions but the first.
        inputs: seed and shape, by tag.
    """

    spec: Spec
    seed: int
    gain: float
    inputs: Mapping[str, tuple[int, int, int, int]]

    @cached_property
    def golden(self) -> dict[str, np.ndarray]:
        """By the keys that data/families/make_vgg_and_inception_resnet.py describes."""
        with np.load(DATA / f"{self.spec.name}.npz") as file:
            return dict(file)

    @property
    def prototxt(self) -> bytes:
        """The definition."""
        return self.golden["prototxt"].tobytes()

    def image(self, tag: str) -> np.ndarray:
        """Whole pixels minus Caffe's means, (N, 3, H, W) in float64."""
        seed, n, h, w = self.inputs[tag]
        pixels = np.random.default_rng(seed).integers(0, 256, (n, 3, h, w)).astype(np.float32)
        return (pixels - np.array([104, 117, 123], np.float32)[:, None, None]).astype(np.float64)

    def params(self) -> Params:
        """The weights, drawn in the order of the nodes."""
        rng, network = np.random.default_rng(self.seed), self.spec.network()
        shapes = {p.name: p.shape for p in schema(network)}
        found: dict[str, np.ndarray] = {}
        for node in network.nodes:
            m, shape = node.module, shapes.get(f"{node.module}.weight", ())
            match node.op:
                case Conv(bias=bias):
                    w = rng.standard_normal(shape) * np.sqrt(2.0 / int(np.prod(shape[1:])))
                    found[f"{m}.weight"] = w / 60.0 if node.inputs == ("data",) else w * self.gain
                    if bias:
                        found[f"{m}.bias"] = rng.standard_normal(shape[0]) * 0.5
                case Linear():
                    w = rng.standard_normal(shape) * np.sqrt((2.0 if node.block else 1.0) / shape[1])
                    found[f"{m}.weight"] = w * 0.3 if m.endswith("se.fc2") else w
                    found[f"{m}.bias"] = rng.standard_normal(shape[0]) * (0.5 if node.block else 0.1)
                case BatchNorm():
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

    def names(self, what: str) -> set[str]:
        """The tensors of which there are samples."""
        return set(map(str, self.golden[f"{what}_name"]))

    def errors(self, found: Mapping[str, NDArray[Any]], what: str) -> dict[str, float]:
        """The error of every tensor that is there, in its golden samples, relative to the tensor's largest value."""
        off = {}
        for row, name in enumerate(map(str, self.golden[f"{what}_name"])):
            if name in found:
                at = self.golden[f"{what}_idx"][row]
                error = np.abs(found[name].ravel()[at[at >= 0]] - self.golden[f"{what}_val"][row][at >= 0])
                off[name] = float(error.max() / self.golden[f"{what}_max"][row])
        return off


_VGG = VGGSpec(name="se-vgg", size=64, widths=(8, 12, 16, 24, 24), hidden=(32, 32), classes=10, se=SE(reduction=4))
_INCEPTION_RESNET = InceptionResNetSpec(
    name="se-inception-resnet",
    stem=(StemLayer(out=12, kernel=3, stride=2), StemLayer(out=24, kernel=3, stride=2)),
    stages=(
        Stage(
            module=None,
            units=2,
            branches=(((6, 1, 1),), ((6, 1, 1), (6, 3, 3)), ((6, 1, 1), (8, 3, 3), (10, 3, 3))),
            scale=float(np.float32(0.17)),
        ),
        Stage(
            module=Module(branches=(((12, 3, 3),), ((6, 1, 1), (8, 3, 3), (12, 3, 3))), pool="max", project=None),
            units=1,
            branches=(((6, 1, 1),), ((6, 1, 1), (8, 1, 7), (10, 7, 1))),
            scale=float(np.float32(0.1)),
        ),
    ),
    end=None,
    linear_end=False,
    dropout=0.0,
    classes=10,
    eps=float(np.float32(1e-3)),
    se=SE(reduction=4),
)
_SQUARE = {"64x64": (6201, 2, 64, 64)}
_TWO = {"48x48": (6001, 2, 48, 48), "51x43": (6002, 1, 51, 43)}

VGGS = {
    "se-vgg": CaffeNet(_VGG, 8036, 2.0, _SQUARE),
    "vgg": CaffeNet(replace(_VGG, name="vgg", se=None), 7046, 1.0, _SQUARE),
}
INCEPTION_RESNETS = {
    "se-inception-resnet": CaffeNet(_INCEPTION_RESNET, 7037, 1.0, _TWO),
    "inception-resnet": CaffeNet(replace(_INCEPTION_RESNET, name="inception-resnet", se=None), 7038, 1.0, _TWO),
}
