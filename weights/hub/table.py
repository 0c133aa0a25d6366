"""Where trained weights are, as data: address, size, checksum, licence, and what of these is not known."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from weights.errors import InputError
from weights.networks.models import MODELS
from weights.networks.models import find as network

_DIGITS = 64  # of a sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file of trained weights, as somebody published it."""

    network: str  # its name in ``MODELS``
    origin: str  # who published it: "authors" of the paper, "timm"
    file: str  # its name there; the suffix names the format
    size: int | None  # bytes; None: not known
    sha256: str  # hexadecimal digits: all of them, the first ones if no more are known, or ""
    licence: str  # as SPDX names it
    address: str  # of the file; "" if it is had by hand only
    page: str  # where a person can download the file; "" if there is none
    top1_error: float | None  # of a single 224x224 crop of ImageNet's validation images, in percent, as published
    top5_error: float | None

    @property
    def name(self) -> str:
        """What ``fetch`` and ``from_pretrained`` know it by: the network, with the origin if that is not the first."""
        return self.network if self is first(self.network) else f"{self.network}@{self.origin}"

    @property
    def proven(self) -> Literal["yes", "in part", "no"]:
        """Whether a file is known to be this one by its checksum: by all of it, by its first digits, or not at all."""
        if len(self.sha256) == _DIGITS:
            return "yes"
        return "in part" if self.sha256 else "no"

    @property
    def known_by(self) -> str:
        """The same in words."""
        if not self.sha256:
            return "by its structure alone: its checksum is published nowhere"
        return "by its sha256" if self.proven == "yes" else f"by its structure and how its sha256 begins: {self.sha256}"


@cache
def sources() -> tuple[Source, ...]:
    """All of them; the first of a network is the one that its name alone means."""
    rows = csv.DictReader(files("weights.hub").joinpath("table.csv").read_text(encoding="utf-8").splitlines())
    return tuple(_source(row) for row in rows)


def _source(row: dict[str, str]) -> Source:
    return Source(
        network=row["network"],
        origin=row["origin"],
        file=row["file"],
        size=int(row["size"]) if row["size"] else None,
        sha256=row["sha256"],
        licence=row["licence"],
        address=row["address"],
        page=row["page"],
        top1_error=float(row["top1_error"]) if row["top1_error"] else None,
        top5_error=float(row["top5_error"]) if row["top5_error"] else None,
    )


def first(name: str) -> Source | None:
    """The first source of a network; None if there is none."""
    return next((source for source in sources() if source.network == name), None)


def find(name: str) -> Source:
    """The source that a name means.

    Args:
        name: of a network, "se-resnet-50", or of a network and who published the weights, "se-resnet-50@timm".

    Raises:
        InputError: no network of that name, or none with known weights; the message says which have.
    """
    wanted, _, origin = name.partition("@")
    network(wanted)
    found = [source for source in sources() if source.network == wanted]
    for source in found:
        if origin in ("", source.origin):
            return source
    if found:
        raise InputError(f"{name}: there are weights of {wanted} by {listed(s.origin for s in found)}")
    have = listed(dict.fromkeys(source.network for source in sources()))
    raise InputError(
        f"{name}: no trained weights of this network are known (senet init writes seeded ones); there are of {have}"
    )


def is_name(text: str) -> bool:
    """Whether a text is the name of a network, alone or with an origin."""
    return text.partition("@")[0] in MODELS


def listed(names: Iterable[str]) -> str:
    """Names in a sentence."""
    return ", ".join(names)
