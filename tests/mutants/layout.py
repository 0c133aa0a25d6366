"""Bugs of the order and the layout of values: axes, channels, groups, which layer gets which."""

import numpy as np

from .changes import each, exchanged, inputs
from .mutant import Mutant


def _between_groups(w: np.ndarray) -> np.ndarray:
    return w.reshape(4, -1, *w.shape[1:]).swapaxes(0, 1).reshape(w.shape)


MUTANTS = (
    Mutant(
        name="rgb",
        what="the image's channels are in the other order",
        at="stem.conv1",
        params=each(r"stem\.conv1\.weight", lambda w: w[:, ::-1]),
    ),
    Mutant(
        name="kernels-transposed",
        what="height and width of kernels are exchanged",
        at="stem.conv1",
        params=each(r".*conv\d?\.weight", lambda w: w.swapaxes(2, 3)),
    ),
    Mutant(
        name="kernels-flipped",
        what="convolution instead of cross-correlation",
        at="stem.conv1",
        params=each(r".*conv\d?\.weight", lambda w: w[:, :, ::-1, ::-1]),
    ),
    Mutant(
        name="kernel-in-out",
        what="input and output channels of a square kernel are exchanged",
        at="stage1.0.conv2",
        params=each(r"stage1\.0\.conv2\.weight", lambda w: w.swapaxes(0, 1)),
    ),
    Mutant(
        name="squeeze-transposed",
        what="the matrix of an SE block is read in the other order",
        at="stage1.0.se.fc1",
        params=each(r"stage1\.0\.se\.fc1\.weight", lambda w: w.reshape(w.shape[::-1]).T),
    ),
    Mutant(
        name="classifier-transposed",
        what="the matrix of the classifier is read in the other order",
        at="logits",
        params=each(r"fc\.weight", lambda w: w.reshape(w.shape[::-1]).T),
    ),
    Mutant(
        name="labels-permuted",
        what="the classes are in another order",
        at="logits",
        params=each(r"fc\.\w+", lambda w: np.roll(w, 1, 0)),
    ),
    Mutant(
        name="groups-interleaved",
        what="the outputs of a grouped convolution are dealt out to the groups in turn",
        at="stage1.0.conv2",
        network="se-resnext",
        params=each(r"stage1\.0\.conv2\.weight", _between_groups),
    ),
    Mutant(
        name="blocks-exchanged",
        what="values of one layer are loaded into another of the same shape",
        at="stage1.0.bn1",
        params=exchanged("stage1.0.bn1", "stage1.0.bn2"),
    ),
    Mutant(
        name="branches-exchanged",
        what="residual and projection have each other's BatchNorm",
        at="stage1.0.bn3",
        params=exchanged("stage1.0.bn3", "stage1.0.shortcut.bn"),
    ),
    Mutant(
        name="concat-reversed",
        what="the branches of an Inception module are joined in the other order",
        at="inception3a.concat",
        network="se-bn-inception",
        nodes=inputs(r".*\.concat", lambda names: names[::-1]),
        code=("torch", "jax", "tf"),
    ),
    Mutant(
        name="classifier-bias-dropped",
        what="the bias of the classifier is lost",
        at="logits",
        params=each(r"fc\.bias", np.zeros_like),
    ),
)
