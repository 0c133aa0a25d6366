"""The parameters of a network: canonical names, kinds and shapes, in the order of the nodes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from weights.errors import InputError
from weights.networks.network import Network, as_network
from weights.networks.operations import Kind, Shape
from weights.networks.sizes import shapes
from weights.networks.spec import Spec

STATISTICS = ("running_mean", "running_var")
"""The leaves that are not learned by gradient."""


@dataclass(frozen=True, slots=True)
class Param:
    """One array of a network."""

    module: str  # "stage1.0.conv1"
    leaf: str  # "weight"
    kind: Kind
    shape: Shape  # OIHW, OI or C

    @property
    def name(self) -> str:
        """Canonical: "stage1.0.conv1.weight"."""
        return f"{self.module}.{self.leaf}"

    @property
    def size(self) -> int:
        """Scalars."""
        return prod(self.shape)

    @property
    def learnable(self) -> bool:
        """Whether training moves it by its gradient."""
        return self.leaf not in STATISTICS


def schema(of: Network | Spec) -> tuple[Param, ...]:
    """Every parameter of a network, in the order of the nodes; a module's leaves stand together."""
    return _schema(as_network(of))


@lru_cache(maxsize=128)
def _schema(network: Network) -> tuple[Param, ...]:
    sizes = shapes(network)
    return tuple(
        Param(node.module, leaf, node.op.kind, shape)
        for node in network.nodes
        for leaf, shape in node.op.leaves(sizes[node.inputs[0]][0]).items()
    )


def check(of: Network | Spec, params: Mapping[str, np.ndarray], source: str = "parameters") -> None:
    """Raises one InputError that lists everything missing (-), unexpected (+) or mis-shaped (!)."""
    network = as_network(of)
    wanted = {p.name: p.shape for p in schema(network)}
    found = differences(wanted, {name: np.shape(array) for name, array in params.items()})
    if found:
        raise InputError(f"{source}: does not fit {network.name} ({network.classes} classes)\n  {found}")


def differences(wanted: Mapping[str, Shape], found: Mapping[str, Shape]) -> str:
    """Names and shapes that are missing (-), unexpected (+) or other ones (!), a line each; "" where there are none."""
    lines: Iterable[str] = [f"- {name} {shape} is missing" for name, shape in wanted.items() if name not in found]
    lines += [f"+ {name} {shape} is unexpected" for name, shape in found.items() if name not in wanted]
    lines += [
        f"! {name} has shape {found[name]}, expected {shape}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    more = [f"... and {len(lines) - 20} more"] if len(lines) > 20 else []
    return "\n  ".join(lines[:20] + more)
