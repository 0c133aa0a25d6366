"""How training moves BatchNorm's running statistics: the rules differ between frameworks, and all are one formula.

    running_mean <- keep * running_mean + (1 - keep) * mean
    running_var  <- keep * running_var  + (1 - keep) * variance    (times M / (M - 1) where unbiased)

with mean and biased variance of the batch over its M = N * H * W values of a channel. Every framework normalises the
batch itself with the biased variance.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class StatisticsRule:
    """What one step of training makes of the running statistics of a BatchNorm layer."""

    keep: float  # share of the running statistics that a step keeps, 0..1
    unbiased: bool  # whether the running variance takes in the unbiased variance


TORCH = StatisticsRule(keep=0.9, unbiased=True)
"""PyTorch's own rule (its momentum 0.1 is the share of what is new)."""

KERAS = FLAX = StatisticsRule(keep=0.9, unbiased=False)
"""Keras' and Flax's own rule, with the momentum that matches PyTorch's default; theirs is 0.99."""

FRACTION = float(np.float32(0.999))
"""Caffe's moving_average_fraction: a protobuf float, 0.99900001287460327."""


def caffe(factor: float) -> tuple[StatisticsRule, float]:
    """Caffe's rule for one step of a BatchNorm layer, and the factor that the step leaves behind.

    Caffe accumulates: blob0 <- f * blob0 + mean, blob1 <- f * blob1 + unbiased variance, factor <- f * factor + 1, and
    divides the blobs by the factor when it uses them. On the divided statistics that is an average whose ``keep``
    depends on the factor: 0 for a new layer (factor 0), and 0.999 in the long run (factor 1000).
    """
    after = FRACTION * factor + 1
    return StatisticsRule(keep=FRACTION * factor / after, unbiased=True), after
