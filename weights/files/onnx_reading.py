"""ONNX files that this program wrote, read back: what the parameters stand for is checked node by node."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from weights.errors import InputError, printable
from weights.files import metadata, onnx_options
from weights.files.onnx_model import AXES, finished, inferred, model, onnx_ir_module
from weights.files.onnx_options import OnnxOptions
from weights.networks.parameters import check, schema
from weights.networks.sizes import shapes
from weights.networks.spec import Spec
from weights.params import Checkpoint, Info, Params
from weights.protobuf import BYTES, Budget, Message, field_head
from weights.storage.contents import contents, sha256

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto
    from onnx_ir import DataType, Model

DATA = "senet.data"
"""The key of the metadata under which stands which file of values belongs to a model."""

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9
"""Field numbers of ModelProto, GraphProto and TensorProto."""

_METADATA, _NODE, _ATTRIBUTE, _GRAPHS = 14, 1, 5, (6, 11)  # of ModelProto, GraphProto, NodeProto, AttributeProto
_OF_THE_MODEL = 8, 20, 25  # opsets, training, functions: what else decides what is computed
_OF_THE_GRAPH = 11, 12, 13, 14, 15  # inputs, outputs, types of values, quantization, sparse initializers
_APART = 4096  # bytes at most between values in a file of their own
_LONGEST = 2**21  # bytes of a model beside values and metadata; SENet-154 has 0.4 MB of them


def stated(path: Path) -> dict[str, str]:
    """The metadata of a model that ``write`` wrote.

    Raises:
        InputError: not an ONNX file, a damaged one, or not written by this program.
    """
    return _opened(path)[2]


def _opened(path: Path) -> tuple[memoryview, "_Parts", dict[str, str]]:
    data = contents(path)
    try:
        parts = _parts(data)
        strings = dict(map(_entry, parts.entries))
    except (InputError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no ONNX file, or a damaged one: {error}") from None
    if metadata.MARK not in strings:
        raise InputError(
            f"{path}: was not written by senet: its metadata has no {metadata.MARK!r}; of ONNX files only those "
            "are read that senet convert or weights.write wrote"
        )
    return data, parts, strings


def read(path: Path) -> Checkpoint:
    """Reads a model that ``write`` wrote.

    Files that other programs wrote are refused: they do not state the network.

    Returns:
        The parameters in the precision of the file: in one of float32, so are the statistics. Read-only views of its
        bytes.

    Raises:
        InputError: not an ONNX file, a damaged one, not written by this program, or changed since; or written in a way
            that the parameters do not come back from: in less precision, or with BatchNorms folded.
    """
    onnx_ir_module()
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    data, parts, strings = _opened(path)
    if "senet.spec" not in strings:
        raise InputError(
            f"{path}: has no record of its network, only its nodes, which an ONNX runtime computes; not read"
        )
    try:
        options = onnx_options.decode(strings.get(onnx_options.KEY, "{}"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if not options.exact:
        raise InputError(
            f"{path}: holds no parameters that could be read back, for senet wrote it for runtimes ({options}); "
            "read the checkpoint that it was made from"
        )
    try:
        proto = ModelProto.FromString(bytes(parts.frame + field_head(GRAPH, len(parts.graph)) + parts.graph))
        said = list(_statements(proto, map(_initializer, proto.graph.initializer)))
    except (DecodeError, ValueError) as error:
        raise InputError(f"{path}: is no ONNX file, or a damaged one: {error}") from None
    spec, info = metadata.decode(strings, str(path))
    tensors = [(t, data, place) for t, place in zip(proto.graph.initializer, parts.places, strict=True)]
    if DATA in strings:
        tensors = _beside(path, strings[DATA], tensors)
    arrays = {t.name: _array(path, t, within, place) for t, within, place in tensors if t.name != AXES}
    check(spec, arrays, str(path))
    _check_unchanged(path, proto, said, spec, arrays, options, info)
    _check_axes(path, tensors)
    return Checkpoint(spec, Params(((p.name, arrays[p.name]) for p in schema(spec)), info))


_Placed = tuple["TensorProto", memoryview, tuple[int, int] | None]
"""A tensor, and in which bytes its values lie where."""


def _beside(path: Path, text: str, tensors: list[_Placed]) -> list[_Placed]:
    """The same tensors, those whose values are in the file beside the model with their place there.

    Raises:
        InputError: that is not the file that was written with the model, or the places are damaged.
    """
    from onnx import TensorProto

    try:
        wanted = str(json.loads(text)["sha256"])
        said = {
            tensor.name: {entry.key: entry.value for entry in tensor.external_data}
            for tensor, _, _ in tensors
            if tensor.data_location == TensorProto.EXTERNAL
        }
        (location,) = {entries["location"] for entries in said.values()}
        places = {name: (int(e["offset"]), int(e["offset"]) + int(e["length"])) for name, e in said.items()}
        if not location or Path(location).name != location:
            raise ValueError(location)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{path}: damaged: it does not say where its values are, in one file beside it") from None
    values, most = sum(end - begin for begin, end in places.values()), max(end for _, end in places.values())
    if not 0 <= most <= values + _APART * len(places):
        raise InputError(f"{path}: damaged: its values lie in {most:,} bytes of {location}, and have {values:,}")
    data = contents(path.with_name(location), most)
    if sha256(data) != wanted:
        raise InputError(f"{path.with_name(location)}: is not the file of values that was written with {path.name}")
    found: list[_Placed] = []
    for tensor, within, place in tensors:
        if tensor.name in places:
            begin, end = places[tensor.name]
            if not 0 <= begin <= end <= len(data):
                raise InputError(f"{path}: damaged: {tensor.name} lies outside of {location}")
            tensor.data_location = TensorProto.DEFAULT
            found.append((tensor, data, (begin, end)))
        else:
            found.append((tensor, within, place))
    return found


class _Parts(NamedTuple):
    """What is read of a ModelProto."""

    entries: list[Message]  # of its metadata
    frame: bytearray  # a ModelProto of what is left but for the graph
    graph: bytearray  # a GraphProto of all that changes what is computed, initializers without their raw values
    places: list[tuple[int, int] | None]  # where in the file the values lie


def _parts(data: memoryview) -> _Parts:
    """Takes a ModelProto apart; what is not needed, and could be of any size, is left out.

    Raises:
        InputError: it is no message of protobuf, or has more than a network needs.
    """
    budget = Budget(len(data))
    found = _Parts([], bytearray(), bytearray(), [])
    for number, place, whole in _fields(data, (0, len(data)), budget):
        if number == _METADATA:
            budget.spend((place[1] - place[0]) // 64)
            found.entries.append(Message(data, *place, budget))
        elif number in _OF_THE_MODEL or not number:  # or the version of the format, and other numbers
            found.frame.extend(whole)
        for inner, inner_place, field in _fields(data, place, budget) if number == GRAPH else ():
            if inner == _NODE:
                _count(data, inner_place, budget)
                found.graph.extend(field)
            elif inner == INITIALIZER:
                tensor = list(_fields(data, inner_place, budget))
                head = b"".join(part for n, _, part in tensor if n != RAW_DATA)
                found.graph.extend(field_head(INITIALIZER, len(head)) + head)
                found.places.append(next((at for n, at, _ in reversed(tensor) if n == RAW_DATA), None))
            elif inner in _OF_THE_GRAPH:
                budget.spend(len(field) // 8)  # of these a network has a few
                found.graph.extend(field)
            if len(found.graph) > _LONGEST:
                break
        if len(found.graph) + len(found.frame) > _LONGEST:
            raise InputError(f"has more than {_LONGEST:,} bytes beside values and metadata; no network needs them")
    return found


def _count(data: memoryview, node: tuple[int, int], budget: Budget) -> None:
    """Counts the fields of a node and of its attributes, and refuses graphs within: nothing here writes such."""
    for number, place, _ in _fields(data, node, budget):
        for inner, _, _ in _fields(data, place, budget) if number == _ATTRIBUTE else ():
            if inner in _GRAPHS:
                raise InputError("has graphs within its nodes, which senet never writes")


def _entry(message: Message) -> tuple[str, str]:
    """A StringStringEntryProto."""
    texts = {number: str(message.data[at:end], "utf-8") for number, kind, at, end in message if kind == BYTES}
    return texts.get(1, ""), texts.get(2, "")


def _fields(
    data: memoryview, place: tuple[int, int], budget: Budget
) -> Iterator[tuple[int, tuple[int, int], memoryview]]:
    """The fields of a message: number (0 of those that are no bytes), where the payload lies, and the whole field."""
    at, end = place
    for number, kind, begin, stop in Message(data, at, end, budget):
        yield number if kind == BYTES else 0, (begin, stop), data[at:stop]
        at = stop


def _array(path: Path, tensor: "TensorProto", data: memoryview, place: tuple[int, int] | None) -> np.ndarray:
    """A tensor's values as a view of the file."""
    dtype = {1: np.dtype("<f4"), 11: np.dtype("<f8")}.get(tensor.data_type)  # TensorProto.FLOAT, DOUBLE
    if dtype is None or place is None or tensor.data_location:
        raise InputError(
            f"{path}: {tensor.name} is not stored as senet writes it, as float32 or float64 in the file itself"
        )
    begin, end = place
    shape = tuple(tensor.dims)
    if min(shape, default=1) < 1 or end - begin != prod(shape) * dtype.itemsize:
        raise InputError(f"{path}: damaged: {tensor.name} of shape {shape} and type {dtype} has {end - begin:,} bytes")
    return np.frombuffer(data, dtype, prod(shape), begin).reshape(shape)


def _check_unchanged(
    path: Path,
    proto: "ModelProto",
    found: list["_Statement"],
    spec: Spec,
    arrays: Mapping[str, np.ndarray],
    options: OnnxOptions,
    info: Info,
) -> None:
    """Parameters under our names mean what we wrote only while all that computes is what we wrote."""
    try:
        made = model(spec, arrays, next(iter(arrays.values())).dtype.name, options)
        made = finished(made, spec, info, options)
    except InputError as error:
        raise InputError(f"{path}: its metadata is damaged: {error}") from None
    tensors = [value.const_value for value in made.graph.initializers.values()]
    kept = [_in_words(str(t.name), t.dtype.value, t.shape.numpy()) for t in tensors if t is not None]
    types = _types(made)
    if None in types.values():  # what is around the network states none before it is written
        types = _types(inferred(made))
    made.graph.initializers.clear()  # whose values would be copied
    nothing = _Statement("no more nodes")
    for theirs, ours in zip_longest(found, _statements(onnx_ir_module().to_proto(made), kept), fillvalue=nothing):
        if theirs.words != ours.words:
            raise InputError(f"{path}: was changed since senet wrote it: it has {theirs.words}, expected {ours.words}")
        if theirs != ours:
            raise InputError(
                f"{path}: was changed since senet wrote it: {ours.words} is written in another way; "
                "names, types and the number of values are no longer the same"
            )
    sizes = shapes(spec, *(options.size or ()))
    for value in (*proto.graph.value_info, *proto.graph.output):
        kind, name = types.get(value.name), str(value.name)
        stated = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        fits = kind is not None and value.type.tensor_type.elem_type == kind.value
        if stated and name in sizes:
            fits = fits and len(stated) == len(sizes[name]) + 1 and stated[1] in (0, sizes[name][0])
        if not fits:
            raise InputError(
                f"{path}: was changed since senet wrote it: it states that {printable(name)} has the type "
                f"{value.type.tensor_type.elem_type} and the shape {stated}, which no node of this network makes"
            )


def _types(made: "Model") -> "dict[str, DataType | None]":
    return {value.name or "": value.dtype for node in made.graph for value in node.outputs}


def _check_axes(path: Path, tensors: Iterable[_Placed]) -> None:
    """Whether the axes that means are taken over are those of height and width."""
    for tensor, data, place in tensors:
        if tensor.name == AXES:
            found = np.frombuffer(data[slice(*place)], np.uint8).tobytes() if place else b""
            if (tensor.data_type, list(tensor.dims), found) != (7, [2], np.array([2, 3], "<i8").tobytes()):
                raise InputError(f"{path}: was changed since senet wrote it: {AXES} is not [2, 3]")


class _Statement(NamedTuple):
    """Something that decides what a model computes: in words, and what of it words do not tell."""

    words: str
    exact: tuple[object, ...] = ()


def _statements(model: "ModelProto", initializers: Iterable[_Statement]) -> Iterator[_Statement]:
    """All that decides what a model computes, but for the values of its initializers, in its order."""
    yield from map(_Statement, _frame(model))
    yield from initializers
    yield from map(_described, model.graph.node)


def _frame(model: "ModelProto") -> Iterator[str]:
    """What is around the nodes, in words."""
    graph = model.graph
    yield f"version {model.ir_version} of the format"
    yield from (f"opset {opset.version}" + f" of {opset.domain}" * bool(opset.domain) for opset in model.opset_import)
    for what, several in (
        ("functions", model.functions),
        ("training", model.training_info),
        ("quantization", graph.quantization_annotation),
        ("sparse initializers", graph.sparse_initializer),
    ):
        if several:
            yield f"{what} of its own"
    for value in graph.input:
        kind = value.type.tensor_type
        sizes = [dim.dim_param or dim.dim_value for dim in kind.shape.dim]
        yield f"input {value.name} of {kind.elem_type} {sizes}"
    yield from (f"output {value.name} of {value.type.tensor_type.elem_type}" for value in graph.output)


def _initializer(tensor: "TensorProto") -> _Statement:
    """A tensor, but for its values."""
    rest = type(tensor)()
    rest.CopyFrom(tensor)
    place = ("data_location", "external_data") if tensor.data_location else ()  # which is read elsewhere
    for field in ("name", "data_type", "dims", *place):
        rest.ClearField(field)
    said = _in_words(str(tensor.name), tensor.data_type, tensor.dims)
    return said._replace(exact=(rest.SerializeToString(),)) if rest.ByteSize() else said


def _in_words(name: str, kind: int, dims: Iterable[int]) -> _Statement:
    return _Statement(f"initializer {name} of {kind} {list(dims)}")


def _described(node: "NodeProto") -> _Statement:
    """What a node computes. Names that are no UTF-8 come out of protobuf as bytes."""
    from onnx.helper import get_attribute_value

    inputs, outputs = (", ".join(map(str, side)) for side in (node.input, node.output))
    attributes = {str(a.name): get_attribute_value(a) for a in sorted(node.attribute, key=lambda a: str(a.name))}
    overload = f":{node.overload}" if node.overload else ""
    words = f"{outputs} = {node.domain}{node.op_type}{overload}({inputs}, {attributes})"
    settings = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
    named = node.name, node.domain, node.op_type, node.overload
    return _Statement(words, (*named, tuple(node.input), tuple(node.output), *settings))
