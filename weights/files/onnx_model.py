"""A network as an ONNX model built from the graph, whose values and initializers carry the canonical names."""

import json
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, assert_never

import numpy as np

from weights.errors import InputError
from weights.files import metadata, onnx_options
from weights.files.onnx_around import around
from weights.files.onnx_operators import operator, window
from weights.files.onnx_options import OnnxOptions
from weights.images import labels
from weights.networks.network import Network, as_network
from weights.networks.operations import (
    Act,
    Add,
    AppendZeros,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Linear,
    Mix,
    Pool,
    Scale,
    Shift,
    Shuffle,
    Times,
)
from weights.networks.parameters import check, schema
from weights.networks.sizes import shapes
from weights.networks.spec import Spec
from weights.params import Info, info_of

if TYPE_CHECKING:
    import onnx_ir as ir

AXES = "spatial_axes"
"""The initializer that is no parameter: the axes of height and width."""

_AXES_AS_INPUT = 18  # the first opset whose reductions take them so


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
    onnx_ir_module()
    check(of, params)
    options = OnnxOptions(taps=tuple(taps))
    return inferred(finished(model(of, params, dtype, options), of, info_of(params), options))


def inferred(made: "ir.Model") -> "ir.Model":
    """The same model with the shapes of all values."""
    from onnx_ir.passes.common import ShapeInferencePass

    initializers = dict(made.graph.initializers)
    ShapeInferencePass()(made)  # sets large ones aside and puts them back last
    made.graph.initializers.clear()
    made.graph.initializers.update(initializers)
    return made


def finished(made: "ir.Model", of: Network | Spec, info: Info, options: OnnxOptions) -> "ir.Model":
    """A network's own model with what is around it, and with all that travels.

    Raises:
        InputError: preprocessing is to be embedded that is not known, or that the network does not take.
    """
    network = as_network(of)
    around(made, network, info.preprocessing, options)
    made.metadata_props.update(metadata.encode(network.spec, info) | onnx_options.encode(options))
    made.metadata_props.update(_for_others(network, info, options))
    return made


def _for_others(network: Network, info: Info, options: OnnxOptions) -> dict[str, str]:
    """What programs that know nothing of this one look for: names of the classes as lists in JSON, the licence."""
    found: dict[str, list[str]] = {}
    if info.class_names:
        found["class_names"] = list(info.class_names)
    elif info.labels and network.classes == len(labels.classes()):
        found = {"class_names": list(labels.names(info.labels)), "wnids": list(labels.wnids(info.labels))}
    licence = {"license": options.licence} if options.licence else {}
    return {key: json.dumps(names, ensure_ascii=False) for key, names in found.items()} | licence


def model(of: Network | Spec, params: Mapping[str, np.ndarray], dtype: str, options: OnnxOptions) -> "ir.Model":
    """The network alone, without metadata and the shapes of the values between; in float, whatever is asked for.

    The parameters are not checked.

    Raises:
        InputError: an unknown tap, or a size that the network does not take.
    """
    ir = onnx_ir_module()
    network = as_network(of)
    sizes = shapes(network, *(options.size or ()))
    axes_within = options.opset < _AXES_AS_INPUT
    kind = {"float32": ir.DataType.FLOAT, "float64": ir.DataType.DOUBLE}[dtype]
    tape = ir.tape.Tape()
    leaves: dict[str, list[Any]] = {}
    small = options.precision == "int8"
    maps = _vectors_as_maps(network) if small else frozenset[str]()
    convolved = {node.module for node in network.nodes if isinstance(node.op, Linear) and node.name in maps}
    for p in schema(network):
        array = np.ascontiguousarray(params[p.name], dtype)
        if p.module in convolved and array.ndim == 2:
            array = array[..., None, None]
        leaves.setdefault(p.module, []).append(tape.initializer(ir.tensor(array, name=p.name)))
    axes = tape.initializer(ir.tensor(np.array([2, 3]), name=AXES))

    def unsqueezed(value: "ir.Value", name: str) -> "ir.Value":
        result = ir.val(name, dtype=kind)
        tape.op("Unsqueeze", [value, axes], name=name, output=result)
        return result

    def constant(array: Any, name: str) -> Any:
        tensor = ir.tensor(np.asarray(array))
        result = ir.val(name, dtype=tensor.dtype)
        tape.op("Constant", [], {"value": tensor}, name=name, output=result)
        return result

    def number(value: float, name: str) -> Any:
        return constant(np.array(value, dtype), name)

    def made(operator: str, inputs: list[Any], name: str, attributes: Mapping[str, Any]) -> Any:
        result = ir.val(name, dtype=kind)
        tape.op(operator, inputs, attributes, name=name, output=result)
        return result

    def sixth(value: Any, name: str) -> Any:
        # Attributes are floats: the 1/6 of ONNX's HardSigmoid would be off by 1e-8 in a model of float64.
        return made("Div", [value, number(6, f"{name}.six")], f"{name}.sixth", {})

    def held_number(value: float, name: str) -> Any:
        return tape.initializer(ir.tensor(np.full((1, 1, 1, 1), value, dtype), name=name))

    def cut(value: Any, name: str) -> Any:
        """min(max(x + 3, 0), 6), of which there are kernels in int8: quantizing cuts off."""
        more = made("Add", [value, held_number(3, f"{name}.three")], f"{name}.more", {})
        ends = [number(end, f"{name}.{what}") for what, end in (("lowest", 0), ("highest", 6))]
        return made("Clip", [more, *ends], f"{name}.cut", {})

    height, width = options.size or network.size or ("height", "width")
    values = {"data": ir.val("data", dtype=kind, shape=(options.batch or "batch", network.in_channels, height, width))}
    for node in network.nodes:
        inputs = [values[name] for name in node.inputs]
        held = list(leaves.get(node.module, []))
        name, attributes = operator(node.op)
        match node.op:
            case Act("hard-sigmoid") if small:
                inputs = [cut(inputs[0], node.name), held_number(1 / 6, f"{node.name}.sixth")]
                name, attributes = "Mul", {}
            case Act("hard-swish") if small:
                product = made("Mul", [inputs[0], cut(inputs[0], node.name)], f"{node.name}.product", {})
                inputs = [product, held_number(1 / 6, f"{node.name}.sixth")]
            case Act("hard-sigmoid"):
                inputs = [sixth(inputs[0], node.name)]
            case Act("relu6"):
                inputs += [number(value, f"{node.name}.{end}") for end, value in (("lowest", 0), ("highest", 6))]
            case Act("swish"):
                inputs.append(made("Sigmoid", inputs, f"{node.name}.sigmoid", {}))
            case Act("hard-swish"):
                gate, settings = operator(Act("hard-sigmoid"))
                inputs.append(made(gate, [sixth(inputs[0], node.name)], f"{node.name}.gate", settings))
            case Times(factor):
                inputs.append(number(factor, f"{node.name}.factor"))
            case AppendZeros(channels):
                inputs.append(constant([0, 0, 0, 0, 0, channels, 0, 0], f"{node.name}.pads"))
            case Shift():
                inputs.append(constant([0, 0, 1, 1, 0, 0, -1, -1], f"{node.name}.pads"))
            case Shuffle(groups):
                order = np.arange(sizes[node.inputs[0]][0]).reshape(groups, -1).T.ravel()
                inputs.append(constant(order, f"{node.name}.order"))
            case GlobalPool("avg") if node.name in maps:
                name, attributes = "GlobalAveragePool", {}
            case GlobalPool("max") if node.name in maps:
                name, attributes = "GlobalMaxPool", {}
            case GlobalPool():
                if axes_within:
                    attributes = {**attributes, "axes": [2, 3]}
                else:
                    inputs.append(axes)
            case Scale() if len(sizes[node.inputs[1]]) == 1 and node.inputs[1] not in maps:
                inputs[1] = unsqueezed(inputs[1], f"{node.name}.gate4d")
            case Linear() if node.name in maps:
                name, attributes = "Conv", window(1, 1, 0)
            case Linear() if node.inputs[0] in maps:
                inputs = [made("Flatten", inputs, f"{node.name}.vector", {"axis": 1})]
            case Linear() if len(sizes[node.inputs[0]]) == 3:  # on every pixel: a 1x1 convolution
                held[0] = unsqueezed(held[0], f"{node.module}.weight4d")
                name, attributes = "Conv", window(1, 1, 0)
            case _:
                pass
        values[node.name] = ir.val(node.name, dtype=kind)
        inputs += held
        tape.op(name, inputs, attributes, name=node.name, output=values[node.name])
    last = network.output.name
    taps = tuple(values)[1:] if options.taps == ("all",) else options.taps
    unknown = [name for name in taps if name not in values]
    if unknown:
        raise InputError(f"{network.name} has no {', '.join(unknown)}")
    body = ir.Graph(
        [values["data"]],
        [values[name] for name in (*(tap for tap in taps if tap != last), last)],
        nodes=tape.nodes,
        initializers=tape.initializers,
        opset_imports={"": options.opset},
        name=network.name,
    )
    return ir.Model(body, ir_version=ir_version(options.opset), producer_name="senet")


def _vectors_as_maps(network: Network) -> frozenset[str]:
    """The nodes whose output is written as a map of one pixel in int8, where it is a vector elsewhere.

    So the squeeze, both matrices and the gate of an SE block are kernels of one layout, and the maps around them are
    not turned from one layout into another: a quarter of the time. Matrices on every pixel are among them.
    """
    last, sizes = network.output, shapes(network)
    found: set[str] = set()
    for node in network.nodes:
        match node.op:
            case GlobalPool():
                fits = True
            case Linear():
                fits = node.inputs[0] in found or len(sizes[node.inputs[0]]) == 3
            case Flatten() | Shuffle() | AppendZeros() | Shift() | Conv() | Pool() | Scale():
                fits = False
            case Act() | Add() | Concat() | Dropout() | Mix() | Times() | BatchNorm():
                fits = all(name in found for name in node.inputs)
            case _:
                assert_never(node.op)
        if fits and node is not last:
            found.add(node.name)
    return frozenset(found)


def ir_version(opset: int) -> int:
    """That of the first runtimes with an opset."""
    from onnx import helper

    return helper.find_min_ir_version_for([helper.make_opsetid("", opset)])


def onnx_ir_module() -> ModuleType:
    """The module ``onnx_ir``.

    Raises:
        InputError: it is not installed.
    """
    try:
        import onnx_ir
    except ImportError as error:
        raise InputError(f"ONNX files need the onnx extra: pip install 'senet[onnx]' ({error})") from error
    return onnx_ir
