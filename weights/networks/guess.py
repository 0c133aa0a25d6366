"""Reading hyper-parameters off the nodes of a network: what the guesses of all families have in common.

A guess is not checked here: compare the network of the guessed record with the one that was read.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from weights.networks.network import Network, Node
from weights.networks.operations import Act, Add, BatchNorm, Concat, Conv, Dropout, GlobalPool, Linear, Pool, Scale
from weights.networks.se import GATES, SE, SQUEEZES, Excitation, Gate, Position, Squeeze
from weights.networks.spec import EPS


@dataclass(frozen=True, slots=True)
class FoundBlock:
    """An SE block: the value that it rescales, its nodes but the product, and its choices."""

    x: str
    nodes: frozenset[str]
    excitation: Excitation


def block_at(network: Network, scale: Node) -> FoundBlock | None:
    """The SE block whose product a node is; matrices may be 1x1 convolutions, and unknown steps may be missing."""
    for x, gate in (scale.inputs, scale.inputs[::-1]):
        path, name = [], gate
        while name != x and name in network.by_name:
            node = network.by_name[name]
            if not isinstance(node.op, (Act, GlobalPool, Linear)) and not _is_pointwise(node):
                break
            path.append(node)
            name = node.inputs[0]
        if name == x and path:
            return FoundBlock(x, frozenset(node.name for node in path), _excitation(path))
    return None


def _is_pointwise(node: Node) -> bool:
    return isinstance(node.op, Conv) and (node.op.window, node.op.stride, node.op.groups) == ((1, 1), 1, 1)


def _excitation(path: list[Node]) -> Excitation:
    """From the gate back to the squeeze."""
    ops = [node.op for node in path]
    matrices = [op for op in ops if isinstance(op, Linear | Conv)]
    squeezes: list[Squeeze] = [squeeze for squeeze, pool in SQUEEZES.items() if pool in ops]
    gates: list[Gate] = [gate for gate, act in GATES.items() if act == ops[0]]
    return Excitation(
        channels=matrices[0].out if matrices else 1,
        hidden=matrices[-1].out if matrices else 1,
        squeeze=squeezes[0] if squeezes else "none",
        inner="swish" if Act("swish") in ops else "relu",
        gate=gates[0] if gates else "sigmoid",
        bias=any(op.bias for op in matrices),
    )


def se_record(blocks: Sequence[Excitation], position: Position, stages: tuple[int, ...] | None = None) -> SE:
    """The choices of SE blocks: the first one's, and the reduction or the width that explains most of all."""
    first = blocks[0]
    widths = [(block.channels, block.hidden) for block in blocks]
    ratios = [channels // hidden for channels, hidden in widths]

    def variant(**width: Any) -> SE:
        bias = any(block.bias for block in blocks)
        choices = {"squeeze": first.squeeze, "gate": first.gate, "inner": first.inner, "bias": bias}
        return SE(**choices, position=position, stages=stages, **width)

    smallest = max(min(ratios), 1)
    if explains(reduced := variant(reduction=smallest), blocks):
        return reduced
    if len({hidden for _, hidden in widths}) == 1:
        return variant(width=first.hidden)
    usual = max(Counter(ratios).most_common(1)[0][0], 1)
    rounded = (variant(reduction=r, rounding="to 8") for r in (usual, *range(1, 2 * max(ratios) + 2)))
    return next((se for se in rounded if explains(se, blocks)), None) or variant(reduction=usual)


def explains(se: SE, blocks: Sequence[Excitation]) -> bool:
    """Whether the hidden widths of SE blocks are those that a record makes of their channels."""

    def hidden(channels: int) -> int:
        none = se.width is None and se.rounding == "down" and channels < se.reduction
        return 0 if none else se.hidden(channels)

    return all(hidden(block.channels) == block.hidden for block in blocks)


def trail(network: Network, name: str, stop: Callable[[Node], bool]) -> list[Node]:
    """The nodes that lead to a value, in order, back to the first one that stops; of a product the way of the map."""
    found: list[Node] = []
    while name in network.by_name and not stop(node := network.by_name[name]):
        found.append(node)
        block = block_at(network, node) if isinstance(node.op, Scale) else None
        name = block.x if block else node.inputs[0]
    return found[::-1]


def is_join(node: Node) -> bool:
    """Whether paths end at a node: sums, branches joined, poolings."""
    return isinstance(node.op, Add | Concat | Pool | GlobalPool)


def convolutions(nodes: Sequence[Node]) -> list[Conv]:
    """The operations of the convolutions among nodes."""
    return [node.op for node in nodes if isinstance(node.op, Conv)]


def stem(network: Network, poolings: int) -> tuple[tuple[tuple[int, int], ...], str]:
    """Out channels and kernel of each convolution before so many poolings, and the last node before a fork."""
    found: list[tuple[int, int]] = []
    name = "data"
    while len(readers := network.readers[name]) == 1 and poolings:
        name = readers[0].name
        op = readers[0].op
        if isinstance(op, Conv):
            found.append((op.out, max(op.window) | 1))  # kernels are of odd size
        poolings -= isinstance(op, Pool | GlobalPool)
    return tuple(found), name


def common(network: Network) -> dict[str, Any]:
    """The fields that the records of all families have, except the name and the SE blocks."""
    ops = [node.op for node in network.nodes]
    pools = [node for node in network.nodes if isinstance(node.op, GlobalPool)]
    eps = next((op.eps for op in ops if isinstance(op, BatchNorm)), EPS)
    rate, classes = 0.0, 0
    after = network.readers[pools[-1].name] if pools else ()
    while after:
        node = after[0] if len(after) == 1 else next((n for n in after if isinstance(n.op, Linear)), after[0])
        if isinstance(node.op, Dropout):
            rate = node.op.rate
        if isinstance(node.op, Linear):
            classes = node.op.out
        after = () if classes else network.readers[node.name]
    return {"dropout": rate, "classes": classes, "eps": eps, "in_channels": network.in_channels}
