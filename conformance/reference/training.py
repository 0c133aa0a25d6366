"""Training in NumPy: the recipe that every adapter follows, and the reference's own steps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from conformance.reference import backward, forward
from weights.networks.network import Network, as_network
from weights.networks.operations import BatchNorm
from weights.networks.parameters import schema
from weights.networks.running_statistics import TORCH, StatisticsRule, caffe
from weights.networks.spec import Spec
from weights.params import Params

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
        """The rule that the running statistics follow in a step; one for all, or by the BatchNorm's path."""
        return self.statistics if isinstance(self.statistics, StatisticsRule) else self.statistics[step]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``dataclasses.asdict``."""
        values, given = dict(data), data["statistics"]
        if "keep" in given:
            values["statistics"] = StatisticsRule(**given)
        else:
            steps = ({module: StatisticsRule(**rule) for module, rule in step.items()} for step in given)
            values["statistics"] = tuple(steps)
        return cls(**values)


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


def train(of: Network | Spec, params: Mapping[str, np.ndarray], batches: Iterable[Batch], recipe: Recipe) -> Params:
    """Parameters and running statistics after a step for each batch; nothing is dropped out.

    Args:
        of: the network, with a classifier.
        params: to start from, by canonical name; their dtype is that of the computation.
        batches: images (N, 3, H, W) and classes (N,).
        recipe: how parameters and statistics are moved.
    """
    network, now = as_network(of), dict(params)
    learned = [p.name for p in schema(network) if p.learnable]
    velocity = {name: np.zeros_like(now[name]) for name in learned}
    for step, (x, classes) in enumerate(batches):
        values = {"data": x, **forward.run(network, now, x, training=True)}
        logits = values[network.output.name]
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(len(classes)), classes] -= 1
        found = backward.gradients(network, now, x, p / len(classes), training=True)
        _move_statistics(network, now, values, recipe.rule(step))
        for name in learned:
            velocity[name] = recipe.momentum * velocity[name] + found[name] + recipe.weight_decay * now[name]
            now[name] = now[name] - recipe.learning_rate * velocity[name]
    return Params({p.name: now[p.name] for p in schema(network)})


def _move_statistics(
    network: Network,
    params: dict[str, np.ndarray],
    values: Mapping[str, np.ndarray],
    rules: StatisticsRule | Mapping[str, StatisticsRule],
) -> None:
    for node in network.nodes:
        if isinstance(node.op, BatchNorm):
            x = values[node.inputs[0]]
            rule = rules if isinstance(rules, StatisticsRule) else rules[node.module]
            mean, var = forward.statistics(x)
            size = x.size // x.shape[1]
            new = {"running_mean": mean, "running_var": var * size / (size - 1) if rule.unbiased else var}
            for leaf, value in new.items():
                name = f"{node.module}.{leaf}"
                params[name] = rule.keep * params[name] + (1 - rule.keep) * value
