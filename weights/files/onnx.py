"""ONNX files of networks: written with all that travels, and read back if this program wrote them."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from math import ceil, floor, log10, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from weights.errors import InputError, InputWarning
from weights.files import metadata
from weights.files.onnx_model import AXES, build, model, onnx_ir_module
from weights.networks.float_settings import rounded_settings
from weights.networks.network import Network, as_network
from weights.networks.parameters import check, schema
from weights.networks.spec import Spec
from weights.params import Checkpoint, Params
from weights.protobuf import BYTES, Budget, Message, field_head
from weights.storage.contents import contents
from weights.storage.whole import replacing

if TYPE_CHECKING:
    import onnx_ir as ir
    from onnx import ModelProto, NodeProto, TensorProto

_LARGEST = 2**31 - 1  # bytes of a protobuf message
_GRAPH, _METADATA = 7, 14  # field numbers of ModelProto,
_NODE, _INITIALIZER = 1, 5  # GraphProto,
_OF_THE_MODEL = 8, 20, 25  # opsets, training, functions: what else decides what is computed
_OF_THE_GRAPH = 11, 12, 14, 15  # inputs, outputs, quantization, sparse initializers
_ATTRIBUTE, _GRAPHS, _RAW_DATA = 5, (6, 11), 9  # NodeProto, AttributeProto and TensorProto
_LONGEST = 2**21  # bytes of a model beside values and metadata; SENet-154 has 0.4 MB of them


def write(
    path: Path,
    of: Network | Spec,
    params: Mapping[str, np.ndarray],
    dtype: Literal["float32", "float64"] = "float32",
) -> None:
    """Writes ``build``'s model.

    What is rounded on the way is said in one ``InputWarning``: how many of the parameters and by how much at most, and
    an eps that ONNX's float does not hold. The metadata keeps the exact record, which is the one that is read back.

    Args:
        path: of the file.
        of: the network. One without a record can be written, and computed by any runtime, but not be read back.
        params: its parameters.
        dtype: of the parameters in the file, and of the computation.

    Raises:
        InputError: as ``build``; or a value is too large for the dtype, the model for a single ONNX file, or the place
            cannot be written.
    """
    network = as_network(of)
    size = sum(p.size for p in schema(network)) * np.dtype(dtype).itemsize
    if size > _LARGEST * 0.99:
        raise InputError(f"{path}: {size:,} bytes of parameters; an ONNX file holds at most {_LARGEST:,}")
    ir = onnx_ir_module()
    check(network, params, str(path))
    rounded = (*_rounded(path, network, params, np.dtype(dtype)), *_rounded_eps(network))
    if rounded:
        warnings.warn(InputWarning(f"{path}: {'; '.join(rounded)}"), stacklevel=3)
    made = build(network, params, dtype=dtype)
    initializers: dict[str, Any] = dict(made.graph.initializers)
    made.graph.initializers.clear()
    proto = ir.to_proto(made)
    body = proto.graph.SerializeToString()
    proto.ClearField("graph")
    # The tensors' bytes go straight to the file: in one message with them they would be in memory three times.
    heads = {name: _tensor_head(value.const_value) for name, value in initializers.items()}
    sizes = {name: len(heads[name]) + value.const_value.nbytes for name, value in initializers.items()}
    framed = len(body) + sum(len(field_head(_INITIALIZER, size)) + size for size in sizes.values())
    with replacing(path) as file:
        file.write(proto.SerializeToString() + field_head(_GRAPH, framed) + body)
        for name, value in initializers.items():
            file.write(field_head(_INITIALIZER, sizes[name]) + heads[name])
            file.write(value.const_value.numpy().reshape(-1).view(np.uint8).data)


def _rounded(path: Path, network: Network, params: Mapping[str, np.ndarray], dtype: np.dtype) -> Iterator[str]:
    """How many of the parameters lose digits, and how many digits."""
    counts = {"weights": 0, "statistics": 0}
    worst = 0.0
    for p in schema(network):
        array = np.asarray(params[p.name])
        if array.dtype.itemsize <= dtype.itemsize:
            continue
        with np.errstate(over="ignore"):
            narrow = array.astype(dtype)
        if (np.isfinite(array) & ~np.isfinite(narrow)).any():
            raise InputError(f"{path}: {p.name} has values up to {np.abs(array).max():.3g}, too large for {dtype}")
        off = np.isfinite(array) & (narrow != array)
        if off.any():
            counts["weights" if p.learnable else "statistics"] += 1
            worst = max(worst, float(np.abs(narrow[off] / array[off] - 1).max()))
    if worst:
        what = " and ".join(f"{n} {kind}" for kind, n in counts.items() if n)
        yield f"{what} rounded to {dtype} (at most {_rounded_up(worst)} of a value)"


def _rounded_up(value: float) -> str:
    """One digit that is not smaller: 6e-8."""
    exponent = floor(log10(value))
    digit = ceil(value / 10**exponent)
    return f"{digit}e{exponent}" if digit < 10 else f"1e{exponent + 1}"


def _rounded_eps(network: Network) -> Iterator[str]:
    for setting in rounded_settings(network, ("eps",)):
        yield f"eps {setting.value!r} is computed as {setting.held!r}, the nearest that ONNX's float holds"


def read(path: Path) -> Checkpoint:
    """Reads a model that ``write`` wrote.

    Files that other programs wrote are refused: they do not state the network.

    Returns:
        The parameters in the precision of the file: in one of float32, so are the statistics. Read-only views of its
        bytes.

    Raises:
        InputError: not an ONNX file, a damaged one, not written by this program, or changed since.
    """
    onnx_ir_module()
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

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
    if "senet.spec" not in strings:
        raise InputError(
            f"{path}: has no record of its network, only its nodes, which an ONNX runtime computes; not read"
        )
    try:
        proto = ModelProto.FromString(bytes(parts.frame + field_head(_GRAPH, len(parts.graph)) + parts.graph))
        said = list(_statements(proto, (tensor.name for tensor in proto.graph.initializer)))
    except (DecodeError, ValueError) as error:
        raise InputError(f"{path}: is no ONNX file, or a damaged one: {error}") from None
    spec, info = metadata.decode(strings, str(path))
    tensors = list(zip(proto.graph.initializer, parts.places, strict=True))
    arrays = {t.name: _array(path, t, data, place) for t, place in tensors if t.name != AXES}
    check(spec, arrays, str(path))
    _check_unchanged(path, said, spec, arrays)
    _check_axes(path, tensors, data)
    return Checkpoint(spec, Params(((p.name, arrays[p.name]) for p in schema(spec)), info))


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
        elif number in _OF_THE_MODEL:
            found.frame.extend(whole)
        for inner, inner_place, field in _fields(data, place, budget) if number == _GRAPH else ():
            if inner == _NODE:
                _count(data, inner_place, budget)
                found.graph.extend(field)
            elif inner == _INITIALIZER:
                tensor = list(_fields(data, inner_place, budget))
                head = b"".join(part for n, _, part in tensor if n != _RAW_DATA and len(part) <= _LONGEST)
                found.graph.extend(field_head(_INITIALIZER, len(head)) + head)
                found.places.append(next((at for n, at, _ in reversed(tensor) if n == _RAW_DATA), None))
            elif inner in _OF_THE_GRAPH:
                budget.spend(len(field) // 8)  # of these a network has a few
                found.graph.extend(field)
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


def _check_unchanged(path: Path, found: list[str], spec: Spec, arrays: Mapping[str, np.ndarray]) -> None:
    """Parameters under our names mean what we wrote only while all that computes is what we wrote."""
    made = model(spec, arrays, (), next(iter(arrays.values())).dtype.name)
    names = list(made.graph.initializers)
    made.graph.initializers.clear()  # whose values would be copied
    for theirs, ours in zip_longest(found, _statements(onnx_ir_module().to_proto(made), names)):
        if theirs != ours:
            raise InputError(
                f"{path}: was changed since senet wrote it: it has {theirs or 'no more nodes'}, "
                f"expected {ours or 'no more nodes'}"
            )


def _check_axes(path: Path, tensors: Iterable[tuple["TensorProto", tuple[int, int] | None]], data: memoryview) -> None:
    """Whether the axes that means are taken over are those of height and width."""
    for tensor, place in tensors:
        if tensor.name == AXES:
            found = np.frombuffer(data[slice(*place)], np.uint8).tobytes() if place else b""
            if (tensor.data_type, list(tensor.dims), found) != (7, [2], np.array([2, 3], "<i8").tobytes()):
                raise InputError(f"{path}: was changed since senet wrote it: {AXES} is not [2, 3]")


def _statements(model: "ModelProto", initializers: Iterable[str]) -> Iterator[str]:
    """All that decides what a model computes, but for the values of its initializers, in words, in its order."""
    graph = model.graph
    for opset in model.opset_import:
        yield f"opset {opset.domain}{opset.version}"
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
    yield from (f"initializer {name}" for name in initializers)
    yield from map(_described, graph.node)


def _described(node: "NodeProto") -> str:
    """What a node computes. Names that are no UTF-8 come out of protobuf as bytes."""
    from onnx.helper import get_attribute_value

    inputs, outputs = (", ".join(map(str, side)) for side in (node.input, node.output))
    attributes = {str(a.name): get_attribute_value(a) for a in sorted(node.attribute, key=lambda a: str(a.name))}
    overload = f":{node.overload}" if node.overload else ""
    return f"{outputs} = {node.domain}{node.op_type}{overload}({inputs}, {attributes})"


def _tensor_head(tensor: "ir.TensorProtocol") -> bytes:
    """A TensorProto up to the bytes of its values, which stand last."""
    from onnx import TensorProto

    proto = TensorProto(dims=tensor.shape.numpy(), data_type=tensor.dtype.value, name=tensor.name)
    return proto.SerializeToString() + field_head(_RAW_DATA, tensor.nbytes)
