"""What the published prototxts call the layers of a network; by family, and the nodes' own names for all others."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from weights.networks.network import Network
from weights.networks.operations import Conv, Pool, Scale
from weights.networks.resnet import ResNetSpec

NET_NAMES: dict[str, str] = {
    **{f"{se}resnet-{n}": f"{se.upper()}ResNet-{n}" for se in ("se-", "") for n in (50, 101, 152)},
    **{f"{se}resnext-{n}": f"{se.upper()}ResNeXt-{n} (32 x 4d)" for se in ("se-", "") for n in (50, 101)},
    "senet-154": "SENet",
    "se-bn-inception": "SE-BN-Inception",
    "bn-inception": "BN-Inception",
}
"""What the published files call the released networks, and their plain counterparts in the same manner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNames:
    """The names of a network's layers.

    Attributes:
        layers: by node; a BatchNorm node's is that of the first of its two layers.
        tops: of the nodes whose top is not called as their layer.
        states_stride: whether convolutions state a stride of 1.
    """

    layers: Mapping[str, str]
    tops: Mapping[str, str] = field(default_factory=dict)
    states_stride: bool = True


def layer_names(network: Network) -> LayerNames:
    """The published names, or the nodes' own where the family has none."""
    family = network.spec.family if network.spec else ""
    return _FAMILIES.get(family, _own)(network)


def net_name(network: Network) -> str:
    """The published name of a network, or its own."""
    return NET_NAMES.get(network.name, network.name)


def _own(network: Network) -> LayerNames:
    return LayerNames(layers={node.name: node.name for node in network.nodes})


def _resnet(network: Network) -> LayerNames:
    names: dict[str, str] = {"stem.pool": "pool1/3x3_s2"}
    stem = [node.op for node in network.nodes if node.name.startswith("stem.") and isinstance(node.op, Conv)]
    for i, conv in enumerate(stem, 1):
        group = f"conv1_{i}" if len(stem) > 1 else "conv1"
        leaf = f"{conv.kernel}x{conv.kernel}" + ("_s2" if i == 1 else "")
        names |= _stem_names(i, f"{group}/{leaf}", f"{group}/relu_{leaf}")
    stage = 0
    basic = isinstance(network.spec, ResNetSpec) and network.spec.unit != "bottleneck"
    unit = _BASIC if basic else _UNIT
    for node in network.nodes:
        if match := re.match(r"stage(\d+)\.(\d+)", node.name):
            stage = int(match[1])
            layer = f"conv{stage + 1}_{int(match[2]) + 1}"
            names[node.name] = layer + unit.get(node.name[match.end() :], "_scale")
            if node.name == match[0] and not isinstance(node.op, Scale):
                names[node.name] = f"{layer}/relu"
    return LayerNames(layers=names | _head_names(f"pool{stage + 1}"))


_SE = {"pool": "global_pool", "fc1": "1x1_down", "relu": "1x1_down/relu", "fc2": "1x1_up", "gate": "prob"}
_UNIT = {
    ".conv1": "_1x1_reduce",
    ".bn1": "_1x1_reduce/bn",
    ".relu1": "_1x1_reduce/relu",
    ".conv2": "_3x3",
    ".bn2": "_3x3/bn",
    ".relu2": "_3x3/relu",
    ".conv3": "_1x1_increase",
    ".bn3": "_1x1_increase/bn",
    ".shortcut.conv": "_1x1_proj",  # also where its kernel is 3x3
    ".shortcut.bn": "_1x1_proj/bn",
    ".add": "",
    ".relu3": "/relu",
    **{f".se.{leaf}": f"_{name}" for leaf, name in _SE.items()},
}
"""The end of a node's name, behind the unit's, to the end of its layer's; the product of an SE block is "_scale"."""
_BASIC = _UNIT | {
    f".{node}{i}": f"_3x3_{i}{leaf}" for i in (1, 2) for node, leaf in (("conv", ""), ("bn", "/bn"), ("relu", "/relu"))
}
"""The same of basic units, in the manner of the published names: there are no published networks of them."""


def _inception(network: Network) -> LayerNames:
    stem = [node.op for node in network.nodes if node.name.startswith("stem.") and isinstance(node.op, Conv)]
    first, last = (f"{stem[i].kernel}x{stem[i].kernel}" for i in (0, 2))
    names: dict[str, str] = {"stem.pool1": "pool1/3x3_s2", "stem.pool2": "pool2/3x3_s2"}
    names |= _stem_names(1, f"conv1/{first}_s2", f"conv1/relu_{first}")
    names |= _stem_names(2, f"conv2/{last}_reduce", f"conv2/relu_{last}_reduce")
    names |= _stem_names(3, f"conv2/{last}", f"conv2/relu_{last}")
    tops: dict[str, str] = {}
    for node in network.nodes:
        if match := re.match(r"inception(\w+)", node.name):
            layer, end = f"inception_{match[1]}", node.name[match.end() :]
            names[node.name] = layer + _MODULE.get(end, "/concat")
            if end == ".pool" and isinstance(node.op, Pool) and node.op.stride == 2:
                names[node.name] += "/3x3_s2"
            if not end and isinstance(node.op, Scale):
                names[node.name], tops[node.name] = f"{layer}_scale", f"{layer}/output"
    return LayerNames(layers=names | _head_names("pool5"), tops=tops, states_stride=False)


_BRANCHES = {
    "conv1x1": "1x1",
    "reduce3x3": "3x3_reduce",
    "conv3x3": "3x3",
    "reduce_double": "double3x3_reduce",
    "double1": "double3x3a",
    "double2": "double3x3b",
    "project": "pool_proj",
}
_MODULE = {
    ".pool": "/pool",
    **{f".{unit}.conv": f"/{leaf}" for unit, leaf in _BRANCHES.items()},
    **{f".{unit}.bn": f"/{leaf}/bn" for unit, leaf in _BRANCHES.items()},
    **{f".{unit}": f"/relu_{leaf}" for unit, leaf in _BRANCHES.items()},
    **{f".se.{leaf}": f"_{name}" for leaf, name in _SE.items()},
}


def _stem_names(i: int, conv: str, relu: str) -> dict[str, str]:
    return {f"stem.conv{i}": conv, f"stem.bn{i}": f"{conv}/bn", f"stem.relu{i}": relu}


def _head_names(pool: str) -> dict[str, str]:
    return {"pool": f"{pool}/7x7_s1", "dropout": f"{pool}/dropout_7x7_s1", "logits": "classifier"}


_FAMILIES: Mapping[str, Callable[[Network], LayerNames]] = {"resnet": _resnet, "inception": _inception}
