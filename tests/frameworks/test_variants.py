"""SE blocks of every kind at every position, in all frameworks, against the NumPy reference of the nodes."""

import os
from dataclasses import replace
from functools import cache
from itertools import combinations, count
from typing import Any, cast, get_args

import numpy as np
import pytest
from variants import CHOICES, COVERING, sufficient
from within import assert_within, errors

from conformance.adapters import adapter
from conformance.adapters.protocol import Trainable
from conformance.cases import image, seeded, top_diff
from conformance.judge.bounds import GRADIENTS, TAPS, TRAINING
from conformance.judge.standard import relative_error
from conformance.reference import backward, forward, training
from weights import SE, Params, ResNetSpec, Spec, graph
from weights.networks.operations import Add
from weights.networks.se import Gate

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

X, COTANGENT = image(1, 2, 15, 18).astype(np.float64), top_diff(2, 2, 3)


def living(spec: Spec) -> Params:
    """Parameters of the first seed with which every parameter has a gradient that is more than rounding.

    ReLUs can switch off whole blocks, and gates can saturate: of a tanh that is 1 but for the last bits, the slope is
    those bits. So no gradient is below 1e-4 of the largest.
    """
    return Params(_living(spec))


@cache
def _living(spec: Spec) -> Params:
    def lives(params: Params) -> bool:
        found = backward.gradients(spec, params, X, COTANGENT)
        sizes = [np.abs(gradient).max() for name, gradient in found.items() if name != "data"]
        return min(sizes) > 1e-4 * max(sizes)

    return next(filter(lives, (seeded(spec, seed) for seed in count())))


def test_every_pair_of_choices_occurs() -> None:
    covered = {
        frozenset({(a, value(spec, a)), (b, value(spec, b))})
        for spec in COVERING.values()
        for a, b in combinations(CHOICES, 2)
    }
    wanted = {frozenset({(a, x), (b, y)}) for a, b in combinations(CHOICES, 2) for x in CHOICES[a] for y in CHOICES[b]}
    assert covered == wanted


def value(spec: ResNetSpec, choice: str) -> object:
    return spec.groups if choice == "groups" else getattr(spec.se, choice)


# Flax without jit: compiling 28 networks takes ten times as long as running them operation by operation.
@pytest.fixture(scope="module", params=["torch", "jax_eager", "tf"])
def framework(request: pytest.FixtureRequest) -> Trainable:
    """The adapter of a framework."""
    for needed in {"torch": ["torch"], "jax_eager": ["jax", "flax"], "tf": ["tensorflow", "keras"]}[request.param]:
        pytest.importorskip(needed)
    return cast(Trainable, adapter(request.param))


@pytest.mark.parametrize("name", COVERING)
def test_every_tap_and_every_gradient_agrees(framework: Trainable, name: str) -> None:
    assert_agrees(framework, COVERING[name])


@pytest.mark.parametrize("name", ["3x3-raw-max-relu-False-None-None-1", "standard-max-tanh-False-(1,)-3-2"])
def test_compiled_flax_agrees(name: str) -> None:
    pytest.importorskip("flax")
    assert_agrees(cast(Trainable, adapter("jax")), COVERING[name])


def assert_agrees(framework: Trainable, spec: Spec, params: Params | None = None) -> None:
    params = params or living(spec)
    model = framework.build(spec, params, "float64")
    taps, expected = framework.taps(model, X), forward.run(spec, params, X)
    # In PyTorch and Flax the sums are not modules.
    sums = {node.name for node in graph(spec) if isinstance(node.op, Add)}
    assert expected.keys() - sums <= taps.keys() <= expected.keys()
    assert_within(errors(taps, expected), TAPS["float64"])
    assert_gradients_agree(framework, spec, params)


def assert_gradients_agree(framework: Trainable, spec: Spec, params: Params, training: bool = False) -> None:
    x, cotangent = (BATCH[0], top_diff(4, 6, 3)) if training else (X, COTANGENT)
    gradients = backward.gradients(spec, params, x, cotangent, training=training)
    found = framework.gradients(framework.build(spec, params, "float64"), x, cotangent, training)
    assert found.keys() == gradients.keys()
    assert_within(errors(found, gradients), GRADIENTS["float64"])


@pytest.mark.parametrize("name", COVERING)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_tap_of_the_onnx_model_agrees(dtype: str, name: str) -> None:
    """In float64 by ONNX's reference evaluator, in float32 by ONNX Runtime."""
    for needed in ("onnx", "onnx_ir", "onnxruntime"):
        pytest.importorskip(needed)
    spec, onnx = COVERING[name], adapter("onnx")
    params = living(spec)
    taps, expected = onnx.taps(onnx.build(spec, params, dtype), X.astype(dtype)), forward.run(spec, params, X)
    assert list(taps) == list(expected)
    assert_within(errors(taps, expected), TAPS[dtype])


def in_training(spec: Spec) -> Params:
    """Parameters with which some windows of the first pooling are all 0.

    Otherwise the next BatchNorm takes away what the first one's beta adds, and the gradient of beta is nothing but
    rounding.
    """
    params = living(spec)
    params["stem.bn1.bias"] = params["stem.bn1.bias"] - np.float32(1)
    return params


# Every value of these fields occurs. Where the blocks stand makes no difference to BatchNorm and the optimizer.
TRAINED = sufficient(COVERING, ("squeeze", "gate", "bias", "stages"))
# Of different contrasts, so that gates differ: a BatchNorm takes away a factor that all images share, and gradients of
# what makes that factor are nothing but rounding.
CONTRASTS = np.array([0.2, 0.5, 0.8, 1.1, 1.4, 1.7])[:, None, None, None]
BATCH = image(3, 6, 25, 28) * CONTRASTS, np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_through_the_statistics_of_the_batch_agree(framework: Trainable, name: str) -> None:
    assert_gradients_agree(framework, COVERING[name], in_training(COVERING[name]), training=True)


@pytest.mark.parametrize("name", [name for name in COVERING if name not in TRAINED])
def test_gradients_of_all_other_variants_in_training_agree_in_pytorch(name: str) -> None:
    pytest.importorskip("torch")
    spec = COVERING[name]
    assert_gradients_agree(cast(Trainable, adapter("torch")), spec, in_training(spec), training=True)


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_of_training_agrees(framework: Trainable, name: str) -> None:
    spec = COVERING[name]
    params = living(spec)
    expected = training.train(spec, params, [BATCH], training.Recipe())
    found = framework.train(framework.build(spec, params, "float64"), [BATCH], training.Recipe())
    assert found.keys() == expected.keys()
    assert_within(errors(found, expected), TRAINING["float64"])
    moved = {tensor for tensor in expected if not np.array_equal(expected[tensor], params[tensor])}
    assert moved == params.keys()


def test_block_that_its_gate_switches_off_is_zero_and_has_no_gradients(framework: Trainable) -> None:
    """A gate of zeros agrees with zeros alone; the error of any other number is infinite."""
    spec = replace(COVERING["standard-avg-sigmoid-True-None-None-1"], se=SE(reduction=2, gate="relu"))
    params = living(spec)
    params["stage2.1.se.fc2.bias"] = np.full_like(params["stage2.1.se.fc2.bias"], -1e3)
    expected, gradients = forward.run(spec, params, X), backward.gradients(spec, params, X, COTANGENT)
    assert not expected["stage2.1.se.gate"].any()
    assert not expected["stage2.1.se"].any()
    assert expected["logits"].any()
    off = {name for name, gradient in gradients.items() if not gradient.any()}
    assert off == {name for name in gradients if name.startswith("stage2.1.")}
    assert_agrees(framework, spec, params)
    params["stage2.1.se.fc2.bias"][0] = 1e3
    found = framework.taps(framework.build(spec, params, "float64"), X)["stage2.1.se.gate"]
    assert found.any()
    assert relative_error(found, expected["stage2.1.se.gate"]) == np.inf


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


def test_keras_tanh_keeps_every_precision() -> None:
    """Of the value itself: near 0, where a difference of numbers near 1 would be nothing but rounding, too."""
    ops = pytest.importorskip("keras").ops
    from se_tf.layers import tanh

    near = [sign * 10.0**power for sign in (-1, 1) for power in range(-12, 3)]
    precisions = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 8 * 2.0**-24, "float64": 8 * 2.0**-53}
    for dtype, rounding in precisions.items():
        x = ops.cast(np.array([-2.0, -0.01, 0.003, 0.5, *(near if rounding < 1e-6 else ())]), dtype)
        wide = ops.convert_to_numpy(ops.cast(x, "float64"))
        found = ops.convert_to_numpy(ops.cast(tanh(x), "float64"))
        assert np.all(np.abs(found - np.tanh(wide)) <= rounding * np.abs(np.tanh(wide)))
