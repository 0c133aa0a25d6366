"""The values of Caffe's blobs: read as views of the file, written from where they lie."""

from math import prod

import numpy as np

from weights.caffe.schema import MESSAGES
from weights.caffe.wire import encode_field
from weights.errors import InputError
from weights.protobuf import BYTES, FIXED32, FIXED64, VARINT, Budget, Message, field_head, signed, varint

LIMIT = 2**31 - 1  # bytes of a file, values of a blob, one dimension: all are int32 in Caffe
_AXES = 32
_RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2"}  # of NVIDIA's fork, which OpenCV's shrinkCaffeModel writes too
_RAW_TYPE, _RAW_DATA = 10, 12
_RECORDS = {5: (4, FIXED32), 6: (4, FIXED32), 8: (8, FIXED64), 9: (8, FIXED64)}  # data, diff, double_data, double_diff
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8


class _Values:
    """The numbers of a blob: a view of the file while they are in one piece, joined otherwise."""

    def __init__(self, budget: Budget) -> None:
        self.bytes: memoryview | bytearray = memoryview(b"")
        self.budget = budget

    def add(self, piece: memoryview | bytes) -> None:
        if not len(self.bytes):
            self.bytes = memoryview(piece)
        elif len(piece):
            self.budget.copy(2 * len(piece))  # it may be a copy itself
            if isinstance(self.bytes, memoryview):
                self.budget.copy(len(self.bytes))
                self.bytes = bytearray(self.bytes)
            self.bytes += piece


def read_blob(message: Message) -> tuple[np.ndarray, bool]:
    """A BlobProto, and whether it has legacy dimensions."""
    data = message.data
    legacy, dims, raw_type = {}, [], None
    values = {number: _Values(message.budget) for number in (_DATA, _DOUBLE_DATA)}
    raw: memoryview = memoryview(b"")
    for number, kind, begin, end in message:
        if number in _RECORDS:
            size, fixed = _RECORDS[number]
            if kind == BYTES:
                if (end - begin) % size:
                    raise InputError(f"is damaged: values of {size} bytes each cannot fill {end - begin:,} bytes")
                pieces = [data[begin:end]]
            elif kind == fixed:
                pieces = [data[begin:end], _run(message, number, kind, size)]
            else:
                continue
            for piece in pieces if number in values else ():  # the others are gradients
                values[number].add(piece)
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
            message.budget.copy(2 * len(raw))
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
        if not -LIMIT - 1 <= dim <= LIMIT:
            raise InputError(f"has the shape {what}; a dimension beyond 32 bits, which Caffe would cut to another one")
        if dim < 1:
            raise InputError(f"has the shape {what}; every dimension must be at least 1")
    if values.size != prod(shape):
        raise InputError(f"has the shape {what}; number of values expected {prod(shape):,}, found {values.size:,}")
    return values.reshape(shape)


def encoded_pieces(blob: np.ndarray, legacy: bool) -> tuple[bytes | np.ndarray, ...]:
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
    if blob.itemsize == 4:
        return before + field_head(_DATA, blob.nbytes), blob, shape
    return before + shape + field_head(_DOUBLE_DATA, blob.nbytes), blob


def byte_count(piece: bytes | np.ndarray) -> int:
    """The length of a piece in bytes."""
    return len(piece) if isinstance(piece, bytes) else piece.nbytes


def byte_view(blob: np.ndarray) -> memoryview:
    """The bytes of an array, little-endian in C order; the array's own memory where it is that already."""
    plain = np.ascontiguousarray(blob, blob.dtype.newbyteorder("<"))
    return plain.reshape(-1).view(np.uint8).data
