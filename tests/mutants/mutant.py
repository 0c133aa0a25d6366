"""What a mutant is: a bug that a port could have, as a change of data or as code in place of other code."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.adapters import STANDARD
from weights.networks.network import Node
from weights.networks.spec import Spec

Arrays = dict[str, np.ndarray]
Nodes = tuple[Node, ...]

READS_NODES = ("numpy", "onnx")
"""The frameworks that compute whatever nodes they are given; the others have models written by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One bug.

    A change of parameters or of the spec reaches every framework. A change of the nodes (and then of parameters that
    the changed nodes need) reaches those that read nodes. ``code`` lists the frameworks whose module in this package
    has substitutes for the bug; they get these instead.
    """

    name: str
    what: str  # the mistake that it stands for
    at: str  # the node that it sits in
    network: str = "se-resnet"
    params: Callable[[Arrays], Arrays] | None = None
    spec: Callable[[Any], Spec] | None = None  # Any: each of them changes fields of one family
    nodes: Callable[[Nodes], Nodes] | None = None
    code: tuple[str, ...] = ()
    impossible: tuple[str, ...] = ()  # frameworks that cannot have it
    hidden: str = ""  # why rounding hides it in float32

    @property
    def frameworks(self) -> tuple[str, ...]:
        """Where it can be put in."""
        everywhere = (self.params or self.spec) and not self.nodes
        reached = STANDARD if everywhere else READS_NODES if self.nodes else ()
        return tuple(f for f in STANDARD if f in (*reached, *self.code) and f not in self.impossible)


@dataclass(frozen=True, slots=True)
class Substitute:
    """A function with a bug, and where the name of the right one is looked up: a module, a class or a table."""

    owner: Any  # a module, a class, or a dictionary
    name: str  # of the attribute, or the key
    function: Callable[..., Any]


Substitutes = Mapping[str, tuple[Substitute, ...]]
"""By the name of the mutant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a framework with a bug in it looks like to the suite."""

    mutant: str
    framework: str
    dtype: str
    expected: str  # the first tap, in the order of the graph, that depends on the node with the bug
    found: str | None  # the first divergent tap; None: not caught
    error: float  # there, from the image on; inf: another shape
    share: float | None  # there, of the layer by itself, as a share of what rounding can explain; None: not judged
