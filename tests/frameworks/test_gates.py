"""The gates of SE blocks by each package's own call: those of the reference, by the name of the unit, in order."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from flax import nnx

import conformance
import se_jax
import se_tf
import se_torch
from conformance import cases
from weights import SE, ResNetSpec, Spec

RESNET = cases.TINY["tiny-se-resnet"]
NETWORKS = {
    "of channels": RESNET,
    "of pixels, in two stages": replace(RESNET, se=SE(reduction=4, squeeze="none", position="pre", stages=(1, 2))),
    "of modules": cases.TINY["tiny-se-bn-inception"],
    "of one block": replace(RESNET, se=SE(reduction=4, position="post", stages=(4,))),
    "of none": cases.TINY["tiny-resnet"],
}


def by_torch(spec: Spec, params: Mapping[str, np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    found = se_torch.gates(se_torch.restore(spec, params, "float64"), torch.from_numpy(x))
    return {name: gate.detach().numpy() for name, gate in found.items()}


def by_jax(spec: Spec, params: Mapping[str, np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    with jax.enable_x64(True):
        model = se_jax.restore(spec, params, "float64")
        found = nnx.jit(se_jax.gates)(model, jax.numpy.asarray(x.transpose(0, 2, 3, 1)))
        return {name: nchw(np.asarray(gate)) for name, gate in found.items()}


def by_tf(spec: Spec, params: Mapping[str, np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    found = se_tf.gates(se_tf.restore(spec, params, "float64"), tf.constant(x.transpose(0, 2, 3, 1)))
    return {name: nchw(gate.numpy()) for name, gate in found.items()}


def nchw(gate: np.ndarray) -> np.ndarray:
    return gate.transpose(0, 3, 1, 2) if gate.ndim == 4 else gate


@pytest.mark.parametrize("of", [by_torch, by_jax, by_tf])
@pytest.mark.parametrize("name", NETWORKS)
def test_gates_are_the_reference_s(name: str, of: Callable[..., dict[str, np.ndarray]]):
    spec = NETWORKS[name]
    params, x = cases.seeded(spec, 3), cases.image(4, 2, 33, 35).astype(np.float64)
    taps = conformance.run("numpy", spec, params, x)
    expected = {node.removesuffix(".se.gate"): taps[node] for node in taps if node.endswith(".se.gate")}
    found = of(spec, params, x)
    assert found.keys() == expected.keys()
    if of is not by_jax:  # whose jit sorts dictionaries
        assert list(found) == list(expected)
    for unit, gate in found.items():
        # The bound of every tap in float64: some hundred roundings of 1.1e-16.
        assert np.abs(gate - expected[unit]).max() <= 1e-13 * np.abs(expected[unit]).max()


def test_gates_leave_no_hooks_behind():
    model = se_torch.build(RESNET)
    se_torch.gates(model, torch.zeros(2, 3, 33, 33))
    assert not any(module._forward_hooks for module in model.modules())


def test_gates_have_gradients():
    model = se_torch.build(RESNET)
    sum(gate.sum() for gate in se_torch.gates(model, torch.ones(2, 3, 33, 33)).values()).backward()  # type: ignore[union-attr]
    assert model.get_parameter("stage1.0.se.fc1.weight").grad is not None


@pytest.fixture
def policy():
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def test_keras_networks_follow_the_global_dtype_policy(policy: Callable[[Any], None]):
    assert se_tf.build(RESNET).dtype_policy.name == "float32"
    policy("mixed_bfloat16")
    model = se_tf.build(RESNET)
    assert model.dtype_policy.name == "mixed_bfloat16"
    assert (model.get_layer("fc").variable_dtype, model.get_layer("fc").compute_dtype) == ("float32", "bfloat16")
    assert se_tf.build(RESNET, "float64").dtype_policy.name == "float64"
    assert se_tf.restore(RESNET, cases.seeded(RESNET, 1)).dtype_policy.name == "mixed_bfloat16"
    assert isinstance(RESNET, ResNetSpec)
    assert se_tf.ResNet(RESNET).dtype_policy.name == "mixed_bfloat16"


def test_gates_in_keras_are_those_of_an_array_too():  # a warning is an error
    model, x = se_tf.restore(RESNET, cases.seeded(RESNET, 3)), cases.image(4, 2, 33, 35).transpose(0, 2, 3, 1)
    of_array, of_tensor = (se_tf.gates(model, images)["stage2.1"] for images in (x, tf.constant(x)))
    assert np.array_equal(of_array, of_tensor)
