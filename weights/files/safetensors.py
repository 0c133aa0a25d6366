"""The canonical store: safetensors files (https://github.com/huggingface/safetensors) with everything in the metadata.

Canonical names, schema order, the dtypes of the values; Caffe blobs to be kept as they are stand under "caffe/".
"""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from weights import limits
from weights.errors import InputError
from weights.files import metadata
from weights.files.options import refuse
from weights.files.state_dict import from_state, to_state
from weights.networks.parameters import check, schema
from weights.networks.spec import Spec
from weights.params import Checkpoint, Params, info_of
from weights.storage import bfloat16, json_text
from weights.storage.contents import contents
from weights.storage.whole import reading, reason, replacing

_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": bfloat16.DTYPE,
}  # fmt: skip
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items() if name != "BF16"}
_RAW = "caffe/"
_DIALECT = "senet.dialect"
_Entry = tuple[tuple[str, tuple[int, ...]], int, int]  # (dtype, shape), where the values begin, where they end


def read(
    path: Path, dialect: str | None = None, spec: Spec | None = None, weights_key: str | None = None
) -> Checkpoint:
    """Reads a canonical file; any other safetensors file as a PyTorch state dict.

    Args:
        path: of the file.
        dialect: see ``state_dict.from_state``; refused for a file that says itself what its names are.
        spec: the network, where the file does not state it.
        weights_key: the prefix of the names, in a state dict of several networks.

    Returns:
        The arrays are read-only views of its bytes.

    Raises:
        InputError: damaged, of another version, or its tensors do not fit its spec.
    """
    tensors, strings = _views(contents(path), path)
    if metadata.MARK not in strings:
        return from_state(path, tensors, dialect, spec, weights_key=weights_key)
    named = strings.get(_DIALECT)
    stated, info = metadata.decode(strings, str(path), spec, dialect if dialect != named else None)
    refuse(path, "holds one network, whose names have no prefix", weights_key=weights_key)
    if named:
        return from_state(path, tensors, named, stated, info)
    blobs = {name.removeprefix(_RAW): tensors.pop(name) for name in list(tensors) if name.startswith(_RAW)}
    check(stated, tensors, str(path))
    values = ((p.name, bfloat16.plain(tensors[p.name])) for p in schema(stated))
    return Checkpoint(stated, Params(values, replace(info, blobs=blobs)))


def write(path: Path, spec: Spec, params: Mapping[str, np.ndarray], dialect: str | None = None) -> None:
    """Writes a canonical file, one array after the other.

    Args:
        dialect: writes a PyTorch state dict under that dialect's names instead, with the same metadata.

    Raises:
        InputError: the parameters do not fit the spec, or the place cannot be written.
    """
    check(spec, params, str(path))
    info = info_of(params)
    strings = metadata.encode(spec, info)
    if dialect:
        save_tensors(path, to_state(spec, params, dialect), strings | {_DIALECT: dialect})
        return
    tensors = {p.name: params[p.name] for p in schema(spec)}
    tensors |= {_RAW + name: blob for name, blob in info.blobs.items()}
    save_tensors(path, tensors, strings)


def load_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of any safetensors file, in the order of its header, and its metadata.

    Returns:
        Read-only views of its bytes; bfloat16, which NumPy has not, as float32 (exact).

    Raises:
        InputError: not a safetensors file, or a damaged one.
    """
    return tensors_in(contents(path), path)


def tensors_in(data: memoryview, path: Path | str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """As ``load_tensors``, of the bytes of a file; the arrays are views of them.

    Args:
        data: the whole file.
        path: what messages call it.

    Raises:
        InputError: as of ``load_tensors``.
    """
    tensors, strings = _views(data, path)
    return {name: bfloat16.plain(array) for name, array in tensors.items()}, strings


def _views(data: memoryview, path: Path | str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """As ``tensors_in``, but for bfloat16."""
    start = _start(path, data[:8], len(data))
    entries, strings = _header(path, data[8:start])
    _check_ends(path, entries, start, len(data))
    return {name: _tensor(data, start + begin, *kind) for name, (kind, begin, _) in entries.items()}, strings


def stated(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, of which only the header is read and compared with the file's size.

    Raises:
        InputError: as of ``load_tensors``.
    """
    with reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            start = _start(path, memoryview(file.read(8)), size)
            text = memoryview(file.read(start - 8))
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {reason(error, path)}") from error
    entries, strings = _header(path, text)
    _check_ends(path, entries, start, size)
    return strings


def _start(path: Path | str, first: memoryview, size: int) -> int:
    """Where the values begin in a file of so many bytes, by its first eight."""
    if size < 8:
        raise InputError(f"{path}: is no safetensors file: {size} bytes, at least 8 expected")
    start = 8 + int.from_bytes(first, "little")
    if start > size:
        raise InputError(
            f"{path}: is no safetensors file, or cut short: its header ends at byte {start}, the file at byte {size}"
        )
    if start - 8 > limits.TEXT:
        raise InputError(f"{path}: its header has {start - 8:,} bytes, at most {limits.TEXT:,} are read")
    return start


def _check_ends(path: Path | str, entries: Mapping[str, _Entry], start: int, size: int) -> None:
    """Whether the tensors fill the file without gaps."""
    end = 0
    for name, (_, begin, stop) in sorted(entries.items(), key=lambda item: item[1][1:]):
        if begin != end:
            raise InputError(f"{path}: damaged: {name} begins at byte {begin} of the data, expected {end}")
        end = stop
    if start + end != size:
        raise InputError(f"{path}: damaged: the tensors end at byte {start + end}, the file at byte {size}")


def save_tensors(path: Path, tensors: Mapping[str, np.ndarray], strings: Mapping[str, str]) -> None:
    """Writes a safetensors file; only arrays that are not contiguous are copied, one at a time.

    Raises:
        InputError: a dtype that the format has not, or the place cannot be written.
    """
    with replacing(path) as file:
        write_tensors(file, path, tensors, strings)


def write_tensors(
    file: BinaryIO, path: Path | str, tensors: Mapping[str, np.ndarray], strings: Mapping[str, str]
) -> None:
    """As ``save_tensors``, into a file that is open; ``path`` is what messages call it.

    Raises:
        InputError: a dtype that the format has not.
        OSError: the file cannot be written.
    """
    for name, array in tensors.items():
        if array.dtype.newbyteorder("<") not in _NAMES:
            raise InputError(f"{path}: {name} is {array.dtype}, which safetensors files cannot hold")
    header: dict[str, Any] = {"__metadata__": dict(strings)} if strings else {}
    header |= dict.fromkeys(tensors)  # listed in the order given
    # Wide dtypes first in the data, so that every tensor is aligned whatever the sizes before it.
    order = sorted(tensors, key=lambda name: -tensors[name].itemsize)
    end = 0
    for name in order:
        array = tensors[name]
        code = _NAMES[array.dtype.newbyteorder("<")]
        header[name] = {"dtype": code, "shape": array.shape, "data_offsets": (end, end + array.nbytes)}
        end += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > limits.TEXT:
        raise InputError(f"{path}: cannot be written: its header would have {len(text):,} bytes, more than are read")
    file.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        array = np.ascontiguousarray(tensors[name], dtype=tensors[name].dtype.newbyteorder("<"))
        file.write(array.reshape(-1).view(np.uint8).data)


def _header(path: Path | str, text: memoryview) -> tuple[dict[str, _Entry], dict[str, str]]:
    """What the header says of every tensor, and the metadata."""
    try:
        header = json_text.parse(text) if bytes(text[:1]) == b"{" else None
    except InputError as error:
        raise InputError(f"{path}: is no safetensors file, or a damaged one: its header {error}") from None
    if not isinstance(header, dict):
        raise InputError(f"{path}: is no safetensors file, or a damaged one: its header is not a JSON object")
    strings = header.pop("__metadata__", {})
    if not isinstance(strings, dict) or not all(isinstance(value, str) for value in strings.values()):
        raise InputError(f"{path}: damaged: its metadata does not map strings to strings")
    if len(header) > limits.TENSORS:
        raise InputError(f"{path}: has {len(header):,} tensors, at most {limits.TENSORS:,} are read")
    return {name: _entry(path, name, entry) for name, entry in header.items()}, strings


def _entry(path: Path | str, name: str, entry: object) -> _Entry:
    match entry:
        case {"dtype": str(code), "shape": [*shape], "data_offsets": [begin, end]} if all(
            type(n) is int and n >= 0 for n in (*shape, begin, end)
        ):
            pass
        case _:
            raise InputError(f"{path}: damaged: {name[:80]} is described by {json.dumps(entry)[:200]}")
    if code not in _DTYPES:
        raise InputError(f"{path}: {name} is of dtype {code[:20]!r}; those read are {', '.join(_DTYPES)}")
    if len(shape) > 32 or prod(max(n, 1) for n in shape) > 2**59:  # more than NumPy can describe, even when empty
        raise InputError(f"{path}: damaged: {name} has the shape {str(shape)[:200]}")
    if end - begin != prod(shape) * np.dtype(_DTYPES[code]).itemsize:
        raise InputError(f"{path}: damaged: {name}, {code} of shape {tuple(shape)}, has {end - begin} bytes")
    return (code, tuple(shape)), begin, end


def _tensor(data: memoryview, start: int, code: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(data, _DTYPES[code], prod(shape), start).reshape(shape)
