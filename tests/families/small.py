"""One small network with SE blocks of every family, which Caffe can say too."""

from collections.abc import Mapping
from dataclasses import replace

from families.cifar import PREACT, SHAKE
from families.drawn import INCEPTION_RESNETS, VGGS

from conformance.cases import TINY
from weights import SE, MobileSpec, ShuffleNetSpec, Spec
from weights.networks.mobile import Stage

_MOBILE = MobileSpec(
    name="se-mobile",
    stages=(
        Stage(out=4, expanded=(4,), activation="relu"),
        Stage(out=6, expanded=(8, 48), kernel=5, stride=2),
    ),
    stem=4,
    top=8,
    hidden=10,
    activation="hard-swish",
    se=SE(reduction=3, rounding="to 8", gate="hard-sigmoid", position="3x3", stages=(2,)),
    classes=10,
)
_SHUFFLENET = ShuffleNetSpec(
    name="se-shufflenet", stem_channels=6, depths=(1, 2), out_channels=(24, 48), classes=10, se=SE(reduction=4)
)

SMALL: Mapping[str, Spec] = {
    spec.family: spec
    for spec in (
        TINY["tiny-se-resnet"],
        TINY["tiny-se-bn-inception"],
        PREACT["cifar-se-preact"][0],
        SHAKE["cifar-se-shake-shake"][0],
        _MOBILE,
        replace(VGGS["se-vgg"].spec, size=32),
        INCEPTION_RESNETS["se-inception-resnet"].spec,
        _SHUFFLENET,
    )
}
"""By family."""
