"""All networks by name, all families by name, and records as plain data."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from difflib import get_close_matches
from typing import Any

from weights.errors import InputError
from weights.networks import inception, resnet
from weights.networks.check import decode
from weights.networks.inception import InceptionSpec
from weights.networks.resnet import ResNetSpec
from weights.networks.se import SE
from weights.networks.spec import Spec, field_names

_ROWS: tuple[tuple[type[Spec], tuple[Spec, ...]], ...] = (
    (ResNetSpec, resnet.PUBLISHED),
    (InceptionSpec, inception.PUBLISHED),
)
"""Every family: its record and its networks. A new family is one more row."""

FAMILIES: dict[str, type[Spec]] = {kind.family: kind for kind, _ in _ROWS}
"""The record of each family by the family's name in files."""

MODELS: dict[str, Spec] = {spec.name: spec for _, published in _ROWS for spec in published}
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


def as_spec(of: object, **changes: object) -> Spec:
    """The record that a name or a record stands for, with some of its fields changed.

    Raises:
        InputError: of what is neither a name nor a record, and as ``find``.
    """
    if isinstance(of, Spec):
        return changed(of, **changes)
    if isinstance(of, str):
        return find(of, **changes)
    raise InputError(f"expected the name of a network or its record, found {of!r:.100}")


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
    varied = values.pop("se", {})
    reduction = values.pop("reduction", None if varied else SE().reduction)
    if not isinstance(varied, Mapping) or (varied and reduction is None):
        raise InputError(f"spec of family {family.family!r}: choices of SE blocks, but no reduction")
    try:
        return decode(family, {**values, "se": None if reduction is None else {"reduction": reduction, **varied}})
    except InputError as error:
        raise InputError(f"spec of family {family.family!r} does not fit: {error}") from None
