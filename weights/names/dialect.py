"""What each framework and each checkpoint format calls a parameter, and how it lays it out.

A dialect is three small tables: module paths, leaf names, axis orders. Everything absent from a table is as in the
canonical form, which is PyTorch's: dotted names, OIHW kernels, OI matrices. The reshapings are those of a matrix that
a dialect keeps as a convolution: a 1x1 one, or one that covers the map which the matrix reads.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from weights.errors import InputError
from weights.networks.operations import Conv, Kind, Shape
from weights.networks.parameters import Param, schema
from weights.networks.spec import Spec

R = TypeVar("R", bound=Spec)

APPLICATIONS_DIALECT = "keras.applications"
"""The one dialect that no state dict is in: the names of variables in a .weights.h5."""

Paths = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
"""Patterns of module paths, and the templates of other ones or what makes those."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The names and layouts of one framework, or of one project's networks of one family."""

    name: str
    family: str = ""  # of the networks that it has names for; empty: all
    modules: Mapping[str, str] = field(default_factory=dict)  # canonical path -> path, before the patterns
    paths: Paths = ()  # canonical pattern -> template, first match wins
    leaves: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # kind -> leaf -> leaf
    axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # kind -> permutation of the weight's axes
    as_conv: str | None = None  # pattern of the linear modules whose matrices are kept as 1x1 convolutions
    covering: tuple[str, int] | None = None  # a matrix that is kept as a convolution, and the size of its square kernel
    channels_last: tuple[str, int] | None = None  # a matrix that reads a map (H, W, C), and the pixels of that map
    depthwise: str | None = None  # pattern of the convolutions whose kernels are (h, w, C, 1), as Keras has them
    scaled: bool = True  # whether BatchNorms have factors of their own; otherwise these are 1
    prepares: bool = False  # whether its networks begin with layers of their own that prepare the image
    separator: str = "."  # between the parts of a name
    excited: bool = True  # whether there are names for networks with SE blocks
    plain: bool = False  # and for those without
    tells: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)  # what names tell, see ``meant``
    several: bool = False  # whether its project has networks of the same names that differ in what no shape tells
    first: int = 0  # the first convolution's kernel, by which its networks are told from others'; 0: any
    anchor: str = ""  # a tensor of every network, where the first convolution is called as others within blocks are

    def key(self, p: Param) -> str:
        """The name of a parameter in this dialect."""
        return self._key(p.module, p.kind, p.leaf)

    def meant(self, spec: R) -> R:
        """The record that a network under these names has, of one that has the same tensors.

        A project whose networks are of one geometry tells it by its names, not by shapes: ``tells`` has the fields of
        the record that are told, and makes of any value the one that a network of the project has.
        """
        changes = {name: value(getattr(spec, name)) for name, value in self.tells.items()}
        return replace(spec, **changes) if changes else spec

    def fits(self, spec: Spec) -> bool:
        """Whether there are names for a network, and for all of its modules."""
        known = (self.excited if spec.se else self.plain) and self.meant(spec) == spec
        return known and self.begins(spec) and self.knows(spec)

    def begins(self, spec: Spec) -> bool:
        """Whether a network has the first convolution that all networks of the project have."""
        op = spec.network().first_convolution.op
        return not self.first or (isinstance(op, Conv) and op.window == (self.first, self.first))

    def knows(self, spec: Spec) -> bool:
        """Whether there is a name for each module of a network; a table without patterns is for just its modules."""
        modules = {p.module for p in schema(spec)}
        if not self.paths and self.modules:
            return not (modules ^ self.modules.keys()) - {"fc"}
        return all(self._named(module) is not None for module in modules)

    def module(self, path: str) -> str:
        """The dotted path of a module in this dialect."""
        return self._named(path) or path

    def shape(self, p: Param) -> Shape:
        """The shape of a parameter in this dialect."""
        shape = self._kept(p)
        axes = self._axes(p.module, p.kind, p.leaf)
        return tuple(shape[axis] for axis in axes) if axes else shape

    def is_depthwise(self, module: str) -> bool:
        """Whether a convolution is one of those whose kernels are (h, w, C, 1)."""
        return bool(self.depthwise and re.fullmatch(self.depthwise, module))

    def keeps_as_conv(self, module: str) -> bool:
        """Whether a linear module's matrix is kept as a convolution."""
        return self._side(module, "weight") > 0

    def holds(self, p: Param) -> bool:
        """Whether its networks have a parameter, which is neutral where they do not."""
        return self.scaled or (p.kind, p.leaf) != ("bn", "weight")

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
        if found and (side := self._side(module, leaf)) and found[rank:] == (side, side):
            found = found[0], found[1] * side**2
        return found if found and len(found) == rank and min(found) > 0 else None

    def encode(self, p: Param, array: np.ndarray) -> np.ndarray:
        """A canonical array in this dialect's layout (a view, but for ``channels_last``).

        Raises:
            InputError: its shape is not the parameter's.
        """
        _check(p.name, array, p.shape)
        if pixels := self._pixels(p):
            array = array.reshape(p.shape[0], -1, pixels).swapaxes(1, 2).reshape(p.shape)
        array = array.reshape(self._kept(p))
        axes = self._axes(p.module, p.kind, p.leaf)
        return array.transpose(axes) if axes else array

    def decode(self, p: Param, array: np.ndarray) -> np.ndarray:
        """An array in this dialect's layout as canonical (a view, but for ``channels_last``).

        Raises:
            InputError: its shape is not the parameter's in this dialect.
        """
        _check(self.key(p), array, self.shape(p))
        axes = self._axes(p.module, p.kind, p.leaf)
        array = array.transpose(np.argsort(axes)) if axes else array
        if pixels := self._pixels(p):
            return array.reshape(p.shape[0], pixels, -1).swapaxes(1, 2).reshape(p.shape)
        return array.reshape(p.shape) if self._side(p.module, p.leaf) else array

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

    def _kept(self, p: Param) -> Shape:
        """The shape of a parameter, a matrix that is kept as a convolution as that, before axes are moved."""
        side = self._side(p.module, p.leaf)
        return (p.shape[0], p.shape[1] // side**2, side, side) if side else p.shape

    def _axes(self, module: str, kind: Kind, leaf: str) -> tuple[int, ...]:
        if leaf != "weight":
            return ()
        if self.is_depthwise(module):
            return 2, 3, 0, 1
        return self.axes.get("conv" if self._side(module, leaf) else kind, ())

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


def always(value: object) -> Callable[[Any], Any]:
    """What ``Dialect.tells`` has for a field that all networks of a project have alike."""
    return lambda _: value


def instead(others: Mapping[str, str]) -> Callable[[Any], Any]:
    """What ``Dialect.tells`` has for a field of which a project has other values instead of some."""
    return lambda value: others.get(value, value)


def _check(name: str, array: np.ndarray, expected: Shape) -> None:
    if np.shape(array) != expected:
        raise InputError(f"{name} has shape {np.shape(array)}, expected {expected}")
