"""Handwritten digits: a network that knows 0 to 5 is to learn 6 to 9. scikit-learn ships 1,797 of them."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from ablation.digits import VARIANTS
from PIL import Image
from sklearn.datasets import load_digits

from weights import Info, Preprocessing, Spec

FIRST, SECOND = range(6), range(6, 10)
"""The digits of the network that is fine-tuned, and those that it learns."""

NETWORK: Spec = replace(VARIANTS["SE"], name="digits", classes=len(FIRST))

INFO = Info(
    preprocessing=Preprocessing(channels="rgb", range=1, mean=(0.3, 0.3, 0.3), std=(0.4, 0.4, 0.4), resize=32, crop=32),
    class_names=tuple(map(str, FIRST)),
)

BATCH, MOMENTUM = 64, 0.9
EPOCHS, RATES = (5, 10), (0.2, 0.05)
"""And learning rates: of the new classifier on the frozen network, and of all parameters afterwards."""


class Split(NamedTuple):
    """Pictures and their classes, for training and held out."""

    train: list[Image.Image]
    train_classes: np.ndarray
    test: list[Image.Image]
    test_classes: np.ndarray


def pictures(digits: range) -> Split:
    """Pictures of 8x8 pixels of these digits, whose classes count from 0; every fifth is held out."""
    data: Any = load_digits()
    chosen = np.isin(data.target, digits)
    images = [Image.fromarray((image * 255 / 16).astype(np.uint8)) for image in data.images[chosen]]
    classes = (data.target[chosen] - digits.start).astype(np.int64)
    held = np.arange(len(classes)) % 5 == 0
    train, test = ([images[i] for i in np.flatnonzero(which)] for which in (~held, held))
    return Split(train, classes[~held], test, classes[held])
