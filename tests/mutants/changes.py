"""Small changes of parameters and of nodes, of which mutants are made."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from weights.networks.network import Node
from weights.networks.operations import Op

from .mutant import Arrays, Nodes


def each(pattern: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], Arrays]:
    """Changes every parameter whose name matches."""

    def changed(params: Arrays) -> Arrays:
        return {k: np.ascontiguousarray(change(a)) if re.fullmatch(pattern, k) else a for k, a in params.items()}

    return changed


def both(first: Callable[[Any], Any], second: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One change after the other."""
    return lambda value: second(first(value))


def exchanged(a: str, b: str) -> Callable[[Arrays], Arrays]:
    """Exchanges parameters whose names differ in one text; those without a partner stay."""

    def changed(params: Arrays) -> Arrays:
        other = {k: k.replace(a, b) if a in k else k.replace(b, a) for k in params}
        return {k: params.get(other[k], v) for k, v in params.items()}

    return changed


def operation(pattern: str, change: Callable[[Any], Op]) -> Callable[[Nodes], Nodes]:
    """Changes the operation of every node whose name matches."""
    return lambda nodes: tuple(replace(n, op=change(n.op)) if re.fullmatch(pattern, n.name) else n for n in nodes)


def inputs(pattern: str, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Callable[[Nodes], Nodes]:
    """Changes what every node whose name matches reads."""
    return lambda nodes: tuple(
        replace(n, inputs=change(n.inputs)) if re.fullmatch(pattern, n.name) else n for n in nodes
    )


def without(pattern: str) -> Callable[[Nodes], Nodes]:
    """Drops the nodes whose names match; their readers read what they read."""

    def changed(nodes: Nodes) -> Nodes:
        gone = {n.name: n.inputs[0] for n in nodes if re.fullmatch(pattern, n.name)}
        return tuple(replace(n, inputs=tuple(gone.get(i, i) for i in n.inputs)) for n in nodes if n.name not in gone)

    return changed


def before(pattern: str, suffix: str, op: Callable[[Node], Op], operand: int = 0) -> Callable[[Nodes], Nodes]:
    """Puts an operation of one input between every node whose name matches and one of the inputs of that node."""

    def changed(nodes: Nodes) -> Nodes:
        out: list[Node] = []
        for n in nodes:
            if re.fullmatch(pattern, n.name):
                name = f"{n.name}.{suffix}"
                out.append(Node(name, op(n), (n.inputs[operand],), name))
                n = replace(n, inputs=tuple(name if i == operand else x for i, x in enumerate(n.inputs)))
            out.append(n)
        return tuple(out)

    return changed
