"""The values of HDF5 datasets: only those that the file itself holds, and no more than fit into it."""

from typing import TYPE_CHECKING, Any

from weights.errors import InputError

if TYPE_CHECKING:
    import h5py

_INFLATION = 1100  # times, the most that deflate can do


def values(dataset: "h5py.Dataset") -> Any:
    """All values of a dataset, as h5py gives them.

    Raises:
        InputError: they are in another file, or more than the file can hold; nothing was allocated for them. The
            message is the end of a sentence about the dataset.
    """
    if dataset.external or dataset.is_virtual:
        raise InputError("has its values in another file; have them copied into this one")
    # A size that is only declared is no size: the values are no longer than the file, but for what was packed.
    held = min(dataset.id.get_storage_size(), dataset.file.id.get_filesize())
    if dataset.nbytes > held * (_INFLATION if dataset.chunks else 1):
        raise InputError(f"has {dataset.nbytes:,} bytes of values, which the file does not hold")
    return dataset[()]
