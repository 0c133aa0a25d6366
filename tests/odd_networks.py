"""Two networks that are small, one of each family, with every kind of parameter, and values for them."""

import numpy as np

from weights import CAFFE, SE, InceptionSpec, Info, Params, ResNetSpec, schema
from weights.networks.inception import Branches
from weights.networks.spec import Spec

SENET = ResNetSpec(
    name="tiny-senet",
    depths=(1, 2, 1, 1),
    stem=((8, 3), (8, 3), (16, 3)),
    reduce=(4, 8, 16, 32),
    width=(8, 16, 32, 64),
    out_channels=(8, 16, 32, 64),
    groups=4,
    stride_on_3x3=True,
    shortcut=3,
    se=SE(reduction=4),
    dropout=0.2,
    classes=9,  # odd, so that nothing is aligned by luck
)
INCEPTION = InceptionSpec(
    name="tiny-se-bn-inception",
    modules=(
        Branches(name="3a", conv1x1=8, conv3x3=(4, 8), double3x3=(4, 8, 8), pool="avg", project=8),
        Branches(name="3c", conv1x1=None, conv3x3=(8, 12), double3x3=(4, 8, 8), pool="max", project=None),
        Branches(name="5b", conv1x1=8, conv3x3=(8, 8), double3x3=(4, 8, 8), pool="max", project=8),
    ),
    stem=((8, 7), (8, 1), (12, 3)),
    se=SE(reduction=4),
    classes=9,
)
INFO = Info(
    preprocessing=CAFFE,
    labels="devkit",
    assumed=("preprocessing", "labels"),
    source="tiny.caffemodel",
    format="caffemodel",
    sha256="ab" * 32,
    factors={"stem.bn1": 999.982421875},
    history=("first line", "second — line"),
)


def seeded(spec: Spec, info: Info | None = None, seed: int = 0) -> Params:
    """As a Caffe file gives them: float32 values, but float64 statistics."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for p in schema(spec):
        dtype = np.float32 if p.learnable else np.float64
        arrays[p.name] = (rng.random(p.shape) + 0.5).astype(dtype)
    return Params(arrays, info)


def same(found: Params, wanted: Params) -> bool:
    """Whether the same names hold the same bits."""
    return list(found) == list(wanted) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for a, b in zip(found.values(), wanted.values(), strict=True)
    )
