"""Handwritten digits (scikit-learn ships 1,797 of them) as batches, networks to train on them, and initial weights."""

import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from weights import SE, Params, ResNetSpec, Spec, schema

_NETWORK = ResNetSpec(
    name="digits",
    depths=(1, 1),
    stem=((16, 3),),
    reduce=(8, 16),
    width=(8, 16),
    out_channels=(32, 64),
    se=SE(reduction=4),
    classes=10,
)

VARIANTS: dict[str, Spec] = {
    "plain": replace(_NETWORK, se=None),
    "SE": _NETWORK,
    "SE-PRE": replace(_NETWORK, se=SE(reduction=4, position="pre")),
    "SE, tanh gate": replace(_NETWORK, se=SE(reduction=4, gate="tanh")),
}
"""The network without SE blocks, with those of the paper, at another place, and with another gate."""

LEARNING_RATE, MOMENTUM, BATCH = 1 / 32, 7 / 8, 64
"""Keras keeps the first two in float32, also in a float64 network: these are exact there. 0.02 would be off by 2e-8,
and fifty steps make 5e-3 of that."""

HELD_OUT = 360  # images, of all 1,797


def images() -> tuple[np.ndarray, np.ndarray]:
    """All digits: (N, 3, 32, 32) float64, and their classes (N,); shuffled once."""
    data: Any = load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(data.target))
    x = data.images[order].repeat(4, axis=1).repeat(4, axis=2)  # 8x8 pixels, each 4x4 times
    x = np.repeat(((x - x.mean()) / x.std())[:, None], 3, axis=1)
    # Noise: on areas of one colour all values of a max-pooling window are equal but for rounding, which differs between
    # the frameworks, and so would the pixel that gets the gradient.
    return x + 0.3 * rng.standard_normal(x.shape), data.target[order].astype(np.int64)


def batches(steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches (64, 3, 32, 32) and their classes, the same in every framework: epoch after epoch in a seeded order."""
    x, y = images()
    x, y = x[:-HELD_OUT], y[:-HELD_OUT]
    rng = np.random.default_rng(1)
    order = np.empty(0, int)
    for _ in range(steps):
        if len(order) < BATCH:
            order = rng.permutation(len(y))
        chosen, order = order[:BATCH], order[BATCH:]
        yield x[chosen], y[chosen]


def held_out() -> tuple[np.ndarray, np.ndarray]:
    """The images that no batch has, and their classes."""
    x, y = images()
    return x[-HELD_OUT:], y[-HELD_OUT:]


def initial(spec: Spec) -> Params:
    """Initial weights as He et al. draw them (https://arxiv.org/abs/1502.01852), in float64.

    Every array has a generator of its own, seeded by its name: variants share the values of all that they have in
    common.
    """
    params = Params()
    for p in schema(spec):
        rng = np.random.default_rng([2, zlib.crc32(p.name.encode())])
        if p.leaf == "weight" and p.kind != "bn":
            fan_in = int(np.prod(p.shape[1:]))
            params[p.name] = rng.standard_normal(p.shape) * np.sqrt(2 / fan_in)
        else:
            params[p.name] = np.full(p.shape, float(p.leaf in ("weight", "running_var")))
    return params
