"""Parameters, and what has to travel with them: preprocessing, label order, provenance, BatchNorm factors."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from weights.networks.spec import Spec

Labels = Literal["devkit", "sorted"]
"""Order of the 1000 ImageNet classes: by ILSVRC devkit id (the released Caffe files) or by sorted WordNet id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """From an image to the input of a network: (pixels in the given order and range - mean) / std."""

    channels: Literal["bgr", "rgb"]
    range: float  # 255: pixels 0..255; 1: pixels 0..1
    mean: tuple[float, float, float]  # in the order of the channels, in units of the range
    std: tuple[float, float, float]
    resize: int = 256  # short side
    crop: int = 224  # centre


CAFFE = Preprocessing(channels="bgr", range=255, mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0))
"""What the released Caffe networks expect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What a checkpoint expects and where it comes from. None or empty: not known."""

    preprocessing: Preprocessing | None = None
    labels: Labels | None = None
    assumed: tuple[str, ...] = ()  # which of the two above the source did not state itself
    source: str = ""  # file name
    format: str = ""  # "caffemodel", "safetensors", ...
    sha256: str = ""  # of the source file
    # BatchNorm module -> Caffe's moving-average factor; not hashed, because dictionaries cannot be
    factors: Mapping[str, float] = field(default_factory=dict, hash=False)
    blobs: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)  # raw Caffe blobs, where needed
    history: tuple[str, ...] = ()  # what was done to the values since, one line each


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


@dataclass(frozen=True, slots=True)
class Checkpoint:
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

    def __iter__(self) -> Iterator[Any]:
        """The record and the parameters."""
        return iter((self.spec, self.params))


def info_of(params: Mapping[str, Any]) -> Info:
    """The info of ``Params``, an empty one of any other mapping."""
    return getattr(params, "info", None) or Info()
