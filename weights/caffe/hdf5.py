"""Caffe's weights files in HDF5 form: the blobs at /data/<layer>/<index>."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weights.errors import InputError
from weights.storage.hdf5 import values

if TYPE_CHECKING:
    import h5py

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(head: bytes | memoryview) -> bool:
    """Whether a file with these first bytes is one."""
    return bytes(head[:8]) == _SIGNATURE


def blobs(path: str | Path) -> list[tuple[str, tuple[np.ndarray, ...]]]:
    """The layers with their blobs, in the order of the file; layers without any have an empty tuple.

    Layer names with "/" are groups inside groups. Numbers of any width and byte order come as float32, or as float64
    where float32 does not hold them.

    Raises:
        InputError: not readable as HDF5, no group /data, or blobs that are not all there.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            data = file.get("data")
            if not isinstance(file.get("data", getlink=True), h5py.HardLink | None):
                raise InputError('has a link to elsewhere as its group "/data"; a checkpoint is one file')
            if not isinstance(data, h5py.Group):
                raise InputError('has no group "/data", where Caffe keeps the blobs')
            return list(_layers(data))
    except InputError:
        raise
    except Exception as error:  # h5py turns the damages that libhdf5 finds into a dozen types
        raise InputError(f"is not readable as HDF5, so damaged or cut off ({error})") from None


def _layers(data: "h5py.Group") -> Iterator[tuple[str, tuple[np.ndarray, ...]]]:
    import h5py

    groups: dict[str, dict[str, h5py.Dataset]] = {}

    def visit(name: str, found: h5py.Group | h5py.Dataset | h5py.Datatype) -> None:
        if isinstance(found, h5py.Group):
            groups.setdefault(name, {})
        elif isinstance(found, h5py.Dataset):
            layer, _, index = name.rpartition("/")
            groups.setdefault(layer, {})[index] = found

    data.visititems(visit)  # each object once and no links to elsewhere, so it ends and stays in the file
    inner = {name.rpartition("/")[0] for name in groups}
    for layer, found in groups.items():
        if not found and layer in inner:
            continue
        missing = [str(i) for i in range(len(found)) if str(i) not in found]
        if missing or not layer:
            raise InputError(
                f"layer {layer!r} has the datasets {', '.join(sorted(found))}; Caffe names them 0, 1, ... without gaps"
            )
        yield layer, tuple(_blob(layer, i, found[str(i)]) for i in range(len(found)))


def _blob(layer: str, index: int, dataset: "h5py.Dataset") -> np.ndarray:
    def refuse(what: str) -> InputError:
        return InputError(f"layer {layer!r}, blob {index}: {what}")

    if dataset.dtype.kind not in "fiu" or dataset.shape is None:
        raise refuse(f"holds {dataset.dtype}, no numbers")
    if not dataset.size:
        raise refuse(f"has the shape {dataset.shape}; every dimension must be at least 1")
    try:
        found = values(dataset)
    except InputError as error:
        raise refuse(str(error)) from None
    wide = found.dtype.itemsize > (4 if found.dtype.kind == "f" else 2)
    return np.asarray(found, "<f8" if wide else "<f4", order="C")
