"""Walks a network that was read and the network of a record in lock-step, to the first node that differs."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

from weights.caffe.importing import Found, Imported
from weights.caffe.net import Layer
from weights.caffe.settings import coefficients
from weights.caffe.wording import LAYER_TYPES, noun, settings
from weights.networks.network import Network, Node
from weights.networks.operations import (
    Add,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    GlobalPool,
    Linear,
    Mix,
    Op,
    Pool,
    Scale,
    Times,
)

_DEPTH = 8  # of what follows two nodes of one kind: Inception's branches differ after seven
_Steps = tuple[tuple[str, int], ...]  # kinds of what follows, each with the number of what follows that


@dataclass(frozen=True, slots=True)
class Agreement:
    """Which layers hold the parameters of each node; none for a BatchNorm that the file does not have."""

    layers: Mapping[str, tuple[Layer, ...]]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first node that differs, and the layer to name."""

    reached: int  # nodes that agree
    layer: Layer
    expected: str
    found: str


def compare(found: Imported, wanted: Network) -> Agreement | Difference:
    """Holds what was read against the nodes of a record, in their order; names do not matter.

    The order of the two maps of a sum or a mix does not matter, a 1x1 convolution is a matrix, a missing bias is one of
    zeros, and a BatchNorm after a convolution may be missing.
    """
    walk = _Walk(found, wanted)
    try:
        for node in wanted.nodes:
            walk.step(node)
        walk.finish()
    except _DiffersError as at:
        return Difference(len(walk.at) - 1, *at.args)
    return Agreement(walk.layers)


class _DiffersError(Exception):
    """Carries the layer, what was expected and what was found."""


class _Walk:
    def __init__(self, found: Imported, wanted: Network) -> None:
        self.found, self.wanted = found, wanted
        self.at = {"data": "data"}  # node of the record -> what was read
        self.layers: dict[str, tuple[Layer, ...]] = {}
        self.claimed: set[str] = set()

    def step(self, node: Node) -> None:
        """Finds one node of the record among the readers of its inputs."""
        inputs = tuple(self.at[name] for name in node.inputs)
        readers = {n.name: n for name in inputs for n in self.found.readers[name]}
        free = [n for name, n in readers.items() if name not in self.claimed]
        source = self.found.nodes.get(inputs[0])
        if isinstance(node.op, BatchNorm) and source and _stands_alone(source, free):
            self.at[node.name], self.layers[node.name] = source.name, ()
            return
        self._alone(node, inputs[0])
        exact = [n for n in free if self._fits(node, n) and self._same_inputs(node, inputs, n)]
        if not exact:
            self._differs(node, inputs, free)
        chosen = exact[0] if len(exact) == 1 else self._likest(node, exact)
        self.at[node.name], self.layers[node.name] = chosen.name, chosen.layers
        self.claimed.add(chosen.name)

    def finish(self) -> None:
        """Nothing may be left, except a Dropout at the end."""
        for node in self.found.nodes.values():
            last = isinstance(node.op, Dropout) and not self.found.readers[node.name]
            if node.name not in self.claimed and not last:
                raise _DiffersError(node.layer, "no further layer", "this one")

    # --- whether nodes agree

    def _fits(self, node: Node, found: Found) -> bool:
        if found.expected or found.op is None:
            return False
        op, other = node.op, _as_wanted(node.op, found.op)
        if isinstance(op, Linear) and isinstance(other, Linear):
            return op.out == other.out and op.bias >= other.bias
        if isinstance(op, Conv) and isinstance(other, Conv):
            kept = found.biased and op == replace(other, bias=True)
            return op == other or kept or (self._may_be_biased(node, found) and op == replace(other, bias=False))
        if isinstance(op, Pool):
            op = replace(op, after=0)  # what only sizes need that Caffe refuses
        return op == other

    def _may_be_biased(self, node: Node, found: Found) -> bool:
        """Whether a convolution's bias can stand for a BatchNorm that was folded into it."""
        normalised = any(isinstance(n.op, BatchNorm) for n in self.wanted.readers[node.name])
        return normalised and not any(isinstance(n.op, BatchNorm) for n in self.found.readers[found.name])

    def _same_inputs(self, node: Node, inputs: tuple[str, ...], found: Found) -> bool:
        either = isinstance(node.op, Add | Mix) or (isinstance(node.op, Scale) and found.layer.type == "Eltwise")
        return found.inputs == inputs or (either and found.inputs == inputs[::-1])

    def _likest(self, node: Node, choice: Iterable[Found]) -> Found:
        """Of several, the one after which most of what follows agrees."""
        best = list(choice)
        numbers: dict[_Steps, int] = {}
        ahead_wanted, ahead_found = _Ahead(self._after_wanted, numbers), _Ahead(self._after_found, numbers)
        for depth in range(1, _DEPTH + 1):
            wanted = ahead_wanted(node.name, depth)
            agreeing = [n for n in best if ahead_found(n.name, depth) == wanted]
            best = agreeing or best
            if len(agreeing) < 2:
                break
        return best[0]

    def _after_wanted(self, name: str) -> list[tuple[str, str]]:
        return [(n.name, _signature(n.op)) for n in self.wanted.readers[name]]

    def _after_found(self, name: str) -> list[tuple[str, str]]:
        return [(n.name, _signature(n.op)) for n in self.found.readers[name]]

    # --- what differs

    def _alone(self, node: Node, source: str) -> None:
        """Refuses a second reader where the record has one."""
        readers = self.found.readers[source]
        if len(readers) < 2 or len(self.wanted.readers[node.inputs[0]]) > 1:
            return
        other = next((n for n in readers if not _near(node, n) or (n.op is None and not n.expected)), None)
        if other:
            self._blame(node, (source,), other)
        expected = f"{noun(node.op)} ({node.name}) alone to read the output of {self._made(source)}"
        raise _DiffersError(readers[1].layer, expected, "a second reader")

    def _differs(self, node: Node, inputs: tuple[str, ...], free: list[Found]) -> NoReturn:
        near = [n for n in free if _near(node, n)]
        source = self.found.nodes.get(inputs[0])
        if node.block and not near and self.wanted.by_name[node.inputs[0]].block != node.block and source:
            before = self.found.nodes.get(source.inputs[0])
            layer = before.layer if isinstance(source.op, BatchNorm) and before else source.layer
            raise _DiffersError(layer, f"an SE block here ({node.block}) as elsewhere", "none")
        if not free and source:
            raise _DiffersError(source.layer, f"{noun(node.op)} ({node.name}) after it", "the end of the network")
        self._blame(node, inputs, self._likest(node, near) if near else free[0])

    def _blame(self, node: Node, inputs: tuple[str, ...], found: Found) -> NoReturn:
        expected = f"{noun(node.op)} ({node.name})"
        if found.expected:
            raise _DiffersError(found.layer, found.expected, found.found)
        if found.op is None:
            raise _DiffersError(found.layer, expected, f"a layer of type {found.layer.type or 'unknown'}")
        if isinstance(found.op, Dropout):
            raise _DiffersError(found.layer, "one Dropout at most, next to the last pooling", "this one")
        if isinstance(node.op, GlobalPool) and isinstance(found.op, Pool):
            size = "x".join(map(str, self.found.sizes[found.inputs[0]][1:]))
            have = f"kernel {found.op.kernel}, pad {found.op.pad}"
            raise _DiffersError(found.layer, f"{noun(node.op)}, which is {size} ({node.name})", have)
        op = _as_wanted(node.op, found.op)
        if found.biased and isinstance(op, Conv) and isinstance(node.op, Conv):
            op = replace(op, bias=node.op.bias)
        wanted, have = settings(node.op), settings(op)
        wrong = [key for key in wanted if key in have and wanted[key] != have[key]]
        if type(node.op) is type(op) and wrong and not self._fits(node, found):
            stated = ", ".join(f"{key} {wanted[key]}" for key in wrong) + self._precedent(node, wrong)
            # Of a BatchNorm and its Scale only the first has settings here.
            layer = found.layers[0] if isinstance(found.op, BatchNorm) else found.layer
            raise _DiffersError(layer, f"{expected} with {stated}", ", ".join(f"{key} {have[key]}" for key in wrong))
        if self._fits(node, found):
            factors = coefficients(found.layer)
            before = [self.wanted.by_name[name].op for name in node.inputs if name in self.wanted.by_name]
            if factors and not any(isinstance(op, Times) for op in before):
                raise _DiffersError(found.layer, "a sum without coefficients", f"coeff {list(factors)}")
            order = " and ".join(self._made(name) for name in inputs)
            if isinstance(node.op, Concat | Scale):
                order = f"in the order {', '.join(self._made(name) for name in inputs)}" if len(inputs) > 2 else order
                order += ", in this order" if len(inputs) == 2 else ""
            raise _DiffersError(
                found.layer, f"{expected} of the bottoms {order}", ", ".join(map(repr, found.layer.bottoms))
            )
        raise _DiffersError(found.layer, expected, noun(found.op))

    def _precedent(self, node: Node, keys: list[str]) -> str:
        """The first layer in the same place of another block, if it has the wanted settings."""
        wanted = {key: settings(node.op)[key] for key in keys}
        for other in self.wanted.nodes:
            layers = self.layers.get(other.name)
            if layers and _place(other) == _place(node) and wanted.items() <= settings(other.op).items():
                return f" as in layer {layers[0].name!r}"
        return ""

    def _made(self, name: str) -> str:
        return repr(self.found.nodes[name].layer.name) if name in self.found.nodes else "the input"


def _as_wanted(wanted: Op, found: Op) -> Op:
    """A 1x1 convolution as the matrix that it is, where one is wanted."""
    if isinstance(wanted, Linear) and isinstance(found, Conv) and found == Conv(found.out, 1, bias=found.bias):
        return Linear(found.out, found.bias)
    return found


def _place(node: Node) -> str:
    """Where a node stands in its block: its name behind the block's; all BatchNorms are alike."""
    return "bn" if isinstance(node.op, BatchNorm) else re.sub(r"^(stage\d+\.\d+|inception\w+)", "", node.name)


def _stands_alone(source: Found, readers: list[Found]) -> bool:
    return isinstance(source.op, Conv) and not any(isinstance(n.op, BatchNorm) for n in readers)


class _Ahead:
    """What follows the nodes of one network, so many steps deep; BatchNorm, which may be missing, is passed over.

    The same always has the same number, so that a network costs no more than its nodes, however they are connected.
    """

    def __init__(self, after: Callable[[str], list[tuple[str, str]]], numbers: dict[_Steps, int]):
        self.after, self.numbers = after, numbers
        self.known: dict[tuple[str, int, bool], _Steps] = {}

    def __call__(self, name: str, depth: int) -> int:
        steps = self._steps(name, depth)
        return self.numbers.setdefault(steps, len(self.numbers))

    def _steps(self, name: str, depth: int, passed: bool = False) -> _Steps:
        place = name, depth, passed
        if place not in self.known:
            found: list[tuple[str, int]] = []
            for reader, kind in self.after(name) if depth else ():
                if kind == "BatchNorm" and not passed:
                    found += self._steps(reader, depth, passed=True)
                else:
                    found.append((kind, self(reader, depth - 1)))
            self.known[place] = tuple(sorted(found))
        return self.known[place]


def _signature(op: Op | None) -> str:
    """An operation's kind and width, as far as files in different forms have them in common."""
    match op:
        case Conv(out) | Linear(out):
            return f"matrix {out}"
        case None:
            return ""
        case _:
            return type(op).__name__


def _near(node: Node, found: Found) -> bool:
    return isinstance(found.op, type(node.op)) or (
        found.layer.type in LAYER_TYPES[type(node.op)] and not isinstance(found.op, BatchNorm)
    )
