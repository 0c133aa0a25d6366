"""Small networks, seeded weights and inputs: the numbers that the golden data was made with, on every machine."""

from dataclasses import replace

import numpy as np

from weights.networks.graph import Add, BatchNorm, Conv, Linear, Node, Scale, graph
from weights.networks.parameters import schema
from weights.networks.spec import Branches, Inception, ResNet, Spec
from weights.params import CAFFE, Info, Params

_SE_RESNET = ResNet(
    name="tiny-se-resnet",
    depths=(1, 2, 1, 1),
    stem=((8, 7),),
    reduce=(4, 8, 16, 32),
    width=(4, 8, 16, 32),
    out_channels=(16, 32, 64, 128),
    reduction=4,
    classes=10,
)
_SE_RESNEXT = replace(
    _SE_RESNET,
    name="tiny-se-resnext",
    reduce=(8, 16, 32, 64),
    width=(8, 16, 32, 64),
    groups=4,
    stride_on_3x3=True,
)
_SENET = replace(
    _SE_RESNEXT,
    name="tiny-senet",
    stem=((8, 3), (8, 3), (16, 3)),
    width=_SE_RESNET.out_channels,
    shortcut=3,
    dropout=float(np.float32(0.2)),
)
_SE_BN_INCEPTION = Inception(
    name="tiny-se-bn-inception",
    modules=(
        Branches(name="3a", conv1x1=8, conv3x3=(6, 12), double3x3=(6, 8, 12), pool="avg", project=8),
        Branches(name="3c", conv1x1=None, conv3x3=(8, 20), double3x3=(8, 12, 20), pool="max", project=None),
        Branches(name="5b", conv1x1=24, conv3x3=(12, 32), double3x3=(12, 24, 24), pool="max", project=16),
    ),
    stem=((8, 7), (8, 1), (24, 3)),
    reduction=4,
    classes=10,
)

TINY: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        _SE_RESNET,
        _SE_RESNEXT,
        _SENET,
        _SE_BN_INCEPTION,
        replace(_SE_RESNET, name="tiny-resnet", reduction=None),
        replace(_SE_RESNEXT, name="tiny-resnext", reduction=None),
        replace(_SE_BN_INCEPTION, name="tiny-bn-inception", reduction=None),
    )
}
"""One small network, of 10 classes, for every kind of network in ``weights.MODELS``."""

_FACTOR = np.float32(999.98236)  # Caffe's BatchNorm factor after some thousand steps, as in the released files


def seeded(spec: Spec, seed: int) -> Params:
    """Plausible weights for any network, drawn in the order of the graph from numpy's default generator.

    Activations keep their size through the depth. Values are float32, as in a Caffe file; running statistics are
    float64, freed of the factor that ``info.factors`` keeps.
    """
    rng = np.random.default_rng(seed)
    nodes = graph(spec)
    params = Params(info=Info(preprocessing=CAFFE, labels="devkit" if spec.classes == 1000 else None))
    shapes = {p.name: p.shape for p in schema(spec)}
    factors: dict[str, float] = {}
    units = _gated_sums(nodes)
    first = True
    for node in nodes:
        m = node.module
        match node.op:
            case Conv():
                shape = shapes[f"{m}.weight"]
                w = rng.standard_normal(shape) * np.sqrt(2.0 / int(np.prod(shape[1:])))
                if first:
                    w /= 60.0  # the deviation of the inputs
                else:
                    w *= _gain(m, units)
                params[f"{m}.weight"] = w.astype(np.float32)
                first = False
            case Linear() if m == "fc":
                shape = shapes[f"{m}.weight"]
                params[f"{m}.weight"] = (rng.standard_normal(shape) * np.sqrt(1.0 / shape[1])).astype(np.float32)
                params[f"{m}.bias"] = (rng.standard_normal(shape[0]) * 0.1).astype(np.float32)
            case Linear():
                shape = shapes[f"{m}.weight"]
                w = rng.standard_normal(shape) * np.sqrt(2.0 / shape[1])
                w *= 0.3 if m.endswith(".fc2") else 1.0
                params[f"{m}.weight"] = w.astype(np.float32)
                params[f"{m}.bias"] = (rng.standard_normal(shape[0]) * 0.5).astype(np.float32)
            case BatchNorm():
                shape = shapes[f"{m}.weight"]
                for leaf, drawn in (
                    ("running_mean", rng.standard_normal(shape) * 0.1),
                    ("running_var", rng.uniform(0.5, 1.5, shape)),
                ):
                    blob = (drawn * _FACTOR).astype(np.float32)
                    params[f"{m}.{leaf}"] = blob.astype(np.float64) * (1 / np.float64(_FACTOR))
                params[f"{m}.weight"] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
                params[f"{m}.bias"] = (rng.standard_normal(shape) * 0.1).astype(np.float32)
                factors[m] = float(_FACTOR)
            case _:
                pass
    return Params({name: params[name] for name in shapes}, replace(params.info, factors=factors))


def _gated_sums(nodes: tuple[Node, ...]) -> int:
    """How many residual units end in Caffe's Axpy: a sum of which one side is scaled by a gate."""
    scaled = {node.name for node in nodes if isinstance(node.op, Scale)}
    return sum(isinstance(node.op, Add) and node.inputs[0] in scaled for node in nodes)


def _gain(module: str, units: int) -> float:
    if module.startswith("stage") and module.endswith(".conv3"):
        return 1.2 / np.sqrt(max(units, 1))  # the sum of all units stays as large as one
    return 1.0 if units else 1.15


def image(seed: int, n: int = 1, h: int = 224, w: int = 224) -> np.ndarray:
    """Noise as large as an image minus its mean: N(0, 60^2), float32, (n, 3, h, w)."""
    return (np.random.default_rng(seed).standard_normal((n, 3, h, w)) * 60).astype(np.float32)


def top_diff(seed: int, n: int = 1, classes: int = 1000) -> np.ndarray:
    """A gradient to put on the logits: N(0, 1), float64, (n, classes)."""
    return np.random.default_rng(seed).standard_normal((n, classes))
