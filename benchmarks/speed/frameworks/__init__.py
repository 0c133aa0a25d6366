"""One module for each framework, with functions that make something to be timed.

    inference(way, asked)           a function without arguments that computes the logits and waits for them
    training(way, asked)            the same, a step of SGD with momentum on the cross entropy; where there is training

The ways are those of ``benchmarks.speed.rounds``; both raise ``NotThereError`` for one that a network has not.
"""

from dataclasses import dataclass

import numpy as np

from conformance import cases
from weights import Spec

SEED = 5
LEARNING_RATE, MOMENTUM = 0.01, 0.9
PEER = "se-resnet-50"
"""The network that is also written by hand, in ``benchmarks.plain``."""


class NotThereError(Exception):
    """There is no such way to run the network."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A network's name, and how many images of what size; its ONNX file, for those that run one.

    The frameworks' own networks are initialised by the framework, as those written by hand are.
    """

    network: str
    batch: int
    side: int
    file: str

    @property
    def spec(self) -> Spec:
        """The network."""
        return cases.find(self.network)

    @property
    def x(self) -> np.ndarray:
        """Images (N, 3, H, W), float32."""
        return np.random.default_rng(SEED).standard_normal((self.batch, 3, self.side, self.side), np.float32)

    @property
    def classes(self) -> np.ndarray:
        """(N,), int64."""
        return np.random.default_rng(SEED).integers(0, self.spec.classes, self.batch)

    def expect_peer(self) -> None:
        """Raises NotThereError for a network that is not written by hand."""
        if self.network != PEER:
            raise NotThereError("not written by hand")
