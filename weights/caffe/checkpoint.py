"""Caffe checkpoints as networks: weights files read by the structure of their layers, pairs written as Caffe does."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from weights.caffe import file as caffe_file
from weights.caffe import notes
from weights.caffe import text as text_format
from weights.caffe.as_written import as_written
from weights.caffe.blobs import blob_count, blobs, parameters
from weights.caffe.layers import layers, usual_pooling
from weights.caffe.net import Layer, Net
from weights.caffe.recognise import Match, has_definitions, import_network, recognise
from weights.caffe.released import expectations
from weights.caffe.settings import param
from weights.errors import InputError, InputWarning
from weights.names.caffe import net_name
from weights.networks.float_settings import rounded_settings
from weights.networks.network import Network, as_network
from weights.networks.operations import GlobalPool
from weights.networks.parameters import check, schema
from weights.networks.spec import Spec
from weights.params import CAFFE, LARGEST_IMAGE, Info, LastPooling, Params, info_of
from weights.storage.contents import sha256
from weights.storage.whole import together

_SMALLEST = 32  # pixels of a stated input on a side; fewer are a placeholder


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
    network: Network | None  # where all operations are known
    unknown: str  # why not, naming the first layer that is no known operation
    size: tuple[int, int] | None  # height and width of the input, where stated


def read(path: Path, prototxt: str | Path | None = None) -> tuple[Spec, Params]:
    """Reads a weights file of Caffe, in whatever form Caffe itself loads, by the structure of its layers.

    Args:
        path: .caffemodel or .caffemodel.h5.
        prototxt: the definition of the network, for files that carry none; otherwise the file's own counts.

    Returns:
        Weights are read-only views of its bytes. BatchNorm statistics are freed of their factor, in float64. A
        Caffe file does not state preprocessing and label order: they are taken from the notes that ``write`` leaves
        in the .prototxt of the same name. Without such notes they are known of the released files, assumed of other
        files of exactly the released networks, and None of all others, see ``released``.

    Raises:
        InputError: not such a file, damaged, without definitions, a network outside of the family (the first layer
            that does not fit is named), blobs that do not fit their layers, or a definition of that name that ``write``
            wrote with other weights.
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
    digest = sha256(file.data)
    beside = notes.prototxt_of(path)
    definition = Path(prototxt or beside)
    said = notes.said(definition)  # once: another process may be replacing it
    ours = prototxt is None or (definition.exists() and beside.exists() and definition.samefile(beside))
    if ours and file.form != "HDF5":  # which is not written here, and may be made of what is
        notes.check(said, path, digest)
    net, match = _recognised(path, file, prototxt, recognised)
    _check_counts(path, net)
    arrays, info = parameters(match, str(path))
    check(match.network, arrays, str(path))
    stated = _last_pooling(match)
    info = replace(info, source=path.name, format="caffemodel", sha256=digest, last_pooling=stated)
    if match.network.spec:
        noted = notes.info(said, str(definition), _record(match), digest)
        info = _stated(info, match, noted, digest)
    if not info.preprocessing and match.size and min(match.size) >= _SMALLEST and max(match.size) <= LARGEST_IMAGE:
        info = replace(info, input_size=match.size)
    return match, Params(((p.name, arrays[p.name]) for p in schema(match.network)), info)


def _record(match: Match) -> Spec:
    if match.network.spec is None:
        raise TypeError("a recognised network has a record")
    return match.network.spec


def _stated(info: Info, match: Match, noted: Info | None, digest: str) -> Info:
    """With preprocessing, labels and history: as noted in the definition, or as known of a file with these bytes.

    What layers cannot say of the network is assumed.
    """
    spec = _record(match)
    said = noted or expectations(spec, digest, match.size)
    return replace(
        said,
        assumed=tuple(dict.fromkeys((*said.assumed, *spec.unshown))),
        history=noted.history if noted else info.history,
        source=info.source,
        format=info.format,
        sha256=info.sha256,
        factors=info.factors,
        blobs=info.blobs,
        last_pooling=info.last_pooling,
    )


def _last_pooling(match: Match) -> LastPooling | None:
    """How the definition states the last pooling, where it is not the usual way for the network."""
    poolings = [node for node in match.network.nodes if isinstance(node.op, GlobalPool) and not node.block]
    if not poolings:
        return None
    (layer,) = match.layers[poolings[-1].name]
    stated: LastPooling = "global" if param(layer, "pooling_param")["global_pooling"] else "window"
    return None if stated == usual_pooling(match.network) else stated


def write(path: Path, of: Network | Spec, params: Mapping[str, np.ndarray]) -> None:
    """Writes a weights file and, beside it, the .prototxt of the network: the pair as Caffe's own Net writes it.

    A float net where all learned parameters are float32 or narrower, a double net otherwise. Statistics get the
    factor they came with (1 where none is known); those that float32 does not hold exactly are written as doubles,
    which Caffe reads as well. The input has the size of the preprocessing's crop; where that is not known, the size
    that the source stated, or 224; that of the network, where it takes no other.

    The last pooling is stated as the source stated it, otherwise as ``layers.usual_pooling`` says; where it is global,
    a comment of the .prototxt says that any size of the input fits.

    What no Caffe file can state, preprocessing and label order, stands in comments of the .prototxt. There also stands
    which weights it belongs to: ``read`` refuses a pair that was not written to its end. Of an eps, a dropout or a
    factor that Caffe's floats do not hold, the file gets the nearest float; one ``InputWarning`` names both numbers,
    which stand in the comments too, and the record that is read back has the float's value.

    Raises:
        InputError: parameters that do not fit the network, no numbers, or a place that cannot be written.
    """
    if path.name.endswith(".h5"):
        raise InputError(f"{path}: cannot be written: Caffe's HDF5 files cannot hold names with '/'; use .caffemodel")
    network = as_network(of)
    check(network, params, str(path))
    info = _with_rounded_settings(path, network, info_of(params))
    crop = (info.preprocessing or CAFFE).crop
    size = network.size or (not info.preprocessing and info.input_size) or (crop, crop)
    definitions = layers(network, size, info.last_pooling)
    held = blobs(network, params, info)
    net = Net(
        net_name(network),
        tuple(
            replace(d.layer, blobs=held.get((d.node.module, d.layer.type), ())) if d.node else d.layer
            for d in definitions
        ),
    )
    save = caffe_file.encoded(path, replace(net, layers=tuple(as_written(net.layers))))
    # The definition comes first. It says which weights it belongs to, so that what is read between is no pair.
    with together(notes.prototxt_of(path), path) as (definition, file):
        save(file)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # the stub wants less
        said = notes.comments(network.spec, info, digest) + notes.on_size(net)
        definition.write((said + text_format.dump(net)).encode("utf-8", "surrogateescape"))


def _with_rounded_settings(path: Path, network: Network, info: Info) -> Info:
    """Says in a warning and in the history which settings Caffe's floats do not hold."""
    lines = [
        f"{s.name}: {s.value!r} to {s.held!r}, the nearest that Caffe's float holds" for s in rounded_settings(network)
    ]
    if not lines:
        return info
    warnings.warn(InputWarning(f"{path}: {'; '.join(lines)}"), stacklevel=4)
    return replace(info, history=(*info.history, *lines))


def describe(path: str | Path, prototxt: str | Path | None = None) -> Summary:
    """What a weights file of Caffe holds; a network outside of the family is no error here.

    Raises:
        InputError: the file cannot be read as a Caffe file at all.
    """
    net = caffe_file.load(Path(path))
    arrays = [blob for layer in net.layers for blob in layer.blobs]
    match, misfit, unknown = None, "", ""
    try:
        match = _recognised(Path(path), net, prototxt, recognise)[1]
    except InputError as error:
        misfit = str(error)
        try:
            match = _recognised(Path(path), net, prototxt, import_network)[1]
        except InputError as other:
            unknown = str(other)
    return Summary(
        name=net.name,
        types=dict(Counter(layer.type for layer in net.layers)),
        blobs=len(arrays),
        scalars=sum(blob.size for blob in arrays),
        dtypes=tuple(sorted({blob.dtype.name for blob in arrays})),
        spec=match.network.spec if match else None,
        misfit=misfit,
        network=match.network if match else None,
        unknown=unknown,
        size=match.size if match else None,
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
