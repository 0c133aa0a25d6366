"""Two checkpoints of any formats, tensor by tensor: identical, equal up to storage, different by how much, missing."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from weights.files import format_of, read
from weights.names.frameworks import FLAX, KERAS, TORCH
from weights.names.state_dicts import DIALECTS, named
from weights.networks.models import to_dict
from weights.networks.parameters import Param, schema
from weights.networks.spec import Spec
from weights.params import Info
from weights.storage import bfloat16

Verdict = Literal["identical", "equal", "rounded", "different", "missing"]
"""identical: the same bits, stored the same way. equal: the same numbers, stored in another layout or dtype (or zeros
of another sign). rounded: the numbers of one side, rounded to float32, bfloat16 or float16, are those of the other
side, whatever both are stored as. missing: on one side."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as a file has it."""

    dtype: str
    shape: tuple[int, ...]
    layout: str  # order of the axes: "OIHW", "HWIO", "OI", "IO", "OI11", "C"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor on both sides; what is a pair is of A and of B, and None on the side that lacks it."""

    name: str  # canonical
    verdict: Verdict
    stored: tuple[Stored | None, Stored | None]
    count: int = 0  # of the values that differ
    size: int = 0  # of all values
    max_abs: float = 0.0  # largest |a - b|; inf where only one side is a finite number
    relative: float = 0.0  # to the largest finite |a| or |b|
    ulp: int | None = None  # most float32 numbers that one has to step from a to b; None where one side is no number


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Everything in which two checkpoints differ, and every tensor that they do not."""

    paths: tuple[str, str]
    formats: tuple[str, str]
    spec: Mapping[str, tuple[Any, Any]]  # field -> (a, b), those that differ; a nested field is "modules.3.pool"
    expects: Mapping[str, tuple[Any, Any]]  # the same of the preprocessing and the label order; None: not stated
    tensors: tuple[Tensor, ...]  # in the order of the first network's schema, then what only the second has

    def count(self, verdict: Verdict) -> int:
        """How many tensors were found so."""
        return sum(t.verdict == verdict for t in self.tensors)

    def same(self, rounding: bool = False) -> bool:
        """Whether network and values are the same, and what is expected of images and labels where both state it.

        What a network is called does not count.

        Args:
            rounding: whether tensors that differ only by rounding to a narrower dtype count as the same.
        """
        fine = {"identical", "equal"} | ({"rounded"} if rounding else set())
        contradicted = any(None not in pair for pair in self.expects.values())
        return not self.spec.keys() - {"name"} and not contradicted and all(t.verdict in fine for t in self.tensors)

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON; numbers that are infinite are None."""
        tensors = [asdict(t) for t in self.tensors]
        for t in tensors:
            t |= {key: None for key in ("max_abs", "relative") if not np.isfinite(t[key])}
        return {
            "paths": self.paths,
            "formats": self.formats,
            "same": self.same(),
            "spec": dict(self.spec),
            "expects": dict(self.expects),
            "tensors": tensors,
        }


def diff(a: str | Path, b: str | Path, spec: Spec | None = None) -> Difference:
    """Compares two checkpoints of any formats that ``weights.read`` knows.

    Args:
        a: path of the one.
        b: path of the other.
        spec: the network, for files that do not state it.

    Raises:
        InputError: one cannot be read, or states another network.
    """
    sides = [_Side(Path(path), spec) for path in (a, b)]
    first, second = sides
    names = {p.name: None for side in sides for p in side.schema.values()}
    return Difference(
        paths=(str(a), str(b)),
        formats=(first.format, second.format),
        spec=_fields(to_dict(first.spec), to_dict(second.spec)),
        expects=_fields(_expects(first.info), _expects(second.info)),
        tensors=tuple(_tensor(name, first, second) for name in names),
    )


class _Side:
    """One of the two files."""

    def __init__(self, path: Path, spec: Spec | None):
        self.spec, self.params = read(path, spec=spec if "spec" in format_of(path).reads_with else None)
        self.info: Info = self.params.info
        self.format = format_of(path).name
        self.schema: dict[str, Param] = {p.name: p for p in schema(self.spec)}
        self._dialect = {"keras": KERAS, "orbax": FLAX}.get(self.format, TORCH)
        if self.format in ("pytorch", "safetensors") and self.info.format in DIALECTS:
            dialects = named(self.info.format)
            knowing = (d for d in dialects if d.knows(self.spec))
            self._dialect = next(knowing, dialects[0])

    def stored(self, name: str) -> Stored | None:
        """A tensor as the file has it; None where the network has none of that name."""
        p = self.schema.get(name)
        if p is None:
            return None
        shape = self._dialect.shape(p)
        layout = {4: "OIHW", 2: "OI", 1: "C"}[len(p.shape)]
        if len(shape) > len(p.shape):
            layout += "11"  # a matrix kept as a 1x1 convolution
        elif len(shape) > 1 and (axes := self._dialect.axes.get(p.kind)):
            layout = "".join(layout[axis] for axis in axes)
        return Stored(str(self.params[name].dtype), shape, layout)


def _tensor(name: str, first: _Side, second: _Side) -> Tensor:
    stored = first.stored(name), second.stored(name)
    if None in stored:
        return Tensor(name=name, verdict="missing", stored=stored)
    a, b = first.params[name], second.params[name]
    if a.shape != b.shape:
        return Tensor(name=name, verdict="different", stored=stored)
    numbers = difference(a, b)
    verdict: Verdict = "different"
    if not numbers["count"]:
        verdict = "identical" if stored[0] == stored[1] and _same_bits(a, b) else "equal"
    elif any(_is_rounded(*pair, to) for pair in ((a, b), (b, a)) for to in ROUNDINGS):
        verdict = "rounded"
    return Tensor(name=name, verdict=verdict, stored=stored, size=a.size, **numbers)


_PIECE = 1 << 14
"""Numbers looked at together: few enough that what is computed of them stays near the processor."""


def _pieces(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Two arrays of one shape, piece by piece."""
    a, b = np.ascontiguousarray(a).reshape(-1), np.ascontiguousarray(b).reshape(-1)
    return ((a[i : i + _PIECE], b[i : i + _PIECE]) for i in range(0, a.size, _PIECE))


def _is_rounded(wide: np.ndarray, narrow: np.ndarray, to: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Whether rounding is all that happened; a number that became infinite was not rounded."""

    def rounded(wide: np.ndarray, narrow: np.ndarray) -> bool:
        found = to(wide)
        return np.array_equal(found, narrow, equal_nan=True) and np.array_equal(np.isinf(found), np.isinf(wide))

    return all(rounded(*pair) for pair in _pieces(wide, narrow))


def _cast(dtype: type[np.floating]) -> Callable[[np.ndarray], np.ndarray]:
    def to(numbers: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", under="ignore"):
            return numbers.astype(dtype)

    return to


ROUNDINGS = (_cast(np.float32), bfloat16.rounded, _cast(np.float16))
"""From numbers to those of a narrower dtype."""


def difference(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """How far two arrays of one shape are apart: ``count``, ``max_abs``, ``relative`` and ``ulp`` as of ``Tensor``.

    Values are widened to float64, which is exact; NaN equals NaN.
    """
    apart = [_apart(x, y) for x, y in _pieces(a, b) if not _same_bits(x, y)]
    count = sum(one.unequal for one in apart)
    if not count:
        return {"count": 0, "max_abs": 0.0, "relative": 0.0, "ulp": 0}
    off = max(one.off for one in apart)
    steps = [one.steps for one in apart]
    return {
        "count": count,
        "max_abs": off,
        "relative": off / max(map(_largest, (a, b))) if np.isfinite(off) else np.inf,
        "ulp": None if None in steps else max(step for step in steps if step is not None),
    }


class _Apart(NamedTuple):
    """How far two pieces are apart; of ``difference``."""

    unequal: int  # values
    off: float
    steps: int | None


def _apart(a: np.ndarray, b: np.ndarray) -> _Apart:
    unequal = a != b
    if not all(np.isfinite(side.min()) and np.isfinite(side.max()) for side in (a, b)):
        unequal &= ~(np.isnan(a) & np.isnan(b))
        a, b = a[unequal], b[unequal]
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return _Apart(len(a), np.inf, None)
    count = int(np.count_nonzero(unequal))
    if not count:
        return _Apart(0, 0.0, 0)
    gap = np.subtract(a, b, dtype=np.float64)
    return _Apart(count, float(max(gap.max(), -gap.min())), _steps(a, b))


def _largest(array: np.ndarray) -> float:
    """The largest absolute value that is finite."""
    low, high = float(array.min()), float(array.max())
    if np.isfinite(low) and np.isfinite(high):
        return max(-low, high)
    return float(np.abs(array[np.isfinite(array)]).max(initial=0))


def _steps(a: np.ndarray, b: np.ndarray) -> int | None:
    """Most float32 numbers between two: neighbours are 1 apart, also across 0."""
    with np.errstate(over="ignore"):
        places = [side.astype(np.float32, copy=False) for side in (a, b)]
    for single, side in zip(places, (a, b), strict=True):
        if side.dtype.itemsize > single.dtype.itemsize and not np.isfinite(single[a != b]).all():
            return None
    gap = np.subtract(*map(_place, places), dtype=np.int64)
    return int(max(gap.max(), -gap.min()))


def _place(single: np.ndarray) -> np.ndarray:
    """The places of float32 numbers in their order, 0 of both zeros: the bits of those of one sign are in order."""
    bits = single.view(np.int32)
    sign = bits >> 31  # -1 of negative ones
    return (bits ^ (sign & 0x7FFFFFFF)) - sign


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    if a.dtype != b.dtype:
        return False
    kind = np.dtype(f"u{a.dtype.itemsize}")
    return all(np.array_equal(x.view(kind), y.view(kind)) for x, y in _pieces(a, b))


def _expects(info: Info) -> dict[str, Any]:
    return {"preprocessing": info.preprocessing and asdict(info.preprocessing), "labels": info.labels}


def _fields(a: object, b: object, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Every leaf in which two pieces of plain data differ, by its dotted path."""
    if a == b:
        return {}
    inner: Iterator[tuple[Any, Any, Any]]
    match a, b:
        case dict(), dict():
            inner = ((key, a.get(key), b.get(key)) for key in a | b)
        case tuple() | list(), tuple() | list() if len(a) == len(b):
            inner = ((i, x, y) for i, (x, y) in enumerate(zip(a, b, strict=True)))
        case _:
            return {path: (a, b)}
    found: dict[str, tuple[Any, Any]] = {}
    for key, x, y in inner:
        found |= _fields(x, y, f"{path}.{key}" if path else str(key))
    return found
