"""What each framework and each checkpoint format calls a parameter, and how it lays it out.

A dialect is three small tables: module paths, leaf names, axis orders. Everything absent from a table is as in the
canonical form, which is PyTorch's: dotted names, OIHW kernels, OI matrices. The one reshaping is that of a matrix that
a dialect keeps as a 1x1 convolution.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from weights.errors import InputError
from weights.networks.operations import Kind, Shape
from weights.networks.parameters import Param, schema
from weights.networks.spec import Spec

R = TypeVar("R", bound=Spec)


@dataclass(frozen=True, slots=True)
class Dialect:
    """The names and layouts of one framework, or of one project's networks of one family."""

    name: str
    # Canonical pattern -> template, or a function of the match; the first match wins.
    paths: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = ()
    leaves: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # kind -> leaf -> leaf
    axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # kind -> permutation of the weight's axes
    as_conv: str | None = None  # pattern of the linear modules whose matrices are kept as 1x1 convolutions
    separator: str = "."  # between the parts of a name
    depthwise: str | None = None  # pattern of the convolutions whose kernels are (h, w, C, 1), as Keras has them
    several: bool = False  # whether one name stands for networks that differ in what no shape tells
    eps: float = 1e-5  # of the project's BatchNorms
    excited: bool = True  # whether there are names for networks with SE blocks
    plain: bool = False  # and for those without
    tells: Mapping[str, Mapping[Any, Any]] = field(default_factory=dict)  # what names tell, see ``meant``
    anchor: str = ""  # a tensor of every network, where the first convolution is called as others within blocks are

    def key(self, p: Param) -> str:
        """The name of a parameter in this dialect."""
        return self._key(p.module, p.kind, p.leaf)

    def meant(self, spec: R) -> R:
        """The record that a network under these names has, of one that has the same tensors.

        A project whose networks are of one geometry tells it by its names, not by shapes: ``tells`` has the fields of
        the record that are told, and for values that none of its networks has the one they have instead.
        """
        changes = {name: by[old] for name, by in self.tells.items() if (old := getattr(spec, name)) in by}
        return replace(spec, **changes) if changes else spec

    def fits(self, spec: Spec) -> bool:
        """Whether there are names for a network, and for all of its modules."""
        known = (self.excited if spec.se else self.plain) and self.meant(spec) == spec
        return known and all(any(re.fullmatch(pattern, p.module) for pattern, _ in self.paths) for p in schema(spec))

    def module(self, path: str) -> str:
        """The dotted path of a module in this dialect."""
        for pattern, template in self.paths:
            if match := re.fullmatch(pattern, path):
                return match.expand(template) if isinstance(template, str) else template(match)
        return path

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
