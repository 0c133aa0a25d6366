"""Parameters, and what has to travel with them: preprocessing, label order, provenance, BatchNorm factors."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from weights.errors import InputError

if TYPE_CHECKING:
    from weights.networks.spec import Spec

Labels = Literal["devkit", "sorted"]
"""Order of the 1000 ImageNet classes: by ILSVRC devkit id (the released Caffe files) or by sorted WordNet id."""


LastPooling = Literal["window", "global"]
"""How a Caffe definition states the last pooling: as a 7x7 window, for one size of the input, or for any size."""

LARGEST_IMAGE = 2**14
"""Pixels on a side of a resized image and of its crop: more would be gigabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """From an image to the input of a network: (pixels in the given order and range - mean) / std.

    Raises:
        InputError: when made, by the constructor or by ``dataclasses.replace``, of values that no image can be
            prepared with; the field is named.
    """

    channels: Literal["bgr", "rgb"]
    range: float  # 255: pixels 0..255; 1: pixels 0..1
    mean: tuple[float, float, float]  # in the order of the channels, in units of the range
    std: tuple[float, float, float]
    resize: int = 256  # short side
    crop: int = 224  # centre; at most the short side, for nothing is padded

    def __post_init__(self) -> None:
        _expect(self.channels in ("bgr", "rgb"), "channels", self.channels, "bgr or rgb")
        _expect(_finite(self.range) and self.range > 0, "range", self.range, "a finite number greater than 0")
        for name, values in (("mean", self.mean), ("std", self.std)):
            _expect(_three_finite(values), name, values, "three finite numbers")
        _expect(min(self.std) > 0, "std", self.std, "three numbers greater than 0")
        for name, size in (("resize", self.resize), ("crop", self.crop)):
            _expect(is_side(size), name, size, f"a whole number from 1 to {LARGEST_IMAGE}")
        _expect(self.crop <= self.resize, "crop", self.crop, f"at most resize, which is {self.resize}")

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "Preprocessing":
        """The record of plain data, such as ``dataclasses.asdict`` and JSON give: numbers become floats, lists tuples.

        Raises:
            InputError: fields that are missing, unexpected or of values that do not fit.
        """
        names = [f.name for f in fields(cls)]
        missing = [name for name in names if name not in data]
        unexpected = [str(name)[:80] for name in data if name not in names]
        if missing or unexpected:
            what = f"{', '.join(missing)} is missing" if missing else f"{', '.join(unexpected)} is unexpected"
            raise InputError(f"preprocessing: {what}; its fields are {', '.join(names)}")
        values = dict(data)
        values["range"] = _float(values["range"])
        for name in ("mean", "std"):
            if isinstance(values[name], list | tuple):
                values[name] = tuple(map(_float, values[name]))
        return cls(**values)

    def __str__(self) -> str:
        """In one line: order and range of the channels, what is subtracted and divided by, sizes."""
        mean = ", ".join(f"{m:.7g}" for m in self.mean)
        std = "" if set(self.std) == {1.0} else f", divided by ({', '.join(f'{s:.7g}' for s in self.std)})"
        where = f"short side {self.resize}, centre {self.crop}x{self.crop}"
        return f"{self.channels.upper()} 0..{self.range:g}, minus ({mean}){std}; {where}"


def is_count(value: object) -> bool:
    """Whether a value is a whole number of at least 0, as a seed and a number of classes are."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 0)


def is_side(value: object) -> bool:
    """Whether a value is a whole number of pixels that an image can have on a side."""
    return type(value) is int and 0 < value <= LARGEST_IMAGE


def _expect(fits: bool, field: str, value: object, expected: str) -> None:
    if not fits:
        raise InputError(f"preprocessing: {field} is {str(value)[:100]}, expected {expected}")


def _finite(value: object) -> bool:
    """Whether a value is a number within a float's range; whole ones may be larger, and NaN compares with nothing."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _three_finite(values: object) -> bool:
    return isinstance(values, tuple) and len(values) == 3 and all(map(_finite, values))


def _float(value: object) -> object:
    """A whole number as a float; a value that is no finite number stays, and is refused when the record is made."""
    return float(value) if isinstance(value, int) and _finite(value) else value


CAFFE = Preprocessing(channels="bgr", range=255, mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0))
"""What the released Caffe networks expect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What a checkpoint expects and where it comes from. None or empty: not known.

    Raises:
        InputError: when made, of class names that are no texts, empty or the same; of a size that no image has, or
            of a way of pooling that is none.
    """

    preprocessing: Preprocessing | None = None
    labels: Labels | None = None
    class_names: tuple[str, ...] = ()  # of one's own classes, in the order of the outputs
    assumed: tuple[str, ...] = ()  # what the source did not state: of the two above, and of the spec ("se.gate")
    source: str = ""  # file name
    format: str = ""  # "caffemodel", "safetensors", ...
    sha256: str = ""  # of the source file
    # BatchNorm module -> Caffe's moving-average factor; not hashed, because dictionaries cannot be
    factors: Mapping[str, float] = field(default_factory=dict, hash=False)
    blobs: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)  # raw Caffe blobs, where needed
    history: tuple[str, ...] = ()  # what was done to the values since, one line each
    # Of a model: checksums of the values that were loaded, by canonical name (``change.since_loaded``).
    values: Mapping[str, int] = field(default_factory=dict, compare=False)
    input_size: tuple[int, int] | None = None  # of the Caffe definition, where preprocessing is not known
    last_pooling: LastPooling | None = None  # of the Caffe definition, where it is not ``caffe.layers.usual_pooling``

    def __post_init__(self) -> None:
        names = self.class_names
        if not isinstance(names, tuple) or not all(isinstance(name, str) and name.strip() for name in names):
            raise InputError(f"class names {str(names)[:100]}: expected a list of texts that are not empty")
        if len(set(names)) < len(names):
            twice = next(name for name, count in Counter(names).items() if count > 1)
            raise InputError(f"class names: {twice[:100]!r} stands twice")
        if self.last_pooling not in (None, "window", "global"):
            raise InputError(f"last pooling {str(self.last_pooling)[:80]!r}: expected one of window, global")
        size = self.input_size
        if size is not None and not (isinstance(size, tuple) and len(size) == 2 and all(map(is_side, size))):
            raise InputError(f"input size {str(size)[:80]}: expected two whole numbers from 1 to {LARGEST_IMAGE}")


class Params(dict[str, np.ndarray]):
    """Canonical names to arrays (OIHW, OI, C), with the ``info`` that travels with them.

    Copies and unions (``params | {...}``) keep the info; ``dict(params)`` says in so many words that it is not wanted.
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]] = (), info: Info | None = None
    ):
        super().__init__(arrays)
        self.info = info or Info()

    def copy(self) -> "Params":
        """The same arrays and info in another dictionary."""
        return Params(self, self.info)

    def __or__(self, other: Mapping[str, np.ndarray]) -> "Params":  # type: ignore[override]  # narrower than a dict's
        """These arrays and the other ones, which win; the info is this one's."""
        return Params({**self, **other}, self.info)

    def __ror__(self, other: Mapping[str, np.ndarray]) -> "Params":  # type: ignore[override]
        """The other arrays and these, which win; the info is this one's."""
        return Params({**other, **self}, self.info)


class Checkpoint(NamedTuple):
    """What a file holds: ``spec, params = read(path)``, or with its ``info`` by name.

    Attributes:
        spec: the record of the network.
        params: its parameters by canonical name; they carry the same info.
    """

    spec: "Spec"
    params: Params

    @property
    def info(self) -> Info:
        """What the checkpoint expects and where it comes from."""
        return self.params.info


def check_class_names(info: Info, classes: int) -> None:
    """Whether there are as many class names as classes, where there are any.

    Raises:
        InputError: there are not.
    """
    if info.class_names and len(info.class_names) != classes:
        raise InputError(f"{len(info.class_names)} class names for {classes} classes: expected one for each")


def info_of(params: Mapping[str, Any]) -> Info:
    """The info of ``Params``, an empty one of any other mapping."""
    return getattr(params, "info", None) or Info()
