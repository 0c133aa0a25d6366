"""What SE blocks let through for photographs of several classes: means, deviations, most and least excited channels.

Figures 6 and 7 of the paper (arXiv 1709.01507v4) show the last blocks of the stages: the mean activation of each
channel of a gate over the photographs of a class, and one deviation up and down.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SHOWN = 5  # channels that are named of a block


@dataclass(frozen=True, slots=True, kw_only=True)
class Excited:
    """The gate of one SE block for the photographs of one class.

    Attributes:
        block: the unit's name, "stage1.0".
        kind: the class's name.
        photos: how many photographs.
        mean: of each channel over the photographs, and over the pixels where the gate is one of pixels, (C,).
        deviation: of the same, (C,); 0 for one photograph.
    """

    block: str
    kind: str
    photos: int
    mean: np.ndarray
    deviation: np.ndarray

    @property
    def most(self) -> tuple[int, ...]:
        """The channels with the largest means, the largest first."""
        return tuple(map(int, np.argsort(-self.mean, kind="stable")[:SHOWN]))

    @property
    def least(self) -> tuple[int, ...]:
        """The channels with the smallest means, the smallest first."""
        return tuple(map(int, np.argsort(self.mean, kind="stable")[:SHOWN]))


def excited(gates: Mapping[str, Sequence[Mapping[str, np.ndarray]]]) -> list[Excited]:
    """The means and deviations, block by block, and in it class by class.

    Args:
        gates: a class's name to the gates of batches of its photographs, by block: (N, C), or (N, C, H, W).
    """
    blocks = next(iter(gates.values()))[0]
    found = []
    for block in blocks:
        for kind, batches in gates.items():
            values = np.concatenate([_channels(batch[block]) for batch in batches])
            found.append(
                Excited(block=block, kind=kind, photos=len(values), mean=values.mean(0), deviation=values.std(0))
            )
    return found


def _channels(gate: np.ndarray) -> np.ndarray:
    return gate.mean((2, 3)) if gate.ndim == 4 else gate


def rows(found: Sequence[Excited]) -> list[tuple[str, ...]]:
    """A row for each block and class: names, the mean and the range over the channels, the extreme channels."""
    return [
        (
            e.block,
            e.kind,
            str(e.photos),
            f"{e.mean.mean():.3f}",
            f"{e.mean.min():.3f} to {e.mean.max():.3f}",
            " ".join(map(str, e.most)),
            " ".join(map(str, e.least)),
        )
        for e in found
    ]


HEADER = ("block", "class", "photos", "mean", "channels' means", "most excited", "least excited")


def to_dict(found: Sequence[Excited]) -> dict[str, Any]:
    """The same as data, with every channel; docs/formats.md describes the fields."""
    return {
        "blocks": [
            {
                "block": e.block,
                "class": e.kind,
                "photos": e.photos,
                "mean": e.mean.tolist(),
                "deviation": e.deviation.tolist(),
                "most_excited": list(e.most),
                "least_excited": list(e.least),
            }
            for e in found
        ]
    }
