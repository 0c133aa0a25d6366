"""Which dialects the tensors of a PyTorch state dict may be named in: ours, and those of other projects by family."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from weights.errors import InputError
from weights.names import inception_resnet, mobile, resnet, shufflenet, vgg
from weights.names.dialect import Dialect
from weights.names.frameworks import TORCH
from weights.networks.models import MODELS
from weights.networks.operations import Shape
from weights.networks.parameters import schema
from weights.networks.recognition import computing_otherwise, untold
from weights.networks.spec import Spec

PROJECTS: tuple[Dialect, ...] = (
    *(resnet.TIMM, resnet.CADENE, resnet.TIMM_RESNET, resnet.TORCHVISION, resnet.MOSKOMULE),
    *mobile.STATE_DICTS,
    *(vgg.TORCHVISION_BN, vgg.TORCHVISION, vgg.TIMM_BN, vgg.TIMM, vgg.PYTORCHCV_BN),
    *(inception_resnet.TIMM, inception_resnet.PYTORCHCV),
    shufflenet.PYTORCHCV,
)
"""The dialects that other projects have for networks of a family. Where two have the same names, the first is what a
file of unknown origin is taken for; of one project's the first that knows all modules of a network is meant."""

DIALECTS: tuple[str, ...] = tuple(dict.fromkeys(d.name for d in (TORCH, *PROJECTS)))
"""The names of the dialects of state dicts."""


@dataclass(frozen=True, slots=True)
class Application:
    """A model of ``keras.applications``: what it is called there and here, and the names of its variables."""

    model: str
    network: str
    names: Dialect


APPLICATIONS: tuple[Application, ...] = (
    Application("EfficientNetB0", "tf-efficientnet-b0", mobile.KERAS_EFFICIENTNET),
    Application("MobileNet", "tf-mobilenet-v1", mobile.KERAS_V1),
    Application("MobileNetV2", "tf-mobilenet-v2", mobile.KERAS_V2),
    *(
        Application(f"MobileNetV3{size.title()}", f"tf-mobilenet-v3-{size}", names)
        for size, names in zip(("large", "small"), mobile.KERAS_V3, strict=True)
    ),
    Application("VGG16", "vgg-16", vgg.KERAS_APPLICATIONS),
    Application("InceptionResNetV2", "inception-resnet-v2", inception_resnet.KERAS_APPLICATIONS),
)
"""The models of ``keras.applications`` whose networks stand here; its relatives of other widths have the same names."""


def application_for(spec: Spec) -> Application:
    """The model of ``keras.applications`` that computes what a network does, but for its widths and classes.

    Raises:
        InputError: there is none; the nearest is named, with what it has otherwise.
    """
    nearest: tuple[tuple[str, ...], Application] | None = None
    for found in APPLICATIONS:
        model = MODELS[found.network]
        if model.family != spec.family or not found.names.knows(spec):
            continue
        hidden = untold(model)
        differs = computing_otherwise(spec, model)
        others = tuple(path for path in differs if any(f"{of}.".startswith(f"{path}.") for of in hidden))
        if not others:
            return found
        if {p.module for p in schema(spec)} == {p.module for p in schema(model)}:
            nearest = others, found
    known = ", ".join(f"{found.model} ({found.network})" for found in APPLICATIONS)
    near = f"; {nearest[1].model} has the same layers, but another {', '.join(nearest[0])}" if nearest else ""
    raise InputError(f"keras.applications has no model that computes what {spec.name} does{near}; those known: {known}")


def named(name: str) -> tuple[Dialect, ...]:
    """The dialects of that name, one for each family that it is known for.

    Raises:
        InputError: there is none.
    """
    if name not in DIALECTS:
        raise InputError(f"unknown dialect {name!r}; known are {', '.join(DIALECTS)}")
    return tuple(d for d in (TORCH, *PROJECTS) if d.name == name)


def dialect_for(name: str, spec: Spec) -> Dialect:
    """The dialect of that name for a network.

    Raises:
        InputError: there is none, or it has no names for such a network.
    """
    for dialect in named(name):
        if dialect is TORCH or (dialect.family == spec.family and dialect.fits(spec)):
            return dialect
    raise InputError(
        f"the dialect {name!r} has no names for {spec.name}: it knows {_KNOWN[name]} only; use the dialect 'torch'"
    )


_KNOWN: Mapping[str, str] = {
    "timm": "SE-ResNet, SE-ResNeXt and SENet-154 of the published geometry, ResNets of torchvision's, MobileNets, "
    "EfficientNet, VGG-16 and Inception-ResNet-v2",
    "cadene": "SE-ResNet, SE-ResNeXt and SENet-154 of the published geometry",
    "torchvision": "ResNets of its geometry, MobileNet V2 and V3, EfficientNet and VGG-16",
    "moskomule": "SE-ResNets of torchvision's geometry",
    "pytorchcv": "VGG-16, Inception-ResNet-v2 and ShuffleNet V1 without SE blocks",
}
"""What the projects have, in words."""


_CLASSIFIERS = ("fc", "last_linear")
"""What classifiers are called, here and elsewhere."""


def as_spelled(names: Dialect, shapes: Mapping[str, Shape]) -> Dialect:
    """A dialect as a file spells it: the classifier under its other name, squeeze weights as matrices or 1x1 kernels.

    Args:
        names: the dialect, for networks whose classifier is "fc".
        shapes: of the tensors, by name.
    """
    usual, *_ = _CLASSIFIERS
    if f"{names.module(usual)}.weight" not in shapes:
        for other in _CLASSIFIERS:
            if f"{other}.weight" in shapes:
                modules = {**names.modules, usual: other} if names.modules else {}
                names = replace(names, paths=((usual, other), *names.paths), modules=modules)
    ranks = {len(shape) for name, shape in shapes.items() if re.search(r"\.se(_module)?\.fc\.?\d\.weight$", name)}
    if ranks == {4} and not names.as_conv:
        return replace(names, as_conv=r".*\.se\.fc\d")
    return replace(names, as_conv=None) if ranks == {2} and names.as_conv else names


def told_apart() -> tuple[Dialect, ...]:
    """The dialects that a file is tried in when nobody says which: no two of them have the same names."""
    found = [TORCH]
    for dialect in PROJECTS:
        names = dialect.family, dialect.modules, dialect.paths
        if not any(names == (other.family, other.modules, other.paths) for other in found):
            found.append(dialect)
    return tuple(found)
