"""The layers of a network as a Caffe definition, in the form and under the names of the published prototxts."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from weights.caffe.net import Layer
from weights.caffe.schema import float32
from weights.networks.inception import InceptionSpec, ModuleSpec
from weights.networks.models import MODELS
from weights.networks.network import Node, graph
from weights.networks.operations import (
    Act,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    GlobalPool,
    Linear,
    Pool,
    Scale,
)
from weights.networks.resnet import ResNetSpec
from weights.networks.sizes import shapes
from weights.networks.spec import EPS, Spec

NET_NAMES = {name: name.replace("se-", "SE-", 1).replace("resnet", "ResNet") for name in MODELS} | {
    "senet-154": "SENet",
    "se-bn-inception": "SE-BN-Inception",
    "bn-inception": "BN-Inception",
    **{f"{se}resnext-{n}": f"{se.upper()}ResNeXt-{n} (32 x 4d)" for se in ("se-", "") for n in (50, 101)},
}
"""What the published files call the networks of ``MODELS`` (the plain ones in the same manner)."""


class Definition(NamedTuple):
    """One Caffe layer and the node of the graph that it computes."""

    layer: Layer
    node: Node | None  # a BatchNorm node has two layers; None: the input, shapes and the softmax
    tap: bool  # the top right after this layer is the node's output


@lru_cache(maxsize=32)
def layers(spec: Spec, size: tuple[int, int] = (224, 224)) -> tuple[Definition, ...]:
    """A network as Caffe layers: deploy form, without Split layers and without blobs.

    Args:
        size: height and width of the input. The last pooling is the published 7x7 window where that is what covers
            the map, a global pooling elsewhere.

    Returns:
        The layers in the order of the published files. SE blocks are 1x1 convolutions, joined by Axpy in residual
        networks and by a two-bottom Scale in Inception ones.
    """
    draft = _Draft(spec, size)
    for node in graph(spec):
        draft.add(node)
    if spec.classes:
        draft.emit("Softmax", "prob", [draft.definitions[-1].layer.tops[0]])
    return tuple(draft.definitions)


def layer_of(spec: Spec) -> dict[str, str]:
    """Nodes to the names of the Caffe layers whose tops, right after the layer ran, are the nodes' outputs.

    A BatchNorm node is its Scale layer, the sum of a residual unit its Axpy or Eltwise; absent are nodes that Caffe
    does not compute on their own (the scaling inside an Axpy).
    """
    return {d.node.name: d.layer.name for d in layers(spec) if d.node and d.tap}


def as_written(definition: Iterable[Layer]) -> list[Layer]:
    """The layers as Caffe's Net<Dtype>::ToProto writes them after reading a definition in the TEST phase.

    Every blob with several readers gets a Split layer, whose tops they read; every layer states its phase; BatchNorm
    layers state that their three blobs are not learned.
    """
    plain = list(definition)
    maker: dict[str, tuple[int, int]] = {}  # blob -> the last layer that wrote it, and which top
    reads: list[list[tuple[int, int]]] = []
    readers: Counter[tuple[int, int]] = Counter()
    for i, layer in enumerate(plain):
        reads.append([maker[blob] for blob in layer.bottoms])
        readers.update(reads[-1])
        maker |= {blob: (i, j) for j, blob in enumerate(layer.tops)}
    written, seen = [], Counter()
    for i, layer in enumerate(plain):
        bottoms = []
        for blob, made in zip(layer.bottoms, reads[i], strict=True):
            if readers[made] > 1:
                bottoms.append(f"{_split(blob, plain[made[0]].name, made[1])}_{seen[made]}")
                seen[made] += 1
            else:
                bottoms.append(blob)
        frozen = {"param": [{"lr_mult": 0.0}] * 3} if layer.type == "BatchNorm" else {}
        settings = frozen | {"phase": "TEST"} | dict(layer.settings)
        written.append(replace(layer, bottoms=tuple(bottoms), settings=settings))
        for j, blob in enumerate(layer.tops):
            if readers[i, j] > 1:
                name = _split(blob, layer.name, j)
                tops = tuple(f"{name}_{k}" for k in range(readers[i, j]))
                written.append(Layer(name, "Split", (blob,), tops, {"phase": "TEST"}, ()))
    return written


def _split(blob: str, layer: str, top: int) -> str:
    return f"{blob}_{layer}_{top}_split"


class _Draft:
    def __init__(self, spec: Spec, size: tuple[int, int]):
        self.spec = spec
        self.definitions: list[Definition] = []
        self.blobs: dict[str, str] = {}  # node -> the blob that holds its output
        self.names = _names(spec)
        self.nodes = {node.name: node for node in graph(spec)}
        self.last_map = shapes(spec, *size)[self.nodes["pool"].inputs[0]][1:]
        self.added = {name for node in graph(spec) if isinstance(node.op, Add) for name in node.inputs}
        shape = {"shape": [{"dim": [1, 3, *size]}]}
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
        layer = Layer(name, kind, tuple(bottoms), (top or name,), dict(settings or {}), ())
        self.definitions.append(Definition(layer, node, tap))
        return top or name

    def add(self, node: Node) -> None:
        name = self.names[node.name]
        bottoms = [self.blobs.get(i, "") for i in node.inputs]
        x = bottoms[0]
        match node.op:
            case Conv(out, kernel, stride, pad, groups):
                top = self.emit("Convolution", name, bottoms, self._conv(out, kernel, stride, pad, groups), node)
            case Linear(out) if node.name == "logits":
                top = self.emit("InnerProduct", name, bottoms, {"inner_product_param": {"num_output": out}}, node)
            case Linear(out):
                settings = {"convolution_param": {"num_output": out, "kernel_size": [1], "stride": [1]}}
                top = self.emit("Convolution", name, bottoms, settings, node)
            case BatchNorm(eps):
                stored = {"use_global_stats": True} | ({} if eps == EPS else {"eps": float32(eps)})
                self.emit("BatchNorm", name, bottoms, {"batch_norm_param": stored}, node, x, tap=False)
                top = self.emit("Scale", f"{name}/scale", bottoms, {"scale_param": {"bias_term": True}}, node, x)
            case Act(function):
                top = self.emit(_ACTIVATIONS[function], name, bottoms, {}, node, x)
            case Dropout(rate):
                top = self.emit("Dropout", name, bottoms, {"dropout_param": {"dropout_ratio": float32(rate)}}, node, x)
            case Pool() | GlobalPool():
                top = self.emit("Pooling", name, bottoms, self._pool(node), node)
            case Concat():
                top = self.emit("Concat", name, bottoms, {}, node)
            case Scale() if node.name in self.added:
                return  # computed by the Axpy
            case Scale():
                shape = {"reshape_param": {"shape": {"dim": [0, 0]}}}
                gate = self.emit("Reshape", name.replace("_scale", "_prob_reshape"), [bottoms[1]], shape)
                settings = {"scale_param": {"axis": 0, "bias_term": False}}
                output = name.removesuffix("_scale") + "/output"
                top = self.emit("Scale", name, [x, gate], settings, node, output)
            case Add() if isinstance((scale := self.nodes[node.inputs[0]]).op, Scale):
                y, gate = scale.inputs
                top = self.emit("Axpy", name, [self.blobs[gate], self.blobs[y], bottoms[1]], {}, node)
            case Add():
                top = self.emit("Eltwise", name, bottoms, {"eltwise_param": {"operation": "SUM"}}, node)
        self.blobs[node.name] = top

    def _conv(self, out: int, kernel: int, stride: int, pad: int, groups: int) -> dict[str, Any]:
        param: dict[str, Any] = {"num_output": out, "bias_term": False}
        if pad:
            param["pad"] = [pad]
        param["kernel_size"] = [kernel]
        if groups > 1:
            param["group"] = groups
        if stride > 1 or isinstance(self.spec, ResNetSpec):
            param["stride"] = [stride]
        return {"convolution_param": param}

    def _pool(self, node: Node) -> dict[str, Any]:
        match node.op:
            case Pool(what, kernel, stride, pad):
                param = {"pool": _POOLS[what], "kernel_size": kernel, "stride": stride} | ({"pad": pad} if pad else {})
            case _ if node.name == "pool" and self.last_map == (7, 7):
                param = {"pool": "AVE", "kernel_size": 7, "stride": 1}
            case _:
                param = {"pool": "AVE", "engine": "CAFFE", "global_pooling": True}
        return {"pooling_param": param}


_ACTIVATIONS: Mapping[Activation, str] = {"relu": "ReLU", "sigmoid": "Sigmoid", "tanh": "TanH"}
_POOLS = {"max": "MAX", "avg": "AVE"}


def _names(spec: Spec) -> dict[str, str]:
    """Nodes to the published names of their layers; a BatchNorm node to that of the first of its two."""
    last = f"pool{len(spec.depths) + 1}" if isinstance(spec, ResNetSpec) else "pool5"
    names = {"pool": f"{last}/7x7_s1", "dropout": f"{last}/dropout_7x7_s1", "logits": "classifier"}
    if isinstance(spec, ResNetSpec):
        names["stem.pool"] = "pool1/3x3_s2"
        for i, (_, kernel) in enumerate(spec.stem, 1):
            group = f"conv1_{i}" if len(spec.stem) > 1 else "conv1"
            leaf = f"{kernel}x{kernel}" + ("_s2" if i == 1 else "")
            names |= _stem_names(i, f"{group}/{leaf}", f"{group}/relu_{leaf}")
        for s, stage in enumerate(spec.stages, 2):
            for i, block in enumerate(stage, 1):
                names |= _bottleneck_names(block.name, f"conv{s}_{i}")
    elif isinstance(spec, InceptionSpec):
        names |= {"stem.pool1": "pool1/3x3_s2", "stem.pool2": "pool2/3x3_s2"}
        first, _, last = (f"{kernel}x{kernel}" for _, kernel in spec.stem)
        names |= _stem_names(1, f"conv1/{first}_s2", f"conv1/relu_{first}")
        names |= _stem_names(2, f"conv2/{last}_reduce", f"conv2/relu_{last}_reduce")
        names |= _stem_names(3, f"conv2/{last}", f"conv2/relu_{last}")
        for module in spec.blocks():
            names |= _module_names(module)
    return names


def _stem_names(i: int, conv: str, relu: str) -> dict[str, str]:
    return {f"stem.conv{i}": conv, f"stem.bn{i}": f"{conv}/bn", f"stem.relu{i}": relu}


def _bottleneck_names(node: str, layer: str) -> dict[str, str]:
    names = {f"{node}.add": layer, node: f"{layer}/relu", f"{node}.se": layer} | _se_names(node, layer)
    for i, leaf in enumerate(("1x1_reduce", "3x3", "1x1_increase"), 1):
        conv = f"{layer}_{leaf}"
        names |= {f"{node}.conv{i}": conv, f"{node}.bn{i}": f"{conv}/bn", f"{node}.relu{i}": f"{conv}/relu"}
    conv = f"{layer}_1x1_proj"  # also where its kernel is 3x3
    return names | {f"{node}.shortcut.conv": conv, f"{node}.shortcut.bn": f"{conv}/bn"}


_UNITS = {
    "conv1x1": "1x1",
    "reduce3x3": "3x3_reduce",
    "conv3x3": "3x3",
    "reduce_double": "double3x3_reduce",
    "double1": "double3x3a",
    "double2": "double3x3b",
    "project": "pool_proj",
}


def _module_names(module: ModuleSpec) -> dict[str, str]:
    node = module.name
    layer = node.replace("inception", "inception_", 1)
    names = {f"{node}.pool": f"{layer}/pool" + ("/3x3_s2" if module.stride == 2 else "")}
    names |= {f"{node}.concat": f"{layer}/concat", node: f"{layer}_scale" if module.se else f"{layer}/concat"}
    for unit, leaf in _UNITS.items():
        names |= {f"{node}.{unit}.conv": f"{layer}/{leaf}", f"{node}.{unit}.bn": f"{layer}/{leaf}/bn"}
        names[f"{node}.{unit}"] = f"{layer}/relu_{leaf}"
    return names | _se_names(node, layer)


def _se_names(node: str, layer: str) -> dict[str, str]:
    leaves = {"pool": "global_pool", "fc1": "1x1_down", "relu": "1x1_down/relu", "fc2": "1x1_up", "gate": "prob"}
    return {f"{node}.se.{leaf}": f"{layer}_{name}" for leaf, name in leaves.items()}
