"""Caffe's weights files in HDF5 form: the blobs at /data/<layer>/<index>."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from weights import limits
from weights.errors import InputError

if TYPE_CHECKING:
    import h5py

    from weights.storage import hdf5

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(head: bytes | memoryview) -> bool:
    """Whether a file with these first bytes is one."""
    return bytes(head[:8]) == _SIGNATURE


def blobs(data: memoryview) -> list[tuple[str, tuple[np.ndarray, ...]]]:
    """The layers with their blobs, in the order of their names; layers without any have an empty tuple.

    Layer names with "/" are groups inside groups. Numbers of any width and byte order come as float32, or as float64
    where float32 does not hold them.

    Args:
        data: the bytes of the file, which blobs that need no conversion are views of.

    Raises:
        InputError: not readable as HDF5, no group /data, or blobs that are not all there.
    """
    import h5py

    from weights.storage import hdf5

    with hdf5.opened(data) as file:
        group = file.child(file.root, "data", h5py.Group)
        if group is None:
            raise InputError('has no group "/data", where Caffe keeps the blobs')
        return list(_layers(file, group))


def _layers(file: "hdf5.File", data: "h5py.Group") -> Iterator[tuple[str, tuple[np.ndarray, ...]]]:
    import h5py

    groups: list[tuple[str, h5py.Group]] = [("", data)]
    while groups:
        layer, group = groups.pop()
        if layer.count("/") > limits.DEPTH:
            raise InputError(f"has groups inside each other, deeper than {limits.DEPTH}: {layer[:80]!r}")
        children = file.children(group)
        inner = [(f"{layer}/{name}" if layer else name, g) for name, g in children.items() if isinstance(g, h5py.Group)]
        groups += inner[::-1]
        found = {name: dataset for name, dataset in children.items() if isinstance(dataset, h5py.Dataset)}
        if not found and (inner or not layer):
            continue
        missing = [str(i) for i in range(len(found)) if str(i) not in found]
        if missing or not layer:
            raise InputError(
                f"layer {layer!r} has the datasets {', '.join(sorted(found))}; Caffe names them 0, 1, ... without gaps"
            )
        yield layer, tuple(_blob(file, layer, i, found[str(i)]) for i in range(len(found)))


def _blob(file: "hdf5.File", layer: str, index: int, dataset: "h5py.Dataset") -> np.ndarray:
    def refuse(what: str) -> InputError:
        return InputError(f"layer {layer!r}, blob {index}: {what}")

    if dataset.dtype.kind not in "fiu" or dataset.shape is None:
        raise refuse(f"holds {dataset.dtype}, no numbers")
    if not dataset.size:
        raise refuse(f"has the shape {dataset.shape}; every dimension must be at least 1")
    try:
        found = file.array(dataset)
        wanted = np.dtype("<f8" if found.dtype.itemsize > (4 if found.dtype.kind == "f" else 2) else "<f4")
        if found.dtype != wanted:
            file.charge(found.size * wanted.itemsize)
    except InputError as error:
        raise refuse(str(error)) from None
    return np.asarray(found, wanted, order="C")
