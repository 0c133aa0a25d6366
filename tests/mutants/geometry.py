"""Bugs of geometry: strides, padding, windows, sizes."""

from dataclasses import replace

import numpy as np

from weights.networks.operations import Pool

from .changes import each, operation
from .mutant import Mutant

MUTANTS = (
    Mutant(
        name="stride-on-3x3",
        what="the stride sits on the 3x3, as in torchvision's ResNet",
        at="stage2.0.conv1",
        spec=lambda spec: replace(spec, stride_on_3x3=True),
    ),
    Mutant(
        name="stride-on-1x1",
        what="the stride sits on the first 1x1 of a ResNeXt",
        at="stage2.0.conv1",
        network="se-resnext",
        spec=lambda spec: replace(spec, stride_on_3x3=False),
    ),
    Mutant(
        name="pool-padded",
        what="the first pooling is padded by 1, as in torchvision's ResNet",
        at="stem.pool",
        nodes=operation(r"stem\.pool", lambda op: replace(op, pad=1)),
        code=("torch", "jax", "tf"),
    ),
    Mutant(
        name="pool-floor",
        what="the first pooling rounds its size down",
        at="stem.pool",
        code=("numpy", "torch", "jax", "tf"),
    ),
    Mutant(
        name="pool-average",
        what="the first pooling takes means",
        at="stem.pool",
        nodes=operation(r"stem\.pool", lambda op: replace(op, what="avg")),
        code=("torch", "jax", "tf"),
    ),
    Mutant(
        name="pool-window-2",
        what="the windows of the first pooling are 2x2",
        at="stem.pool",
        nodes=operation(r"stem\.pool", lambda op: Pool("max", 2, op.stride, op.pad)),
        code=("torch", "jax", "tf"),
    ),
    Mutant(
        name="same-padding",
        what='padding is "SAME", which pads convolutions of stride 2 on one side more',
        at="stem.conv1",
        code=("jax", "tf"),
    ),
    Mutant(
        name="padding-shifted",
        what="padding is one less on one side and one more on the other",
        at="stem.conv1",
        code=("jax", "tf"),
    ),
    Mutant(
        name="stem-padding-less",
        what="the 7x7 convolution is padded by 2",
        at="stem.conv1",
        nodes=operation(r"stem\.conv1", lambda op: replace(op, pad=2)),
        code=("torch", "jax", "tf"),
    ),
    Mutant(
        name="projection-1x1",
        what="the 3x3 projections of SENet-154 are taken to be 1x1",
        at="stage2.0.shortcut.conv",
        network="senet",
        params=each(r"stage2\.0\.shortcut\.conv\.weight", lambda w: w * np.diag([0, 1, 0])),
    ),
    Mutant(
        name="padding-not-counted",
        what="the average pooling does not count the padding",
        at="inception3a.pool",
        network="se-bn-inception",
        code=("numpy", "torch", "jax", "tf"),
    ),
)
