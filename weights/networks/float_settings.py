"""The settings of a network in files that hold them as floats of 32 bits: which of them come back as other numbers."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from weights.errors import InputError
from weights.networks.network import Network
from weights.networks.operations import BatchNorm, Dropout, Times


@dataclass(frozen=True, slots=True)
class RoundedSetting:
    """A setting that is no float of 32 bits."""

    name: str  # "eps", "dropout", "scale"
    value: float
    held: float  # the nearest float of 32 bits


def rounded_settings(
    network: Network, names: Collection[str] = ("eps", "dropout", "scale")
) -> tuple[RoundedSetting, ...]:
    """The settings that a float of 32 bits does not hold exactly, each once.

    Args:
        network: whose BatchNorms, dropout and constant factors are looked at.
        names: the settings that the file holds as floats.

    Raises:
        InputError: a setting whose nearest float no network can have: an eps of 0, or a dropout of 0 or 1.
    """
    found: dict[RoundedSetting, None] = {}
    for name, value in _settings(network):
        with np.errstate(over="ignore"):
            held = float(np.float32(value))
        if name not in names or held == value:
            continue
        if held in (0.0, np.inf) or (name == "dropout" and held == 1):
            raise InputError(f"{network.name}: {name} {value!r} is {held!r} as a float of 32 bits, which does not work")
        found[RoundedSetting(name, value, held)] = None
    return tuple(found)


def _settings(network: Network) -> Iterator[tuple[str, float]]:
    for node in network.nodes:
        match node.op:
            case BatchNorm(eps):
                yield "eps", eps
            case Dropout(rate):
                yield "dropout", rate
            case Times(factor):
                yield "scale", factor
            case _:
                pass
