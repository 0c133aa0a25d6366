"""Whether a model still has the values that were loaded into it, and whether a checkpoint has those of its source."""

import re
import zlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from weights.params import Info, Params

CHANGED = "values changed since they were loaded (trained, edited or rounded)"
"""The line of the history that says so."""

_HARMLESS = re.compile(
    r"classifier reordered from |first convolution rewritten from |weights of the key |names lost the prefix "
    r"|not used: |the names tell: |(fetched from|converted again,|taken from a file at hand,) .*; known "
    r"|\d+ convolution biases went into the means|\d+ convolutions without BatchNorm got one that changes nothing$"
    r"|.*, the nearest that Caffe's float holds$",
    re.DOTALL,
)
"""Lines of the history after which the network still computes what its source does; all others may say anything."""


def loaded(params: Mapping[str, np.ndarray], info: Info) -> Info:
    """The info of a model into which these parameters are loaded: it knows the checksums of their values in float32."""
    return replace(info, values={name: _checksum(array) for name, array in params.items()})


def since_loaded(params: Params) -> Params:
    """The parameters of a model as they leave it: the history says once whether the values are other ones by now.

    Args:
        params: what the model holds, with its own info, whose checksums are compared and left behind. Of what was never
            loaded, or of which nothing is told, nothing is said.
    """
    info = params.info
    tells = info.source or info.sha256 or info.history
    if tells and CHANGED not in info.history and any(_differs(params, *one) for one in info.values.items()):
        info = replace(info, history=(*info.history, CHANGED))
    return Params(params, replace(info, values={}))


def as_in_source(info: Info) -> bool:
    """Whether the network computes what its source does: nothing in the history says or may say otherwise."""
    return all(_HARMLESS.match(line) for line in info.history)


def _differs(params: Params, name: str, checksum: int) -> bool:
    return name in params and _checksum(params[name]) != checksum


def _checksum(array: np.ndarray) -> int:
    with np.errstate(over="ignore"):
        return zlib.crc32(np.ascontiguousarray(array, np.float32).data)
