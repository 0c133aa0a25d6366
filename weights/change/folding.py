"""BatchNorms taken into the convolutions before them: the same outputs in inference, with fewer operations."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from weights.errors import InputError
from weights.networks.network import Network, Node, as_network
from weights.networks.operations import BatchNorm, Conv
from weights.networks.parameters import check, schema
from weights.networks.spec import Spec
from weights.params import Params, info_of
from weights.storage import bfloat16

Precision = Literal["float64", "float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class Folded:
    """A network for inference, without the BatchNorms that convolutions can do the work of.

    Attributes:
        network: its nodes; without a record, for no record says this. A convolution that has taken in a BatchNorm has
            the name of the BatchNorm's node, whose output it now has, and its own module.
        params: of that network, by canonical name, in one precision; bfloat16 as float32.
        convolutions: the BatchNorms that are gone, by module, with the modules of the convolutions that took them in.
        kept: the BatchNorms that are still there, by module: they follow no convolution, or one that others read too.
        done: what was done, in words; the last line of the history that the parameters bring along.
    """

    network: Network
    params: Params
    convolutions: Mapping[str, str]
    kept: tuple[str, ...]
    done: str


def fold(of: Network | Spec, params: Mapping[str, np.ndarray], precision: Precision = "float32") -> Folded:
    """A network whose convolutions do the work of the BatchNorms that directly follow them, in inference.

    y = (W x + b - mean) s + bias with s = weight / sqrt(var + eps) is (s W) x + (b - mean) s + bias: computed in
    float64, then rounded once. All other parameters are rounded to the same precision.

    Args:
        of: the network.
        params: its parameters, by canonical name. They are left as they are.
        precision: of the parameters that come back.

    Raises:
        InputError: the parameters do not fit the network, or there is no such precision.
    """
    if precision not in ("float64", "float32", "float16", "bfloat16"):
        raise InputError(f"precision {precision!r:.100}: expected one of float64, float32, float16, bfloat16")
    network = as_network(of)
    info = info_of(params)
    check(network, params, info.source or "parameters")
    pairs = {bn.name: conv for bn in network.nodes if (conv := _before(network, bn))}
    gone = {conv.name for conv in pairs.values()}
    nodes = tuple(_joined(pairs[n.name], n) if n.name in pairs else n for n in network.nodes if n.name not in gone)
    small = replace(network, nodes=nodes, spec=None)
    found = {p.name: params[p.name] for p in schema(small) if p.name in params}
    for bn, conv in pairs.items():
        found |= _taken_in(conv, network.by_name[bn], params)
    done = f"{len(pairs)} BatchNorms taken into convolutions, parameters rounded to {precision}"
    info = replace(info, history=(*info.history, done))
    return Folded(
        small,
        Params({p.name: _rounded(found[p.name], precision) for p in schema(small)}, info),
        {network.by_name[bn].module: conv.module for bn, conv in pairs.items()},
        tuple(node.module for node in nodes if isinstance(node.op, BatchNorm)),
        done,
    )


def _before(network: Network, node: Node) -> Node | None:
    """The convolution that can take in this node, if it is a BatchNorm: one whose output nothing else needs."""
    conv = network.by_name.get(node.inputs[0]) if isinstance(node.op, BatchNorm) else None
    if conv is None or not isinstance(conv.op, Conv) or conv.name in network.features:
        return None
    return conv if network.readers[conv.name] == (node,) else None


def _joined(conv: Node, bn: Node) -> Node:
    """The convolution, with a bias, under the name of the BatchNorm, which others read."""
    assert isinstance(conv.op, Conv)
    return replace(conv, name=bn.name, op=replace(conv.op, bias=True))


def _taken_in(conv: Node, bn: Node, params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The kernel and the bias of the two, in float64."""
    assert isinstance(bn.op, BatchNorm)
    own, norm = (
        {leaf: params[f"{node.module}.{leaf}"].astype(np.float64) for leaf in leaves}
        for node, leaves in ((conv, conv.op.leaves(1)), (bn, bn.op.leaves(1)))
    )
    factor = norm["weight"] / np.sqrt(norm["running_var"] + bn.op.eps)
    bias = (own.get("bias", 0.0) - norm["running_mean"]) * factor + norm["bias"]
    return {f"{conv.module}.weight": own["weight"] * factor[:, None, None, None], f"{conv.module}.bias": bias}


def _rounded(array: np.ndarray, precision: Precision) -> np.ndarray:
    if precision != "bfloat16":
        return np.asarray(array, precision)
    wide = np.asarray(array, np.float64)
    # To float32 by rounding to odd: cut off, then the last bit set where something was lost. So nothing that was not
    # halfway between two numbers of bfloat16 becomes so, and rounding again is as if it were the first time.
    with np.errstate(over="ignore"):
        single = wide.astype(np.float32)
    beyond = np.abs(single) > np.abs(wide)
    single = np.where(beyond, np.nextafter(single, np.float32(0)), single)
    bits = single.view(np.uint32)
    return bfloat16.rounded(np.where(single != wide, bits | 1, bits).astype(np.uint32).view(np.float32))
