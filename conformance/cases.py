"""Small networks, seeded weights and inputs: the same numbers on every machine, and those of the golden data."""

from dataclasses import replace
from typing import assert_never

import numpy as np

from conformance.reference.training import Recipe
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
from weights.networks.running_statistics import StatisticsRule
from weights.networks.se import SE
from weights.networks.sizes import shapes, usual_size
from weights.networks.spec import Spec
from weights.params import CAFFE, Info, Params, is_count

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


STEPS = 10
"""Of a comparison of training: enough for a mistake in the momentum or in a running statistic to show."""

RECIPE = Recipe(learning_rate=1e-3)
"""Of a comparison of training: larger steps make a large network repeat its own roundings a million times over, 0.05 in
SE-ResNet-50 after ten, these 1e-12."""

ANOTHER_RECIPE = Recipe(
    learning_rate=5e-4, momentum=0.8, weight_decay=0.5, statistics=StatisticsRule(keep=0.8, unbiased=True)
)
"""Of a comparison of one step or two, in which no number is the usual one: a port that does not look at the recipe is
found. So much weight decay shows in float32 as well, and moves the parameters further than what rounding makes of their
gradients."""

_FACTOR = np.float32(999.98236)  # Caffe's BatchNorm factor after some thousand steps, as in the released files


def seeded(of: Network | Spec, seed: int) -> Params:
    """Plausible weights for any network, drawn in the order of the graph from numpy's default generator.

    Activations keep their size through the depth. Values are float32, as in a Caffe file; running statistics are
    float64, freed of the factor that ``info.factors`` keeps.

    Raises:
        InputError: the seed is no whole number of at least 0.
    """
    rng = _random(seed)
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
    sizes = {p.name: p.shape for p in schema(network)}
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
                shape = sizes[f"{m}.weight"]
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
                shape = sizes[f"{m}.weight"]
                params[f"{m}.weight"] = (rng.standard_normal(shape) * np.sqrt(1.0 / shape[1])).astype(np.float32)
                params[f"{m}.bias"] = (rng.standard_normal(shape[0]) * 0.1).astype(np.float32)
            case Linear():
                shape = sizes[f"{m}.weight"]
                w = rng.standard_normal(shape) * np.sqrt(2.0 / shape[1])
                w *= 0.3 if node.name in gates else 1.0
                params[f"{m}.weight"] = w.astype(np.float32)
                if node.op.bias:
                    params[f"{m}.bias"] = (rng.standard_normal(shape[0]) * 0.5).astype(np.float32)
            case BatchNorm():
                shape = sizes[f"{m}.weight"]
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
    return Params({name: params[name] for name in sizes}, replace(params.info, factors=factors))


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
    """Noise as large as an image minus its mean: N(0, 60^2), float32, (n, channels, h, w).

    Raises:
        InputError: as of ``seeded``.
    """
    return (_random(seed).standard_normal((n, channels, h, w)) * 60).astype(np.float32)


def inputs(
    of: Network | Spec, seed: int, size: tuple[int, int] | None = None, n: int = 2, usual: tuple[int, int] | None = None
) -> tuple[np.ndarray, ...]:
    """Images to compare ports on, of two sizes: the usual one, and a smaller one that is higher than wide.

    A port that is right for one square image need not be for others.

    Args:
        of: the network, or its record.
        seed: of the first images; the others have the next one.
        size: height and width, the only ones then.
        n: images of each size, all different.
        usual: height and width that a checkpoint expects, instead of the network's.
    """
    network = as_network(of)
    sizes = (size,) if size else dict.fromkeys((usual or usual_size(network), oblong(network, usual)))
    return tuple(image(seed + i, n, *size, network.in_channels) for i, size in enumerate(sizes))


def oblong(of: Network | Spec, usual: tuple[int, int] | None = None) -> tuple[int, int]:
    """Height and width of small images, higher than wide, that a network takes; or the only size that it takes."""
    network = as_network(of)
    full = usual or usual_size(network)
    side = min(full)
    # One more than a multiple of 4: then the map after a stride of 2 is odd as well, and no padding of another kind is
    # the same. Or multiples of 32, which networks take that an odd map does not fit.
    odd = 5 * side // 8 // 4 * 4 + 1, 3 * side // 8 // 4 * 4 + 1
    candidates = odd, (5 * side // 8 // 32 * 32, 3 * side // 8 // 32 * 32), (160, 96)
    return next((size for size in candidates if takes(network, *size)), full)


def wide(of: Network | Spec) -> tuple[int, int]:
    """Height and width of small images, wider than high, whose maps are even where those of ``oblong`` are odd.

    Where a network does not take such images, they are those of ``oblong``.
    """
    side = min(usual_size(as_network(of)))
    short, long = 3 * side // 8, 5 * side // 8
    of_32, of_4 = (-(-short // 32) * 32, long // 32 * 32), (short // 4 * 4, long // 4 * 4)
    candidates = (size for size in (of_32, of_4) if 0 < size[0] < size[1])
    return next((size for size in candidates if takes(of, *size)), oblong(of))


def takes(of: Network | Spec, height: int, width: int) -> bool:
    """Whether a network takes images of that size."""
    try:
        shapes(of, height, width)
    except InputError:
        return False
    return True


def batches(
    of: Network | Spec, seed: int, steps: int = STEPS, n: int = 4, size: tuple[int, int] | None = None
) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Images and classes to train on, a step for each batch.

    Args:
        of: the network, or its record; with a classifier.
        seed: of the classes and of the first batch of images.
        steps: batches.
        n: images in each.
        size: height and width; None for a small one that is wider than high.
    """
    network = as_network(of)
    rng, at = _random(seed), size or wide(network)
    return tuple(
        (image(seed + 1 + i, n, *at, network.in_channels), rng.integers(0, network.classes, n)) for i in range(steps)
    )


def top_diff(seed: int, n: int = 1, classes: int = 1000) -> np.ndarray:
    """A gradient to put on the logits: N(0, 1), float64, (n, classes).

    Raises:
        InputError: as of ``seeded``.
    """
    return _random(seed).standard_normal((n, classes))


def _random(seed: int) -> np.random.Generator:
    if not is_count(seed):
        raise InputError(f"the seed is {seed!r:.100}, expected a whole number of at least 0")
    return np.random.default_rng(seed)
