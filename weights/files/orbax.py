"""Orbax checkpoints for Flax: folders that restore into ``nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))``.

The tree is that of ``se_jax``'s modules. What else travels with the values is in Orbax's custom metadata. The values go
through NumPy, so doubles stay doubles whatever JAX is set to.
"""

import logging
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from weights import limits
from weights.errors import InputError
from weights.files import metadata
from weights.files.state_dict import decode, identify
from weights.names.frameworks import FLAX
from weights.networks.parameters import check, schema
from weights.networks.spec import Spec
from weights.params import Checkpoint, Info, info_of
from weights.storage import json_text
from weights.storage.contents import contents
from weights.storage.whole import replacing_folder

_MARK = "_CHECKPOINT_METADATA"  # a file of Orbax's in every checkpoint
_TREE = "_METADATA"  # another, beside the arrays
_JSON = (_MARK, _TREE, "_sharding")
_ITEMS = (".", "default", "state")  # where the arrays are; CheckpointManager puts them into a folder of their own


def is_checkpoint(path: str | PathLike[str]) -> bool:
    """Whether a folder holds an Orbax checkpoint."""
    return any((Path(path) / name).is_file() for name in (_MARK, _TREE))


def read(path: Path, spec: Spec | None = None) -> Checkpoint:
    """Reads a checkpoint of a Flax network's state: one that ``write`` or a user of ``se_jax`` saved.

    Args:
        path: the folder.
        spec: the network, where the checkpoint does not state it.

    Raises:
        InputError: damaged, or its arrays are of no network here; or Orbax is not installed.
    """
    if not is_checkpoint(path):
        raise InputError(f"{path}: is no Orbax checkpoint: expected a folder with {_MARK}")
    _check_files(path)
    item = next((path / name for name in _ITEMS if (path / name / _TREE).is_file()), None)
    if item is None:
        raise InputError(f"{path}: is a damaged Orbax checkpoint, or one without a tree of arrays: no {_TREE}")
    info = None
    if strings := _custom_metadata(path):
        spec, info = metadata.decode(strings, str(path), spec)
    tensors = _restore(item)
    names, found, assumed = identify(path, {name: a.shape for name, a in tensors.items()}, [FLAX], spec)
    info = info or Info(source=path.name, format="orbax", assumed=assumed)
    return Checkpoint(found, decode(path, found, tensors, names, info))


def write(path: Path, spec: Spec, params: Mapping[str, np.ndarray]) -> None:
    """Writes a checkpoint beside ``path``, then puts it in the place of a checkpoint there.

    Raises:
        InputError: the parameters do not fit, something else stands at ``path``, or Orbax is not installed.
    """
    check(spec, params, str(path))
    tree: dict[str, Any] = {}
    for p in schema(spec):
        branch = tree
        for name in FLAX.key(p).split("."):
            branch = branch.setdefault(name, {})
        branch["value"] = np.ascontiguousarray(FLAX.encode(p, params[p.name]))
    with replacing_folder(path, is_checkpoint, "Orbax checkpoint") as new:
        checkpoints = _orbax()
        try:
            with _without_words(), checkpoints.StandardCheckpointer() as checkpointer:
                checkpointer.save(new, tree, custom_metadata=metadata.encode(spec, info_of(params)))
        except ValueError as error:
            raise InputError(f"{path}: cannot be written: {error}") from error


@contextmanager
def _without_words() -> Generator[None]:
    """Orbax logs errors, with their tracebacks, that it also raises."""
    log = logging.getLogger("absl")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _orbax() -> Any:  # noqa: ANN401, a module that need not be installed
    try:
        import orbax.checkpoint
    except ImportError as error:
        raise InputError(f"Orbax checkpoints need orbax-checkpoint: pip install 'senet[jax]' ({error})") from error
    import jax

    try:
        jax.devices()
    except RuntimeError as error:  # JAX_PLATFORMS names one that is not there
        raise InputError(f"Orbax checkpoints need JAX, which does not start: {error}") from None
    return orbax.checkpoint


def _check_files(path: Path) -> None:
    """Refuses a folder with anything but files and folders of its own, and JSON that is not read here but by Orbax."""
    folders, count = [path], 0
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                count += 1
                if count > limits.CHUNKS:
                    raise InputError(f"{path}: has more than {limits.CHUNKS:,} files, which no checkpoint needs")
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif not entry.is_file(follow_symlinks=False):
                    raise InputError(f"{path}: {entry.name!r} in it is a link or no file; a checkpoint is one folder")
                elif entry.name in _JSON:
                    _json(Path(entry.path))


def _json(path: Path) -> object:
    text = contents(path, limits.TEXT)
    try:
        return json_text.parse(text, constants=True)
    except InputError as error:
        raise InputError(f"{path.parent}: its {path.name} is damaged: it {error}") from None


def _check_sizes(item: Path, tree: object) -> None:
    """Refuses arrays that are larger than what is stored, or cut into pieces that are, before they are read."""
    held = sum(file.stat().st_size for file in item.rglob("*") if file.is_file())
    total = 0
    for _, array in _leaves(tree):
        shape, dtype = getattr(array, "shape", None), getattr(array, "dtype", None)
        if shape is None or dtype is None:
            continue
        storage = getattr(array, "storage", None)
        piece = prod(getattr(storage, "chunk_shape", None) or shape)
        total += max(prod(shape), piece) * np.dtype(dtype).itemsize
    if total > held + limits.COPIES:
        raise InputError(f"has {total:,} bytes of arrays, of which it holds {held:,}")


def _custom_metadata(path: Path) -> dict[str, str] | None:
    found = _json(path / _MARK) if (path / _MARK).is_file() else None
    strings = found.get("custom_metadata") if isinstance(found, dict) else None
    return strings if isinstance(strings, dict) and metadata.MARK in strings else None


def _restore(item: Path) -> dict[str, np.ndarray]:
    """Every array of the tree by its dotted path, without nnx's final "value"."""
    checkpoints = _orbax()
    try:
        with checkpoints.Checkpointer(checkpoints.PyTreeCheckpointHandler()) as checkpointer:
            wanted = checkpointer.metadata(item.absolute()).item_metadata.tree
            _check_sizes(item, wanted)
            plan = _map(wanted, lambda _: checkpoints.RestoreArgs(restore_type=np.ndarray))
            tree = checkpointer.restore(item.absolute(), args=checkpoints.args.PyTreeRestore(restore_args=plan))
    except InputError as error:
        raise InputError(f"{item}: {error}") from None
    except Exception as error:  # Orbax and TensorStore raise errors of many types for damage
        raise InputError(f"{item}: is a damaged Orbax checkpoint: {str(error).splitlines()[0][:300]}") from error
    return {name.removesuffix(".value"): np.asarray(array) for name, array in _leaves(tree)}


def _map(tree: object, make: Callable[[object], object]) -> object:
    return {key: _map(branch, make) for key, branch in tree.items()} if isinstance(tree, dict) else make(tree)


def _leaves(tree: object, path: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield from _leaves(branch, f"{path}.{key}" if path else str(key))
    elif ".rngs." not in path:  # the state of a Dropout's random numbers
        yield path, tree
