"""Every consumer of operations refuses one that it does not know, rather than passing it over."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import weights.files.onnx
from conformance import cases
from conformance.reference import backward, forward
from weights import Info, Network, Node, cost, schema, shapes
from weights.caffe.blobs import blobs
from weights.caffe.layers import layers
from weights.networks.operations import Conv, GlobalPool, Linear, Op
from weights.networks.operations import _Operation as Operation

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Swish(Operation):
    """An operation that has everything that its class has to have, and is new to all consumers."""


@dataclass(frozen=True, slots=True)
class Bare:
    """An operation that says nothing about itself."""


def network(op: Any) -> Network:
    """A convolution, the operation, and a classifier."""
    nodes = (
        Node("conv1", Conv(4, 3, 2, 1), ("data",), "conv1"),
        Node("new", op, ("conv1",), "new"),
        Node("pool", GlobalPool("avg"), ("new",), "pool"),
        Node("logits", Linear(3), ("pool",), "fc"),
    )
    return Network("new", nodes)


NETWORK = network(Swish())
PARAMS = {p.name: np.ones(p.shape) for p in schema(NETWORK)}
X = cases.image(1, 1, 8, 8)

CONSUMERS: dict[str, Callable[[], Any]] = {
    "conformance/reference/forward.py": lambda: forward.run(NETWORK, PARAMS, X),
    "conformance/reference/backward.py": lambda: backward.gradients(NETWORK, PARAMS, X, np.ones((1, 3))),
    "conformance/cases.py": lambda: cases.seeded(NETWORK, 1),
    "weights/files/onnx_operators.py": lambda: weights.files.onnx.build(NETWORK, PARAMS),
    "weights/caffe/layers.py": lambda: layers(NETWORK),
    "weights/caffe/blobs.py": lambda: blobs(NETWORK, PARAMS, Info()),
}
"""The modules with a ``match`` over operations, and a call that brings each to it."""


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_unknown_operation_is_refused(consumer, monkeypatch):
    if consumer.endswith("backward.py"):  # it asks the forward pass first, which would refuse before it
        values = {node.name: np.ones((1, 4, 4, 4)) for node in NETWORK.nodes[:2]}
        values |= {"pool": np.ones((1, 4)), "logits": np.ones((1, 3))}
        monkeypatch.setattr(forward, "execute", lambda *_, **__: values)
    with pytest.raises(AssertionError, match=r"unreachable.*Swish"):
        CONSUMERS[consumer]()


@pytest.mark.parametrize("fact", [shapes, schema, cost], ids=["shapes", "schema", "cost"])
def test_operation_without_facts_is_refused(fact):
    with pytest.raises(AttributeError, match="'Bare' object has no attribute"):
        fact(network(Bare()))


def test_every_known_operation_states_its_facts():
    assert all(issubclass(op, Operation) for op in get_args(Op))


def _matches() -> Iterator[tuple[str, ast.Match]]:
    """Every ``match`` of ours over operations, with its file; not those that pick out a few for a special treatment."""
    names = {op.__name__ for op in get_args(Op)}
    for path in [*ROOT.glob("weights/**/*.py"), *ROOT.glob("conformance/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Match):
                patterns = [p for case in node.cases for p in ast.walk(case.pattern) if isinstance(p, ast.MatchClass)]
                if len(names & {p.cls.id for p in patterns if isinstance(p.cls, ast.Name)}) > len(names) / 2:
                    yield str(path.relative_to(ROOT)), node


def test_every_match_over_operations_ends_in_assert_never():
    last = {(file, match.lineno): ast.unparse(match.cases[-1]) for file, match in _matches()}
    open_ended = [place for place, case in last.items() if not re.fullmatch(r"case _:\s+assert_never\(.*\)", case)]
    assert open_ended == []
    assert {file for file, _ in last} >= set(CONSUMERS)
