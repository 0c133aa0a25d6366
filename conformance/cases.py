"""Small networks, seeded weights and inputs: the same numbers on every machine, and those of the golden data."""

from dataclasses import replace
from typing import assert_never

import numpy as np

from weights.errors import InputError
from weights.networks import models
from weights.networks.inception import Branches, InceptionSpec
from weights.networks.network import Network, as_network
from weights.networks.operations import (
    Act,
    Add,
    AppendZeros,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Linear,
    Mix,
    Pool,
    Scale,
    Shift,
    Shuffle,
    Times,
)
from weights.networks.parameters import schema
from weights.networks.resnet import ResNetSpec
from weights.networks.se import SE
from weights.networks.sizes import usual_size
from weights.networks.spec import Spec
from weights.params import CAFFE, Info, Params

_SE_RESNET = ResNetSpec(
    name="tiny-se-resnet",
    depths=(1, 2, 1, 1),
    stem=((8, 7),),
    reduce=(4, 8, 16, 32),
    width=(4, 8, 16, 32),
    out_channels=(16, 32, 64, 128),
    se=SE(reduction=4),
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
_SE_BN_INCEPTION = InceptionSpec(
    name="tiny-se-bn-inception",
    modules=(
        Branches(name="3a", conv1x1=8, conv3x3=(6, 12), double3x3=(6, 8, 12), pool="avg", project=8),
        Branches(name="3c", conv1x1=None, conv3x3=(8, 20), double3x3=(8, 12, 20), pool="max", project=None),
        Branches(name="5b", conv1x1=24, conv3x3=(12, 32), double3x3=(12, 24, 24), pool="max", project=16),
    ),
    stem=((8, 7), (8, 1), (24, 3)),
    se=SE(reduction=4),
    classes=10,
)

TINY: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        _SE_RESNET,
        _SE_RESNEXT,
        _SENET,
        _SE_BN_INCEPTION,
        replace(_SE_RESNET, name="tiny-resnet", se=None),
        replace(_SE_RESNEXT, name="tiny-resnext", se=None),
        replace(_SE_BN_INCEPTION, name="tiny-bn-inception", se=None),
    )
}
"""One small network, of 10 classes, for every kind of network in ``weights.MODELS``."""


def find(named: str | Spec) -> Spec:
    """The record of a published network or of a small one of ``TINY``, by its name; a record as it is.

    Raises:
        InputError: there is no such network.
    """
    if not isinstance(named, str):
        return named
    try:
        return TINY[named] if named in TINY else models.find(named)
    except InputError as error:
        raise InputError(f"{error}; small ones are {', '.join(TINY)}") from None


_FACTOR = np.float32(999.98236)  # Caffe's BatchNorm factor after some thousand steps, as in the released files


def seeded(of: Network | Spec, seed: int) -> Params:
    """Plausible weights for any network, drawn in the order of the graph from numpy's default generator.

    Activations keep their size through the depth. Values are float32, as in a Caffe file; running statistics are
    float64, freed of the factor that ``info.factors`` keeps.
    """
    rng = np.random.default_rng(seed)
    network = as_network(of)
    nodes, classifier = network.nodes, network.classifier
    side = min(usual_size(network))
    # The released networks' share of the centre, 224 of 256, of images as large as the network takes them.
    expects = replace(CAFFE, resize=side * CAFFE.resize // CAFFE.crop, crop=side)
    info = Info(
        preprocessing=expects if network.in_channels == 3 else None,  # photographs are of three
        labels="devkit" if network.classes == 1000 else None,
    )
    params = Params(info=info)
    shapes = {p.name: p.shape for p in schema(network)}
    factors: dict[str, float] = {}
    units, last = _gated_sums(network), _branch_ends(network)
    gates = {network.by_name[node.inputs[1]].inputs[0] for node in nodes if isinstance(node.op, Scale)}
    # The sum of all units stays as large as one. Where depthwise convolutions are, activations that cut off at 6 and
    # gates that do at 3 would make much of roundings in large values.
    gain = 1.0 if units else 0.5 if _has_depthwise(network) else 1.15
    gain_last = 1.2 / np.sqrt(max(units, 1))
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
                    w *= gain_last if node.name in last else gain
                params[f"{m}.weight"] = w.astype(np.float32)
                if node.op.bias:
                    params[f"{m}.bias"] = (rng.standard_normal(shape[0]) * 0.5).astype(np.float32)
                first = False
            case Linear() if node is classifier:
                shape = shapes[f"{m}.weight"]
                params[f"{m}.weight"] = (rng.standard_normal(shape) * np.sqrt(1.0 / shape[1])).astype(np.float32)
                params[f"{m}.bias"] = (rng.standard_normal(shape[0]) * 0.1).astype(np.float32)
            case Linear():
                shape = shapes[f"{m}.weight"]
                w = rng.standard_normal(shape) * np.sqrt(2.0 / shape[1])
                w *= 0.3 if node.name in gates else 1.0
                params[f"{m}.weight"] = w.astype(np.float32)
                if node.op.bias:
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
            case Act() | Pool() | GlobalPool() | Scale() | Add() | Concat() | Dropout():
                pass
            case Mix() | Times() | AppendZeros() | Shift() | Shuffle() | Flatten():
                pass
            case _:
                assert_never(node.op)
    return Params({name: params[name] for name in shapes}, replace(params.info, factors=factors))


def _has_depthwise(network: Network) -> bool:
    return any(isinstance(node.op, Conv) and node.op.groups == node.op.out > 1 for node in network.nodes)


def _gated_sums(network: Network) -> int:
    """How many residual units end in Caffe's Axpy: a sum of which one side is scaled by a gate."""
    sums = (node for node in network.nodes if isinstance(node.op, Add))
    return sum(isinstance(network.by_name[node.inputs[0]].op, Scale) for node in sums)


def _branch_ends(network: Network) -> set[str]:
    """The last convolutions of the residual branches: what a sum adds first, before BatchNorm, activation and gate."""
    found = set()
    for node in network.nodes:
        if isinstance(node.op, Add):
            at = network.by_name[node.inputs[0]]
            while isinstance(at.op, Scale | BatchNorm | Act):
                at = network.by_name[at.inputs[0]]
            found.add(at.name)
    return found


def image(seed: int, n: int = 1, h: int = 224, w: int = 224, channels: int = 3) -> np.ndarray:
    """Noise as large as an image minus its mean: N(0, 60^2), float32, (n, channels, h, w)."""
    return (np.random.default_rng(seed).standard_normal((n, channels, h, w)) * 60).astype(np.float32)


def top_diff(seed: int, n: int = 1, classes: int = 1000) -> np.ndarray:
    """A gradient to put on the logits: N(0, 1), float64, (n, classes)."""
    return np.random.default_rng(seed).standard_normal((n, classes))
