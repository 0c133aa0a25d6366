"""All networks by name, all families by name, and records as plain data."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from difflib import get_close_matches
from typing import Any

from weights.errors import InputError
from weights.networks import inception, resnet
from weights.networks.inception import Branches, InceptionSpec
from weights.networks.network import Network
from weights.networks.resnet import ResNetSpec
from weights.networks.se import SE
from weights.networks.spec import Spec, field_names

FAMILIES: Mapping[str, type[Spec]] = {kind.family: kind for kind in (ResNetSpec, InceptionSpec)}
"""The record of each family by the family's name; a new family is one more here."""

GUESSES: tuple[Callable[[Network], Spec | None], ...] = (resnet.guess, inception.guess)
"""For each family: the record that a network without one may have been made from. A guess is to be checked."""

MODELS: dict[str, Spec] = {spec.name: spec for spec in (*resnet.PUBLISHED, *inception.PUBLISHED)}
"""The seven published networks and their plain counterparts, by name."""


def find(name: str, **changes: Any) -> Spec:
    """The record of a network by its name, with some of its fields changed.

    Raises:
        InputError: no network of that name, no field of that name, or a value that does not fit.
    """
    if name not in MODELS:
        near = get_close_matches(name, MODELS, 3, 0.5)
        raise InputError(
            f"unknown network {name!r}: "
            + (f"did you mean {' or '.join(near)}? " if near else "")
            + f"known are {', '.join(MODELS)}"
        )
    return changed(MODELS[name], **changes)


def changed(spec: Spec, **changes: Any) -> Spec:
    """A record with some of its fields changed.

    Raises:
        InputError: no field of that name, or a value that does not fit.
    """
    known = field_names(spec)
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise InputError(f"{spec.name} has no field {', '.join(unknown)}; its fields are {', '.join(known)}")
    return replace(spec, **changes)


def to_dict(spec: Spec) -> dict[str, Any]:
    """A record as plain data (for JSON), with the family's name under "family".

    The SE record stands as its "reduction", None without SE blocks; those of its choices that are not the published
    networks' follow under "se".
    """
    values = asdict(spec)
    data: dict[str, Any] = {"family": spec.family}
    for name in field_names(spec):
        if name == "se":
            data["reduction"] = spec.se.reduction if spec.se else None
        else:
            data[name] = values[name]
    if spec.se:
        published = asdict(SE(reduction=spec.se.reduction))
        varied = {name: value for name, value in values["se"].items() if value != published[name]}
        data |= {"se": varied} if varied else {}
    return data


def from_dict(data: Mapping[str, Any]) -> Spec:
    """The inverse of ``to_dict``.

    Raises:
        InputError: an unknown family, or fields that are missing, unexpected or of the wrong kind.
    """
    family = FAMILIES.get(str(data.get("family")))
    if family is None:
        raise InputError(f"spec of an unknown family {data.get('family')!r}: expected one of {', '.join(FAMILIES)}")
    values = {key: value for key, value in data.items() if key != "family"}
    try:
        varied = values.pop("se", {})
        if "reduction" in values or varied:
            reduction = values.pop("reduction")
            if reduction is None and varied:
                raise ValueError("choices of SE blocks, and no reduction")
            values["se"] = None if reduction is None else SE(reduction=reduction, **varied)
        if family is InceptionSpec:
            values["modules"] = tuple(Branches(**m) for m in values["modules"])
        return family(**values)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        wanted = ", ".join(f.name for f in fields(family)).replace("se,", "reduction, se,", 1)
        raise InputError(f"spec of family {data['family']!r} does not fit: {error}; its fields are {wanted}") from None
