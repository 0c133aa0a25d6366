"""SE blocks of every kind at every position, in all frameworks, against the NumPy reference of the nodes."""

import os
from dataclasses import fields
from itertools import combinations, count
from typing import Any, cast, get_args

import numpy as np
import pytest

from conformance.adapters import adapter
from conformance.adapters.protocol import Differentiable
from conformance.cases import image, seeded, top_diff
from conformance.reference import backward, forward
from weights import SE, Params, ResNetSpec, Spec, graph
from weights.networks.operations import Add
from weights.networks.se import Gate, Position, Squeeze

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

CHOICES: dict[str, tuple[Any, ...]] = {
    "position": get_args(Position),
    "squeeze": get_args(Squeeze),
    "gate": get_args(Gate),
    "bias": (True, False),
    "stages": (None, (2,)),
}
VARIANTS = [
    SE(
        reduction=2,
        position=position,
        gate=gate,
        squeeze=CHOICES["squeeze"][(i + j) % 3],
        bias=(i + j) % 2 == 0,
        stages=(2,) if (i // 2 + j) % 2 else None,
    )
    for i, position in enumerate(CHOICES["position"])
    for j, gate in enumerate(CHOICES["gate"])
]
X, COTANGENT = image(1, 2, 15, 18).astype(np.float64), top_diff(2, 2, 3)


def name(se: SE) -> str:
    """What differs from the published networks."""
    return "-".join(str(getattr(se, f.name)) for f in fields(se) if f.name in CHOICES)


def tiny(se: SE) -> ResNetSpec:
    """Two stages of one unit each."""
    return ResNetSpec(
        name="tiny",
        depths=(1, 1),
        stem=((4, 3),),
        reduce=(4, 6),
        width=(4, 8),
        out_channels=(8, 12),
        se=se,
        classes=3,
    )


def living(spec: Spec) -> Params:
    """Parameters of the first seed with which a gradient reaches every parameter: ReLUs can switch off whole blocks."""

    def lives(params: Params) -> bool:
        return all(g.any() for g in backward.gradients(spec, params, X, COTANGENT).values())

    return next(filter(lives, (seeded(spec, seed) for seed in count())))


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest value; where all values are 0, those found must be so too."""
    assert found.shape == expected.shape
    difference, scale = float(np.abs(found - expected).max()), float(np.abs(expected).max())
    return difference / scale if scale else (np.inf if difference else 0.0)


def test_the_variants_cover_every_pair_of_choices() -> None:
    for a, b in combinations(CHOICES, 2):
        pairs = {(getattr(se, a), getattr(se, b)) for se in VARIANTS}
        assert len(pairs) == len(CHOICES[a]) * len(CHOICES[b]), (a, b)


# Flax without jit: compiling 28 networks takes ten times as long as running them operation by operation.
@pytest.fixture(scope="module", params=["torch", "jax_eager", "tf"])
def framework(request: pytest.FixtureRequest) -> Differentiable:
    """The adapter of a framework."""
    for needed in {"torch": ["torch"], "jax_eager": ["jax", "flax"], "tf": ["tensorflow", "keras"]}[request.param]:
        pytest.importorskip(needed)
    return cast(Differentiable, adapter(request.param))


@pytest.mark.parametrize("se", VARIANTS, ids=name)
def test_every_tap_and_every_gradient_agrees(framework: Differentiable, se: SE) -> None:
    _assert_agrees(framework, tiny(se))


@pytest.mark.parametrize(
    "se",
    [
        SE(reduction=2, position="3x3-raw", squeeze="max", gate="tanh", bias=False),
        SE(width=3, position="post", squeeze="none", gate="hard-sigmoid", stages=(1,)),
    ],
    ids=name,
)
def test_compiled_flax_agrees(se: SE) -> None:
    pytest.importorskip("flax")
    _assert_agrees(cast(Differentiable, adapter("jax")), tiny(se))


def _assert_agrees(framework: Differentiable, spec: Spec) -> None:
    params = living(spec)
    model = framework.build(spec, params, "float64")
    taps, expected = framework.taps(model, X), forward.run(spec, params, X)
    # In PyTorch and Flax the sums are not modules.
    sums = {node.name for node in graph(spec) if isinstance(node.op, Add)}
    assert expected.keys() - sums <= taps.keys() <= expected.keys()
    # Sums of some tens of terms over ten layers: 1e-15 to 1e-14; the bounds are those of conformance.judge.bounds.
    assert _beyond(1e-13, taps, expected) == {}
    gradients = backward.gradients(spec, params, X, COTANGENT)
    found = framework.gradients(model, X, COTANGENT)
    assert found.keys() == gradients.keys()
    assert _beyond(1e-12, found, gradients) == {}


def _beyond(bound: float, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> dict[str, float]:
    errors = {tensor: error(found[tensor], expected[tensor]) for tensor in found}
    return {tensor: e for tensor, e in errors.items() if not e <= bound}


class Block:
    """The parts of an SE block of a framework as functions of NumPy arrays in float64: (N, C), or (N, H, W, C)."""

    def __init__(self, framework: str, **choices: Any) -> None:
        self.framework = framework
        package: Any = pytest.importorskip(f"se_{framework}", exc_type=ImportError)
        dtype = {"dtype": "float64"} if framework == "tf" else {}  # the others compute in the dtype of the input
        self.block: Any = package.SEBlock(4, reduction=2, **choices, **dtype)

    def __call__(self, part: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the part answers, and the gradient of the sum of that."""
        layer = getattr(self.block, part)
        if self.framework == "torch":
            import torch

            t = torch.from_numpy(x).movedim(-1, 1).clone().requires_grad_()
            y = layer(t)
            (g,) = torch.autograd.grad(y.sum(), t)
            return y.detach().movedim(1, -1).numpy(), g.movedim(1, -1).numpy()
        if self.framework == "jax":
            import jax

            with jax.enable_x64(True):
                g = jax.grad(lambda x: layer(x).sum())(jax.numpy.asarray(x))
                return np.asarray(layer(jax.numpy.asarray(x))), np.asarray(g)
        import tensorflow as tf

        with tf.GradientTape() as tape:
            t = tf.constant(x)
            tape.watch(t)
            y: Any = layer(t)
            total = tf.reduce_sum(y)
        return y.numpy(), tf.convert_to_tensor(tape.gradient(total, t)).numpy()


FRAMEWORKS = pytest.mark.parametrize("package", ["torch", "jax", "tf"])


@FRAMEWORKS
@pytest.mark.parametrize("gate", get_args(Gate))
def test_gates_are_exact_in_float64(package: str, gate: Gate) -> None:
    x = np.concatenate([np.linspace(-40, 40, 4001), np.linspace(-3.5, 3.5, 999)]).reshape(-1, 4)
    y, slope = Block(package, gate=gate)("gate", x)
    assert y.dtype == np.float64
    # Functions of one number, of size 1: a few roundings.
    assert np.abs(y - forward.ACTIVATIONS[gate](x)).max() < 1e-15
    assert np.abs(slope - backward.slope(gate, x, y)).max() < 1e-15


@FRAMEWORKS
def test_gradients_at_the_edges_are_the_references(package: str) -> None:
    edges = np.array([[-3.0, 3.0, 0.0, 1.0]])
    assert np.array_equal(Block(package)("relu", edges)[1], [[0, 1, 0, 1]])
    assert np.array_equal(Block(package, gate="relu")("gate", edges)[1], [[0, 1, 0, 1]])
    assert np.allclose(Block(package, gate="hard-sigmoid")("gate", edges)[1], [[0, 0, 1 / 6, 1 / 6]], atol=1e-16)


@FRAMEWORKS
def test_global_maximum_gives_its_gradient_to_the_first_of_equal_values(package: str) -> None:
    x = np.zeros((2, 3, 2, 4))
    x[0, 1, 1] = x[0, 2, 0] = [1, 2, 3, 4]
    y, gradient = Block(package, squeeze="max")("pool", x)
    expected = np.zeros_like(x)
    expected[0, 1, 1] = expected[1, 0, 0] = 1
    assert np.array_equal(y, x.max((1, 2)))
    assert np.array_equal(gradient, expected)


def test_keras_tanh_keeps_half_precision() -> None:
    ops = pytest.importorskip("keras").ops
    from se_tf.layers import tanh

    for dtype, rounding in (("float16", 2.0**-11), ("bfloat16", 2.0**-8)):
        x = ops.cast(np.array([-2.0, -0.01, 0.003, 0.5]), dtype)
        wide = ops.convert_to_numpy(ops.cast(x, "float64"))
        found = ops.convert_to_numpy(ops.cast(tanh(x), "float64"))
        assert np.all(np.abs(found - np.tanh(wide)) <= rounding * np.abs(np.tanh(wide)))
