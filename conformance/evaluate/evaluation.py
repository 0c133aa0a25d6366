"""An evaluation: which batches are whose, counting them, and the result of all."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conformance.evaluate.counting import Counted, Tally, elsewhere, places
from conformance.evaluate.decoding import decoded
from conformance.evaluate.labelled import Labelled
from weights.errors import InputError
from weights.params import Labels, Preprocessing


@dataclass(frozen=True, slots=True)
class Worker:
    """Which process of how many this is: it takes every ``world``-th batch, from ``rank`` on."""

    rank: int = 0
    world: int = 1

    def of(self, count: int, done: Iterable[int]) -> list[int]:
        """The numbers of its batches, of so many, without those that are done, whoever did them."""
        gone = set(done)
        return [batch for batch in range(self.rank, count, self.world) if batch not in gone]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """The result: counts, so that it does not depend on the order in which batches came.

    Attributes:
        images: how many were counted.
        top1, top5: of how many the right class has the highest score, one of the five highest.
        skipped: the names of images that could not be read, each with the reason.
        seconds: that all batches took, one after the other, whatever process was at them.
    """

    images: int
    top1: int
    top5: int
    skipped: tuple[tuple[str, str], ...]
    seconds: float

    @classmethod
    def of(cls, counted: Iterable[Counted]) -> "Evaluated":
        """That of all batches, each once."""
        batches = sorted(counted, key=lambda one: one.batch)
        found = [place for batch in batches for place in batch.places]
        return cls(
            images=len(found),
            top1=sum(place < 1 for place in found),
            top5=sum(place < 5 for place in found),
            skipped=tuple(skipped for batch in batches for skipped in batch.skipped),
            seconds=sum(batch.seconds for batch in batches),
        )


def batch_count(images: int, size: int) -> int:
    """How many batches there are; all processes cut them alike."""
    return -(-images // size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """How batches are counted.

    Attributes:
        images: all of them.
        size: of a batch.
        preprocessing: what the network expects.
        labels: the network's order of ImageNet's classes; None of other classes.
        max_pixels: as of ``weights.images.prepare``.
    """

    images: Sequence[Labelled]
    size: int
    preprocessing: Preprocessing
    labels: Labels | None
    max_pixels: int | None = None

    def batch(self, number: int) -> Sequence[Labelled]:
        """The images of a batch."""
        return self.images[number * self.size : (number + 1) * self.size]

    def run(
        self, numbers: Sequence[int], logits: Callable[[np.ndarray], np.ndarray], before: Iterable[Counted] = ()
    ) -> Iterator[Counted]:
        """Counts batches, one after the other, while threads prepare the next ones.

        Args:
            numbers: of the batches.
            logits: of images (N, C, H, W) in float32, (N, classes).
            before: what was counted already, by which the label order is judged as well.

        Raises:
            InputError: the label order is wrong, or the framework failed.
        """
        tally = Tally()
        for one in before:
            tally.add(one)
        sources: Iterator[Sequence[Path]] = ([image.file for image in self.batch(number)] for number in numbers)
        last = time.perf_counter()
        for number, prepared in zip(numbers, decoded(sources, self.preprocessing, self.max_pixels), strict=True):
            members = list(zip(self.batch(number), prepared, strict=True))
            read = [(image, x) for image, x in members if not isinstance(x, InputError)]
            labels = [image.label for image, _ in read]
            scores = logits(np.stack([x for _, x in read])) if read else np.empty((0, 0))
            now = time.perf_counter()
            found = Counted(
                batch=number,
                places=places(scores, labels) if read else (),
                elsewhere=elsewhere(scores, labels, self.labels) if read else (0, 0),
                skipped=tuple((image.name, str(x)) for image, x in members if isinstance(x, InputError)),
                seconds=now - last,
            )
            last = now
            tally.add(found)
            tally.check(self.labels)
            yield found
