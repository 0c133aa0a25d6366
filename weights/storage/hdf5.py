"""HDF5 files of others: only what the file itself holds, no more than fits into it, and no bytes unpacked by HDF5.

HDF5 follows links into other files and inflates whatever a chunk holds, so groups are walked link by link here, and
values come from the bytes of the file: as views where they lie in one piece, otherwise chunk by chunk.
"""

import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any, TypeVar

import h5py
import numpy as np

from weights import limits
from weights.errors import InputError
from weights.storage.contents import Window
from weights.storage.hdf5_header import EXTERNAL, LAYOUT, messages

T = TypeVar("T")

_LONGEST_TEXT = 1000  # of an attribute
_VIRTUAL = 3  # the layout of a dataset that is made of others, mostly in other files
_LARGEST_CHUNK = 2**24  # bytes, of which a few copies are made on the way
_HARD = h5py.h5l.TYPE_HARD  # type: ignore[attr-defined]  # missing in h5py's types
_DEFLATE, _SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE


class File:
    """An HDF5 file in memory, of which so many objects may be looked at, and so many bytes may be unpacked.

    The messages of its errors are ends of sentences: about a group or a dataset, or about the file.
    """

    def __init__(self, root: h5py.File, data: memoryview):
        self.root, self.data = root, data
        self.objects, self.copies = limits.TENSORS, limits.copies(len(data))

    def children(self, group: h5py.Group) -> Mapping[str, h5py.Group | h5py.Dataset]:
        """The groups and datasets that a group holds, by name and in the order of the names.

        Raises:
            InputError: one of them is a link to elsewhere, or there are too many.
        """
        self._spend(len(group))
        found = {name: self.child(group, name, object) for name in sorted(map(str, group))}
        return {name: child for name, child in found.items() if isinstance(child, h5py.Group | h5py.Dataset)}

    def child(self, group: h5py.Group, path: str, kind: type[T]) -> T | None:
        """The member of that name (or names, with "/") if it is of that kind.

        Raises:
            InputError: it, or a group on the way to it, is a link to elsewhere: it could name any file.
        """
        found: object = group
        for name in path.split("/"):
            key = name.encode("utf-8", "surrogateescape")
            if not isinstance(found, h5py.Group) or not found.id.links.exists(key):
                return None
            link = found.id.links.get_info(key)
            if link.type != _HARD:
                raise InputError(
                    f"has a link to elsewhere as {str(found.name).rstrip('/')}/{name}; a checkpoint is one file"
                )
            self._spend(1)
            self._check(f"{str(found.name).rstrip('/')}/{name}", link.u)
            found = found[key]
        return found if isinstance(found, kind) else None

    def text(self, of: h5py.Group | h5py.Dataset, name: str) -> str | None:
        """An attribute that is one text; None where there is none."""
        if name not in of.attrs:
            return None
        attribute = of.attrs.get_id(name)
        kind = h5py.check_string_dtype(attribute.dtype)
        if attribute.shape != () or kind is None or (kind.length or 0) > _LONGEST_TEXT:
            raise InputError(f"has an attribute {name!r} that is no text")
        value = of.attrs[name]
        value = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
        if len(value) > _LONGEST_TEXT:
            raise InputError(f"has an attribute {name!r} of {len(value):,} characters")
        return value

    def array(self, dataset: h5py.Dataset) -> np.ndarray:
        """The values of a dataset of numbers, or of bytes of one length: a view of the file, or a copy.

        Raises:
            InputError: they are of another kind, in another file, packed in another way than by gzip, or not all there.
        """
        dtype, shape = dataset.dtype, dataset.shape
        if shape is None or not _as_stored(dataset):
            raise InputError(
                f"holds {'nothing' if shape is None else str(dtype)[:80]}, no numbers in the form of NumPy's"
            )
        size = prod(shape) * dtype.itemsize
        held = dataset.id.get_storage_size()
        if dataset.chunks and (held or not size):
            return self._joined(dataset, size)
        if size != held:
            raise InputError(f"has {size:,} bytes of values, of which the file holds {held:,}; it may be cut off")
        start = dataset.id.get_offset()
        if start is None:  # within its own description, as HDF5 keeps the smallest
            return np.asarray(dataset[()]).reshape(shape)
        if start + size > len(self.data):
            raise InputError("is cut off")
        return np.frombuffer(self.data, dtype, prod(shape), start).reshape(shape)

    def charge(self, size: int) -> None:
        """Raises InputError if so many bytes more of values cannot be copied."""
        self.copies -= size
        if self.copies < 0:
            most = limits.copies(len(self.data))
            raise InputError(
                f"is packed or of another type, with more than {most:,} bytes of values in this file; "
                "have it rewritten (h5repack -f NONE)"
            )

    def _check(self, name: str, address: int) -> None:
        """Refuses a dataset with its values elsewhere, or laid out in an unknown way, before HDF5 opens it."""
        data = self.data[self.root.userblock_size :]
        for kind, body in messages(data, address):
            if kind == EXTERNAL:
                raise InputError(f"{name} has its values in another file; have them copied into this one")
            if kind == LAYOUT:
                version, layout = body[0], body[2 if body[0] < 3 else 1]
                if layout == _VIRTUAL:
                    raise InputError(f"{name} has its values in another file; have them copied into this one")
                if not 1 <= version <= 4 or layout > _VIRTUAL:
                    raise InputError(f"{name} is damaged: its values are laid out in an unknown way")

    def _spend(self, objects: int) -> None:
        self.objects -= objects
        if self.objects < 0:
            raise InputError(f"has more than {limits.TENSORS:,} groups and datasets; no network needs that many")

    def _joined(self, dataset: h5py.Dataset, size: int) -> np.ndarray:
        """The values of a dataset that is cut into chunks, each of which may be packed."""
        filters, itemsize = _filters(dataset), dataset.dtype.itemsize
        shape: tuple[int, ...] = dataset.shape
        steps: tuple[int, ...] = dataset.chunks or shape
        piece = prod(steps) * itemsize
        expected = prod(-(-n // step) for n, step in zip(shape, steps, strict=True))
        if expected > limits.CHUNKS or piece > _LARGEST_CHUNK:
            raise InputError(f"is cut into {expected:,} chunks of {piece:,} bytes each, which is not read")
        self.charge(size)
        chunks: list[Any] = []
        dataset.id.chunk_iter(chunks.append)
        found = {chunk.chunk_offset: (chunk.byte_offset, chunk.size, chunk.filter_mask) for chunk in chunks}
        if len(found) != expected:
            raise InputError(f"has {expected:,} chunks of values, of which the file holds {len(found):,}")
        array = np.empty(shape, dataset.dtype)
        for offset, (start, length, mask) in found.items():
            if start + length > len(self.data) or mask:
                raise InputError("is cut off, or has chunks that are stored in another way than its own")
            chunk = _unpacked(self.data[start : start + length], filters, piece, itemsize)
            places = tuple(slice(o, o + step) for o, step in zip(offset, steps, strict=True))
            target = array[places]
            values = np.frombuffer(chunk, dataset.dtype).reshape(steps)
            target[...] = values[tuple(slice(n) for n in target.shape)]
        return array


@contextmanager
def opened(data: memoryview) -> Generator[File]:
    """The HDF5 file with these bytes.

    Raises:
        InputError: it is none, or a damaged one. Errors of HDF5 within the block become such.
    """
    try:
        with h5py.File(Window(data), "r") as root:
            if root.id.get_create_plist().get_sizes() != (8, 8):
                raise InputError("is an HDF5 file of addresses that have not 8 bytes, which nobody writes")
            yield File(root, data)
    except InputError:
        raise
    except MemoryError:
        raise InputError("is damaged, or has no room in memory") from None
    except Exception as error:  # h5py turns the damages that HDF5 finds into a dozen types
        raise InputError(f"is not readable as HDF5, so damaged or cut off ({str(error)[:300]})") from None


def _as_stored(dataset: h5py.Dataset) -> bool:
    """Whether the numbers stand in the file as NumPy has them; HDF5 knows floats and integers of any layout.

    Texts of one length, and the opaque bytes that Keras keeps bfloat16 in, stand as they are.
    """
    dtype = dataset.dtype
    if dtype.kind == "S" or (dtype.kind == "V" and dtype.names is None and dtype.subdtype is None):
        return True
    return dtype.kind in "biuf" and bool(dataset.id.get_type().equal(h5py.h5t.py_create(dtype, logical=True)))


def _filters(dataset: h5py.Dataset) -> list[int]:
    """What its chunks were packed with, the last step first."""
    settings = dataset.id.get_create_plist()
    codes = [settings.get_filter(i)[0] for i in range(settings.get_nfilters())]
    if unknown := [code for code in codes if code not in (_DEFLATE, _SHUFFLE)]:
        raise InputError(f"is packed with filter {unknown[0]} of HDF5; of these gzip is read (h5repack -f GZIP=1)")
    return codes[::-1]


def _unpacked(data: memoryview, filters: list[int], size: int, itemsize: int) -> memoryview | bytes:
    """A chunk of ``size`` bytes; what does not end there is refused before it is unpacked further."""
    chunk: memoryview | bytes = data
    for code in filters:
        if code == _DEFLATE:
            chunk = zlib.decompressobj().decompress(chunk, size + 1)
        elif len(chunk) == size:
            chunk = np.ascontiguousarray(np.frombuffer(chunk, np.uint8).reshape(itemsize, -1).T).reshape(-1).data
    if len(chunk) != size:
        raise InputError(f"is damaged: a chunk has another size than its {size:,} bytes")
    return chunk
