"""Words for the fields of a network's record, for their values, and for what is assumed of a checkpoint."""

from collections.abc import Iterator, Sequence
from dataclasses import fields

from weights.networks.se import SE
from weights.networks.spec import EPS, Spec
from weights.params import Info

_FIELDS = {
    "depths": "units by stage",
    "unit": "residual units",
    "stem": "stem, channels of kernel",
    "stages": "stages, units of channels",
    "stem_pool": "first pooling",
    "reduce": "first 1x1, channels by stage",
    "width": "3x3, channels by stage",
    "out_channels": "output, channels by stage",
    "groups": "groups of the convolutions",
    "stride_on_3x3": "stride of a stage in",
    "shortcut": "projection kernel at stride 2",
    "se": "SE reduction",
    "se.gate": "gate of the SE blocks",
    "se.squeeze": "squeeze of the SE blocks",
    "se.position": "position of the SE blocks",
    "se.stages": "stages that have SE blocks",
    "se.rounding": "rounding of hidden units",
    "modules.pool": "pooling of the modules",
    "stages.stride": "strides of the stages",
    "stages.activation": "activations of the stages",
    "stages.scale": "factors of the residuals by stage",
    "stages.module.pool": "poolings of the modules",
    "stem.stride": "strides of the stem",
    "stem.padded": "whether the stem is padded",
    "stem.pooled": "whether the stem pools",
    "shares": "shares of the branches in training",
    "eps": "BatchNorm epsilon",
}
"""Words for the fields of a record whose names say too little."""

_POOLS = {"caffe": "Caffe's, not padded, rounding up", "torchvision": "torchvision's, padded by 1, rounding down"}

EXPECTED = ("preprocessing", "labels")
"""What ``Info.assumed`` lists beside fields of the record."""


def assumed(spec: Spec, info: Info) -> str:
    """What a checkpoint's file does not say, with what is assumed instead; "" where it says everything."""
    expects = {
        "preprocessing": f"preprocessing ({info.preprocessing})",
        "labels": f"label order ({info.labels})",
    }
    own = tuple(name for name in info.assumed if name not in EXPECTED)
    said = [*assumed_fields(spec, own), *(expects[name] for name in EXPECTED if name in info.assumed)]
    return ", ".join(said)


def assumed_fields(spec: Spec, names: Sequence[str]) -> list[str]:
    """Fields by their paths, "se.gate", in words and with their values."""
    return [_assumed_field(spec, name) for name in names]


def _assumed_field(spec: Spec, path: str) -> str:
    field, _, inner = path.partition(".")
    if not inner:
        return f"{words(field)} ({value(spec, field)})"
    record = getattr(spec, field)
    if isinstance(record, SE):
        return f"{words(path)} ({_choice(getattr(record, inner))})"
    values = list(_each(record, inner))
    return f"{words(path)} ({', '.join(values if len(set(values)) > 1 else values[:1])})"


def _each(record: object, path: str) -> Iterator[str]:
    """The values of a field of each of some records, or of the records within them; of those that have it."""
    if isinstance(record, tuple):
        for one in record:
            yield from _each(one, path)
    elif not path:
        yield "as the network's" if record is None else _choice(record)
    elif record is not None:
        field, _, inner = path.partition(".")
        yield from _each(getattr(record, field), inner)


def _choice(chosen: object) -> str:
    match chosen:
        case None:
            return "all"
        case bool():
            return "yes" if chosen else "no"
        case tuple():
            return " and ".join(map(str, chosen))
        case _:
            return str(chosen)


def words(field: str) -> str:
    """A field's name in words."""
    return _FIELDS.get(field, field.replace("_", " ").replace("se.", "SE "))


def value(spec: Spec, name: str) -> str:
    """The value of a field of a record, in words."""
    found = getattr(spec, name)
    match name:
        case "stem" if isinstance(found, tuple):
            return ", ".join(map(_layer, found))
        case "modules":
            return " ".join(m.name for m in found)
        case "stages":
            return ", ".join(map(_stage, found))
        case "stride_on_3x3":
            return "the 3x3" if found else "the first 1x1"
        case "stem_pool":
            return _POOLS[found]
        case "reduce" if found is None:
            return "none: two 3x3"
        case "shortcut" if isinstance(found, int):
            return f"{found}x{found}"
        case "se":
            return ", ".join(_excitation(found)) if found else "none: no SE blocks"
        case "classes":
            return str(found or "none: no classifier")
        case "eps":
            return f"{found!r}" + (" (1e-5 as a float, Caffe's)" if found == EPS else "")
        case _ if found is None:
            return "none"
        case _ if isinstance(found, bool):
            return "yes" if found else "no"
        case _:
            return ", ".join(map(str, found)) if isinstance(found, tuple) else str(found)


def _layer(layer: object) -> str:
    """A convolution of a stem: a pair of channels and kernel, or a record that has them."""
    out, kernel = layer if isinstance(layer, tuple) else (getattr(layer, "out", 0), getattr(layer, "kernel", 0))
    return f"{out} of {kernel}x{kernel}"


def _stage(stage: object) -> str:
    """A stage that is a record: by its units, and by its channels where it states them."""
    units = getattr(stage, "units", None) or len(getattr(stage, "expanded", ()))
    out = getattr(stage, "out", None)
    return f"{units} of {out}" if out else str(units)


def _excitation(se: SE) -> Iterator[str]:
    """The reduction, then the choices that are not the published networks'."""
    yield str(se.reduction) if se.width is None else f"none: {se.width} hidden units"
    for field in fields(SE):
        value = getattr(se, field.name)
        if value == field.default or field.name in ("reduction", "width"):
            continue
        match field.name:
            case "rounding":
                yield f"hidden units rounded {value}"
            case "bias":
                yield "without biases"
            case "stages":
                yield f"in stage {' and '.join(map(str, value))} only"
            case _:
                yield f"{field.name} {value}"
