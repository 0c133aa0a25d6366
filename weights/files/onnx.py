"""A network as an ONNX model built from the graph, whose values and initializers carry the canonical names."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from weights.errors import InputError
from weights.files import metadata
from weights.files.onnx_operators import operator, window
from weights.networks.network import Network, as_network
from weights.networks.operations import GlobalPool, Linear, Scale
from weights.networks.parameters import check, schema
from weights.networks.sizes import shapes
from weights.networks.spec import Spec
from weights.params import Checkpoint, Params, info_of
from weights.protobuf import BYTES, Budget, Message, field_head
from weights.storage.mapped import mapped
from weights.storage.whole import replacing

if TYPE_CHECKING:
    import onnx_ir as ir
    from onnx import NodeProto, TensorProto

OPSET = 20
IR_VERSION = 10  # that of the first runtimes with this opset
_LARGEST = 2**31 - 1  # bytes of a protobuf message
_AXES = "spatial_axes"
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # field numbers of ModelProto, GraphProto, TensorProto


def build(
    of: Network | Spec,
    params: Mapping[str, np.ndarray],
    taps: Iterable[str] = (),
    dtype: Literal["float32", "float64"] = "float32",
) -> "ir.Model":
    """The model; batch, height and width are dynamic.

    Input "data" (N, 3, H, W); outputs every node named in ``taps`` as the graph has it, then "logits" (N, classes),
    or "pool" (N, C) without a classifier. The metadata holds what a canonical file's holds.

    Everything is rounded to ``dtype``: float32, which every runtime computes in, takes the statistics' extra bits
    (6e-8 of a value), float64 keeps them, for ONNX's reference evaluator.

    Raises:
        InputError: the parameters do not fit the spec, an unknown tap, or ONNX is not installed.
    """
    _import()
    from onnx_ir.passes.common import ShapeInferencePass

    check(of, params)
    model = _model(of, params, tuple(taps), dtype)
    initializers = dict(model.graph.initializers)
    ShapeInferencePass()(model)  # sets large ones aside and puts them back last
    model.graph.initializers.clear()
    model.graph.initializers.update(initializers)
    return model


def _model(of: Network | Spec, params: Mapping[str, np.ndarray], taps: tuple[str, ...], dtype: str) -> "ir.Model":
    """Without the shapes of the values between."""
    ir = _import()
    network = as_network(of)
    sizes = shapes(network)
    kind = {"float32": ir.DataType.FLOAT, "float64": ir.DataType.DOUBLE}[dtype]
    tape = ir.tape.Tape()
    leaves: dict[str, list[Any]] = {}
    for p in schema(network):
        array = np.ascontiguousarray(params[p.name], dtype)
        leaves.setdefault(p.module, []).append(tape.initializer(ir.tensor(array, name=p.name)))
    axes = tape.initializer(ir.tensor(np.array([2, 3]), name=_AXES))

    def unsqueezed(value: "ir.Value", name: str) -> "ir.Value":
        result = ir.val(name, dtype=kind)
        tape.op("Unsqueeze", [value, axes], name=name, output=result)
        return result

    values = {"data": ir.val("data", dtype=kind, shape=("batch", 3, "height", "width"))}
    for node in network.nodes:
        inputs = [values[name] for name in node.inputs]
        held = list(leaves.get(node.module, []))
        name, attributes = operator(node.op)
        match node.op:
            case GlobalPool():
                inputs.append(axes)
            case Scale() if len(sizes[node.inputs[1]]) == 1:
                inputs[1] = unsqueezed(inputs[1], f"{node.name}.gate4d")
            case Linear() if len(sizes[node.inputs[0]]) == 3:  # on every pixel: a 1x1 convolution
                held[0] = unsqueezed(held[0], f"{node.module}.weight4d")
                name, attributes = "Conv", window(1, 1, 0)
            case _:
                pass
        values[node.name] = ir.val(node.name, dtype=kind)
        inputs += held
        tape.op(name, inputs, attributes, name=node.name, output=values[node.name])
    last = network.output.name
    unknown = [name for name in taps if name not in values]
    if unknown:
        raise InputError(f"{network.name} has no {', '.join(unknown)}")
    outputs = [values[name] for name in (*(tap for tap in taps if tap != last), last)]
    body = ir.Graph(
        [values["data"]],
        outputs,
        nodes=tape.nodes,
        initializers=tape.initializers,
        opset_imports={"": OPSET},
        name=network.name,
    )
    return ir.Model(
        body,
        ir_version=IR_VERSION,
        producer_name="senet",
        metadata_props=metadata.encode(network.spec, info_of(params)),
    )


def write(
    path: Path,
    spec: Spec,
    params: Mapping[str, np.ndarray],
    dtype: Literal["float32", "float64"] = "float32",
) -> None:
    """Writes ``build``'s model.

    Raises:
        InputError: as ``build``; or it is too large for a single ONNX file, or the place cannot be written.
    """
    size = sum(p.size for p in schema(spec)) * np.dtype(dtype).itemsize
    if size > _LARGEST * 0.99:
        raise InputError(f"{path}: {size:,} bytes of parameters; an ONNX file holds at most {_LARGEST:,}")
    ir = _import()
    model = build(spec, params, dtype=dtype)
    initializers: dict[str, Any] = dict(model.graph.initializers)
    model.graph.initializers.clear()
    proto = ir.to_proto(model)
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


def read(path: Path) -> Checkpoint:
    """Reads a model that ``write`` wrote.

    Returns:
        The parameters in the precision of the file: in one of float32, so are the statistics. Read-only views of the
        mapped file.

    Raises:
        InputError: not an ONNX file, a damaged one, not written by this program, or changed since.
    """
    _import()
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    data = mapped(path)
    try:
        rest, places = _without_values(data)
        proto = ModelProto.FromString(rest)
        nodes = [_described(node) for node in proto.graph.node]
    except (InputError, DecodeError, ValueError) as error:
        raise InputError(f"{path}: is no ONNX file, or a damaged one: {error}") from None
    spec, info = metadata.decode({str(entry.key): str(entry.value) for entry in proto.metadata_props}, str(path))
    tensors = zip(proto.graph.initializer, places, strict=True)
    arrays = {t.name: _array(path, t, data, place) for t, place in tensors if t.name != _AXES}
    check(spec, arrays, str(path))
    _check_nodes(path, nodes, spec, arrays)
    return Checkpoint(spec, Params(((p.name, arrays[p.name]) for p in schema(spec)), info))


def _without_values(data: memoryview) -> tuple[bytes, list[tuple[int, int] | None]]:
    """A ModelProto without its initializers' raw values, and where these lie in the file.

    Raises:
        InputError: it is no message of protobuf.
    """
    budget = Budget()
    model, body = bytearray(), bytearray()
    places: list[tuple[int, int] | None] = []
    for number, place, field in _fields(data, (0, len(data)), budget):
        if number != _GRAPH:
            model += field
            continue
        for inner_number, inner_place, inner_field in _fields(data, place, budget):
            if inner_number != _INITIALIZER:
                body += inner_field
                continue
            tensor = list(_fields(data, inner_place, budget))
            head = b"".join(part for n, _, part in tensor if n != _RAW_DATA)
            body += field_head(_INITIALIZER, len(head)) + head
            places.append(next((at for n, at, _ in reversed(tensor) if n == _RAW_DATA), None))
    return bytes(model + field_head(_GRAPH, len(body)) + body), places


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


def _check_nodes(path: Path, found: list[str], spec: Spec, arrays: Mapping[str, np.ndarray]) -> None:
    """Parameters under our names mean what we wrote only while the operators are those that we wrote."""
    model = _model(spec, arrays, (), next(iter(arrays.values())).dtype.name)
    model.graph.initializers.clear()
    for theirs, ours in zip_longest(found, map(_described, _import().to_proto(model).graph.node)):
        if theirs != ours:
            raise InputError(
                f"{path}: was changed since senet wrote it: it has {theirs or 'no more nodes'}, "
                f"expected {ours or 'no more nodes'}"
            )


def _described(node: "NodeProto") -> str:
    """What a node computes. Names that are no UTF-8 come out of protobuf as bytes."""
    from onnx.helper import get_attribute_value

    inputs, outputs = (", ".join(map(str, side)) for side in (node.input, node.output))
    attributes = {str(a.name): get_attribute_value(a) for a in sorted(node.attribute, key=lambda a: str(a.name))}
    return f"{outputs} = {node.domain}{node.op_type}({inputs}, {attributes})"


def _tensor_head(tensor: "ir.TensorProtocol") -> bytes:
    """A TensorProto up to the bytes of its values, which stand last."""
    from onnx import TensorProto

    proto = TensorProto(dims=tensor.shape.numpy(), data_type=tensor.dtype.value, name=tensor.name)
    return proto.SerializeToString() + field_head(_RAW_DATA, tensor.nbytes)


def _import() -> Any:  # noqa: ANN401, a module that need not be installed
    try:
        import onnx_ir
    except ImportError as error:
        raise InputError(f"ONNX files need the onnx extra: pip install 'senet[onnx]' ({error})") from error
    return onnx_ir
