"""Where Keras puts the variables of a model in an HDF5 file: by class and number of the layer."""

from collections import Counter

from weights.names.dialect import Dialect
from weights.names.frameworks import KERAS
from weights.networks.network import Node, graph
from weights.networks.operations import BatchNorm, Conv, Linear, Op, Scale
from weights.networks.parameters import schema
from weights.networks.spec import Spec

_CLASSES: dict[type[Op], str] = {Conv: "conv2d", BatchNorm: "batch_norm", Linear: "dense", Scale: "se_block"}
_INDICES = {"weight": 0, "bias": 1, "running_mean": 2, "running_var": 3}


def layout(spec: Spec, names: Dialect = KERAS) -> dict[str, str]:
    """Canonical name -> path in the HDF5 file, for every parameter that the model has.

    Keras sorts a model's layers by their distance from the output, then by when a search from the output first meets
    them, and counts each class in that order.

    Args:
        spec: the network.
        names: whose model it is, ``se_tf``'s or one of ``keras.applications``.
    """
    own = names == KERAS
    inputs, operations = _layers(spec) if own else _layers_of_applications(spec, names)
    blocks = se_blocks(spec) if own else {}
    distance: dict[str, int] = {}
    met: dict[str, int] = {}
    for layer in reversed(inputs):
        distance[layer] = distance.get(layer, 0)
        for source in inputs[layer]:
            distance[source] = max(distance.get(source, 0), distance[layer] + 1)
    stack = [next(reversed(inputs))]
    while stack:
        if (layer := stack.pop()) not in met:
            met[layer] = len(met)
            stack += [source for source in reversed(inputs.get(layer, ())) if source not in met]
    counts: Counter[str] = Counter()
    groups = {}
    for layer in sorted(operations, key=lambda name: (-distance[name], met[name])):
        kind = operations[layer]
        groups[layer] = f"layers/{kind}_{counts[kind]}" if counts[kind] else f"layers/{kind}"
        counts[kind] += 1
    paths = {}
    for p in filter(names.holds, schema(spec)):
        block = blocks.get(p.module)
        group = f"{groups[block]}/{p.module.removeprefix(block + '.')}" if block else groups[p.module]
        index = _INDICES[p.leaf] - (p.kind == "bn" and not names.scaled)
        paths[p.name] = f"{group}/vars/{index}"
    return paths


def _layers(spec: Spec) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """The layers of ``se_tf``'s model: the inputs of each, in topological order; the class of those with values."""
    inputs: dict[str, tuple[str, ...]] = {}
    classes: dict[str, str] = {}
    output = {"data": "data"}  # node -> layer
    for node in graph(spec):
        sources = tuple(output[source] for source in node.inputs)
        layer = node.module
        if node.block and not isinstance(node.op, Scale):  # within an SEBlock, which is one layer
            output[node.name] = sources[0]
            continue
        if node.block:
            layer, sources = node.block, sources[:1]
        elif isinstance(node.op, Conv) and node.op.pad not in (0, (0, 0), "same"):
            inputs[f"{layer}.pad"] = sources
            sources = (f"{layer}.pad",)
        inputs[layer] = sources
        output[node.name] = layer
        if (kind := _CLASSES.get(type(node.op))) is not None:
            classes[layer] = kind
    return inputs, classes


def _layers_of_applications(spec: Spec, names: Dialect) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """The same of a model of ``keras.applications``, in which every operation is a layer of a class of Keras."""
    nodes = graph(spec)
    modules = {"data": "data"} | {node.name: node.module for node in nodes}
    inputs = {node.module: tuple(modules[source] for source in node.inputs) for node in nodes}
    return inputs, {node.module: kind for node in nodes if (kind := _class_of_applications(node, names))}


def _class_of_applications(node: Node, names: Dialect) -> str:
    match node.op:
        case Conv():
            return "depthwise_conv2d" if names.is_depthwise(node.module) else "conv2d"
        case BatchNorm():
            return "batch_normalization"
        case Linear():
            return "conv2d" if names.keeps_as_conv(node.module) else "dense"
        case _:
            return ""


def se_blocks(spec: Spec) -> dict[str, str]:
    """The modules that are within an SE block, and the block, which is one layer of Keras."""
    return {node.module: node.block for node in graph(spec) if node.block}
