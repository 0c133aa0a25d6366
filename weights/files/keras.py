"""Keras' files (.keras, .weights.h5) of ``se_tf``'s networks, read and written without Keras.

Those of ``keras.applications``' models of the same networks are read, and of these ``.weights.h5`` are written.

A ``.keras`` file is an uncompressed zip archive: ``config.json`` says how to make the model, ``model.weights.h5`` holds
its values, ``metadata.json`` whatever else; there stands what no configuration of Keras knows. The HDF5 file counts the
layers of each class in the model's own order, and is all there is of a ``.weights.h5``; there a dataset "senet" stands
beside the layers, which Keras passes over.
"""

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar
from zipfile import ZIP_STORED, ZipFile

import h5py
import numpy as np

from weights.errors import InputError, about
from weights.files import metadata
from weights.files.keras_layout import layout, se_blocks
from weights.files.state_dict import IMAGENET, by_custom, decode, identify
from weights.names.dialect import APPLICATIONS_DIALECT, Dialect
from weights.names.frameworks import KERAS, KERAS_ON_TORCH
from weights.names.state_dicts import APPLICATIONS, application_for
from weights.networks.models import FAMILIES, to_dict
from weights.networks.parameters import check, schema
from weights.networks.spec import Spec
from weights.params import Checkpoint, Info, Preprocessing, info_of
from weights.storage import bfloat16, hdf5, json_text
from weights.storage.archive import Archive, store
from weights.storage.contents import contents, sha256
from weights.storage.whole import replacing

T = TypeVar("T")

_VALUES = "model.weights.h5"
NOTE = "senet"
"""The dataset with the metadata in HDF5 files: a text where ``write`` wrote it, bytes where a model saved it."""

_KERAS_VERSION = "3.15.1"  # whose layout this is; it has been the same since 3.0, but for the names of layers
_BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_LEAVES = {3: _BATCH_NORM[1:], 4: _BATCH_NORM}
"""What the variables of a layer are called, by how many it has; of any other number the kernel and the bias."""


def read(path: Path, spec: Spec | None = None) -> Checkpoint:
    """Reads a file that ``write`` wrote or that Keras saved from a model of ``se_tf``.

    Args:
        path: of the file.
        spec: the network, where the file does not state it.

    Returns:
        The arrays are read-only views of its bytes (bfloat16, which NumPy has not, as float32).

    Raises:
        InputError: damaged, or its values are of no network here.
    """
    whole = data = contents(path)
    said = None
    with about(path):
        if not data:
            raise InputError("is empty")
        if path.name.lower().endswith(".keras"):
            said, data = _unpacked(data)
        if not said:
            with hdf5.opened(data) as file:
                said = _attached(file)
    info = None
    if said:
        spec, info = metadata.decode(said.strings, str(path), spec)
    with about(path), hdf5.opened(data) as file:
        datasets = _by_name(file) or _by_position(file, spec)
        tensors = {name: _array(name, dataset, file) for name, dataset in datasets.items()}
    normalization = [bfloat16.plain(tensors.pop(name)) for name in _NORMALIZATION if name in tensors]
    # A BatchNorm may have no factors of its own; they are 1.
    tensors |= {
        gamma: np.ones(array.shape, bfloat16.plain(array).dtype)
        for name, array in list(tensors.items())
        if name.endswith("_beta") and (gamma := name.removesuffix("beta") + "gamma") not in tensors
    }
    shapes = {name: array.shape for name, array in tensors.items()}
    names, found, assumed = identify(path, shapes, [KERAS, KERAS_ON_TORCH, *_APPLICATIONS], spec)
    if info is None and names in _APPLICATIONS:
        info = _of_applications(found, normalization, assumed)
    elif normalization and not names.prepares:
        raise InputError(f"{path}: has a layer 'normalization', which only EfficientNets of keras.applications have")
    info = info or Info(assumed=assumed)
    if said is None or said.by_keras:
        info = metadata.as_saved(info, path.name, "keras", sha256(whole))
    return Checkpoint(found, decode(path, found, tensors, names, info))


_NORMALIZATION = "normalization_mean", "normalization_variance", "normalization_count"
_APPLICATIONS = tuple(replace(application.names, separator="_") for application in APPLICATIONS)


_CUSTOMS = {"vgg": Preprocessing(channels="bgr", range=255, mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0))}
"""What models of a family expect, where that is not pixels from -1 to 1."""


def _of_applications(spec: Spec, normalization: Sequence[np.ndarray], assumed: tuple[str, ...]) -> Info:
    """What models of ``keras.applications`` expect, as far as there is a custom; ``info.assumed`` names it.

    EfficientNets prepare images themselves, in layers before the first convolution, which are none of the network here:
    pixels by 255, then a Normalization, whose values the file has. With the released weights a third layer divides by
    the roots of ImageNet's deviations, which the file holds where it should hold their squares. All others expect
    pixels from -1 to 1.
    """
    if spec.in_channels != 3:
        return Info(assumed=assumed)
    if custom := _CUSTOMS.get(spec.family):
        return by_custom(Info(assumed=assumed), spec, custom)
    mean = std = np.full(3, 0.5)
    if normalization:
        mean, variance = normalization[:2]
        released = variance.shape == (3,) and np.allclose(variance, IMAGENET.std, rtol=1e-3)
        std = variance if released else np.sqrt(variance)
    expects = Preprocessing(channels="rgb", range=1, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    return by_custom(Info(assumed=assumed), spec, expects)


class _Said(NamedTuple):
    """What a file states."""

    strings: dict[str, str]
    by_keras: bool  # as a model's own, otherwise by ``write``


def write(path: Path, spec: Spec, params: Mapping[str, np.ndarray], dialect: str | None = None) -> None:
    """Writes a file that ``keras.saving.load_model`` (.keras) or ``load_weights`` (.weights.h5) of ``se_tf``'s loads.

    Args:
        path: of the file.
        spec: the network.
        params: its parameters.
        dialect: "keras.applications" for a .weights.h5 that the model of ``keras.applications`` loads instead.

    Raises:
        InputError: the parameters do not fit the spec or the model, there is no such model, or the place cannot be
            written.
    """
    check(spec, params, str(path))
    names = _named(path, spec, params, dialect) if dialect else KERAS
    for name, array in params.items():
        if array.dtype.name not in ("float16", "float32", "float64"):
            raise InputError(f"{path}: {name} is {array.dtype}, which Keras' files do not hold here")
    with replacing(path) as file:
        if not path.name.lower().endswith(".keras"):
            _write_values(file, spec, params, names)
            return
        with tempfile.TemporaryFile(dir=path.parent) as values, ZipFile(file, "w", ZIP_STORED) as archive:
            _write_values(values, spec, params, names)
            stated = {"keras_version": _KERAS_VERSION, "senet": metadata.encode(spec, info_of(params))}
            store(archive, "metadata.json", json.dumps(stated).encode())
            store(archive, "config.json", json.dumps(_config(spec, params)).encode())
            size = values.seek(0, os.SEEK_END)
            values.seek(0)
            store(archive, _VALUES, values, size)


def _named(path: Path, spec: Spec, params: Mapping[str, np.ndarray], dialect: str) -> Dialect:
    """The names of the model of ``keras.applications`` for a network."""
    if dialect != APPLICATIONS_DIALECT:
        raise InputError(
            f"{path}: Keras' files are written under our names or {APPLICATIONS_DIALECT}, not {dialect!r:.80}"
        )
    try:
        application = application_for(spec)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if path.name.lower().endswith(".keras"):
        raise InputError(
            f"{path}: a .keras says how Keras makes the model, which only Keras can write of its own models; write a "
            f".weights.h5, for keras.applications.{application.model}(weights=None).load_weights"
        )
    expects = info_of(params).preprocessing
    if application.names.prepares and expects and expects.channels == "bgr":
        raise InputError(
            f"{path}: {application.model} prepares images itself, in RGB, and {spec.name} expects BGR; convert it with "
            "--input rgb01 first"
        )
    for p in schema(spec):
        if not application.names.holds(p) and (params[p.name] != 1).any():
            raise InputError(
                f"{path}: BatchNorms of {application.model} have no factors, and {p.name} is not 1 throughout"
            )
    return application.names


def _write_values(file: IO[bytes], spec: Spec, params: Mapping[str, np.ndarray], names: Dialect) -> None:
    where, blocks = layout(spec, names), se_blocks(spec) if names == KERAS else {}
    with h5py.File(file, "w") as values:
        for p in filter(names.holds, schema(spec)):
            group, _, index = where[p.name].rpartition("/")
            block = blocks.get(p.module)
            variables = values.require_group(group)
            variables.attrs["name"] = p.module.removeprefix(f"{block}.") if block else names.module(p.module)
            variables[index] = np.ascontiguousarray(names.encode(p, params[p.name]))
            if block:
                values.require_group(f"{group.rsplit('/', 2)[0]}/vars").attrs["name"] = block
        if names.prepares:
            variables = values.require_group("layers/normalization/vars")
            variables.attrs["name"] = "normalization"
            for index, value in enumerate(_normalization(spec, info_of(params))):
                variables[str(index)] = value
        values[NOTE] = np.bytes_(json.dumps(metadata.encode(spec, info_of(params))))


def _normalization(spec: Spec, info: Info) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, variance and count of the layer that prepares images, pixels by 255, as the network expects them."""
    expects = info.preprocessing
    if expects is None or spec.in_channels != 3:
        return np.zeros(spec.in_channels), np.ones(spec.in_channels), np.array(0)
    mean, std = np.array(expects.mean) / expects.range, np.array(expects.std) / expects.range
    return mean, std**2, np.array(0)


def _config(spec: Spec, params: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What ``keras.saving.serialize_keras_object`` makes of the model."""
    info = info_of(params)
    family = type(spec).__name__.removesuffix("Spec")
    first = spec.network().first_convolution.module
    dtype = {"name": params[f"{first}.weight"].dtype.name}
    return {
        "module": f"se_tf.{spec.family.replace('-', '_')}",
        "class_name": family,
        "config": {
            "name": spec.name,
            "dtype": {"module": "keras", "class_name": "DTypePolicy", "config": dtype, "registered_name": None},
            "spec": to_dict(spec),
            "preprocessing": asdict(info.preprocessing) if info.preprocessing else None,
            "labels": info.labels,
            "assumed": info.assumed,
            **more(replace(info, factors={})),  # they stand in metadata.json
        },
        "registered_name": f"senet>{family}",
        "build_config": {"input_shape": None},
        "compile_config": {},
    }


# Reading.


def _unpacked(data: memoryview) -> tuple[_Said | None, memoryview]:
    """What a .keras archive states, and the HDF5 file in it."""
    archive = Archive(data)
    for name in ("config.json", _VALUES):
        if name not in archive:
            raise InputError(f"is no .keras file with HDF5 weights: it has no {name}")
    return _stated(archive), archive[_VALUES]


def _json(archive: Archive, name: str) -> dict[str, Any]:
    try:
        found = json_text.parse(archive[name], constants=True)
    except InputError as error:
        raise InputError(f"its {name} is damaged: it {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"its {name} is damaged: it is no object")
    return found


def _stated(archive: Archive) -> _Said | None:
    """Our metadata if we wrote the archive, the model's configuration in their form if Keras did.

    None of a model that is no class of its own, as those of ``keras.applications``: the names of its variables tell.
    """
    ours = _json(archive, "metadata.json").get("senet") if "metadata.json" in archive else None
    model = _json(archive, "config.json")
    name, config = model.get("registered_name"), model.get("config")
    ours_are = [f"senet>{kind.__name__.removesuffix('Spec')}" for kind in FAMILIES.values()]
    if name == "Functional" and ours is None:
        return None
    if name not in ours_are:
        raise InputError(f"is a model of the class {str(name)[:80]!r}, expected {' or '.join(ours_are)}")
    stated = config if ours is None else ours
    if not isinstance(stated, dict):
        raise InputError(f"its {'config' if ours is None else 'metadata'}.json is damaged: it does not say the network")
    if ours is None:
        return _Said(noted(stated), by_keras=True)
    return _Said({str(key): str(text) for key, text in stated.items()}, by_keras=False)


def more(info: Info) -> dict[str, Any]:
    """What a model's configuration holds of the info beside preprocessing, labels and what is assumed, where it is."""
    provenance = {"source": info.source, "format": info.format, "sha256": info.sha256}
    data = {
        "class_names": info.class_names,
        "provenance": provenance if any(provenance.values()) else None,
        "factors": dict(info.factors),
        "history": info.history,
        "values": dict(info.values),
    }
    return {key: value for key, value in data.items() if value}


def noted(config: Mapping[str, Any]) -> dict[str, str]:
    """A model's configuration as metadata."""
    keys = ("spec", "preprocessing", "assumed", "class_names", "provenance", "factors", "history", "values")
    strings = {f"senet.{key}": json.dumps(config[key]) for key in keys if config.get(key)}
    labels = {"senet.labels": str(config["labels"])} if config.get("labels") else {}
    return {metadata.MARK: metadata.VERSION, **strings, **labels}


def _attached(file: hdf5.File) -> _Said | None:
    dataset = file.child(file.root, NOTE, h5py.Dataset) or file.child(file.root, f"vars/{NOTE}", h5py.Dataset)
    if dataset is None:
        return None
    try:
        text = _in_one_piece(dataset, file)
        strings = json_text.parse(text.tobytes())
    except InputError as error:
        raise InputError(f"its dataset {NOTE!r} {error}") from None
    if not isinstance(strings, dict) or not all(isinstance(value, str) for value in strings.values()):
        raise InputError(f"its dataset {NOTE!r} is damaged: it does not map texts to texts")
    return _Said(strings, by_keras=text.ndim > 0)


def _by_name(file: hdf5.File) -> dict[str, h5py.Dataset]:
    """The name of each variable -> its dataset; empty where layers do not carry their names.

    Dotted, or with "_" throughout where no layer's name has a dot, as Keras on PyTorch writes them.
    """
    found: dict[tuple[str, ...], h5py.Dataset] = {}

    def visit(group: h5py.Group, outer: tuple[str, ...]) -> None:
        variables = file.child(group, "vars", h5py.Group)
        name = None if variables is None else file.text(variables, "name")
        if variables is None or name is None:
            return
        inner = (*outer, name)
        leaves = _LEAVES.get(len(variables), ("kernel", "bias"))
        if len(inner) == 1 and re.fullmatch(r"normalization(_\d+)?", inner[0]):  # which stands before the network
            inner, leaves = ("normalization",), ("mean", "variance", "count")
        for index, leaf in zip(map(str, range(len(variables))), leaves, strict=False):
            dataset = file.child(variables, index, h5py.Dataset)
            if dataset is not None:
                found[*inner, leaf] = dataset
        if len(inner) < 3:  # an SEBlock's layers, and nothing deeper
            for key, layer in file.children(group).items():
                if key != "vars" and isinstance(layer, h5py.Group):
                    visit(layer, inner)

    layers = file.child(file.root, "layers", h5py.Group)
    for layer in file.children(layers).values() if layers is not None else ():
        if isinstance(layer, h5py.Group):
            visit(layer, ())
    separator = "." if any("." in part for parts in found for part in parts) else "_"
    return {separator.join(parts): dataset for parts, dataset in found.items()}


def _by_position(file: hdf5.File, spec: Spec | None) -> dict[str, h5py.Dataset]:
    """The same by where Keras counts each layer, which takes knowing the network."""
    if spec is None:
        raise InputError(
            "does not name its layers (Keras before 3.10), nor the network; give spec=, or save it as .keras"
        )
    where = layout(spec)
    found = {}
    for p in schema(spec):
        dataset = file.child(file.root, where[p.name], h5py.Dataset)
        if dataset is None:
            raise InputError(f"has no {where[p.name]}, which is {p.name} of {spec.name}")
        found[KERAS.key(p)] = dataset
    return found


def _in_one_piece(dataset: h5py.Dataset, file: hdf5.File) -> np.ndarray:
    if dataset.chunks:
        raise InputError("does not lie in the file in one piece, as Keras writes")
    return file.array(dataset)


def _array(name: str, dataset: h5py.Dataset, file: hdf5.File) -> np.ndarray:
    """A dataset as a view of the file, if it lies there in one piece."""
    try:
        array = _in_one_piece(dataset, file)
        if file.text(dataset, "dtype") != "bfloat16":
            return array
        if array.dtype.itemsize != 2:
            raise InputError(f"holds {array.dtype}, and says that it is bfloat16")
        return array.view(bfloat16.DTYPE)
    except InputError as error:
        raise InputError(f"{name} {error}") from None
