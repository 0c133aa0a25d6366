"""A Caffe network as a file has it: its layers, with their settings and blobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a Caffe network. Two layers are equal when their definitions are, whatever the blobs."""

    name: str
    type: str  # "" where the file does not say it
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)  # the rest of the LayerParameter, see ``schema.MESSAGES``
    blobs: tuple[np.ndarray, ...] = field(default=(), compare=False)  # float32 or float64
    legacy: frozenset[int] = field(default=frozenset(), compare=False)  # blobs that have num, channels, height, width

    def fits(self, index: int, wanted: Sequence[int]) -> bool:
        """Whether Caffe would load a blob as one of shape ``wanted``: equal or, for a legacy one, from the end."""
        stored = self.blobs[index].shape
        return fits(stored, wanted) if index in self.legacy else stored == tuple(wanted)


@dataclass(frozen=True, slots=True)
class Net:
    """A Caffe network, its layers in the order of the file."""

    name: str
    layers: tuple[Layer, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)  # the rest of the NetParameter
    form: str = "V2"  # what the file was in: "V0", "V1", "V2" or "HDF5"
    data: memoryview = field(default=memoryview(b""), compare=False, repr=False)  # the bytes of the file


def fits(legacy: Sequence[int], wanted: Sequence[int]) -> bool:
    """Caffe's rule for the four legacy dimensions: the shape wanted, ones in front of it (1,1,1,N for N)."""
    return len(wanted) <= 4 and tuple(legacy) == (1,) * (4 - len(wanted)) + tuple(wanted)
