"""Golden files: the answers of a network, kept for years, by which an adapter is judged without the reference.

A safetensors file of some hundred kilobytes. Of every output of a node and every gradient, in float64 by the NumPy
reference, it has 32 values and four numbers about all of them; the input, the cotangent and the logits are whole. Its
metadata says which network and weights (a checksum of each tensor), and with which versions it was made.

    input       (N, 3, H, W) float32
    cotangent   (N, classes) float64     gradients are those of sum(logits * cotangent)
    output      (N, classes) float64     the logits, or the pooled features (N, C)
    taps/index  (nodes, 32) int32        places in the flattened tensor, N C H W
    taps/value  (nodes, 36) float64      the values there; mean, mean |a|, max |a|, root mean square
    gradients/index, gradients/value     the same of the gradients
    senet.golden                         the version of this format, "1"
    senet.record                         JSON: "spec", "weights" (what they are), "seed" (of the weights, or null),
                                         "taps" and "gradients" (name to shape, in the order of the rows),
                                         "checksums" (parameter to SHA-256 of its float64 values), "versions"
"""

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from conformance import cases
from conformance.judge.compare import Conditions, answered
from conformance.judge.memory import check_memory
from conformance.judge.question import Backward, Forward, Given
from weights.errors import InputError
from weights.files import read as read_checkpoint
from weights.files.safetensors import load_tensors, save_tensors
from weights.networks.models import MODELS, from_dict, to_dict
from weights.networks.network import graph
from weights.networks.parameters import schema
from weights.networks.sizes import shapes
from weights.networks.spec import Spec
from weights.params import CAFFE, Checkpoint, Params, is_count
from weights.storage import json_text

MARK = "senet.golden"
VERSION = "1"
SAMPLES = 32
_HERE = Conditions(isolated=False)


@dataclass(frozen=True, slots=True)
class Sampled:
    """Some values of one tensor, and four numbers about all of them."""

    shape: tuple[int, ...]
    index: np.ndarray  # (SAMPLES,)
    value: np.ndarray  # (SAMPLES + 4,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """What a golden file holds; the names are those of the file."""

    spec: Spec
    x: np.ndarray
    cotangent: np.ndarray
    output: np.ndarray
    taps: Mapping[str, Sampled]
    gradients: Mapping[str, Sampled]  # in the order in which they come about
    weights: str
    seed: int | None
    checksums: Mapping[str, str]
    versions: Mapping[str, str]


def freeze(
    source: str | Path,
    path: str | Path,
    *,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    batch: int = 2,
    conditions: Conditions = _HERE,
    reading: Callable[[Path], Checkpoint] = read_checkpoint,
) -> Golden:
    """Writes a golden file.

    Args:
        source: a network's name (its weights are then drawn), or a checkpoint of any format.
        seed: of the weights, if they are drawn; the image is drawn from the next one, the cotangent from the one after.
        size: height and width of the images; else one smaller than what the checkpoint expects, and not square: 160x96.
        batch: images.
        conditions: how the reference is asked.
        reading: how the checkpoint is read.

    Raises:
        InputError: there is no such network or file, it cannot take the size, its values are not finite, or the place
            cannot be written.
    """
    if is_name(source):
        spec = cases.find(str(source))
        params: Params = cases.seeded(spec, seed)
        what, drawn = f"drawn by conformance.cases.seeded, seed {seed}", seed
    else:
        spec, params = reading(Path(source))
        what, drawn = f"{params.info.source or Path(source).name}, sha256 {params.info.sha256 or 'not known'}", None
    crop = (params.info.preprocessing or CAFFE).crop
    shape = (batch, spec.in_channels, *(size or cases.oblong(spec, spec.only_size or (crop, crop))))
    check_memory(spec, shape)
    x = cases.image(seed + 1, batch, *shape[2:], spec.in_channels)
    taps = answered("numpy", Given(spec.network(), params, "float64", Forward(x)), conditions)
    output = list(taps.values())[-1]
    cotangent = cases.top_diff(seed + 2, batch, output.shape[1])
    found = answered("numpy", Given(spec.network(), params, "float64", Backward(x, cotangent)), conditions)
    for name, array in {**taps, **found}.items():
        if not np.isfinite(array).all():
            raise InputError(f"{source}: {name} of {spec.name} is not finite: there is nothing to keep")
    rng = np.random.default_rng(seed + 3)
    golden = Golden(
        spec=spec,
        x=x,
        cotangent=cotangent,
        output=output,
        taps={name: sample(array, rng) for name, array in taps.items()},
        gradients={name: sample(array, rng) for name, array in found.items()},
        weights=what,
        seed=drawn,
        checksums={p.name: checksum(params[p.name]) for p in schema(spec)},
        versions={"senet": version("senet"), "numpy": np.__version__, "Python": platform.python_version()},
    )
    _write(Path(path), golden)
    return golden


def is_name(source: str | Path) -> bool:
    """Whether ``freeze`` takes this for a network's name."""
    return str(source) in {**MODELS, **cases.TINY}


def sample(array: np.ndarray, rng: np.random.Generator) -> Sampled:
    """Draws SAMPLES values; smaller tensors repeat theirs."""
    few = array.size <= SAMPLES
    index = np.resize(np.arange(array.size), SAMPLES) if few else rng.choice(array.size, SAMPLES, replace=False)
    index = np.sort(index).astype(np.int32)
    return Sampled(array.shape, index, digest(array, index))


def digest(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Values at flat places, then mean, mean |a|, max |a| and root mean square.

    None of them moves by more than the largest error of a value, so the bound for values is one for these.
    """
    flat = np.asarray(array, np.float64).reshape(-1)
    size = np.abs(flat)
    return np.append(flat[index], [flat.mean(), size.mean(), size.max(), np.sqrt(np.square(flat).mean())])


def checksum(array: np.ndarray) -> str:
    """SHA-256 of the values as little-endian float64: of the numbers, whatever dtype they are stored in."""
    values = np.ascontiguousarray(array, "<f8") + 0.0  # -0.0 becomes 0.0
    return hashlib.sha256(values.data).hexdigest()


def _write(path: Path, golden: Golden) -> None:
    record = {
        "spec": to_dict(golden.spec),
        "weights": golden.weights,
        "seed": golden.seed,
        "taps": {name: s.shape for name, s in golden.taps.items()},
        "gradients": {name: s.shape for name, s in golden.gradients.items()},
        "checksums": golden.checksums,
        "versions": golden.versions,
    }
    tensors = {"input": golden.x, "cotangent": golden.cotangent, "output": golden.output}
    for what, table in (("taps", golden.taps), ("gradients", golden.gradients)):
        tensors[f"{what}/index"] = np.stack([s.index for s in table.values()])
        tensors[f"{what}/value"] = np.stack([s.value for s in table.values()])
    save_tensors(path, tensors, {MARK: VERSION, "senet.record": json.dumps(record)})


def read(path: str | Path) -> Golden:
    """A golden file.

    Raises:
        InputError: there is none, it is something else, or it is damaged.
    """
    tensors, strings = load_tensors(Path(path))
    if MARK not in strings:
        raise InputError(f"{path}: is no golden file: its metadata has no {MARK!r}; 'senet freeze' writes them")
    if strings[MARK] != VERSION:
        raise InputError(
            f"{path}: is of golden version {strings[MARK]!r}, this program reads {VERSION!r}; update senet"
        )
    try:
        record = json_text.parse(strings["senet.record"])
        golden = Golden(
            spec=from_dict(record["spec"]),
            x=tensors["input"].copy(),  # frameworks want arrays that can be written
            cotangent=tensors["cotangent"].copy(),
            output=tensors["output"],
            taps=_table(record["taps"], tensors, "taps"),
            gradients=_table(record["gradients"], tensors, "gradients"),
            weights=str(record["weights"]),
            seed=record["seed"],
            checksums=record["checksums"],
            versions=record["versions"],
        )
        _check(golden)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{path}: damaged: {error}") from None
    return golden


def _table(rows: Mapping[str, Any], tensors: Mapping[str, np.ndarray], what: str) -> dict[str, Sampled]:
    index, value = tensors[f"{what}/index"], tensors[f"{what}/value"]
    if index.shape != (len(rows), SAMPLES) or value.shape != (len(rows), SAMPLES + 4):
        raise ValueError(f"{what} has tables {index.shape} and {value.shape} of {len(rows)} rows")
    return {name: Sampled(tuple(shape), index[i], value[i]) for i, (name, shape) in enumerate(rows.items())}


def _arrays(golden: Golden) -> Iterator[tuple[str, np.ndarray]]:
    """All arrays of numbers, by what they are."""
    yield from (("input", golden.x), ("cotangent", golden.cotangent), ("output", golden.output))
    for what, table in (("taps", golden.taps), ("gradients", golden.gradients)):
        for name, sampled in table.items():
            yield from ((f"{what} {name}", sampled.value), (f"{what} {name} index", sampled.index))


def _check(golden: Golden) -> None:
    """Raises a ValueError unless the file has every tensor of the network, in its shape, and all are numbers."""
    for name, array in _arrays(golden):
        kinds = "iu" if name.endswith("index") else "f"
        if array.dtype.kind not in kinds or not np.isfinite(array).all():
            raise ValueError(f"{name} is of {array.dtype} or not finite")
    for name, texts in (("checksums", golden.checksums), ("versions", golden.versions)):
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise ValueError(f"{name} are no texts by name")
    n, _, h, w = golden.x.shape
    if n < 1 or not (golden.seed is None or is_count(golden.seed)):
        raise ValueError(f"it has {n} images and the seed {golden.seed!r:.100}")
    sizes = shapes(golden.spec, h, w)
    taps = {node.name: (n, *sizes[node.name]) for node in graph(golden.spec)}
    learnable = {p.name: p.shape for p in schema(golden.spec) if p.learnable}
    for what, found, expected in (
        ("taps", golden.taps, taps),
        ("gradients", golden.gradients, {"data": golden.x.shape, **learnable}),
    ):
        if {name: s.shape for name, s in found.items()} != expected:
            raise ValueError(f"{what} are not those of {golden.spec.name}")
        if any(not 0 <= s.index.min() <= s.index.max() < np.prod(s.shape) for s in found.values()):
            raise ValueError(f"{what} have values at places outside of their tensors")
    if set(golden.checksums) != {p.name for p in schema(golden.spec)}:
        raise ValueError(f"checksums are not those of {golden.spec.name}")
    output = list(taps.values())[-1]
    if golden.output.shape != output or golden.cotangent.shape != output:
        raise ValueError(f"output and cotangent are {golden.output.shape}, {golden.cotangent.shape}, expected {output}")
