"""Keras' files (.keras, .weights.h5) of ``se_tf``'s networks, read and written without Keras.

A ``.keras`` file is an uncompressed zip archive: ``config.json`` says how to make the model, ``model.weights.h5`` holds
its values, ``metadata.json`` whatever else; there stands what no configuration of Keras knows. The HDF5 file counts the
layers of each class in the model's own order, and is all there is of a ``.weights.h5``; there a dataset "senet" stands
beside the layers, which Keras passes over.
"""

import hashlib
import io
import json
import mmap
import os
import struct
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import h5py
import numpy as np

from weights.errors import InputError
from weights.files import metadata
from weights.files.state_dict import decode, identify
from weights.names.dialect import KERAS
from weights.networks.models import FAMILIES, to_dict
from weights.networks.network import graph
from weights.networks.operations import BatchNorm, Conv, Linear, Scale
from weights.networks.parameters import check, schema
from weights.networks.spec import Spec
from weights.params import Info, Params, info_of
from weights.storage.whole import reading, replacing

_VALUES = "model.weights.h5"
_DATASET = "senet"  # in HDF5 files
_KERAS_VERSION = "3.15.1"  # whose layout this is; it has been the same since 3.0, but for the names of layers
_CLASSES = {Conv: "conv2d", BatchNorm: "batch_norm", Linear: "dense", Scale: "se_block"}
_KERNEL, _BATCH_NORM = ("kernel", "bias"), ("gamma", "beta", "moving_mean", "moving_variance")
_INDICES = {"weight": 0, "bias": 1, "running_mean": 2, "running_var": 3}


def read(path: Path, spec: Spec | None = None) -> tuple[Spec, Params]:
    """Reads a file that ``write`` wrote or that Keras saved from a model of ``se_tf``.

    Args:
        path: of the file.
        spec: the network, where the file does not state it and it is none of ``MODELS``.

    Returns:
        The arrays are read-only views of the mapped file (bfloat16, which NumPy has not, as float32).

    Raises:
        InputError: damaged, or its values are of no network here.
    """
    with reading(path) as file:
        if not os.fstat(file.fileno()).st_size:
            raise InputError(f"{path}: is empty")
        whole = data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        strings = None
        if path.name.lower().endswith(".keras"):
            records = _records(path, data)
            strings = _stated(path, records)
            data = records[_VALUES]
    info = None
    with _opened(path, data) as values:
        if strings is None:
            strings = _attached(path, values)
        if strings:
            spec, info = metadata.decode(strings, str(path))
        datasets = _by_name(path, values) or _by_position(path, values, spec)
        names, found = identify(path, datasets, [KERAS], spec)  # type: ignore[arg-type]
        tensors = {name: _array(path, name, dataset, data) for name, dataset in datasets.items()}
    if info is None or not info.format:  # Keras saved it
        digest = hashlib.sha256(whole).hexdigest()
        info = replace(info or Info(), source=path.name, format="keras", sha256=digest)
    return found, decode(path, found, tensors, names, info)


def write(path: Path, spec: Spec, params: Mapping[str, np.ndarray]) -> None:
    """Writes a file that ``keras.saving.load_model`` (.keras) or ``load_weights`` (.weights.h5) of ``se_tf``'s loads.

    Raises:
        InputError: the parameters do not fit the spec, or the place cannot be written.
    """
    check(spec, params, str(path))
    for name, array in params.items():
        if array.dtype not in (np.float16, np.float32, np.float64):
            raise InputError(f"{path}: {name} is {array.dtype}, which Keras' files do not hold here")
    with replacing(path) as file:
        if not path.name.lower().endswith(".keras"):
            _write_values(file, spec, params)
            return
        with tempfile.TemporaryFile(dir=path.parent) as values, ZipFile(file, "w", ZIP_STORED) as archive:
            _write_values(values, spec, params)
            stated = {"keras_version": _KERAS_VERSION, "senet": metadata.encode(spec, info_of(params))}
            archive.writestr(ZipInfo("metadata.json"), json.dumps(stated))
            archive.writestr(ZipInfo("config.json"), json.dumps(_config(spec, params)))
            entry = ZipInfo(_VALUES)
            entry.file_size = values.seek(0, os.SEEK_END)
            values.seek(0)
            with archive.open(entry, "w") as target:
                while chunk := values.read(1 << 20):
                    target.write(chunk)


def layout(spec: Spec) -> dict[str, str]:
    """Canonical name -> path in the HDF5 file, for every parameter.

    Keras sorts a model's layers by their distance from the output, then by when a search from the output first meets
    them, and counts each class in that order.
    """
    inputs, operations = _layers(spec)
    blocks = _blocks(spec)
    distance: dict[str, int] = {}
    met: dict[str, int] = {}
    for layer in reversed(inputs):
        distance[layer] = distance.get(layer, 0)
        for source in inputs[layer]:
            distance[source] = max(distance.get(source, 0), distance[layer] + 1)
    stack = [next(reversed(inputs))]
    while stack:
        if (layer := stack.pop()) not in met:
            met[layer] = len(met)
            stack += [source for source in reversed(inputs.get(layer, ())) if source not in met]
    counts: Counter[str] = Counter()
    groups = {}
    for layer in sorted(operations, key=lambda name: (-distance[name], met[name])):
        kind = operations[layer]
        groups[layer] = f"layers/{kind}_{counts[kind]}" if counts[kind] else f"layers/{kind}"
        counts[kind] += 1
    paths = {}
    for p in schema(spec):
        block = blocks.get(p.module)
        group = f"{groups[block]}/{p.module.removeprefix(block + '.')}" if block else groups[p.module]
        paths[p.name] = f"{group}/vars/{_INDICES[p.leaf]}"
    return paths


def _layers(spec: Spec) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """The layers of ``se_tf``'s model: the inputs of each, in topological order; the class of those with values."""
    inputs: dict[str, tuple[str, ...]] = {}
    classes: dict[str, str] = {}
    output = {"data": "data"}  # node -> layer
    for node in graph(spec):
        sources = tuple(output[source] for source in node.inputs)
        layer = node.module
        if node.block and not isinstance(node.op, Scale):  # within an SEBlock, which is one layer
            output[node.name] = sources[0]
            continue
        if node.block:
            layer, sources = node.block, sources[:1]
        elif isinstance(node.op, Conv) and node.op.kernel > 1:
            inputs[f"{layer}.pad"] = sources
            sources = (f"{layer}.pad",)
        inputs[layer] = sources
        output[node.name] = layer
        if type(node.op) in _CLASSES:
            classes[layer] = _CLASSES[type(node.op)]
    return inputs, classes


def _blocks(spec: Spec) -> dict[str, str]:
    """The modules that are within an SE block, and the block, which is one layer of Keras."""
    return {node.module: node.block for node in graph(spec) if node.block}


def _write_values(file: Any, spec: Spec, params: Mapping[str, np.ndarray]) -> None:
    where, blocks = layout(spec), _blocks(spec)
    with h5py.File(file, "w") as values:
        for p in schema(spec):
            group, _, index = where[p.name].rpartition("/")
            block = blocks.get(p.module)
            variables = values.require_group(group)
            variables.attrs["name"] = p.module.removeprefix(f"{block}.") if block else p.module
            variables[index] = np.ascontiguousarray(KERAS.encode(p, params[p.name]))
            if block:
                values.require_group(f"{group.rsplit('/', 2)[0]}/vars").attrs["name"] = block
        values[_DATASET] = np.bytes_(json.dumps(metadata.encode(spec, info_of(params))))


def _config(spec: Spec, params: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What ``keras.saving.serialize_keras_object`` makes of the model."""
    info = info_of(params)
    family = type(spec).__name__.removesuffix("Spec")
    first = spec.network().first_convolution.module
    dtype = {"name": params[f"{first}.weight"].dtype.name}
    return {
        "module": f"se_tf.{family.lower()}",
        "class_name": family,
        "config": {
            "name": spec.name,
            "dtype": {"module": "keras", "class_name": "DTypePolicy", "config": dtype, "registered_name": None},
            "spec": to_dict(spec),
            "preprocessing": asdict(info.preprocessing) if info.preprocessing else None,
            "labels": info.labels,
            "assumed": info.assumed,
        },
        "registered_name": f"senet>{family}",
        "build_config": {"input_shape": None},
        "compile_config": {},
    }


# Reading.


class _Window(io.RawIOBase):
    """A part of a mapped file as a file of its own."""

    def __init__(self, data: memoryview):
        self.data, self.position = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: len(self.data)}[whence]
        self.position = start + offset
        return self.position

    def readinto(self, buffer: Any) -> int:
        part = self.data[self.position : self.position + len(buffer)]
        buffer[: len(part)] = part
        self.position += len(part)
        return len(part)


@contextmanager
def _opened(path: Path, data: memoryview) -> Iterator[h5py.File]:
    try:
        with h5py.File(_Window(data), "r") as values:
            yield values
    except InputError:
        raise
    except Exception as error:  # HDF5 raises errors of many types for damage
        raise InputError(f"{path}: is no HDF5 file of Keras, or a damaged one: {str(error)[:300]}") from error


def _records(path: Path, data: memoryview) -> dict[str, memoryview]:
    try:
        with ZipFile(_Window(data)) as archive:  # type: ignore[arg-type]
            entries = archive.infolist()
    except (BadZipFile, ValueError, NotImplementedError, EOFError, struct.error, OverflowError) as error:
        raise InputError(f"{path}: is no .keras file, or a damaged one: {error}") from None
    records = {}
    for entry in entries:
        header = bytes(data[entry.header_offset : entry.header_offset + 30])
        if len(header) < 30 or entry.compress_type != ZIP_STORED:
            raise InputError(f"{path}: {entry.filename[:80]!r} is damaged, or compressed, which Keras never does")
        start = entry.header_offset + 30 + sum(struct.unpack_from("<HH", header, 26))
        record = data[start : start + entry.file_size]
        if len(record) < entry.file_size or zlib.crc32(record) != entry.CRC:
            raise InputError(f"{path}: is damaged: the checksum of {entry.filename[:80]!r} does not match")
        records[entry.filename] = record
    for name in ("config.json", _VALUES):
        if name not in records:
            raise InputError(f"{path}: is no .keras file with HDF5 weights: it has no {name}")
    return records


def _stated(path: Path, records: Mapping[str, memoryview]) -> dict[str, str]:
    """What the archive states: in our metadata if we wrote it, in the model's configuration if Keras did."""
    try:
        ours = json.loads(bytes(records.get("metadata.json", b"{}"))).get("senet")
        model = json.loads(bytes(records["config.json"]))
        name, config = model.get("registered_name"), model.get("config")
        ours_are = [f"senet>{kind.__name__.removesuffix('Spec')}" for kind in FAMILIES.values()]
        if name not in ours_are:
            raise InputError(f"{path}: is a model of the class {str(name)[:80]!r}, expected {' or '.join(ours_are)}")
        if ours is not None:
            return {str(key): str(text) for key, text in ours.items()}
        stated = {key: config[key] for key in ("spec", "preprocessing", "assumed") if config.get(key)}
        strings = {f"senet.{key}": json.dumps(value) for key, value in stated.items()}
        labels = {"senet.labels": str(config["labels"])} if config.get("labels") else {}
        return {metadata.MARK: metadata.VERSION, **strings, **labels}
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: its config.json or metadata.json is damaged: {error}") from None


def _attached(path: Path, values: h5py.File) -> dict[str, str] | None:
    if _DATASET not in values:
        return None
    try:
        strings = json.loads(values[_DATASET][()])  # type: ignore[index]
        return {str(key): str(text) for key, text in strings.items()}
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: its dataset {_DATASET!r} is damaged: {error}") from None


def _by_name(path: Path, values: h5py.File) -> dict[str, h5py.Dataset]:
    """Keras' dotted name of each variable -> its dataset; empty where layers do not carry their names."""
    found: dict[str, h5py.Dataset] = {}

    def visit(group: h5py.Group, outer: tuple[str, ...]) -> None:
        variables = _child(path, group, "vars", h5py.Group)
        if variables is None or "name" not in variables.attrs:
            return
        inner = (*outer, _dotted(str(variables.attrs["name"])))
        leaves = _BATCH_NORM if len(variables) == len(_BATCH_NORM) else _KERNEL
        for index, leaf in zip(map(str, range(len(variables))), leaves, strict=False):
            dataset = _child(path, variables, index, h5py.Dataset)
            if dataset is not None:
                found[".".join((*inner, leaf))] = dataset
        if len(inner) < 3:  # an SEBlock's layers, and nothing deeper
            for key in map(str, group):
                if key != "vars" and (layer := _child(path, group, key, h5py.Group)) is not None:
                    visit(layer, inner)

    layers = _child(path, values, "layers", h5py.Group)
    for key in map(str, layers) if layers is not None else ():
        if (layer := _child(path, layers, key, h5py.Group)) is not None:
            visit(layer, ())
    return found


def _dotted(layer: str) -> str:
    """A layer's name with Keras on PyTorch, stage1_0_conv1, as on the others, where names may have dots."""
    return layer.replace("_", ".").replace("reduce.double", "reduce_double")


def _by_position(path: Path, values: h5py.File, spec: Spec | None) -> dict[str, h5py.Dataset]:
    """The same by where Keras counts each layer, which takes knowing the network."""
    if spec is None:
        raise InputError(
            f"{path}: does not name its layers (Keras before 3.10), nor the network; give spec=, or save it as .keras"
        )
    where = layout(spec)
    found = {}
    for p in schema(spec):
        dataset = _child(path, values, where[p.name], h5py.Dataset)
        if dataset is None:
            raise InputError(f"{path}: has no {where[p.name]}, which is {p.name} of {spec.name}")
        found[KERAS.key(p)] = dataset
    return found


def _child(path: Path, group: Any, name: str, kind: type) -> Any:
    """A member of a group; links to elsewhere are refused, for they could name any file."""
    for part in name.split("/"):
        if part not in group:
            return None
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise InputError(f"{path}: {group.name}/{part} is a link to elsewhere, which Keras never writes")
        group = group[part]
    return group if isinstance(group, kind) else None


def _array(path: Path, name: str, dataset: Any, data: memoryview) -> np.ndarray:
    """A dataset as a view of the file."""
    start, size = dataset.id.get_offset(), dataset.id.get_storage_size()
    half = dataset.attrs.get("dtype") == "bfloat16"
    dtype = np.dtype("<u2") if half else dataset.dtype
    if dataset.chunks or dataset.is_virtual or dataset.external or size != dataset.size * dtype.itemsize:
        raise InputError(f"{path}: {name} does not lie in the file in one piece, as Keras writes; it may be cut off")
    if start is None:  # within its own description, as HDF5 keeps the smallest
        array = dataset[()].view(dtype)
    elif start + size > len(data):
        raise InputError(f"{path}: {name} is cut off")
    else:
        array = np.frombuffer(data, dtype, dataset.size, start).reshape(dataset.shape)
    return (array.astype("<u4") << 16).view("<f4") if half else array
