"""Which dialects the tensors of a PyTorch state dict may be named in: ours, and those of other projects by family."""

from collections.abc import Mapping

from weights.errors import InputError
from weights.names import resnet
from weights.names.dialect import Dialect
from weights.names.frameworks import TORCH
from weights.networks.spec import Spec

PROJECTS: Mapping[str, tuple[Dialect, ...]] = {"resnet": (resnet.TIMM, resnet.CADENE)}
"""The family's name -> the dialects that other projects have for its networks with SE blocks. Where two have the same
names, the first is what a file of unknown origin is taken for."""

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
        if dialect is TORCH or (spec.se and dialect in PROJECTS.get(spec.family, ())):
            return dialect
    raise InputError(
        f"the dialect {name!r} has no names for {spec.name}: it knows SE-ResNet, SE-ResNeXt and SENet-154 only; "
        "use the dialect 'torch'"
    )


def told_apart() -> tuple[Dialect, ...]:
    """The dialects that a file is tried in when nobody says which: no two of them have the same names."""
    return TORCH, *(dialects[0] for dialects in PROJECTS.values())
