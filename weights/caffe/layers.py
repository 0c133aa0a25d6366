"""The layers of a network as a Caffe definition, in the form and under the names of the published prototxts."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, assert_never

from weights.caffe.blobs import matrix_type
from weights.caffe.net import Layer
from weights.caffe.schema import float32
from weights.caffe.wording import noun
from weights.errors import InputError
from weights.names.caffe import NET_NAMES, layer_names
from weights.networks.models import MODELS
from weights.networks.network import Network, Node, as_network
from weights.networks.operations import (
    Act,
    Activation,
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
    Pooling,
    Scale,
    Shift,
    Shuffle,
    Times,
)
from weights.networks.sizes import shapes
from weights.networks.spec import EPS, Spec
from weights.params import LastPooling


class Definition(NamedTuple):
    """One Caffe layer and the node of the graph that it computes."""

    layer: Layer
    node: Node | None  # a BatchNorm node has two layers; None: the input, shapes, parts of a gate and the softmax
    tap: bool  # the top right after this layer is the node's output


def layers(
    of: Network | Spec, size: tuple[int, int] = (224, 224), last_pooling: LastPooling | None = None
) -> tuple[Definition, ...]:
    """A network as Caffe layers: deploy form, without Split layers and without blobs.

    Args:
        of: the network; one without a record has layers of the names of its nodes.
        size: height and width of the input.
        last_pooling: how the last pooling is stated; None: as usual for the network. The published window has 7x7
            values, so where it does not cover the map of this size the pooling is global whatever was asked for.

    Returns:
        The layers in the order of the published files. SE blocks are 1x1 convolutions. An SE block whose product is
        the last thing before a sum is joined by Axpy, any other one by a two-bottom Scale; without a squeeze the gate
        is a map, and multiplied by Eltwise.

    Raises:
        InputError: the input size does not fit the network.
    """
    network = as_network(of)
    return _layers(network, size, last_pooling or usual_pooling(network))


def usual_pooling(of: Network | Spec) -> LastPooling:
    """How the last pooling of a network is stated, unless its source stated it otherwise.

    The published definitions have a window of 7x7, which Caffe takes at one size of the input alone. The released
    networks and their plain counterparts keep it, under any name. All others, and those with other classes are others,
    get a global pooling, which computes the same and takes every size.
    """
    spec = as_network(of).spec
    published = spec and any(spec == replace(MODELS[name], name=spec.name) for name in NET_NAMES)
    return "window" if published else "global"


@lru_cache(maxsize=32)
def _layers(network: Network, size: tuple[int, int], last_pooling: LastPooling) -> tuple[Definition, ...]:
    draft = _Draft(network, size, last_pooling)
    for node in network.nodes:
        draft.add(node)
    if network.classifier:
        draft.emit("Softmax", "prob", [draft.blobs[network.classifier.name]])
    return tuple(draft.definitions)


def layer_of(of: Network | Spec) -> dict[str, str]:
    """Nodes to the names of the Caffe layers whose tops, right after the layer ran, are the nodes' outputs.

    A BatchNorm node is its Scale layer, the sum of a residual unit its Axpy or Eltwise; absent are nodes that Caffe
    does not compute on their own (the scaling inside an Axpy).
    """
    return {d.node.name: d.layer.name for d in layers(of) if d.node and d.tap}


class _Draft:
    def __init__(self, network: Network, size: tuple[int, int], last_pooling: LastPooling) -> None:
        self.network = network
        self.definitions: list[Definition] = []
        self.blobs: dict[str, str] = {}  # node -> the blob that holds its output
        self.names = layer_names(network)
        self.sizes = shapes(network, *size)
        poolings = [node for node in network.nodes if isinstance(node.op, GlobalPool) and not node.block]
        self.window = poolings[-1] if poolings and last_pooling == "window" else None
        shape = {"shape": [{"dim": [1, network.in_channels, *size]}]}
        self.blobs["data"] = self.emit("Input", "data", [], {"input_param": shape})

    def emit(
        self,
        kind: str,
        name: str,
        bottoms: list[str],
        settings: Mapping[str, Any] | None = None,
        node: Node | None = None,
        top: str = "",
        tap: bool = True,
    ) -> str:
        """Appends a layer and returns its top."""
        layer = Layer(name, kind, tuple(bottoms), (top or name,), dict(settings or {}), ())
        self.definitions.append(Definition(layer, node, tap))
        return top or name

    def add(self, node: Node) -> None:
        """Appends the layers of a node."""
        name = self.names.layers[node.name]
        bottoms = [self.blobs.get(i, "") for i in node.inputs]
        x = bottoms[0]
        alone = len(self.network.readers[node.inputs[0]]) == 1 and node.inputs[0] != "data"
        place = x if alone else ""  # in place where nobody else reads the input
        match node.op:
            case Conv():
                moved = self.network.by_name.get(node.inputs[0])
                if moved and isinstance(moved.op, Shift):
                    top = self._moved(node, name, x)
                else:
                    top = self.emit("Convolution", name, bottoms, self._conv(node.op), node)
            case Linear(out, bias):
                top = self.emit(*self._linear(node, name, bottoms, out, bias))
            case BatchNorm(eps):
                stored = {"use_global_stats": True} | ({} if eps == EPS else {"eps": float32(eps)})
                y = self.emit("BatchNorm", name, bottoms, {"batch_norm_param": stored}, node, place, tap=False)
                top = self.emit("Scale", f"{name}/scale", [y], {"scale_param": {"bias_term": True}}, node, y)
            case Act("relu6"):
                limits = {"clip_param": {"min": 0.0, "max": 6.0}}
                top = self.emit("Clip", name, bottoms, limits, node)
            case Act("swish"):
                gate = self.emit("Sigmoid", f"{name}/sigmoid", [x])
                top = self.emit("Eltwise", name, [x, gate], {"eltwise_param": {"operation": "PROD"}}, node)
            case Act("hard-sigmoid"):
                top = self._hard_sigmoid(node, name, x)
            case Act("hard-swish"):
                top = self._hard_sigmoid(node, name, x, x)
            case Mix():
                halves = {"eltwise_param": {"operation": "SUM", "coeff": [0.5, 0.5]}}
                top = self.emit("Eltwise", name, bottoms, halves, node)
            case Times(factor):
                top = self.emit("Power", name, bottoms, {"power_param": {"scale": float32(factor)}}, node)
            case Flatten():
                top = x  # a fully connected layer reads maps
            case AppendZeros(channels):
                top = self._zeros(node, name, x, channels)
            case Shift():
                top = x  # the convolution that reads it is padded instead
            case Shuffle():
                raise InputError(f"{self.network.name}: {node.name}: Caffe has no layer for {noun(node.op)}")
            case Act(function):
                top = self.emit(_ACTIVATIONS[function], name, bottoms, {}, node, place)
            case Dropout(rate):
                ratio = {"dropout_param": {"dropout_ratio": float32(rate)}}
                top = self.emit("Dropout", name, bottoms, ratio, node, place)
            case Pool() | GlobalPool():
                top = self.emit("Pooling", name, bottoms, {"pooling_param": self._pool(node)}, node)
            case Concat():
                top = self.emit("Concat", name, bottoms, {}, node)
            case Scale() if self._waits(node):
                return  # written with the sum
            case Scale():
                top = self._scale(node, name, bottoms)
            case Add():
                top = self._sum(node, name)
            case _:
                assert_never(node.op)
        self.blobs[node.name] = top

    def _conv(self, op: Conv) -> dict[str, Any]:
        if isinstance(op.pad, str):
            raise InputError(
                f"{self.network.name}: Caffe pads opposite sides alike, and TensorFlow's padding does not: "
                'a network of symmetric padding (padding="symmetric") computes something else'
            )
        param: dict[str, Any] = {"num_output": op.out} | ({} if op.bias else {"bias_term": False})
        pads = (op.pad, op.pad) if isinstance(op.pad, int) else op.pad
        square = op.window[0] == op.window[1] and pads[0] == pads[1]
        if any(pads):
            param |= {"pad": [pads[0]]} if square else {"pad_h": pads[0], "pad_w": pads[1]}
        h, w = op.window
        param |= {"kernel_size": [h]} if square else {"kernel_h": h, "kernel_w": w}
        if op.groups > 1:
            param["group"] = op.groups
        if op.stride > 1 or self.names.states_stride:
            param["stride"] = [op.stride]
        return {"convolution_param": param}

    def _linear(self, node: Node, name: str, bottoms: list[str], out: int, bias: bool) -> tuple[Any, ...]:
        param: dict[str, Any] = {"num_output": out} | ({} if bias else {"bias_term": False})
        if matrix_type(node, self.sizes) == "InnerProduct":
            return "InnerProduct", name, bottoms, {"inner_product_param": param}, node
        return "Convolution", name, bottoms, {"convolution_param": param | {"kernel_size": [1], "stride": [1]}}, node

    def _hard_sigmoid(self, node: Node, name: str, x: str, *factors: str) -> str:
        """min(max(x + 3, 0), 6) * 6^-1 times the factors: all constants are float32 numbers, which 1/6 is not."""
        plus = self.emit("Power", f"{name}/plus3", [x], {"power_param": {"shift": 3.0}})
        clip = self.emit("Clip", f"{name}/clip", [plus], {"clip_param": {"min": 0.0, "max": 6.0}})
        power = {"power": -1.0, "scale": 0.0, "shift": 6.0}
        sixth = self.emit("Power", f"{name}/sixth", [x], {"power_param": power})
        return self.emit("Eltwise", name, [*factors, clip, sixth], {"eltwise_param": {"operation": "PROD"}}, node)

    def _zeros(self, node: Node, name: str, x: str, channels: int) -> str:
        """By a Power that makes zeros of the map, as often as they fit."""
        times, rest = divmod(channels, self.sizes[node.inputs[0]][0])
        if rest:
            raise InputError(
                f"{self.network.name}: {node.name}: Caffe can append as many channels of zeros as the map has, "
                f"{self.sizes[node.inputs[0]][0]}, or a multiple of them, not {channels}"
            )
        zero = self.emit("Power", f"{name}/zero", [x], {"power_param": {"scale": 0.0}})
        return self.emit("Concat", name, [x, *[zero] * times], {}, node)

    def _moved(self, node: Node, name: str, x: str) -> str:
        """A 1x1 convolution of a map that is moved by one pixel: of the map itself, padded, cropped to the size."""
        beside = [
            self.blobs[other]
            for reader in self.network.readers[node.name]
            for other in reader.inputs
            if isinstance(reader.op, Concat) and other in self.blobs
        ]
        if not isinstance(node.op, Conv) or node.op != Conv(node.op.out, 1, node.op.stride) or not beside:
            raise InputError(
                f"{self.network.name}: {node.inputs[0]}: Caffe moves maps only for 1x1 convolutions beside others"
            )
        padded = self.emit("Convolution", name, [x], self._conv(replace(node.op, pad=1)), node, tap=False)
        settings = {"crop_param": {"axis": 2, "offset": [0]}}
        return self.emit("Crop", f"{name}/crop", [padded, beside[0]], settings, node)

    def _pool(self, node: Node) -> dict[str, Any]:
        match node.op:
            case Pool(counted=False, pad=pad) if pad:
                raise InputError(f"{self.network.name}: {node.name}: Caffe's averages count the padding, not this one")
            case Pool(what, kernel, stride, pad, rounding=rounding):
                param = {"pool": _POOLS[what], "kernel_size": kernel, "stride": stride} | ({"pad": pad} if pad else {})
                return param | ({"round_mode": "FLOOR"} if rounding == "down" and stride > 1 else {})
            case GlobalPool(what) if node is self.window and self.sizes[node.inputs[0]][1:] == (7, 7):
                return {"pool": _POOLS[what], "kernel_size": 7, "stride": 1}
            case GlobalPool(what):
                return {"pool": _POOLS[what], "engine": "CAFFE", "global_pooling": True}
            case _:
                raise TypeError(f"{node.op} is not a pooling")

    def _scale(self, node: Node, name: str, bottoms: list[str]) -> str:
        top = self.names.tops.get(node.name, name)
        if len(self.sizes[node.inputs[1]]) > 1:
            return self.emit("Eltwise", name, bottoms, {"eltwise_param": {"operation": "PROD"}}, node, top)
        shape = {"reshape_param": {"shape": {"dim": [0, 0]}}}
        gate = self.emit("Reshape", f"{name.removesuffix('_scale')}_prob_reshape", [bottoms[1]], shape)
        settings = {"scale_param": {"axis": 0, "bias_term": False}}
        return self.emit("Scale", name, [bottoms[0], gate], settings, node, top)

    def _sum(self, node: Node, name: str) -> str:
        """Axpy where a product by a gate of the channels is summed; any other product stands before its sum."""
        before = [self.network.by_name[x] for x in dict.fromkeys(node.inputs) if x in self.network.by_name]
        products = [product for product in before if self._waits(product)]
        gated = [product for product in products if len(self.sizes[product.inputs[1]]) == 1]
        joined = gated[0] if gated and len(before) > 1 else None
        for product in products:
            if product is not joined:
                bottoms = [self.blobs[x] for x in product.inputs]
                self.blobs[product.name] = self._scale(product, self.names.layers[product.name], bottoms)
        if joined:
            x, gate = joined.inputs
            other = next(value for value in node.inputs if value != joined.name)
            return self.emit("Axpy", name, [self.blobs[gate], self.blobs[x], self.blobs[other]], {}, node)
        bottoms = [self.blobs[x] for x in node.inputs]
        return self.emit("Eltwise", name, bottoms, {"eltwise_param": {"operation": "SUM"}}, node)

    def _waits(self, node: Node) -> bool:
        """Whether a node is a product that a sum alone reads."""
        readers = self.network.readers[node.name]
        return isinstance(node.op, Scale) and len(readers) == 1 and isinstance(readers[0].op, Add)


_ACTIVATIONS: Mapping[Activation, str] = {"relu": "ReLU", "sigmoid": "Sigmoid", "tanh": "TanH"}
_POOLS: Mapping[Pooling, str] = {"max": "MAX", "avg": "AVE"}
