"""What each framework and each checkpoint format calls a parameter, and how it lays it out.

A dialect is three small tables: module paths, leaf names, axis orders. Everything absent from a table is as in the
canonical form, which is PyTorch's: dotted names, OIHW kernels, OI matrices. The one reshaping is that of a matrix that
a dialect keeps as a 1x1 convolution.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from weights.errors import InputError
from weights.networks.operations import Kind, Shape
from weights.networks.parameters import Param

Paths = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
"""Patterns of module paths, and the templates of other ones or what makes those."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The names and layouts of one framework, or of one project's networks of one family."""

    name: str
    paths: Paths = ()  # canonical pattern -> template, first match wins
    leaves: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # kind -> leaf -> leaf
    axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # kind -> permutation of the weight's axes
    as_conv: str | None = None  # pattern of the linear modules whose matrices are kept as 1x1 convolutions
    separator: str = "."  # between the parts of a name
    modules: Mapping[str, str] = field(default_factory=dict)  # canonical path -> path, before the patterns
    depthwise: str | None = None  # pattern of the convolutions whose kernels are (h, w, C, 1), as Keras has them
    only_se: bool = False  # whether it has names for networks with SE blocks only
    computes: Mapping[str, object] = field(default_factory=dict)  # fields of its networks that no shape tells
    several: bool = False  # whether its project has networks of the same names that differ in what no shape tells

    def key(self, p: Param) -> str:
        """The name of a parameter in this dialect."""
        return self._key(p.module, p.kind, p.leaf)

    def module(self, path: str) -> str:
        """The dotted path of a module in this dialect."""
        return self._named(path) or path

    def knows(self, path: str) -> bool:
        """Whether it has a name of its own for a module."""
        return self._named(path) is not None

    def shape(self, p: Param) -> Shape:
        """The shape of a parameter in this dialect."""
        shape = (*p.shape, 1, 1) if self._is_conv(p.module, p.leaf) else p.shape
        axes = self._axes(p.module, p.kind, p.leaf)
        return tuple(shape[axis] for axis in axes) if axes else shape

    def find(self, shapes: Mapping[str, Shape], module: str, kind: Kind, leaf: str = "weight") -> Shape | None:
        """The canonical shape of a parameter among tensors of this dialect; None where there is none that fits.

        Args:
            shapes: of the tensors, by the dialect's names and in its layouts.
            module: canonical path, "stage1.0.conv1".
            kind: of the module.
            leaf: canonical.
        """
        found = shapes.get(self._key(module, kind, leaf))
        rank = {"conv": 4, "linear": 2}.get(kind, 1) if leaf == "weight" else 1
        axes = self._axes(module, kind, leaf)
        if found and axes and len(found) == len(axes):
            found = tuple(found[axes.index(axis)] for axis in range(len(axes)))
        if found and self._is_conv(module, leaf) and found[rank:] == (1, 1):
            found = found[:rank]
        return found if found and len(found) == rank and min(found) > 0 else None

    def encode(self, p: Param, array: np.ndarray) -> np.ndarray:
        """A canonical array in this dialect's layout (a view).

        Raises:
            InputError: its shape is not the parameter's.
        """
        _check(p.name, array, p.shape)
        array = array.reshape(*p.shape, 1, 1) if self._is_conv(p.module, p.leaf) else array
        axes = self._axes(p.module, p.kind, p.leaf)
        return array.transpose(axes) if axes else array

    def decode(self, p: Param, array: np.ndarray) -> np.ndarray:
        """An array in this dialect's layout as canonical (a view).

        Raises:
            InputError: its shape is not the parameter's in this dialect.
        """
        _check(self.key(p), array, self.shape(p))
        axes = self._axes(p.module, p.kind, p.leaf)
        array = array.transpose(np.argsort(axes)) if axes else array
        return array.reshape(p.shape) if self._is_conv(p.module, p.leaf) else array

    def _key(self, module: str, kind: Kind, leaf: str) -> str:
        dotted = f"{self.module(module)}.{self.leaves.get(kind, {}).get(leaf, leaf)}"
        return dotted.replace(".", self.separator)

    def _named(self, path: str) -> str | None:
        if path in self.modules:
            return self.modules[path]
        for pattern, template in self.paths:
            if match := re.fullmatch(pattern, path):
                return template(match) if callable(template) else match.expand(template)
        return None

    def _axes(self, module: str, kind: Kind, leaf: str) -> tuple[int, ...]:
        if leaf != "weight":
            return ()
        if self.depthwise and re.fullmatch(self.depthwise, module):
            return 2, 3, 0, 1
        return self.axes.get("conv" if self._is_conv(module, leaf) else kind, ())

    def _is_conv(self, module: str, leaf: str) -> bool:
        return leaf == "weight" and bool(self.as_conv and re.fullmatch(self.as_conv, module))


def _check(name: str, array: np.ndarray, expected: Shape) -> None:
    if np.shape(array) != expected:
        raise InputError(f"{name} has shape {np.shape(array)}, expected {expected}")
