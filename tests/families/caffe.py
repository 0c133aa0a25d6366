"""What the original Caffe computed of small nets of the families: ``data/families/make.py`` says how it was taken."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parents[1] / "data" / "families"


class CaffeNet:
    """One net: its weights file, its inputs, and its taps and gradients.

    Attributes:
        name: of the golden file.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def golden(self) -> dict[str, np.ndarray]:
        """By the keys of ``make.py``."""
        with np.load(DATA / f"{self.name}.npz") as file:
            return dict(file)

    @property
    def tags(self) -> tuple[str, ...]:
        """Of the inputs: "48x48"."""
        return tuple(map(str, self.golden["tags"]))

    def write(self, path: Path) -> Path:
        """Writes the weights file as Caffe wrote it; the path."""
        path.write_bytes(self.golden["caffemodel"].tobytes())
        return path

    def image(self, tag: str) -> np.ndarray:
        """The input (N, 3, H, W) in float64."""
        return self.golden[f"{tag}/data"].astype(np.float64)

    def names(self, what: str) -> set[str]:
        """The tensors of which there are samples: "48x48/taps", "48x48/grads"."""
        return set(map(str, self.golden[f"{what}_name"]))

    def errors(self, found: Mapping[str, NDArray[Any]], what: str) -> dict[str, float]:
        """The error of every tensor that is there, in its samples, relative to the tensor's largest value."""
        off = {}
        for row, name in enumerate(map(str, self.golden[f"{what}_name"])):
            if name in found:
                at = self.golden[f"{what}_idx"][row]
                error = np.abs(found[name].ravel()[at[at >= 0]] - self.golden[f"{what}_val"][row][at >= 0])
                off[name] = float(error.max() / self.golden[f"{what}_max"][row])
        return off
