"""All networks by name, all families by name, and records as plain data and as a line of text."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

from weights import limits
from weights.errors import InputError
from weights.networks import inception, inception_resnet, mobile, preact, resnet, shake, shufflenet, vgg
from weights.networks.check import decode, words
from weights.networks.inception import InceptionSpec
from weights.networks.inception_resnet import InceptionResNetSpec
from weights.networks.mobile import MobileSpec
from weights.networks.preact import PreActSpec
from weights.networks.resnet import ResNetSpec
from weights.networks.se import SE
from weights.networks.shake import ShakeSpec
from weights.networks.shufflenet import ShuffleNetSpec
from weights.networks.spec import Spec, field_names
from weights.networks.vgg import VGGSpec
from weights.storage import json_text
from weights.storage.contents import text_of

_ROWS: tuple[tuple[type[Spec], tuple[Spec, ...]], ...] = (
    (ResNetSpec, resnet.PUBLISHED),
    (InceptionSpec, inception.PUBLISHED),
    (PreActSpec, preact.PUBLISHED),
    (ShakeSpec, shake.PUBLISHED),
    (MobileSpec, mobile.PUBLISHED),
    (VGGSpec, vgg.PUBLISHED),
    (InceptionResNetSpec, inception_resnet.PUBLISHED),
    (ShuffleNetSpec, shufflenet.PUBLISHED),
)
"""Every family: its record and its networks. A new family is one more row."""

FAMILIES: dict[str, type[Spec]] = {kind.family: kind for kind, _ in _ROWS}
"""The record of each family by the family's name in files."""

MODELS: dict[str, Spec] = {spec.name: spec for _, published in _ROWS for spec in published}
"""The seven published networks, their relatives and the plain counterparts of all, by name."""


def find(name: str, **changes: Any) -> Spec:
    """The record of a network by its name, with some of its fields changed.

    Raises:
        InputError: no network of that name, no field of that name, or a value that does not fit.
    """
    return changed(_found(name, MODELS), **changes)


def _found(name: str, known: Mapping[str, Spec]) -> Spec:
    if name not in known:
        near = get_close_matches(name.lower(), known, 3, 0.5)
        near = near[:1] if name.lower() in known else near
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(
            f"unknown network {name!r:.100}: {meant}weights.MODELS and senet models list all {len(MODELS)}"
        )
    return known[name]


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


def parse(text: str, known: Mapping[str, Spec] = MODELS) -> Spec:
    """The record that a line of text describes: ``NAME[,FIELD=VALUE...]`` or ``FILE.json[,FIELD=VALUE...]``.

    The name is that of a published network, the file holds what ``to_dict`` gives. A value is a number, true, false,
    none, a text, or a list in brackets. Fields of the SE blocks stand behind a dot; "se=none" removes the blocks.

        se-resnet-50,classes=10,stride_on_3x3=true
        resnet-50,se.gate=tanh,se.stages=[3,4],depths=[2,2,2,2]

    Args:
        text: the description.
        known: the networks that have names.

    Raises:
        InputError: no such network, file or field, or a value that does not fit.
    """
    start, *changes = _split(text)
    name = start.strip()
    spec = _from_file(Path(name)) if name.lower().endswith(".json") else _found(name, known)
    for change in changes:
        path, equals, value = (part.strip() for part in change.partition("="))
        if not equals:
            raise InputError(f"{text[:200]!r}: expected FIELD=VALUE behind the comma, found {change[:80]!r}")
        spec = _with(spec, path, value)
    return spec


def _split(text: str) -> list[str]:
    """At the commas that are not within brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[(") - (character in "])")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _from_file(path: Path) -> Spec:
    content = text_of(path, limits.TEXT)
    try:
        data = json_text.parse(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: holds a {type(data).__name__}, expected an object with the fields of a network")
    try:
        return from_dict(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _value(text: str) -> Any:
    match text.lower():
        case "none" | "null":
            return None
        case "true" | "false":
            return text.lower() == "true"
        case _:
            pass
    try:
        return json_text.parse(text.replace("(", "[").replace(")", "]"))
    except InputError:
        return text


def _with(spec: Spec, path: str, text: str) -> Spec:
    field, dot, inner = path.partition(".")
    record = spec if not dot else (spec.se or SE()) if field == "se" else None
    if record is None:
        raise InputError(f"{spec.name} has no field {path[:80]}; only se has fields of its own")
    name = inner or field
    # "none" is a word where it is a squeeze, and nothing elsewhere.
    value = text if text in words(get_type_hints(type(record)).get(name)) else _value(text)
    if isinstance(getattr(record, name, None), float) and type(value) is int:
        value = float(value)
    if not dot:
        return changed(spec, **{field: value})
    known = [f.name for f in fields(SE)]
    if name not in known:
        raise InputError(f"{spec.name} has no field {path[:80]}; those of se are {', '.join(known)}")
    return changed(spec, se=replace(spec.se or SE(), **{name: value}))


_LATER: Mapping[str, object] = {"in_channels": 3, "unit": "bottleneck", "stem_pool": "caffe"}
"""Fields that came later, with what all networks had before: families that still have it by default leave it unsaid."""


def to_dict(spec: Spec) -> dict[str, Any]:
    """A record as plain data (for JSON), with the family's name under "family".

    The SE record stands as its "reduction", None without SE blocks; those of its choices that are not the published
    networks' follow under "se". Channels of the image are stated where they are not 3, units that are no bottlenecks
    and a first pooling that is not Caffe's likewise.
    """
    values, defaults = asdict(spec), {field.name: field.default for field in fields(spec)}
    data: dict[str, Any] = {"family": spec.family}
    for name in field_names(spec):
        if name == "se":
            data["reduction"] = spec.se.reduction if spec.se else None
        elif name not in _LATER or not values[name] == _LATER[name] == defaults[name]:
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
