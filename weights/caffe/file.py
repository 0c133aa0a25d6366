"""Caffe's weights files: read at the wire from a memory map, written as a stream.

Every form that Caffe 1.0 reads is read, and comes out in the form of Caffe 1.0. Where Caffe would be silent about
damage, this raises or warns.
"""

import mmap
import os
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from weights.caffe import hdf5 as caffe_hdf5
from weights.caffe.schema import MESSAGES
from weights.caffe.upgrade import upgrade
from weights.caffe.wire import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Budget,
    Message,
    decode,
    encode,
    encode_field,
    signed,
    tag,
    to_varint,
    varint,
)
from weights.errors import InputError, InputWarning
from weights.storage.signatures import looks_like
from weights.storage.whole import reading, replacing

_LIMIT = 2**31 - 1  # bytes of a file, values of a blob, one dimension: all are int32 in Caffe
_AXES = 32
_RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2"}  # of NVIDIA's fork, which OpenCV's shrinkCaffeModel writes too
_RAW_TYPE, _RAW_DATA = 10, 12
_RECORDS = {5: (4, FIXED32), 6: (4, FIXED32), 8: (8, FIXED64), 9: (8, FIXED64)}  # data, diff, double_data, double_diff
_DATA, _SHAPE, _DOUBLE_DATA, _BLOBS = 5, 7, 8, 7
_OWN = ("name", "type", "bottom", "top", "blobs")
_NET, _LAYER = MESSAGES["NetParameter"], MESSAGES["LayerParameter"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a Caffe network. Two layers are equal when their definitions are, whatever the blobs."""

    name: str
    type: str  # "" where the file does not say it
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)  # the rest of the LayerParameter, see caffe_proto
    blobs: tuple[np.ndarray, ...] = field(default=(), compare=False)  # float32 or float64
    legacy: frozenset[int] = field(default=frozenset(), compare=False)  # blobs that have num, channels, height, width

    def fits(self, index: int, wanted: Sequence[int]) -> bool:
        """Whether Caffe would load a blob as one of shape ``wanted``: equal or, for a legacy one, from the end."""
        stored = self.blobs[index].shape
        return fits(stored, wanted) if index in self.legacy else stored == tuple(wanted)


@dataclass(frozen=True, slots=True)
class Net:
    """A Caffe network, its layers in the order of the file."""

    name: str
    layers: tuple[Layer, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)  # the rest of the NetParameter
    form: str = "V2"  # what the file was in: "V0", "V1", "V2" or "HDF5"
    data: memoryview = field(default=memoryview(b""), compare=False, repr=False)  # the bytes of the file, mapped


def fits(legacy: Sequence[int], wanted: Sequence[int]) -> bool:
    """Caffe's rule for the four legacy dimensions: the shape wanted, ones in front of it (1,1,1,N for N)."""
    return len(wanted) <= 4 and tuple(legacy) == (1,) * (4 - len(wanted)) + tuple(wanted)


def load(path: str | Path) -> Net:
    """Reads a .caffemodel of any form: V0, V1, V2 or HDF5, told by the contents.

    Returns:
        The network upgraded to the form of Caffe 1.0. Blobs are read-only views of the mapped file where it has their
        values in one piece (not aligned in memory), with the dimensions that the file states.

    Raises:
        InputError: damaged, not a Caffe file, or without a layer or a blob; with the file, the layer, what was
            expected and found.

    Warns:
        InputWarning: zero bytes after the end; several layers of one name, of which the last counts as in Caffe.
    """
    with reading(path) as file:
        try:
            data = _mapped(file)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        try:
            net = _hdf5_net(path) if caffe_hdf5.is_hdf5(data) else _parse(str(path), data)
        except InputError as error:
            hint = None if caffe_hdf5.is_hdf5(data) else looks_like(bytes(data[:512]))
            found = f"this is {hint}; a .caffemodel was expected" if hint else error
            raise InputError(f"{path}: {found}") from None
    return replace(net, layers=_last_of_each_name(str(path), net.layers), data=data)


def upgraded(net: Mapping[str, Any], source: str) -> Net:
    """A network definition as a dict of NetParameter (from text, say), old forms upgraded.

    Raises:
        InputError: it cannot be upgraded; the message begins with ``source``.
    """
    try:
        return _net(*upgrade(net), _no_blob)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def save(path: str | Path, net: Net) -> None:
    """Writes a binary file as Caffe 1.0 does (of the same network, byte for byte): definitions and blobs in V2 form.

    float32 blobs become ``data``, float64 ``double_data``; legacy ones keep their four dimensions. Blobs go to the
    file one at a time, from where they lie.

    Raises:
        InputError: more than protobuf's 2 GiB, settings or blobs that the format cannot hold, or a place that cannot
            be written; what stood at ``path`` is then unchanged.
    """
    try:
        head = encode("NetParameter", {"name": net.name, **net.settings})
        layers = [_Written(layer) for layer in net.layers]
    except InputError as error:
        raise InputError(f"{path}: cannot be written: {error}") from None
    size = len(head) + sum(layer.size for layer in layers)
    if size > _LIMIT:
        raise InputError(f"{path}: cannot be written: {size:,} bytes are more than the 2 GiB - 1 that Caffe can read")
    with replacing(path) as file:
        file.write(head)
        for layer in layers:
            layer.write(file)


def _mapped(file: BinaryIO) -> memoryview:
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise InputError("is empty; download or copy it again")
    if size > _LIMIT and not caffe_hdf5.is_hdf5(file.read(8)):
        raise InputError(f"has {size:,} bytes; Caffe's binary files end below 2 GiB")
    try:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be mapped into memory: {error}") from error


def _hdf5_net(path: str | Path) -> Net:
    """A network of layers without definitions."""
    layers = tuple(Layer(name, "", (), (), {}, blobs) for name, blobs in caffe_hdf5.blobs(path))
    return _not_empty(Net("", layers, {}, "HDF5"))


def _parse(path: str, data: memoryview) -> Net:
    budget = Budget()
    message = Message(data, 0, len(data), budget, top=True)
    net, form = upgrade(decode("NetParameter", message, spans=frozenset({"BlobProto"})))
    if message.at < len(data):
        rest = np.frombuffer(data, np.uint8, offset=message.at)
        if not message.at:
            raise InputError("is no .caffemodel: Caffe would stop at its first byte and silently load nothing")
        if rest.any():
            raise InputError(
                f"is damaged at byte {message.at:,}: Caffe would silently drop the {len(rest):,} bytes from there on"
            )
        warnings.warn(InputWarning(f"{path}: {len(rest):,} zero bytes follow the network; not used"), stacklevel=3)
    return _not_empty(_net(net, form, lambda place: _blob(Message(data, place[0], place[1], budget))))


def _not_empty(net: Net) -> Net:
    if not any(layer.blobs for layer in net.layers):
        what = f"{len(net.layers)} layers, but no weights" if net.layers else "no layers"
        raise InputError(f"is no usable weights file: it holds {what}")
    return net


def _net(net: dict[str, Any], form: str, blob: Callable[[Any], tuple[np.ndarray, bool]]) -> Net:
    """From a dict; ``blob`` makes of what stands there for a blob the array and whether it is a legacy one."""
    layers = []
    for message in net.pop("layer", []):
        name, blobs, legacy = message.get("name", ""), [], set()
        for i, place in enumerate(message.get("blobs", [])):
            try:
                array, old = blob(place)
            except InputError as error:
                raise InputError(f"layer {name!r}, blob {i}: {error}") from None
            blobs.append(array)
            if old:
                legacy.add(i)
        settings = {key: value for key, value in message.items() if key not in _OWN}
        bottoms, tops = tuple(message.get("bottom", ())), tuple(message.get("top", ()))
        layers.append(Layer(name, message.get("type", ""), bottoms, tops, settings, tuple(blobs), frozenset(legacy)))
    return Net(net.pop("name", ""), tuple(layers), net, form)


def _no_blob(_: Any) -> NoReturn:
    raise InputError("its values are in text form, which only a binary or HDF5 file can have here")


def _last_of_each_name(path: str, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Of several layers with blobs and the same name the last, in the place of the first."""
    names = Counter(layer.name for layer in layers)
    twice = {layer.name for layer in layers if layer.blobs and layer.name and names[layer.name] > 1}
    if not twice:
        return layers
    shown = ", ".join(sorted(twice)[:5]) + (", ..." if len(twice) > 5 else "")
    warnings.warn(
        InputWarning(f"{path}: several layers of the name {shown}; the last of each counts, as in Caffe"), stacklevel=3
    )
    last = {layer.name if layer.name in twice else i: layer for i, layer in enumerate(layers)}
    return tuple(last.values())


class _Values:
    """The numbers of a blob: a view of the file while they are in one piece, joined otherwise."""

    def __init__(self):
        self.bytes: memoryview | bytearray = memoryview(b"")

    def add(self, piece: memoryview | bytes) -> None:
        if not len(self.bytes):
            self.bytes = memoryview(piece)
        elif len(piece):
            if isinstance(self.bytes, memoryview):
                self.bytes = bytearray(self.bytes)
            self.bytes += piece


def _blob(message: Message) -> tuple[np.ndarray, bool]:
    """A BlobProto, and whether it has legacy dimensions."""
    data = message.data
    legacy, dims, raw_type = {}, [], None
    values = {number: _Values() for number in _RECORDS}
    raw: memoryview = memoryview(b"")
    for number, kind, begin, end in message:
        if number in _RECORDS:
            size, fixed = _RECORDS[number]
            if kind == BYTES:
                if (end - begin) % size:
                    raise InputError(f"is damaged: values of {size} bytes each cannot fill {end - begin:,} bytes")
                values[number].add(data[begin:end])
            elif kind == fixed:
                values[number].add(data[begin:end])
                values[number].add(_run(message, number, kind, size))
        elif number == _SHAPE and kind == BYTES:
            dims += _dims(Message(data, begin, end, message.budget), _AXES + 1 - len(dims))
        elif number <= 4 and kind == VARINT:
            legacy[number] = signed(begin)
        elif number == _RAW_TYPE and kind == VARINT:
            raw_type = begin
        elif number == _RAW_DATA and kind == BYTES:
            raw = data[begin:end]
    shape = tuple(legacy.get(number, 0) for number in (1, 2, 3, 4)) if legacy else tuple(dims)
    if len(values[_DOUBLE_DATA].bytes):
        found = np.frombuffer(values[_DOUBLE_DATA].bytes, "<f8")
    else:
        found = np.frombuffer(values[_DATA].bytes, "<f4")
        if not found.size and len(raw):
            found = _raw(raw, raw_type)
    return _shaped(found, shape, bool(legacy)), bool(legacy)


def _run(message: Message, number: int, kind: int, size: int) -> bytes:
    """The values of the fields that follow with the same one-byte tag, and moves the message past them."""
    rows = (message.end - message.at) // (size + 1)
    table = np.frombuffer(message.data, np.uint8, rows * (size + 1), message.at).reshape(rows, size + 1)
    count, step = 0, 64
    while count < rows:  # in growing steps, so that what is looked at is no more than what is found
        other = np.flatnonzero(table[count : count + step, 0] != (number << 3 | kind))
        if other.size:
            count += int(other[0])
            break
        count, step = min(count + step, rows), 2 * step
    message.at += count * (size + 1)
    return table[:count, 1:].tobytes()


def _dims(message: Message, limit: int) -> list[int]:
    """The dimensions of a BlobShape, no more than ``limit``."""
    dims = []
    for number, kind, begin, end in message:
        if number == 1 and kind == VARINT:
            dims.append(signed(begin))
        elif number == 1 and kind == BYTES:
            while begin < end and len(dims) < limit:
                value, begin = varint(message.data, begin, end)
                dims.append(signed(value))
    return dims[:limit]


def _raw(raw: memoryview, raw_type: int | None) -> np.ndarray:
    """Values in a field that only forks of Caffe have."""
    if raw_type not in _RAW_TYPES:
        stated = "no type" if raw_type is None else f"type {raw_type}"
        raise InputError(
            f"has its values in a form of a Caffe fork (field {_RAW_DATA}, {len(raw):,} bytes, {stated}) that cannot "
            "be read; have that fork write them as `data`"
        )
    dtype = np.dtype(_RAW_TYPES[raw_type])
    if len(raw) % dtype.itemsize:
        raise InputError(f"is damaged: {dtype.name} values cannot fill {len(raw):,} bytes")
    found = np.frombuffer(raw, dtype)
    return found.astype("<f4") if dtype.itemsize == 2 else found


def _shaped(values: np.ndarray, shape: tuple[int, ...], legacy: bool) -> np.ndarray:
    what = "x".join(map(str, shape)) or "() of one value"
    if legacy:
        what += " (num, channels, height, width; an absent one is 0)"
    if len(shape) > _AXES:
        raise InputError(f"has a shape of more than {_AXES} axes")
    for dim in shape:
        if not -_LIMIT - 1 <= dim <= _LIMIT:
            raise InputError(f"has the shape {what}; a dimension beyond 32 bits, which Caffe would cut to another one")
        if dim < 1:
            raise InputError(f"has the shape {what}; every dimension must be at least 1")
    if values.size != prod(shape):
        raise InputError(f"has the shape {what}; number of values expected {prod(shape):,}, found {values.size:,}")
    return values.reshape(shape)


class _Written:
    """A layer ready to be written: everything but the blobs' values, and the size with them."""

    def __init__(self, layer: Layer):
        fields = {"name": layer.name, "type": layer.type, "bottom": layer.bottoms, "top": layer.tops}
        fields = {**{key: value for key, value in fields.items() if value}, **layer.settings}
        try:
            before = {key: value for key, value in fields.items() if key in _LAYER and _LAYER[key].number < _BLOBS}
            self.before = encode("LayerParameter", before)
            self.after = encode("LayerParameter", {k: v for k, v in fields.items() if k not in before})
            self.blobs = [_pieces(blob, i in layer.legacy) for i, blob in enumerate(layer.blobs)]
        except InputError as error:
            raise InputError(f"layer {layer.name!r}: {error}") from None
        sizes = [sum(_bytes(piece) for piece in pieces) for pieces in self.blobs]
        self.heads = [tag(_BLOBS, BYTES) + to_varint(size) for size in sizes]
        body = len(self.before) + sum(map(len, self.heads)) + sum(sizes) + len(self.after)
        self.head = tag(_NET["layer"].number, BYTES) + to_varint(body)
        self.size = len(self.head) + body

    def write(self, file: BinaryIO) -> None:
        file.write(self.head + self.before)
        for head, pieces in zip(self.heads, self.blobs, strict=True):
            file.write(head)
            for piece in pieces:
                file.write(piece if isinstance(piece, bytes) else _memory(piece))
        file.write(self.after)


def _pieces(blob: np.ndarray, legacy: bool) -> tuple[bytes | np.ndarray, ...]:
    """A BlobProto in the order of its field numbers, the values as the array that has them."""
    if blob.dtype.kind != "f" or blob.itemsize not in (4, 8):
        raise InputError(f"a blob of {blob.dtype}; Caffe's are float32 or float64")
    if not blob.size or blob.ndim > _AXES or (legacy and blob.ndim != 4):
        raise InputError(f"a blob of shape {blob.shape}, which Caffe cannot hold")
    fields = MESSAGES["BlobProto"]
    if legacy:
        names = ("num", "channels", "height", "width")
        before, shape = b"".join(encode_field(fields[n], d) for n, d in zip(names, blob.shape, strict=True)), b""
    else:
        before, shape = b"", encode_field(fields["shape"], {"dim": list(blob.shape)})
    length = to_varint(blob.nbytes)
    if blob.itemsize == 4:
        return before + tag(_DATA, BYTES) + length, blob, shape
    return before + shape + tag(_DOUBLE_DATA, BYTES) + length, blob


def _bytes(piece: bytes | np.ndarray) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.nbytes


def _memory(blob: np.ndarray) -> memoryview:
    """The bytes of an array, little-endian in C order; the array's own memory where it is that already."""
    plain = np.ascontiguousarray(blob, blob.dtype.newbyteorder("<"))
    return plain.reshape(-1).view(np.uint8).data
