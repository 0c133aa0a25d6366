"""An ONNX model's float32 made float16 or bfloat16, where its values allow it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

Narrow = Literal["float16", "bfloat16"]

_LARGEST = 65504.0  # of float16
_MARGIN = 4.0  # that much larger than measured the values of other images may be
_SUMS = "ReduceMean"  # the operator whose sums are far larger than its results


def too_large(
    made: "ir.Model", run: Callable[[np.ndarray], Mapping[str, np.ndarray]], images: Sequence[np.ndarray]
) -> dict[str, str]:
    """The nodes that float16 is not enough for, with the reason in words.

    Those whose results, whose inputs or whose sums on the way were measured at more than a quarter of the largest
    number, and those with such parameters.

    Args:
        made: the model in float32.
        run: an image to the values of all its nodes.
        images: inputs to measure with.
    """
    largest: dict[str, float] = {}
    sums: dict[str, float] = {}
    for image in images:
        found = run(image)
        for name, array in (*found.items(), ("data", image)):
            largest[name] = max(largest.get(name, 0.0), float(np.abs(array).max()))
            if array.ndim == 4:
                sums[name] = max(sums.get(name, 0.0), float(np.abs(array).sum((2, 3), dtype=np.float64).max()))
    for name, value in made.graph.initializers.items():
        if _is_float(value):
            assert value.const_value is not None
            largest[name] = float(np.abs(value.const_value.numpy()).max()) / _MARGIN
    reasons: dict[str, str] = {}
    for node in made.graph:
        inputs = [value.name or "" for value in node.inputs if value is not None]
        beyond = [name for name in (node.outputs[0].name or "", *inputs) if largest.get(name, 0.0) * _MARGIN > _LARGEST]
        if beyond:
            reasons[node.name or ""] = f"{beyond[0]} up to {largest[beyond[0]]:.3g}"
        elif node.op_type == _SUMS and sums[inputs[0]] * _MARGIN > _LARGEST:
            reasons[node.name or ""] = f"sums up to {sums[inputs[0]]:.3g}"
    return reasons


def narrow(made: "ir.Model", precision: Narrow, wide: Mapping[str, str]) -> None:
    """Makes a model of float32 compute in less precision; its inputs and outputs stay float32, and keep their names.

    Args:
        made: the model, which is changed.
        precision: of all nodes but those in ``wide``.
        wide: by name, the nodes that stay float32.
    """
    import onnx_ir as ir

    graph = made.graph
    single, half = ir.DataType.FLOAT, _kind(precision)
    casts: dict[tuple[str, ir.DataType], ir.Value] = {}

    def cast(value: "ir.Value", kind: "ir.DataType", at: "ir.Node") -> "ir.Value":
        key = value.name or "", kind
        if key not in casts:
            name = f"{value.name}.{kind.name.lower()}"
            casts[key] = ir.val(name, kind)
            node = ir.node("Cast", [value], {"to": kind.value}, outputs=[casts[key]], name=name)
            graph.insert_before(at, node)
        return casts[key]

    for node in tuple(graph):
        if node.op_type == "Constant" or node.outputs[0].dtype != single:
            continue
        kind = single if node.name in wide else half
        for index, value in enumerate(node.inputs):
            if value is None or value.dtype not in (single, half) or value.dtype == kind:
                continue
            if _is_constant(value):
                _convert(value, kind)
            else:
                node.replace_input_with(index, cast(value, kind, node))
        node.outputs[0].dtype = kind
    for index, value in enumerate(graph.outputs):
        if value.dtype == half:
            name, made_by = value.name, value.producer()
            assert made_by is not None
            made_by.name = value.name = f"{name}.{precision}"
            graph.outputs[index] = wanted = ir.val(name, single)
            graph.append(ir.node("Cast", [value], {"to": single.value}, outputs=[wanted], name=name))


def in_single(made: "ir.Model", precision: Narrow) -> None:
    """Makes a narrowed model one that any runtime computes: in float32, rounding every value as the other would.

    Runtimes have few kernels in less precision, or none, and put casts around whole rows of nodes; so this is the more
    pessimistic of the two.
    """
    import onnx_ir as ir

    graph = made.graph
    single, half = ir.DataType.FLOAT, _kind(precision)
    for value in graph.initializers.values():
        if value.dtype == half:
            _convert(value, single)
    for node in tuple(graph):
        value = node.outputs[0]
        if value.dtype != half:
            continue
        if node.op_type == "Constant":
            _convert(value, single)
            continue
        last, rounded = node, value
        wide = ir.val(f"{value.name}.rounded", single)
        uses = [*value.uses()]
        if node.op_type != "Cast":
            value.dtype = single
            rounded = ir.val(f"{value.name}.narrow", half)
            last = ir.node("Cast", [value], {"to": half.value}, outputs=[rounded], name=rounded.name)
            graph.insert_after(node, last)
        graph.insert_after(last, ir.node("Cast", [rounded], {"to": single.value}, outputs=[wide], name=wide.name))
        for user, index in uses:
            user.replace_input_with(index, wide)


def _kind(precision: Narrow) -> "ir.DataType":
    import onnx_ir as ir

    return {"float16": ir.DataType.FLOAT16, "bfloat16": ir.DataType.BFLOAT16}[precision]


def _is_float(value: "ir.Value") -> bool:
    import onnx_ir as ir

    return value.dtype == ir.DataType.FLOAT


def _is_constant(value: "ir.Value") -> bool:
    producer = value.producer()
    return value.const_value is not None or (producer is not None and producer.op_type == "Constant")


def _convert(value: "ir.Value", kind: "ir.DataType") -> None:
    """Rounds an initializer, or the value of a Constant; each belongs to one node."""
    import onnx_ir as ir

    producer = value.producer()
    tensor = producer.attributes["value"].as_tensor() if producer else value.const_value
    assert tensor is not None
    array = tensor.numpy()
    with np.errstate(over="ignore"):
        converted = ir.tensor(np.asarray(array, kind.numpy()), name=tensor.name)
    if producer:
        producer.attributes["value"] = ir.AttrTensor("value", converted)
    else:
        value.const_value = converted
    value.dtype = kind
