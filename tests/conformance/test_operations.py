"""The operations that only some families have: their gradients by differences, and ONNX Runtime's answer."""

import numpy as np
import pytest

import conformance
from conformance import cases
from conformance.judge.bounds import TAPS
from conformance.reference import backward, forward
from weights import Network, Node
from weights.networks.operations import (
    Act,
    Add,
    AppendZeros,
    Concat,
    Conv,
    Flatten,
    GlobalPool,
    Linear,
    Mix,
    Op,
    Pool,
    Shift,
    Shuffle,
    Times,
)

OPERATIONS: dict[str, Op] = {
    "oblong": Conv(6, (1, 5), pad=(0, 2), bias=True),
    "oblong without padding": Conv(6, (3, 2), stride=2),
    "same": Conv(6, 3, 2, "same"),
    "same, an even kernel": Conv(6, 4, 3, "same", groups=3),
    "even": Conv(6, 5, 2, "even", groups=6),
    "rounds down": Pool("max", 3, 2, 1, rounding="down"),
    "means that round down": Pool("avg", 3, 2, 1, rounding="down"),
    "means of what is inside": Pool("avg", 3, 1, 1, counted=False),
    "means of what is inside, rounded up": Pool("avg", 3, 2, 1, counted=False),
    "every second pixel": Pool("max", 1, 2, rounding="down"),
    "relu6": Act("relu6"),
    "swish": Act("swish"),
    "hard-swish": Act("hard-swish"),
    "times": Times(0.17),
    "zeros": AppendZeros(3),
    "shift": Shift(),
    "shuffle": Shuffle(3),
    "shuffle of another count": Shuffle(2),
}
SIZES = [(8, 9), (7, 6)]


def network(op: Op) -> Network:
    """The operation between a convolution and a classifier of all pixels."""
    nodes = (
        Node("stem", Conv(6, 1, bias=True), ("data",), "stem"),
        Node("spread", Times(3.0), ("stem",), "spread"),  # so that activations meet both of their corners
        Node("new", op, ("spread",), "new"),
        Node("halves", Mix(), ("new", "new"), "halves"),
        Node("twice", Add(), ("halves", "new"), "twice"),
        Node("both", Concat(), ("twice", "new"), "both"),
        Node("flat", Flatten(), ("both",), "flat"),
        Node("logits", Linear(3), ("flat",), "fc"),
    )
    return Network("new", nodes)


def params(of: Network, x: np.ndarray) -> dict[str, np.ndarray]:
    """Seeded weights; the classifier's matrix fits the images, which ``schema`` cannot know."""
    rng = np.random.default_rng(5)
    (stem, *between, _) = of.nodes
    found = {"stem.weight": rng.standard_normal((6, 3, 1, 1)), "stem.bias": rng.standard_normal(6)}
    found |= {
        f"{node.module}.{leaf}": rng.standard_normal(shape)
        for node in between
        for leaf, shape in node.op.leaves(6).items()
    }
    flat = forward.execute((stem, *between), found, x)["flat"].shape[1]
    return found | {"fc.weight": rng.standard_normal((3, flat)), "fc.bias": rng.standard_normal(3)}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_are_those_of_differences(name: str, size: tuple[int, int]) -> None:
    of, rng = network(OPERATIONS[name]), np.random.default_rng(7)
    x = rng.standard_normal((2, 3, *size))
    given, cotangent = params(of, x), rng.standard_normal((2, 3))
    found = backward.gradients(of, given, x, cotangent)
    for what in ("data", *given):
        at = x if what == "data" else given[what]
        direction = rng.standard_normal(at.shape)
        ends = []
        for sign in (1, -1):
            moved = at + sign * 1e-6 * direction
            values = forward.run(of, given if what == "data" else given | {what: moved}, moved if what == "data" else x)
            ends.append((values["logits"] * cotangent).sum())
        slope, wanted = (ends[0] - ends[1]) / 2e-6, (found[what] * direction).sum()
        # The difference of two sums near 1e3, whose 16 digits are divided by 2e-6.
        assert abs(slope - wanted) <= 1e-6 * max(1.0, np.abs(found[what] * direction).sum()), what


@pytest.mark.parametrize("name", OPERATIONS)
def test_onnx_runtime_computes_the_same(name: str) -> None:
    pytest.importorskip("onnxruntime")
    last = Node("pool", GlobalPool("avg"), ("both",), "pool")
    of = network(OPERATIONS[name])
    of = Network("new", (*of.nodes[:-2], last, Node("logits", Linear(3), ("pool",), "fc")))
    for size in SIZES:
        found = conformance.compare(
            of, cases.seeded(of, 3), cases.image(4, 2, *size), ["onnx"], "float32", isolated=False
        )
        assert found.agreed, found.results["onnx"]
        assert found.results["onnx"].worst is not None
        assert found.results["onnx"].errors["new"] <= TAPS["float32"]


@pytest.mark.parametrize(("size", "sides"), [((8, 9), ((0, 1), (1, 1))), ((7, 6), ((1, 1), (0, 1)))])
def test_same_is_tensorflows_padding(size: tuple[int, int], sides: object) -> None:
    assert Conv(4, 3, 2, "same").sides(*size) == sides
    assert Conv(4, 3, 2, "same").shape((3, *size)) == (4, (size[0] + 1) // 2, (size[1] + 1) // 2)
    assert Conv(4, 3, 2, "even").sides(*size) == ((0, 1), (0, 1))
