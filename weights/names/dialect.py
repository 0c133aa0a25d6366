"""What each framework and each checkpoint format calls a parameter, and how it lays it out.

A dialect is three small tables: module paths, leaf names, axis orders. Everything absent from a table is as in the
canonical form, which is PyTorch's: dotted names, OIHW kernels, OI matrices. The reshapings are those of a matrix that
a dialect keeps as a convolution: a 1x1 one, or one that covers the map which the matrix reads.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from weights.errors import InputError
from weights.networks.operations import Kind, Shape
from weights.networks.parameters import Param


@dataclass(frozen=True, slots=True)
class Dialect:
    """The names and layouts of one framework, or of one project's networks of one family."""

    name: str
    paths: tuple[tuple[str, str], ...] = ()  # canonical pattern -> template, first match wins
    leaves: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # kind -> leaf -> leaf
    axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # kind -> permutation of the weight's axes
    as_conv: str | None = None  # pattern of the linear modules whose matrices are kept as 1x1 convolutions
    separator: str = "."  # between the parts of a name
    modules: Mapping[str, str] = field(default_factory=dict)  # canonical path -> path, before the patterns; all of them
    covering: tuple[str, int] | None = None  # a matrix that is kept as a convolution, and the size of its square kernel
    channels_last: tuple[str, int] | None = None  # a matrix that reads a map (H, W, C), and the pixels of that map

    def key(self, p: Param) -> str:
        """The name of a parameter in this dialect."""
        return self._key(p.module, p.kind, p.leaf)

    def module(self, path: str) -> str:
        """The dotted path of a module in this dialect."""
        if path in self.modules:
            return self.modules[path]
        for pattern, template in self.paths:
            if match := re.fullmatch(pattern, path):
                return match.expand(template)
        return path

    def shape(self, p: Param) -> Shape:
        """The shape of a parameter in this dialect."""
        if side := self._side(p.module, p.leaf):
            return p.shape[0], p.shape[1] // side**2, side, side
        axes = self._axes(p.kind, p.leaf)
        return tuple(p.shape[axis] for axis in axes) if axes else p.shape

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
        if found and (side := self._side(module, leaf)) and found[rank:] == (side, side):
            found = found[0], found[1] * side**2
        if not found or len(found) != rank or min(found) < 1:
            return None
        axes = self._axes(kind, leaf)
        return tuple(found[axes.index(axis)] for axis in range(rank)) if axes else found

    def encode(self, p: Param, array: np.ndarray) -> np.ndarray:
        """A canonical array in this dialect's layout (a view, but for ``channels_last``).

        Raises:
            InputError: its shape is not the parameter's.
        """
        _check(p.name, array, p.shape)
        if self._side(p.module, p.leaf):
            return array.reshape(self.shape(p))
        if pixels := self._pixels(p):
            array = array.reshape(p.shape[0], -1, pixels).swapaxes(1, 2).reshape(p.shape)
        axes = self._axes(p.kind, p.leaf)
        return array.transpose(axes) if axes else array

    def decode(self, p: Param, array: np.ndarray) -> np.ndarray:
        """An array in this dialect's layout as canonical (a view, but for ``channels_last``).

        Raises:
            InputError: its shape is not the parameter's in this dialect.
        """
        _check(self.key(p), array, self.shape(p))
        if self._side(p.module, p.leaf):
            return array.reshape(p.shape)
        axes = self._axes(p.kind, p.leaf)
        array = array.transpose(np.argsort(axes)) if axes else array
        if pixels := self._pixels(p):
            array = array.reshape(p.shape[0], pixels, -1).swapaxes(1, 2).reshape(p.shape)
        return array

    def _key(self, module: str, kind: Kind, leaf: str) -> str:
        dotted = f"{self.module(module)}.{self.leaves.get(kind, {}).get(leaf, leaf)}"
        return dotted.replace(".", self.separator)

    def _axes(self, kind: Kind, leaf: str) -> tuple[int, ...]:
        return self.axes.get(kind, ()) if leaf == "weight" else ()

    def _side(self, module: str, leaf: str) -> int:
        """The size of the kernel that a matrix is kept as; 0 where it is kept as a matrix."""
        if leaf != "weight":
            return 0
        if self.covering and self.covering[0] == module:
            return self.covering[1]
        return 1 if self.as_conv and re.fullmatch(self.as_conv, module) else 0

    def _pixels(self, p: Param) -> int:
        """Of the map (H, W, C) that a matrix reads; 0 of all others."""
        name, pixels = self.channels_last or ("", 0)
        return pixels if (p.module, p.leaf) == (name, "weight") else 0


def _check(name: str, array: np.ndarray, expected: Shape) -> None:
    if np.shape(array) != expected:
        raise InputError(f"{name} has shape {np.shape(array)}, expected {expected}")
