"""Caffe checkpoints as networks: weights files read by the structure of their layers, pairs written as Caffe does."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from weights.caffe import file as caffe_file
from weights.caffe import text as text_format
from weights.caffe.as_written import as_written
from weights.caffe.blobs import blob_count, blobs, parameters
from weights.caffe.layers import layers
from weights.caffe.net import Layer, Net
from weights.caffe.recognise import Match, has_definitions, import_network, recognise
from weights.errors import InputError, InputWarning
from weights.files import metadata
from weights.names.caffe import net_name
from weights.networks.network import Network, as_network
from weights.networks.parameters import check, schema
from weights.networks.spec import Spec
from weights.params import CAFFE, Info, Params, Preprocessing, info_of
from weights.storage.whole import reading, replacing

_WEIGHTS = "senet.weights"
"""The note that says for which weights file, by its sha256, the other notes hold."""

_SAID = ("senet.spec", "senet.factors", "senet.provenance")
"""Metadata that the layers and their blobs say themselves, or that is about another file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a Caffe file holds, whether or not it is one of our networks."""

    name: str  # of the net, by its author
    types: Mapping[str, int]  # layer type -> count; "" where the file does not say
    blobs: int
    scalars: int
    dtypes: tuple[str, ...]
    spec: Spec | None  # what it was recognised as
    misfit: str  # why not, naming the first layer that does not fit


def read(path: Path, prototxt: str | Path | None = None) -> tuple[Spec, Params]:
    """Reads a weights file of Caffe, in whatever form Caffe itself loads, by the structure of its layers.

    Args:
        path: .caffemodel or .caffemodel.h5.
        prototxt: the definition of the network, for files that carry none; otherwise the file's own counts.

    Returns:
        Weights are read-only views of the mapped file. BatchNorm statistics are freed of their factor, in float64. A
        Caffe file does not state preprocessing and label order: they are taken from the notes that ``write`` leaves
        in the .prototxt of the same name, and without such notes those of the released files are assumed.

    Raises:
        InputError: not such a file, damaged, without definitions, a network outside of the family (the first layer
            that does not fit is named), or blobs that do not fit their layers.
    """
    match, params = _read(path, prototxt, recognise)
    return _record(match), params


def network(path: str | Path, prototxt: str | Path | None = None) -> tuple[Network, Params]:
    """Reads a weights file of any network whose operations are known; for the rest as ``read``.

    Returns:
        The network of a record where a family has one; otherwise its operations under the names of their layers,
        ``spec`` None. Nothing is assumed about the preprocessing of such a network.

    Raises:
        InputError: as ``read``, and a layer that is no known operation; the message names it.
    """
    match, params = _read(Path(path), prototxt, import_network)
    return match.network, params


def _read(path: Path, prototxt: str | Path | None, recognised: Callable[[Net, str], Match]) -> tuple[Match, Params]:
    file = caffe_file.load(path)
    net, match = _recognised(path, file, prototxt, recognised)
    _check_counts(path, net)
    arrays, info = parameters(match, str(path))
    check(match.network, arrays, str(path))
    digest = hashlib.sha256(file.data).hexdigest()
    info = replace(info, source=path.name, format="caffemodel", sha256=digest)
    if match.network.spec:
        info = _stated(info, match, Path(prototxt or prototxt_of(path)), digest)
    return match, Params(((p.name, arrays[p.name]) for p in schema(match.network)), info)


def _record(match: Match) -> Spec:
    if match.network.spec is None:
        raise TypeError("a recognised network has a record")
    return match.network.spec


def _stated(info: Info, match: Match, notes: Path, digest: str) -> Info:
    """With preprocessing, labels and history: as noted beside the file, or as assumed of all files."""
    if noted := _noted(notes, _record(match), digest):
        return replace(
            info,
            preprocessing=noted.preprocessing,
            labels=noted.labels,
            class_names=noted.class_names,
            assumed=noted.assumed,
            history=noted.history,
        )
    devkit = match.network.classes == 1000
    return replace(
        info,
        preprocessing=_preprocessing(match.size),
        labels="devkit" if devkit else None,
        assumed=("preprocessing", "labels") if devkit else ("preprocessing",),
    )


def write(path: Path, of: Network | Spec, params: Mapping[str, np.ndarray]) -> None:
    """Writes a weights file and, beside it, the .prototxt of the network: the pair as Caffe's own Net writes it.

    A float net where all learned parameters are float32 or narrower, a double net otherwise. Statistics get the
    factor they came with (1 where none is known); those that float32 does not hold exactly are written as doubles,
    which Caffe reads as well. The input has the size of the preprocessing's crop, 224 where that is not known.

    What no Caffe file can state, preprocessing and label order, stands in comments of the .prototxt.

    Raises:
        InputError: parameters that do not fit the network, no numbers, or a place that cannot be written.
    """
    if path.name.endswith(".h5"):
        raise InputError(f"{path}: cannot be written: Caffe's HDF5 files cannot hold names with '/'; use .caffemodel")
    network = as_network(of)
    check(network, params, str(path))
    info = info_of(params)
    crop = info.preprocessing.crop if info.preprocessing else CAFFE.crop
    definitions = layers(network, (crop, crop))
    held = blobs(network, params, info)
    net = Net(
        net_name(network),
        tuple(
            replace(d.layer, blobs=held.get((d.node.module, d.layer.type), ())) if d.node else d.layer
            for d in definitions
        ),
    )
    with replacing(prototxt_of(path)) as file:
        caffe_file.save(path, replace(net, layers=tuple(as_written(net.layers))))
        file.write((_notes(network.spec, info, path) + text_format.dump(net)).encode("utf-8", "surrogateescape"))


def prototxt_of(path: Path) -> Path:
    """The name of the definition that belongs to a weights file: x.caffemodel -> x.prototxt."""
    return path.with_name(path.name.removesuffix(".h5").removesuffix(".caffemodel") + ".prototxt")


def _notes(spec: Spec | None, info: Info, path: Path) -> str:
    """Comments for a .prototxt: the metadata that the network and its blobs do not say themselves, and whose it is."""
    if not (info.preprocessing or info.labels or info.class_names):
        return ""
    strings = {key: value for key, value in metadata.encode(spec, info).items() if key not in _SAID}
    return "".join(f"# {key}: {value}\n" for key, value in {**strings, _WEIGHTS: _sha256(path)}.items())


def _noted(path: Path, spec: Spec, digest: str) -> Info | None:
    """What ``_notes`` wrote, if it stands there and was written for the weights file of that sha256."""
    if not path.is_file():
        return None
    with reading(path) as file:
        lines = file.read().decode("utf-8", "surrogateescape").splitlines()
    notes = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# senet.") and ": " in line)
    if notes.pop(_WEIGHTS, None) != digest:
        return None
    return metadata.decode({**metadata.encode(spec, Info()), **notes}, str(path))[1]


def _sha256(path: Path) -> str:
    with reading(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def describe(path: str | Path, prototxt: str | Path | None = None) -> Summary:
    """What a weights file of Caffe holds; a network outside of the family is no error here.

    Raises:
        InputError: the file cannot be read as a Caffe file at all.
    """
    net = caffe_file.load(Path(path))
    arrays = [blob for layer in net.layers for blob in layer.blobs]
    spec, misfit = None, ""
    try:
        spec = _recognised(Path(path), net, prototxt, recognise)[1].network.spec
    except InputError as error:
        misfit = str(error)
    return Summary(
        name=net.name,
        types=dict(Counter(layer.type for layer in net.layers)),
        blobs=len(arrays),
        scalars=sum(blob.size for blob in arrays),
        dtypes=tuple(sorted({blob.dtype.name for blob in arrays})),
        spec=spec,
        misfit=misfit,
    )


def _recognised(
    path: Path, net: Net, definition: str | Path | None, recognised: Callable[[Net, str], Match]
) -> tuple[Net, Match]:
    if definition is not None:
        defined = _joined(path, net, Path(definition))
        match = recognised(defined, str(definition))
        known = {layer.name for layer in defined.layers}
        extra = [layer.name for layer in net.layers if layer.blobs and layer.name not in known]
        if extra:
            unused = f"{path}: not used, as {definition} has no such layer: {_names(extra)}"
            warnings.warn(InputWarning(unused), stacklevel=6)
        return defined, match
    if not has_definitions(net):
        raise InputError(
            f"{path}: carries no layer definitions, as HDF5 files and some old ones; "
            "give the .prototxt of the network beside it (--prototxt FILE)"
        )
    return net, recognised(net, str(path))


def _joined(path: Path, weights: Net, definition: Path) -> Net:
    """A definition with the blobs of the layers of the same names."""
    net = text_format.test_phase(text_format.read(definition))
    twice = [name for name, n in Counter(layer.name for layer in net.layers if blob_count(layer)).items() if n > 1]
    if twice:
        raise InputError(f"{definition}: defines {_names(twice)} more than once; blobs are found by name: rename them")
    stored = {layer.name: layer for layer in weights.layers}
    missing = [layer.name for layer in net.layers if blob_count(layer) and layer.name not in stored]
    if missing:
        raise InputError(
            f"{path}: has no layer {_names(missing)}, which {definition} defines; Caffe would leave such layers "
            "with random values: give the .prototxt that belongs to this file"
        )
    empty = Layer("", "", (), ())
    return replace(net, layers=tuple(_with_blobs(layer, stored.get(layer.name, empty)) for layer in net.layers))


def _with_blobs(layer: Layer, stored: Layer) -> Layer:
    return replace(layer, blobs=stored.blobs, legacy=stored.legacy)


def _names(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more


def _check_counts(path: Path, net: Net) -> None:
    for layer in net.layers:
        if len(layer.blobs) != blob_count(layer):
            raise InputError(
                f"{path}: layer {layer.name!r} ({layer.type}) holds {len(layer.blobs)} blobs, "
                f"expected {blob_count(layer)} by its definition; the file is damaged or of another network"
            )


def _preprocessing(size: tuple[int, int] | None) -> Preprocessing:
    """That of the released files, crop and margin scaled to the input size that the definition states."""
    if size is None or size[0] != size[1] or size[0] < 32:  # a placeholder, or no square
        return CAFFE
    return replace(CAFFE, crop=size[0], resize=round(size[0] * CAFFE.resize / CAFFE.crop))
