"""Which dialects the tensors of a PyTorch state dict may be named in: ours, and those of other projects by family."""

import re
from collections.abc import Mapping
from dataclasses import replace

from weights.errors import InputError
from weights.names import inception_resnet, resnet, vgg
from weights.names.dialect import Dialect
from weights.names.frameworks import TORCH
from weights.networks.operations import Shape
from weights.networks.spec import Spec

PROJECTS: Mapping[str, tuple[Dialect, ...]] = {
    "resnet": (resnet.TIMM, resnet.CADENE),
    "vgg": (vgg.TORCHVISION_BN, vgg.TORCHVISION, vgg.TIMM_BN, vgg.TIMM, vgg.PYTORCHCV_BN),
    "inception-resnet": (inception_resnet.TIMM, inception_resnet.PYTORCHCV),
}
"""The family's name -> the dialects that other projects have for its networks: patterns are for those with SE blocks,
a table of modules is for networks of just these. Where two have the same names, the first is what a file of unknown
origin is taken for."""

DIALECTS: tuple[str, ...] = tuple(dict.fromkeys(d.name for d in (TORCH, *sum(PROJECTS.values(), ()))))
"""The names of the dialects: the choices of ``--dialect``."""


def named(name: str) -> tuple[Dialect, ...]:
    """The dialects of that name, one for each family that it is known for.

    Raises:
        InputError: there is none.
    """
    if name not in DIALECTS:
        raise InputError(f"unknown dialect {name!r}; known are {', '.join(DIALECTS)}")
    return tuple(d for d in (TORCH, *sum(PROJECTS.values(), ())) if d.name == name)


def dialect_for(name: str, spec: Spec) -> Dialect:
    """The dialect of that name for a network.

    Raises:
        InputError: there is none, or it has no names for such a network.
    """
    for dialect in named(name):
        if dialect is TORCH or (dialect in PROJECTS.get(spec.family, ()) and _knows(dialect, spec)):
            return dialect
    known = ", ".join(_NETWORKS[family] for family, dialects in PROJECTS.items() if name in [d.name for d in dialects])
    raise InputError(
        f"the dialect {name!r} has no names for {spec.name}: it knows {known} only; use the dialect 'torch'"
    )


_NETWORKS: Mapping[str, str] = {
    "resnet": "SE-ResNet, SE-ResNeXt and SENet-154",
    "vgg": "VGG-16 without SE blocks",
    "inception-resnet": "Inception-ResNet-v2 without SE blocks",
}
"""What the dialects of a family have names for."""


def _knows(dialect: Dialect, spec: Spec) -> bool:
    """Whether a dialect of a family has names for a network of the family."""
    if not dialect.modules:
        return spec.se is not None
    with_classifier = replace(spec, classes=spec.classes or 1).network()
    return {node.module for node in with_classifier.nodes if node.op.kind} == set(dialect.modules)


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
    ranks = {len(shape) for name, shape in shapes.items() if re.search(r"\.se(_module)?\.fc\d\.weight$", name)}
    if ranks == {4} and not names.as_conv:
        return replace(names, as_conv=r".*\.se\.fc\d")
    return replace(names, as_conv=None) if ranks == {2} and names.as_conv else names


def told_apart() -> tuple[Dialect, ...]:
    """The dialects that a file is tried in when nobody says which: no two of them have the same names."""
    found = [TORCH]
    for dialects in PROJECTS.values():
        found += [d for i, d in enumerate(dialects) if all(d != replace(other, name=d.name) for other in dialects[:i])]
    return tuple(found)
