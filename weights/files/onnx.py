"""ONNX files of networks: written with all that travels, and read back if this program wrote them."""

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from math import ceil, floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from weights.change import fold
from weights.errors import InputError, InputWarning
from weights.files import onnx_options
from weights.files.beside import data_of
from weights.files.onnx_measured import WIDE
from weights.files.onnx_model import build, finished, inferred, model, onnx_ir_module
from weights.files.onnx_options import OnnxOptions
from weights.files.onnx_reading import DATA, GRAPH, INITIALIZER, RAW_DATA, read
from weights.files.onnx_reduced import reduced
from weights.networks.float_settings import rounded_settings
from weights.networks.network import Network, as_network
from weights.networks.parameters import check, schema
from weights.networks.spec import Spec
from weights.params import info_of
from weights.protobuf import field_head
from weights.storage.whole import is_stdout, replacing, together

if TYPE_CHECKING:
    import onnx_ir as ir
    from onnx import ModelProto

__all__ = ["build", "read", "write"]

_LARGEST = 2**31 - 1  # bytes of a protobuf message
_SMALL = 1024  # bytes of a tensor that stands in the model all the same: checkers look at sizes and axes
_PAGE = 4096  # bytes: what runtimes map into memory begins at a multiple


def write(
    path: Path,
    of: Network | Spec,
    params: Mapping[str, np.ndarray],
    dtype: Literal["float32", "float64"] = "float32",
    onnx: OnnxOptions | None = None,
) -> None:
    """Writes ``build``'s model, or what options make of it.

    What is rounded on the way is said in one ``InputWarning``: how many of the parameters and by how much at most, and
    an eps that ONNX's float does not hold. The metadata keeps the exact record, which is the one that is read back; of
    a model of less precision also how far it is from the network (``onnx_measured.Agreement``).

    A model of 2 GB or more is two files: its values stand in the second, beside it, with ``.data`` behind its name.

    Args:
        path: of the file.
        of: the network. One without a record can be written, and computed by any runtime, but not be read back.
        params: its parameters.
        dtype: of the parameters in the file, and of the computation.
        onnx: how the file is made; None: as it is usual.

    Raises:
        InputError: as ``build``; or a value is too large for the dtype, the options do not fit the network, what they
            need is not installed, or the place cannot be written.
    """
    network, options = as_network(of), onnx or OnnxOptions()
    onnx_ir_module()
    check(network, params, str(path))
    digits = tuple(_rounded(path, network, params, np.dtype(dtype)))
    try:
        onnx_options.check_opset(options.opset)
        made = _made(network, params, dtype, options)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    rounded = (*(digits if options.exact else ()), *_rounded_eps(network))
    if rounded:
        warnings.warn(InputWarning(f"{path}: {'; '.join(rounded)}"), stacklevel=3)
    _store(path, inferred(made))


def _made(
    network: Network, params: Mapping[str, np.ndarray], dtype: Literal["float32", "float64"], options: OnnxOptions
) -> "ir.Model":
    """The model that options ask for."""
    info = info_of(params)
    if options.exact:
        return finished(model(network, params, dtype, options), network, info, options)
    found: dict[str, str] = {}
    if options.reduced:
        made, agreement, wide = reduced(network, params, options)
        found = agreement.encoded() | ({WIDE: json.dumps(wide)} if wide else {})
        _set_batch(made, options.batch)
    else:
        small = fold(network, params, dtype)
        made = model(small.network, small.params, dtype, options)
    made = finished(made, network, info, options)
    made.metadata_props.update(found)
    return made


def _set_batch(made: "ir.Model", batch: int | None) -> None:
    data = made.graph.inputs[0]
    assert data.shape is not None
    data.shape = onnx_ir_module().Shape((batch or "batch", *data.shape[1:]))
    for output in made.graph.outputs:
        output.shape = None  # which is inferred again


def _store(path: Path, made: "ir.Model") -> None:
    """Writes a model, and a second file where a message of protobuf cannot hold its values.

    The tensors' bytes go straight to the file: in one message with the model they would be in memory three times.
    """
    initializers: dict[str, Any] = {name: value.const_value for name, value in made.graph.initializers.items()}
    made.graph.initializers.clear()
    proto = onnx_ir_module().to_proto(made)
    body = proto.graph.SerializeToString()
    proto.ClearField("graph")
    size = len(body) + sum(tensor.nbytes for tensor in initializers.values())
    if size < _LARGEST * 0.99:
        with replacing(path) as file:
            _write_model(file, proto, body, [(_head(t), t.nbytes, _bytes(t)) for t in initializers.values()])
        return
    beside = data_of(path)
    if is_stdout(path) or (path.exists() and not path.is_file()):
        raise InputError(f"{path}: {size:,} bytes need a second file beside the model; name a file")
    with together(beside, path) as (values, file):
        tensors: list[tuple[bytes, int, bytes | memoryview]] = []
        digest = hashlib.sha256()
        for tensor in initializers.values():
            if tensor.nbytes < _SMALL:
                tensors.append((_head(tensor), tensor.nbytes, _bytes(tensor)))
                continue
            gap = bytes(-values.tell() % _PAGE)
            place = (beside.name, values.tell() + len(gap), tensor.nbytes)
            for part in (gap, _bytes(tensor)):
                values.write(part)
                digest.update(part)
            tensors.append((_head(tensor, place), 0, b""))
        proto.metadata_props.add(key=DATA, value=json.dumps({"sha256": digest.hexdigest(), "bytes": values.tell()}))
        _write_model(file, proto, body, tensors)


def _write_model(
    file: BinaryIO, proto: "ModelProto", body: bytes, tensors: Sequence[tuple[bytes, int, bytes | memoryview]]
) -> None:
    """Writes a model whose graph and initializers come by themselves, these as a head and so many bytes of values."""
    sizes = [len(head) + size for head, size, _ in tensors]
    framed = len(body) + sum(len(field_head(INITIALIZER, size)) + size for size in sizes)
    file.write(proto.SerializeToString() + field_head(GRAPH, framed) + body)
    for size, (head, _, values) in zip(sizes, tensors, strict=True):
        file.write(field_head(INITIALIZER, size) + head)
        file.write(values)


def _bytes(tensor: "ir.TensorProtocol") -> memoryview:
    return np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8).data


def _head(tensor: "ir.TensorProtocol", place: tuple[str, int, int] | None = None) -> bytes:
    """A TensorProto up to the bytes of its values, which stand last, or with the place where they stand."""
    from onnx import TensorProto

    proto = TensorProto(dims=tensor.shape.numpy(), data_type=tensor.dtype.value, name=tensor.name)
    if place is None:
        return proto.SerializeToString() + field_head(RAW_DATA, tensor.nbytes)
    proto.data_location = TensorProto.EXTERNAL
    for key, value in zip(("location", "offset", "length"), place, strict=True):
        proto.external_data.add(key=key, value=str(value))
    return proto.SerializeToString()


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
