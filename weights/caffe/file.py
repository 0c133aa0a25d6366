"""Caffe's weights files: read at the wire from a memory map, written as a stream.

Every form that Caffe 1.0 reads is read, and comes out in the form of Caffe 1.0. Where Caffe would be silent about
damage, this raises or warns.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from weights.caffe import hdf5 as caffe_hdf5
from weights.caffe.blob_values import LIMIT, byte_count, byte_view, encoded_pieces, read_blob
from weights.caffe.net import Layer, Net
from weights.caffe.schema import MESSAGES
from weights.caffe.upgrade import upgrade
from weights.caffe.wire import decode, encode
from weights.errors import InputError, InputWarning
from weights.protobuf import Budget, Message, field_head
from weights.storage.contents import contents
from weights.storage.signatures import looks_like
from weights.storage.whole import replacing

_BLOBS = 7
_OWN = ("name", "type", "bottom", "top", "blobs")
_NET, _LAYER = MESSAGES["NetParameter"], MESSAGES["LayerParameter"]


def load(path: str | Path) -> Net:
    """Reads a .caffemodel of any form: V0, V1, V2 or HDF5, told by the contents.

    Returns:
        The network upgraded to the form of Caffe 1.0. Blobs are read-only views of its bytes where it has their
        values in one piece (not aligned in memory), with the dimensions that the file states.

    Raises:
        InputError: damaged, not a Caffe file, or without a layer or a blob; with the file, the layer, what was
            expected and found.

    Warns:
        InputWarning: zero bytes after the end; several layers of one name, of which the last counts as in Caffe.
    """
    data = contents(path)
    if not data:
        raise InputError(f"{path}: is empty; download or copy it again")
    is_hdf5 = caffe_hdf5.is_hdf5(data)
    if len(data) > LIMIT and not is_hdf5:
        raise InputError(f"{path}: has {len(data):,} bytes; Caffe's binary files end below 2 GiB")
    try:
        net = _hdf5_net(data) if is_hdf5 else _parse(str(path), data)
    except InputError as error:
        hint = None if is_hdf5 else looks_like(bytes(data[:512]))
        found = f"this is {hint}; a .caffemodel was expected" if hint else error
        raise InputError(f"{path}: {found}") from None
    return replace(net, layers=_last_of_each_name(str(path), net.layers), data=data)


def upgraded(net: Mapping[str, Any], source: str) -> Net:
    """A network definition as a dict of NetParameter (from text, say), old forms upgraded.

    Raises:
        InputError: it cannot be upgraded; the message begins with ``source``.
    """
    try:
        return _net(*upgrade(net), _no_blob)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def save(path: str | Path, net: Net) -> None:
    """Writes a binary file, see ``encoded``.

    Raises:
        InputError: as of ``encoded``, or a place that cannot be written; what stood at ``path`` is then unchanged.
    """
    write = encoded(path, net)
    with replacing(path) as file:
        write(file)


def encoded(path: str | Path, net: Net) -> Callable[[BinaryIO], None]:
    """A network ready to be written as Caffe 1.0 does (the same, byte for byte): definitions and blobs in V2 form.

    float32 blobs become ``data``, float64 ``double_data``; legacy ones keep their four dimensions.

    Returns:
        What writes it to a file: blobs go there one at a time, from where they lie.

    Raises:
        InputError: more than protobuf's 2 GiB, settings or blobs that the format cannot hold; it names ``path``.
    """
    try:
        head = encode("NetParameter", {"name": net.name, **net.settings})
        layers = [_Written(layer) for layer in net.layers]
    except InputError as error:
        raise InputError(f"{path}: cannot be written: {error}") from None
    size = len(head) + sum(layer.size for layer in layers)
    if size > LIMIT:
        raise InputError(f"{path}: cannot be written: {size:,} bytes are more than the 2 GiB - 1 that Caffe can read")

    def write(file: BinaryIO) -> None:
        file.write(head)
        for layer in layers:
            layer.write(file)

    return write


def _hdf5_net(data: memoryview) -> Net:
    """A network of layers without definitions."""
    layers = tuple(Layer(name, "", (), (), {}, blobs) for name, blobs in caffe_hdf5.blobs(data))
    return _not_empty(Net("", layers, {}, "HDF5"))


def _parse(path: str, data: memoryview) -> Net:
    budget = Budget(len(data))
    message = Message(data, 0, len(data), budget, top=True)
    net, form = upgrade(decode("NetParameter", message, spans=frozenset({"BlobProto"})))
    if message.at < len(data):
        rest = np.frombuffer(data, np.uint8, offset=message.at)
        if not message.at:
            raise InputError("is no .caffemodel: Caffe would stop at its first byte and silently load nothing")
        if rest.any():
            raise InputError(
                f"is damaged at byte {message.at:,}: Caffe would silently drop the {len(rest):,} bytes from there on"
            )
        warnings.warn(InputWarning(f"{path}: {len(rest):,} zero bytes follow the network; not used"), stacklevel=3)
    return _not_empty(_net(net, form, lambda place: read_blob(Message(data, place[0], place[1], budget))))


def _not_empty(net: Net) -> Net:
    if not any(layer.blobs for layer in net.layers):
        what = f"{len(net.layers)} layers, but no weights" if net.layers else "no layers"
        raise InputError(f"is no usable weights file: it holds {what}")
    return net


def _net(net: dict[str, Any], form: str, blob: Callable[[Any], tuple[np.ndarray, bool]]) -> Net:
    """From a dict; ``blob`` makes of what stands there for a blob the array and whether it is a legacy one."""
    layers = []
    for message in net.pop("layer", []):
        name, blobs, legacy = message.get("name", ""), [], set()
        for i, place in enumerate(message.get("blobs", [])):
            try:
                array, old = blob(place)
            except InputError as error:
                raise InputError(f"layer {name!r}, blob {i}: {error}") from None
            blobs.append(array)
            if old:
                legacy.add(i)
        settings = {key: value for key, value in message.items() if key not in _OWN}
        bottoms, tops = tuple(message.get("bottom", ())), tuple(message.get("top", ()))
        layers.append(Layer(name, message.get("type", ""), bottoms, tops, settings, tuple(blobs), frozenset(legacy)))
    return Net(net.pop("name", ""), tuple(layers), net, form)


def _no_blob(_: object) -> NoReturn:
    raise InputError("its values are in text form, which only a binary or HDF5 file can have here")


def _last_of_each_name(path: str, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Of several layers with blobs and the same name the last, in the place of the first."""
    names = Counter(layer.name for layer in layers)
    twice = {layer.name for layer in layers if layer.blobs and layer.name and names[layer.name] > 1}
    if not twice:
        return layers
    shown = ", ".join(sorted(twice)[:5]) + (", ..." if len(twice) > 5 else "")
    warnings.warn(
        InputWarning(f"{path}: several layers of the name {shown}; the last of each counts, as in Caffe"), stacklevel=3
    )
    last = {layer.name if layer.name in twice else i: layer for i, layer in enumerate(layers)}
    return tuple(last.values())


class _Written:
    """A layer ready to be written: everything but the blobs' values, and the size with them."""

    def __init__(self, layer: Layer):
        fields = {"name": layer.name, "type": layer.type, "bottom": layer.bottoms, "top": layer.tops}
        fields = {**{key: value for key, value in fields.items() if value}, **layer.settings}
        try:
            before = {key: value for key, value in fields.items() if key in _LAYER and _LAYER[key].number < _BLOBS}
            self.before = encode("LayerParameter", before)
            self.after = encode("LayerParameter", {k: v for k, v in fields.items() if k not in before})
            self.blobs = [encoded_pieces(blob, i in layer.legacy) for i, blob in enumerate(layer.blobs)]
        except InputError as error:
            raise InputError(f"layer {layer.name!r}: {error}") from None
        sizes = [sum(byte_count(piece) for piece in pieces) for pieces in self.blobs]
        self.heads = [field_head(_BLOBS, length) for length in sizes]
        body = len(self.before) + sum(map(len, self.heads)) + sum(sizes) + len(self.after)
        self.head = field_head(_NET["layer"].number, body)
        self.size = len(self.head) + body

    def write(self, file: BinaryIO) -> None:
        file.write(self.head + self.before)
        for head, pieces in zip(self.heads, self.blobs, strict=True):
            file.write(head)
            for piece in pieces:
                file.write(piece if isinstance(piece, bytes) else byte_view(piece))
        file.write(self.after)
