"""The reference as one framework among the others: what plain rounding makes."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from conformance.reference import backward
from conformance.reference import forward as reference
from conformance.reference.training import Batch, Recipe
from weights.networks.network import graph
from weights.networks.operations import BatchNorm
from weights.networks.parameters import schema
from weights.networks.running_statistics import StatisticsRule
from weights.networks.spec import Spec
from weights.params import Params

NAME = "NumPy reference"


class Model(NamedTuple):
    spec: Spec
    params: dict[str, np.ndarray]


def version() -> str:
    return f"numpy {np.__version__}"


def dtype(spec: Spec, shape: tuple[int, ...], dtype: str) -> str:
    """NumPy has no bfloat16, and adds up float16 one rounding after the other."""
    del spec, shape
    return dtype if dtype == "float64" else "float32"


def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Model:
    return Model(spec, {name: np.asarray(array, dtype) for name, array in params.items()})


def taps(model: Model, x: np.ndarray) -> dict[str, np.ndarray]:
    return reference.run(model.spec, model.params, x)


def gradients(model: Model, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
    return backward.gradients(model.spec, model.params, x, cotangent, training=training)


def train(model: Model, batches: Iterable[Batch], recipe: Recipe) -> Params:
    params = dict(model.params)
    learned = [p.name for p in schema(model.spec) if p.learnable]
    velocity = {name: np.zeros_like(params[name]) for name in learned}
    for step, (x, classes) in enumerate(batches):
        values = {"data": x, **reference.run(model.spec, params, x, training=True)}
        p = np.exp(values["logits"] - values["logits"].max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(len(classes)), classes] -= 1
        found = backward.gradients(model.spec, params, x, p / len(classes), training=True)
        _move_statistics(model.spec, params, values, recipe.rule(step))
        for name in learned:
            velocity[name] = recipe.momentum * velocity[name] + found[name] + recipe.weight_decay * params[name]
            params[name] = params[name] - recipe.learning_rate * velocity[name]
    return Params({p.name: params[p.name] for p in schema(model.spec)})


def _move_statistics(
    spec: Spec,
    params: dict[str, np.ndarray],
    values: Mapping[str, np.ndarray],
    rules: StatisticsRule | Mapping[str, StatisticsRule],
) -> None:
    for node in graph(spec):
        if isinstance(node.op, BatchNorm):
            x = values[node.inputs[0]]
            rule = rules if isinstance(rules, StatisticsRule) else rules[node.module]
            mean, var = reference.statistics(x)
            size = x.size // x.shape[1]
            new = {"running_mean": mean, "running_var": var * size / (size - 1) if rule.unbiased else var}
            for leaf, value in new.items():
                name = f"{node.module}.{leaf}"
                params[name] = rule.keep * params[name] + (1 - rule.keep) * value
