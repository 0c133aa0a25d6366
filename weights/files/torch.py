"""PyTorch's checkpoint files (.pth, .pt), read and written without PyTorch.

Since PyTorch 1.6 a checkpoint is an uncompressed zip archive: ``data.pkl`` says which tensors there are, ``data/<key>``
holds the numbers of a storage. Before, it was a sequence of pickles with the numbers behind them. What we write also
holds ``senet.json``, which PyTorch passes over: the spec and what else travels with the values.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np

from weights import limits
from weights.change.as_it_is import as_it_is
from weights.errors import InputError
from weights.files import metadata, torch_pickle
from weights.files.state_dict import from_state, to_state
from weights.files.torch_pickle import Foreign, Storage, Tensor
from weights.files.weight_sets import choose, first_convolutions
from weights.names.frameworks import TORCH
from weights.names.state_dicts import named, told_apart
from weights.networks.spec import Spec
from weights.params import Checkpoint, info_of
from weights.storage import bfloat16, json_text
from weights.storage.archive import Archive, store
from weights.storage.contents import contents, sha256
from weights.storage.whole import replacing

_FOLDER = "archive"  # that all members stand in; PyTorch takes its name from the first of them
_METADATA = "senet.json"
NOTE = "senet"
"""Under this key a network of ``se_torch`` notes the metadata in its state dict, beside PyTorch's own version."""

_ALIGNED = 64  # numbers begin at multiples of so many bytes, so that they can be mapped
_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a pickled number begins the form before PyTorch 1.6
_FEW = 10 * limits.TENSORS  # instructions of the pickles around the one with the tensors
_LONGEST_KEY = 300  # that leads to weights
_DEEPEST = 5  # dictionary that is looked into for weights: trainers nest them in two or three


def read(
    path: Path, dialect: str | None = None, spec: Spec | None = None, weights_key: str | None = None
) -> Checkpoint:
    """Reads a checkpoint that holds a state dict, on its own or among other things, as training scripts keep it.

    What is no tensor is passed over; objects of other classes are neither imported nor run. What the network is, is
    stated by files that ``write`` wrote and by state dicts of ``se_torch``'s networks as they are; otherwise it is
    recognised.

    Args:
        path: of the file.
        dialect: see ``state_dict.from_state``.
        spec: the network, where the file does not state it.
        weights_key: which weights, where there are several sets.

    Returns:
        The arrays are read-only views of its bytes (bfloat16, which NumPy has not, as float32).

    Raises:
        InputError: damaged, holds no tensors or several networks, or they are of no network here.
    """
    data = contents(path)
    try:
        value, storages, strings = _load(data)
        sets = _sets(value)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    first = first_convolutions(named(dialect) if dialect else told_apart(), spec)
    chosen = choose(path, {where: _tensors(state) for where, state in sets.items()}, first, weights_key)
    noted = None if strings else _noted(sets[chosen.where], chosen.prefix)
    try:
        tensors = {name: _array(name, tensor, storages) for name, tensor in chosen.tensors.items()}
        _refuse_copies(tensors, len(data))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    said = strings or noted
    stated, info = metadata.decode(said, str(path), spec) if said else (spec, None)
    if noted and stated and info:
        shapes = {n: a.shape for n, a in tensors.items() if not n.endswith(".num_batches_tracked")}
        with suppress(InputError):  # then the comparison below says more
            stated, info = as_it_is(stated, info, TORCH, shapes, {})
    found = from_state(path, tensors, dialect, stated, info)
    info = replace(found.info, history=(*found.info.history, *chosen.history))
    if noted:
        info = metadata.as_saved(info, path.name, "state dict", sha256(data))
    found.params.info = info if said else replace(info, sha256=sha256(data))
    return found


def write(path: Path, spec: Spec, params: Mapping[str, np.ndarray], dialect: str = "torch") -> None:
    """Writes a state dict that ``torch.load(path, weights_only=True)`` returns as it is.

    Args:
        path: of the file.
        spec: the network.
        params: canonical; dtypes are kept.
        dialect: "torch" for ``se_torch``'s names, or "timm", "cadene" or "torchvision".

    Raises:
        InputError: the parameters do not fit, or the place cannot be written.
    """
    state = {name: np.asarray(array) for name, array in to_state(spec, params, dialect).items()}
    for name, array in state.items():
        if array.dtype.name not in torch_pickle.STORAGES.values():
            raise InputError(f"{path}: {name} is of dtype {array.dtype}, which PyTorch does not have")
    tensors = [(name, array.dtype.name, array.shape) for name, array in state.items()]
    strings = json.dumps(metadata.encode(spec, info_of(params)), indent=1)
    with replacing(path) as file, ZipFile(file, "w", ZIP_STORED) as archive:
        store(archive, f"{_FOLDER}/data.pkl", torch_pickle.dump(tensors), align=_ALIGNED)
        store(archive, f"{_FOLDER}/byteorder", b"little", align=_ALIGNED)
        for key, array in enumerate(state.values()):
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            store(archive, f"{_FOLDER}/data/{key}", little.reshape(-1).view(np.uint8).data, align=_ALIGNED)
        store(archive, f"{_FOLDER}/{_METADATA}", strings.encode(), align=_ALIGNED)
        store(archive, f"{_FOLDER}/version", b"3\n", align=_ALIGNED)


def _load(
    data: memoryview,
) -> tuple[Any, dict[str, tuple[np.dtype, memoryview]], dict[str, str] | None]:
    if not data:
        raise InputError("is empty")
    if bytes(data[:4]) == b"PK\x03\x04":
        return _archive(Archive(data, folder=True))
    return *_sequence(data), None


def _sets(value: Any) -> dict[str, dict[Any, Any]]:
    """Every dictionary that holds tensors, by the dotted keys that lead to it."""
    if isinstance(value, Foreign):
        raise InputError(
            f"the pickle asks for {value.name}, which a file of tensors does not need and which is not run; "
            "save model.state_dict() alone, with torch.save"
        )
    if not isinstance(value, dict) or not value:
        raise InputError(f"holds a {type(value).__name__.lower()}, expected the dictionary of model.state_dict()")
    found: dict[str, dict[Any, Any]] = {}
    seen: set[int] = set()
    level = {"": value}
    for _ in range(_DEEPEST):
        below: dict[str, dict[Any, Any]] = {}
        for where, inner in level.items():
            if id(inner) in seen and where not in found:
                continue  # a dictionary may hold itself
            seen.add(id(inner))
            if _tensors(inner):
                found[where] = inner
            for key, entry in inner.items():
                if isinstance(entry, dict) and len(at := f"{where}.{key}" if where else str(key)) <= _LONGEST_KEY:
                    below[at] = entry
        level = below
    if not found:
        name, entry = next(iter(value.items()))
        kind = entry.name if isinstance(entry, Foreign) else type(entry).__name__
        raise InputError(
            f"is no state dict: {str(name)[:80]!r} is a {kind}, expected a tensor; "
            "save model.state_dict() alone, with torch.save"
        )
    return found


def _tensors(state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The entries of a dictionary that are tensors; the others are no parameters."""
    return {name: t for name, t in state.items() if isinstance(name, str) and isinstance(t, Tensor)}


def _noted(state: Mapping[Any, Any], prefix: str) -> dict[str, str] | None:
    """What a network of ``se_torch`` noted about itself in its state dict."""
    notes = getattr(state, "notes", None)
    module = notes.get(prefix) if isinstance(notes, dict) else None
    strings = module.get(NOTE) if isinstance(module, dict) else None
    if not isinstance(strings, dict) or not all(isinstance(text, str) for text in strings.values()):
        return None
    return {str(key): text for key, text in strings.items()}


def _array(name: str, tensor: Tensor, storages: Mapping[str, tuple[np.dtype, memoryview]]) -> np.ndarray:
    storage = tensor.storage
    if storage.key not in storages:
        raise InputError(f"the numbers of {name} (storage {storage.key[:40]!r}) are missing")
    dtype, data = storages[storage.key]
    if dtype.itemsize * storage.size > len(data):
        raise InputError(f"{name} lies in {storage.size} numbers, the file has {len(data) // dtype.itemsize}: cut off")
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
    if not 0 < prod(tensor.shape) <= storage.size or last >= storage.size:
        raise InputError(f"{name} of shape {tensor.shape} does not lie within its {storage.size} numbers")
    flat = np.frombuffer(data, dtype, storage.size)[tensor.offset :]
    steps = [step * dtype.itemsize for step in tensor.stride]
    return np.lib.stride_tricks.as_strided(flat, tensor.shape, steps, writeable=False)


def _refuse_copies(tensors: Mapping[str, np.ndarray], size: int) -> None:
    """Refuses tensors that lie in the same numbers, as layers of a small file that say they are large."""
    if len(tensors) > limits.TENSORS:
        raise InputError(f"has {len(tensors):,} tensors, at most {limits.TENSORS:,} are read")
    total = sum(array.nbytes for array in tensors.values())
    if total > size:
        raise InputError(f"its tensors lie in each other: they have {total:,} bytes together, the file has {size:,}")


def _dtype(storage: Storage, order: str) -> np.dtype:
    return (bfloat16.DTYPE if storage.dtype == "bfloat16" else np.dtype(storage.dtype)).newbyteorder(order)  # type: ignore[arg-type]


# The zip archive of PyTorch 1.6 and later.


def _archive(records: Archive) -> tuple[Any, dict[str, tuple[np.dtype, memoryview]], dict[str, str] | None]:
    if "constants.pkl" in records:
        raise InputError("is a TorchScript program, not a checkpoint; save model.state_dict() with torch.save")
    if "data.pkl" not in records:
        raise InputError("is a zip archive, but not one that torch.save wrote: it has no data.pkl")
    value, wanted, _ = torch_pickle.load(records["data.pkl"])
    order = "<"
    if "byteorder" in records:
        order = {b"little": "<", b"big": ">"}.get(bytes(records["byteorder"]), "?")
        if order == "?":
            raise InputError("states a byte order that is neither little nor big")
    storages = {}
    for key, storage in wanted.items():
        if f"data/{key}" in records:
            storages[key] = (_dtype(storage, order), records[f"data/{key}"])
    strings = None
    if _METADATA in records:
        with suppress(InputError):
            strings = json_text.parse(records[_METADATA])
        if not isinstance(strings, dict) or not all(isinstance(text, str) for text in strings.values()):
            raise InputError(f"its {_METADATA} is damaged")
    return value, storages, strings


# The sequence of pickles of PyTorch before 1.6.


def _sequence(data: memoryview) -> tuple[Any, dict[str, tuple[np.dtype, memoryview]]]:
    if bytes(data[: len(_MAGIC)]) != _MAGIC:
        raise InputError("is no checkpoint of PyTorch: neither a zip archive nor the older sequence of pickles")
    protocol, _, position = torch_pickle.load(data, len(_MAGIC), _FEW)
    system, _, position = torch_pickle.load(data, position, _FEW)
    if protocol != 1001 or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise InputError("is a checkpoint of PyTorch of a protocol or byte order that is not known here")
    value, wanted, position = torch_pickle.load(data, position)
    keys, _, position = torch_pickle.load(data, position, _FEW)
    storages = {}
    for key in keys if isinstance(keys, list) else ():
        if not isinstance(key, str) or key not in wanted:
            what = f"numbers {key[:40]!r}" if isinstance(key, str) else f"numbers, named by a {type(key).__name__}"
            raise InputError(f"is damaged: no tensor lies in its {what}")
        dtype = _dtype(wanted[key], "<")
        size = int.from_bytes(data[position : position + 8], "little", signed=True)
        start, position = position + 8, position + 8 + size * dtype.itemsize
        if size < 0 or position > len(data):
            raise InputError(f"is cut off or damaged: {size} numbers announced at byte {start} of {len(data)}")
        storages[key] = (dtype, data[start:position])
    return value, storages
