"""From logits to what is counted: the place of the right class, batch by batch, and all of them together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weights.errors import InputError
from weights.images.labels import permutation
from weights.params import Labels

_ENOUGH = 100  # images, from which on the label order is judged
_SHARE = 0.05  # of them right in another order: chance makes 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What came of one batch.

    Attributes:
        batch: its number.
        places: of the right class among the scores of each image that could be read; 0 is the highest score, and of
            equal ones that of the lower index is the higher.
        elsewhere: how many images would be right if the checkpoint's label order were ImageNet's other one, and if that
            of the labels were; 0 where there is but one order.
        skipped: the names of images that could not be read, each with the reason.
        seconds: that the batch took, decoding included where that was slower.
    """

    batch: int
    places: tuple[int, ...]
    elsewhere: tuple[int, int] = (0, 0)
    skipped: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0


def places(logits: np.ndarray, labels: Sequence[int]) -> tuple[int, ...]:
    """The place of the right class of each image: 0 if its score is the highest.

    Args:
        logits: (N, classes).
        labels: N indices.
    """
    right = np.asarray(labels)[:, None]
    own = np.take_along_axis(logits, right, 1)
    before = (logits > own) | ((logits == own) & (np.arange(logits.shape[1]) < right))
    return tuple(before.sum(1).tolist())


def elsewhere(logits: np.ndarray, labels: Sequence[int], order: Labels | None) -> tuple[int, int]:
    """How many images would be right in other orders, as of ``Counted``.

    Args:
        logits, labels: as of ``places``.
        order: the network's; None of classes that are not ImageNet's.
    """
    if order is None:
        return 0, 0
    other: Labels = "sorted" if order == "devkit" else "devkit"
    best, right = logits.argmax(1), np.asarray(labels)
    network, numbers = permutation(other, order), permutation(order, other)
    return int((best == network[right]).sum()), int((best == numbers[right]).sum())


@dataclass(slots=True)
class Tally:
    """Sums over batches, by which the label order is judged while they come: in the wrong one nearly none is right."""

    images: int = 0
    right: int = 0
    of_network: int = 0
    of_labels: int = 0

    def add(self, counted: Counted) -> None:
        """Takes in a batch."""
        self.images += len(counted.places)
        self.right += counted.places.count(0)
        self.of_network += counted.elsewhere[0]
        self.of_labels += counted.elsewhere[1]

    def check(self, order: Labels | None) -> None:
        """Whether the labels are in the order that is taken for theirs; judged from a hundred images on.

        Args:
            order: the network's, ImageNet's.

        Raises:
            InputError: another order makes far more of them right.
        """
        most = max(self.of_network, self.of_labels)
        if self.images < _ENOUGH or most < _SHARE * self.images or most <= 2 * self.right:
            return
        other = "sorted" if order == "devkit" else "devkit"
        whose = "the checkpoint's labels were" if self.of_network >= self.of_labels else "the numbers of the list were"
        raise InputError(
            f"the label order is wrong: {self.right} of {self.images} images are right, and {most} would be if {whose} "
            f"{other}; state the other order, by --labels (the checkpoint's) or --list-labels (the list's)"
        )
