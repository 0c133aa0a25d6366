"""How networks are trained where they are compared: the recipe, said once, and Caffe's running statistics by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from weights.networks.running_statistics import TORCH, StatisticsRule, caffe

Batch = tuple[np.ndarray, np.ndarray]
"""Images (N, 3, H, W) and their classes (N,), integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Stochastic gradient descent on the mean cross entropy of softmax, on every learnable parameter alike.

        g <- gradient + weight_decay * parameter
        velocity <- momentum * velocity + g
        parameter <- parameter - learning_rate * velocity

    The numbers are rounded to float32: Caffe's are protobuf floats, and Keras holds them so in float64 too.
    """

    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    statistics: StatisticsRule | Sequence[Mapping[str, StatisticsRule]] = TORCH
    """One rule for all layers and steps, or by step and the BatchNorm's path."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "momentum", "weight_decay"):
            object.__setattr__(self, name, float(np.float32(getattr(self, name))))

    def rule(self, step: int) -> StatisticsRule | Mapping[str, StatisticsRule]:
        """What the running statistics follow in a step."""
        return self.statistics if isinstance(self.statistics, StatisticsRule) else self.statistics[step]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``dataclasses.asdict``."""
        given = data["statistics"]
        if "keep" in given:
            return cls(**{**data, "statistics": StatisticsRule(**given)})
        steps = [{module: StatisticsRule(**rule) for module, rule in step.items()} for step in given]
        return cls(**{**data, "statistics": tuple(steps)})


def caffe_rules(factors: Mapping[str, float], steps: int) -> tuple[dict[str, StatisticsRule], ...]:
    """Caffe's rules, step by step.

    Args:
        factors: of each BatchNorm at the start, as in ``Info.factors``; 0 for a new network.
    """
    rules = []
    for _ in range(steps):
        found = {module: caffe(factor) for module, factor in factors.items()}
        rules.append({module: rule for module, (rule, _) in found.items()})
        factors = {module: after for module, (_, after) in found.items()}
    return tuple(rules)
