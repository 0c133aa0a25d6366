"""What each framework and each checkpoint format calls a parameter, and how it lays it out.

A dialect is three small tables: module paths, leaf names, axis orders. Everything absent from a table is as in the
canonical form, which is PyTorch's: dotted names, OIHW kernels, OI matrices.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from weights.schema import Param


@dataclass(frozen=True, slots=True)
class Dialect:
    name: str
    paths: tuple[tuple[str, str], ...] = ()  # canonical pattern -> template, first match wins
    leaves: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # kind -> leaf -> leaf
    axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # kind -> permutation of the weight's axes

    def key(self, p: Param) -> str:
        """The dotted name of a parameter in this dialect."""
        return f"{self.module(p.module)}.{self.leaves.get(p.kind, {}).get(p.leaf, p.leaf)}"

    def module(self, path: str) -> str:
        for pattern, template in self.paths:
            if match := re.fullmatch(pattern, path):
                return match.expand(template)
        return path

    def encode(self, p: Param, array: np.ndarray) -> np.ndarray:
        """A canonical array in this dialect's layout (a view)."""
        return array.transpose(self._axes(p)) if self._axes(p) else array

    def decode(self, p: Param, array: np.ndarray) -> np.ndarray:
        """An array in this dialect's layout as canonical (a view)."""
        return array.transpose(np.argsort(self._axes(p))) if self._axes(p) else array

    def _axes(self, p: Param) -> tuple[int, ...]:
        return self.axes.get(p.kind, ()) if p.leaf == "weight" else ()


_CHANNELS_LAST = {"conv": (2, 3, 1, 0), "linear": (1, 0)}
_KERNEL = {"weight": "kernel"}

TORCH = Dialect("torch")
KERAS = Dialect(
    "keras",
    leaves={
        "conv": _KERNEL,
        "linear": _KERNEL,
        "bn": {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"},
    },
    axes=_CHANNELS_LAST,
)
FLAX = Dialect(
    "flax",
    leaves={
        "conv": _KERNEL,
        "linear": _KERNEL,
        "bn": {"weight": "scale", "running_mean": "mean", "running_var": "var"},
    },
    axes=_CHANNELS_LAST,
)
