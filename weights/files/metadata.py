"""What travels with the values, as the string-to-string mapping that safetensors and ONNX files hold."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from weights.errors import InputError
from weights.files.options import refuse
from weights.networks.models import from_dict, to_dict
from weights.networks.recognition import differing
from weights.networks.spec import Spec
from weights.params import Info, Labels, Preprocessing, check_class_names
from weights.storage import json_text

VERSION = "1"
MARK = "senet.format"
"""The key that tells our files from all others; its value is the version."""


_EXPECTED = ("preprocessing", "labels")
"""What ``Info.assumed`` lists beside the fields of the spec."""


def encode(spec: Spec | None, info: Info) -> dict[str, str]:
    """Everything that a network's values do not say themselves; JSON, except for the version and the label order.

    Args:
        spec: the network's record; None of a network that is only its nodes, whose file cannot be read back.
        info: what travels with the values.
    """
    data: dict[str, Any] = {
        "spec": spec and to_dict(spec),
        # Through plain data, so that whole numbers are written as the floats that they are read back as.
        "preprocessing": info.preprocessing and asdict(Preprocessing.from_data(asdict(info.preprocessing))),
        "class_names": info.class_names,
        "assumed": info.assumed,
        "provenance": {"source": info.source, "format": info.format, "sha256": info.sha256},
        "factors": dict(info.factors),
        "history": info.history,
        "values": dict(info.values),
        "input_size": info.input_size,
        "last_pooling": info.last_pooling,
    }
    strings = {f"senet.{key}": json.dumps(value) for key, value in data.items() if value}
    return {MARK: VERSION, **strings, **({"senet.labels": info.labels} if info.labels else {})}


def decode(
    strings: Mapping[str, str], source: str, spec: Spec | None = None, dialect: str | None = None
) -> tuple[Spec, Info]:
    """The inverse of ``encode``.

    Args:
        strings: the metadata.
        source: names the file in errors.
        spec: what the caller says the network is; refused if the file says otherwise, but not in fields that the file
            lists as assumed: those the caller states.
        dialect: what the caller says the names are, if the metadata say it in their place.

    Raises:
        InputError: not from this program, from another version of it, damaged, or contradicted by the caller.
    """
    version = strings.get(MARK)
    if version is None:
        raise InputError(f"{source}: was not written by senet: its metadata has no {MARK!r}")
    if version != VERSION:
        raise InputError(f"{source}: is of format version {version!r}, this program reads {VERSION!r}; update senet")
    data = {key.removeprefix("senet."): value for key, value in strings.items() if key.startswith("senet.")}
    labels = data.pop("labels", None)
    try:
        values = {key: _value(key, value) for key, value in data.items() if key not in ("format", "dialect")}
        stated = from_dict(values["spec"])
        provenance = values.get("provenance", {})
        info = Info(
            preprocessing=Preprocessing.from_data(values["preprocessing"]) if "preprocessing" in values else None,
            labels=None if labels is None else _labels(labels),
            class_names=tuple(values.get("class_names", ())),
            assumed=tuple(map(str, values.get("assumed", ()))),
            factors={str(key): float(value) for key, value in values.get("factors", {}).items()},
            history=tuple(map(str, values.get("history", ()))),
            values={str(key): int(value) for key, value in values.get("values", {}).items()},
            input_size=tuple(values["input_size"]) if "input_size" in values else None,
            last_pooling=values.get("last_pooling"),
            source=str(provenance.get("source", "")),
            format=str(provenance.get("format", "")),
            sha256=str(provenance.get("sha256", "")),
        )
        check_class_names(info, stated.classes)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise InputError(f"{source}: its metadata is damaged: {error!r}") from None
    if spec is not None and _open(stated, spec, info):
        stated, info = spec, replace(info, assumed=tuple(name for name in info.assumed if name in _EXPECTED))
    refuse(source, "says itself what it is", dialect=dialect, spec=None if spec == stated else spec)
    return stated, info


def _value(key: str, text: str) -> Any:
    try:
        return json_text.parse(text, constants=True)  # factors of Caffe's may be any number
    except InputError as error:
        raise InputError(f"its metadata is damaged: senet.{key[:80]} {error}") from None


def as_saved(info: Info, name: str, kind: str, sha256: str) -> Info:
    """The info of a file that a framework saved by itself: the file is the source of the values, trained or not.

    Args:
        info: what the model carried when it was saved.
        name: of the file.
        kind: the file's format.
        sha256: of the file.
    """
    before = (f"saved as {name}, from {info.source}",) if info.source else ()
    return replace(info, source=name, format=kind, sha256=sha256, history=(*info.history, *before), values={})


def _open(stated: Spec, given: Spec, info: Info) -> bool:
    """Whether a record differs from the stated one in nothing but what was assumed there, and in its name."""
    assumed = set(info.assumed) - set(_EXPECTED)
    return bool(assumed) and set(differing(stated, given)) <= {*assumed, "name"}


def _labels(value: str) -> Labels:
    match value:
        case "devkit" | "sorted":
            return value
        case _:
            raise InputError(f"label order {value!r}: expected one of devkit, sorted")
