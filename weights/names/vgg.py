"""What other projects call the modules of VGG-16. None of them has SE blocks."""

from collections.abc import Iterator
from dataclasses import replace

from weights.names.dialect import APPLICATIONS_DIALECT, Dialect
from weights.names.frameworks import KERAS
from weights.networks.vgg import PUBLISHED, VGGSpec

_BN, _PLAIN = (next(s for s in PUBLISHED if not s.se and s.batch_norm == norm) for norm in (True, False))


def _counted(spec: VGGSpec) -> Iterator[tuple[str, str]]:
    """The convolutional layers in one list, which activations and poolings are counted in too."""
    i = 0
    for stage in spec.stages:
        for layer in stage:
            yield f"{layer.name}.conv", f"features.{i}"
            if spec.batch_norm:
                yield f"{layer.name}.bn", f"features.{i + 1}"
            i += 3 if spec.batch_norm else 2
        i += 1


def _by_stage(spec: VGGSpec) -> Iterator[tuple[str, str]]:
    for s, stage in enumerate(spec.stages, 1):
        for i, layer in enumerate(stage, 1):
            yield f"{layer.name}.conv", f"features.stage{s}.unit{i}.conv"
            yield f"{layer.name}.bn", f"features.stage{s}.unit{i}.bn"


_MATRICES = {"head.fc1": "classifier.0", "head.fc2": "classifier.3", "fc": "classifier.6"}

TORCHVISION_BN = Dialect("torchvision", "vgg", excited=False, plain=True, modules={**dict(_counted(_BN)), **_MATRICES})
"""``vgg16_bn``."""

TORCHVISION = Dialect("torchvision", "vgg", excited=False, plain=True, modules={**dict(_counted(_PLAIN)), **_MATRICES})
"""``vgg16``."""

TIMM_BN = Dialect(
    "timm",
    "vgg",
    excited=False,
    plain=True,
    modules={
        **dict(_counted(_BN)),
        "head.fc1": "pre_logits.fc1",
        "head.fc2": "pre_logits.fc2",
        "fc": "head.fc",
    },
    as_conv=r"head\.fc2",
    covering=("head.fc1", 7),
)
"""``vgg16_bn``: the first two matrices are convolutions."""

TIMM = replace(
    TIMM_BN,
    modules={name: path for name, path in TIMM_BN.modules.items() if not name.startswith("stage")}
    | dict(_counted(_PLAIN)),
)
"""``vgg16``."""

PYTORCHCV_BN = Dialect(
    "pytorchcv",
    "vgg",
    excited=False,
    plain=True,
    modules={
        **dict(_by_stage(_BN)),
        "head.fc1": "output.fc1.fc",
        "head.fc2": "output.fc2.fc",
        "fc": "output.fc3",
    },
)
"""``bn_vgg16``, whose convolutions have no biases."""

KERAS_APPLICATIONS = replace(
    KERAS,
    name=APPLICATIONS_DIALECT,
    family="vgg",
    excited=False,
    plain=True,
    separator="/",
    modules={
        f"{layer.name}.conv": f"block{s}_conv{i}"
        for s, stage in enumerate(_PLAIN.stages, 1)
        for i, layer in enumerate(stage, 1)
    }
    | {"head.fc1": "fc1", "head.fc2": "fc2", "fc": "predictions"},
    channels_last=("head.fc1", 7 * 7),
)
"""``VGG16``, which flattens the last map in the order of its layout: height, width, channels."""
