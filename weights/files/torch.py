"""PyTorch's checkpoint files (.pth, .pt), read and written without PyTorch.

Since PyTorch 1.6 a checkpoint is an uncompressed zip archive: ``data.pkl`` says which tensors there are, ``data/<key>``
holds the numbers of a storage. Before, it was a sequence of pickles with the numbers behind them. What we write also
holds ``senet.json``, which PyTorch passes over: the spec and what else travels with the values.
"""

import hashlib
import json
import mmap
import os
import struct
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np

from weights.errors import InputError
from weights.files import metadata, torch_pickle
from weights.files.state_dict import from_state, to_state
from weights.files.torch_pickle import Storage, Tensor
from weights.networks.spec import Spec
from weights.params import Params, info_of
from weights.storage.whole import reading, replacing

_METADATA = "senet.json"
_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a pickled number begins the form before PyTorch 1.6
_NESTED = ("state_dict", "model_state_dict", "model")  # where training scripts keep the state dict


def read(path: Path, dialect: str | None = None, spec: Spec | None = None) -> tuple[Spec, Params]:
    """Reads a checkpoint that holds a state dict, on its own or under "state_dict" or "model".

    Args:
        path: of the file.
        dialect: see ``state_dict.from_state``.
        spec: the network, where the file does not state it and it is none of ``MODELS``.

    Returns:
        The arrays are read-only views of the mapped file (bfloat16, which NumPy has not, as float32).

    Raises:
        InputError: damaged, holds other things than tensors, or they are of no network here.
    """
    with reading(path) as file:
        try:
            if not os.fstat(file.fileno()).st_size:
                raise InputError("is empty")
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            tensors, strings = _load(file, data)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    if strings is None:
        found, params = from_state(path, tensors, dialect, spec)
        params.info = replace(params.info, sha256=hashlib.sha256(data).hexdigest())
        return found, params
    stated, info = metadata.decode(strings, str(path))
    return from_state(path, tensors, dialect, stated, info)


def write(path: Path, spec: Spec, params: Mapping[str, np.ndarray], dialect: str = "torch") -> None:
    """Writes a state dict that ``torch.load(path, weights_only=True)`` returns as it is.

    Args:
        path: of the file.
        spec: the network.
        params: canonical; dtypes are kept.
        dialect: "torch" for ``se_torch``'s names, or "timm" or "cadene".

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
        _store(archive, "data.pkl", torch_pickle.dump(tensors))
        _store(archive, "byteorder", b"little")
        for key, array in enumerate(state.values()):
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            _store(archive, f"data/{key}", little.reshape(-1).view(np.uint8).data)
        _store(archive, _METADATA, strings.encode())
        _store(archive, "version", b"3\n")


def _store(archive: ZipFile, name: str, data: bytes | memoryview) -> None:
    entry = ZipInfo(f"archive/{name}")  # PyTorch takes the folder's name from the first entry
    start = archive.fp.tell() + 30 + len(entry.filename) + 4  # type: ignore[union-attr]
    padding = -start % 64  # numbers begin at multiples of 64 bytes, so that they can be mapped
    entry.extra = struct.pack("<2sH", b"FB", padding) + bytes(padding)
    entry.file_size = len(data)
    with archive.open(entry, "w") as file:
        file.write(data)


def _load(file: BinaryIO, data: memoryview) -> tuple[dict[str, np.ndarray], dict[str, str] | None]:
    strings = None
    if bytes(data[:4]) == b"PK\x03\x04":
        value, storages, strings = _archive(_records(file, data))
    else:
        value, storages = _sequence(data)
    return {name: _array(name, tensor, storages) for name, tensor in _state_dict(value).items()}, strings


def _state_dict(value: Any) -> dict[str, Tensor]:
    for key in _NESTED:
        if isinstance(value, dict) and isinstance(value.get(key), dict):
            value = value[key]
            break
    if not isinstance(value, dict) or not value:
        raise InputError(f"holds a {type(value).__name__.lower()}, expected the dictionary of model.state_dict()")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise InputError(
                f"is no state dict: {str(name)[:80]!r} is a {type(tensor).__name__}, expected a tensor; "
                "save model.state_dict() alone, with torch.save"
            )
    return value


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
    array = np.lib.stride_tricks.as_strided(flat, tensor.shape, steps, writeable=False)
    if storage.dtype == "bfloat16":
        return (array.astype("<u4") << 16).view("<f4")
    return array


def _dtype(storage: Storage, order: str) -> np.dtype:
    name = "uint16" if storage.dtype == "bfloat16" else storage.dtype
    return np.dtype(name).newbyteorder(order)  # type: ignore[arg-type]


# The zip archive of PyTorch 1.6 and later.


def _records(file: BinaryIO, data: memoryview) -> dict[str, tuple[memoryview, int]]:
    """Name without the leading folder -> bytes and their checksum."""
    try:
        with ZipFile(file) as archive:
            entries = archive.infolist()
    except (BadZipFile, ValueError, NotImplementedError, EOFError, struct.error, OverflowError) as error:
        raise InputError(f"is a damaged or cut off zip archive: {error}") from None
    records = {}
    for entry in entries:
        start = entry.header_offset
        header = bytes(data[start : start + 30]) if start >= 0 else b""
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise InputError(f"is a damaged zip archive: {entry.filename[:80]!r} is not where its directory says")
        if entry.compress_type != ZIP_STORED or entry.flag_bits & 1:
            raise InputError(f"{entry.filename[:80]!r} is compressed or encrypted, which PyTorch never does")
        begin = start + 30 + sum(struct.unpack_from("<HH", header, 26))
        if begin + entry.file_size > len(data):
            raise InputError(f"is cut off: {entry.filename[:80]!r} reaches beyond the end of the file")
        _, _, name = entry.filename.partition("/")
        records[name] = (data[begin : begin + entry.file_size], entry.CRC)
    return records


def _archive(
    records: Mapping[str, tuple[memoryview, int]],
) -> tuple[Any, dict[str, tuple[np.dtype, memoryview]], dict[str, str] | None]:
    if "constants.pkl" in records:
        raise InputError("is a TorchScript program, not a checkpoint; save model.state_dict() with torch.save")
    if "data.pkl" not in records:
        raise InputError("is a zip archive, but not one that torch.save wrote: it has no data.pkl")
    value, wanted, _ = torch_pickle.load(_checked(records, "data.pkl"))
    order = "<"
    if "byteorder" in records:
        order = {b"little": "<", b"big": ">"}.get(bytes(_checked(records, "byteorder")), "?")
        if order == "?":
            raise InputError("states a byte order that is neither little nor big")
    storages = {}
    for key, storage in wanted.items():
        if f"data/{key}" in records:
            storages[key] = (_dtype(storage, order), _checked(records, f"data/{key}"))
    strings = None
    if _METADATA in records:
        with suppress(ValueError):
            strings = json.loads(bytes(_checked(records, _METADATA)))
        if not isinstance(strings, dict) or not all(isinstance(text, str) for text in strings.values()):
            raise InputError(f"its {_METADATA} is damaged")
    return value, storages, strings


def _checked(records: Mapping[str, tuple[memoryview, int]], name: str) -> memoryview:
    data, checksum = records[name]
    if zlib.crc32(data) != checksum:
        raise InputError(f"is damaged: the checksum of {name} does not match")
    return data


# The sequence of pickles of PyTorch before 1.6.


def _sequence(data: memoryview) -> tuple[Any, dict[str, tuple[np.dtype, memoryview]]]:
    if bytes(data[: len(_MAGIC)]) != _MAGIC:
        raise InputError("is no checkpoint of PyTorch: neither a zip archive nor the older sequence of pickles")
    protocol, _, position = torch_pickle.load(data, len(_MAGIC))
    system, _, position = torch_pickle.load(data, position)
    if protocol != 1001 or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise InputError("is a checkpoint of PyTorch of a protocol or byte order that is not known here")
    value, wanted, position = torch_pickle.load(data, position)
    keys, _, position = torch_pickle.load(data, position)
    storages = {}
    for key in keys if isinstance(keys, list) else ():
        if key not in wanted:
            raise InputError(f"is damaged: no tensor lies in its numbers {str(key)[:40]!r}")
        dtype = _dtype(wanted[key], "<")
        size = int.from_bytes(data[position : position + 8], "little", signed=True)
        start, position = position + 8, position + 8 + size * dtype.itemsize
        if size < 0 or position > len(data):
            raise InputError(f"is cut off or damaged: {size} numbers announced at byte {start} of {len(data)}")
        storages[key] = (dtype, data[start:position])
    return value, storages
