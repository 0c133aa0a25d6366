"""What each framework and each checkpoint format calls a parameter, and how it lays it out.

A dialect is three small tables: module paths, leaf names, axis orders. Everything absent from a table is as in the
canonical form, which is PyTorch's: dotted names, OIHW kernels, OI matrices. The one reshaping is that of a matrix that
a dialect keeps as a 1x1 convolution.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from weights.errors import InputError
from weights.networks.parameters import Param
from weights.networks.resnet import ResNetSpec
from weights.networks.spec import Spec


@dataclass(frozen=True, slots=True)
class Dialect:
    name: str
    paths: tuple[tuple[str, str], ...] = ()  # canonical pattern -> template, first match wins
    leaves: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # kind -> leaf -> leaf
    axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # kind -> permutation of the weight's axes
    as_conv: str | None = None  # pattern of the linear modules whose matrices are kept as 1x1 convolutions

    def key(self, p: Param) -> str:
        """The dotted name of a parameter in this dialect."""
        return f"{self.module(p.module)}.{self.leaves.get(p.kind, {}).get(p.leaf, p.leaf)}"

    def module(self, path: str) -> str:
        """The dotted path of a module in this dialect."""
        for pattern, template in self.paths:
            if match := re.fullmatch(pattern, path):
                return match.expand(template)
        return path

    def shape(self, p: Param) -> tuple[int, ...]:
        """The shape of a parameter in this dialect."""
        if self._is_conv(p):
            return (*p.shape, 1, 1)
        axes = self._axes(p)
        return tuple(p.shape[axis] for axis in axes) if axes else p.shape

    def encode(self, p: Param, array: np.ndarray) -> np.ndarray:
        """A canonical array in this dialect's layout (a view).

        Raises:
            InputError: its shape is not the parameter's.
        """
        _check(p.name, array, p.shape)
        if self._is_conv(p):
            return array.reshape(self.shape(p))
        return array.transpose(self._axes(p)) if self._axes(p) else array

    def decode(self, p: Param, array: np.ndarray) -> np.ndarray:
        """An array in this dialect's layout as canonical (a view).

        Raises:
            InputError: its shape is not the parameter's in this dialect.
        """
        _check(self.key(p), array, self.shape(p))
        if self._is_conv(p):
            return array.reshape(p.shape)
        return array.transpose(np.argsort(self._axes(p))) if self._axes(p) else array

    def _axes(self, p: Param) -> tuple[int, ...]:
        return self.axes.get(p.kind, ()) if p.leaf == "weight" else ()

    def _is_conv(self, p: Param) -> bool:
        return p.leaf == "weight" and bool(self.as_conv and re.fullmatch(self.as_conv, p.module))


def _check(name: str, array: np.ndarray, expected: tuple[int, ...]) -> None:
    if np.shape(array) != expected:
        raise InputError(f"{name} has shape {np.shape(array)}, expected {expected}")


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

TIMM = Dialect(
    "timm",
    paths=(
        (r"stem\.(\w+)", r"layer0.\1"),
        (r"stage(\d+)\.(\d+)\.shortcut\.conv", r"layer\1.\2.downsample.0"),
        (r"stage(\d+)\.(\d+)\.shortcut\.bn", r"layer\1.\2.downsample.1"),
        (r"stage(\d+)\.(\d+)\.se\.(\w+)", r"layer\1.\2.se_module.\3"),
        (r"stage(\d+)\.(\d+)\.(\w+)", r"layer\1.\2.\3"),
        (r"fc", r"last_linear"),
    ),
    as_conv=r"stage.*\.se\.fc\d",
)
"""timm's ``legacy_seresnet*``, ``legacy_seresnext*`` and ``legacy_senet154``: the geometry is Caffe's, eps is 1e-5."""

CADENE = replace(TIMM, name="cadene")
"""``se_resnet*``, ``se_resnext*`` and ``senet154`` of Cadene's pretrainedmodels, which timm took over."""

STATE_DICTS = {dialect.name: dialect for dialect in (TORCH, TIMM, CADENE)}
"""What the tensors of a PyTorch state dict may be called: the choices of ``--dialect``."""


def state_dict_dialect(name: str, spec: Spec) -> Dialect:
    """The dialect of that name.

    Raises:
        InputError: there is none, or it has no names for such a network.
    """
    if name not in STATE_DICTS:
        raise InputError(f"unknown dialect {name!r}; known are {', '.join(STATE_DICTS)}")
    if name != "torch" and not (isinstance(spec, ResNetSpec) and spec.se):
        raise InputError(
            f"the dialect {name!r} has no names for {spec.name}: it knows SE-ResNet, SE-ResNeXt and SENet-154 only; "
            "use the dialect 'torch'"
        )
    return STATE_DICTS[name]
