"""The parameters of a network: canonical names, kinds and shapes, in the order of the graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from weights.errors import InputError
from weights.networks.graph import BatchNorm, Conv, Linear, graph, shapes
from weights.networks.spec import Spec

STATISTICS = ("running_mean", "running_var")
"""The leaves that are not learned by gradient."""


@dataclass(frozen=True, slots=True)
class Param:
    module: str  # "stage1.0.conv1"
    leaf: str  # "weight"
    kind: str  # "conv" | "linear" | "bn"
    shape: tuple[int, ...]  # OIHW, OI or C

    @property
    def name(self) -> str:
        return f"{self.module}.{self.leaf}"

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def learnable(self) -> bool:
        return self.leaf not in STATISTICS


@lru_cache(maxsize=32)
def schema(spec: Spec) -> tuple[Param, ...]:
    """Every parameter of a network, in the order of the graph; a module's leaves stand together."""
    params: list[Param] = []
    sizes = shapes(spec)
    for node in graph(spec):
        c = sizes[node.inputs[0]][0]
        match node.op:
            case Conv(out, kernel, groups=groups):
                kind, leaves = "conv", {"weight": (out, c // groups, kernel, kernel)}
            case Linear(out):
                kind, leaves = "linear", {"weight": (out, c), "bias": (out,)}
            case BatchNorm():
                kind, leaves = "bn", dict.fromkeys(("weight", "bias", *STATISTICS), (c,))
            case _:
                continue
        params += [Param(node.module, leaf, kind, shape) for leaf, shape in leaves.items()]
    return tuple(params)


def check(spec: Spec, params: Mapping[str, np.ndarray], source: str = "parameters") -> None:
    """Raises one InputError that lists everything missing (-), unexpected (+) or mis-shaped (!)."""
    wanted = {p.name: p.shape for p in schema(spec)}
    findings = [f"- {name} {shape} is missing" for name, shape in wanted.items() if name not in params]
    findings += [f"+ {name} {np.shape(a)} is unexpected" for name, a in params.items() if name not in wanted]
    findings += [
        f"! {name} has shape {np.shape(params[name])}, expected {shape}"
        for name, shape in wanted.items()
        if name in params and np.shape(params[name]) != shape
    ]
    if findings:
        more = [f"... and {len(findings) - 20} more"] if len(findings) > 20 else []
        lines = "\n  ".join(findings[:20] + more)
        raise InputError(f"{source}: does not fit {spec.name} ({spec.classes} classes)\n  {lines}")
