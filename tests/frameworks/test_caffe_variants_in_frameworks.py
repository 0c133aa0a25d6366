"""The SE variants that the original Caffe computed, in PyTorch, Flax, Keras and ONNX: the same numbers, layer by layer.

PyTorch and ONNX compute all of them. Flax and Keras take a second for a network, so they compute those in which every
choice occurs: each squeeze, gate, position, both kinds of matrices, and a hidden width given outright; and of the two
inputs the one of odd size. Gradients are held against Caffe's in PyTorch; those of Flax and Keras are held against the
reference's in test_variants.py.
"""

import os

import numpy as np
import pytest
from caffe_variants import INPUTS, VARIANTS, golden_errors, golden_values, image, params
from variants import sufficient
from within import assert_within

import conformance
from conformance.judge.bounds import GRADIENTS, TAPS
from weights.networks.operations import Add

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

SOME = sufficient(VARIANTS, ("squeeze", "gate", "position", "bias", "width"))
NEEDED = {
    "torch": ["torch"],
    "onnx": ["onnx", "onnx_ir", "onnxruntime"],
    "jax_eager": ["jax", "flax"],
    "tf": ["tensorflow", "keras"],
}
CASES = [
    *((framework, name, tag) for framework in ("torch", "onnx") for name in VARIANTS for tag in INPUTS),
    *((framework, name, "51x43") for framework in ("jax_eager", "tf") for name in SOME),
]


@pytest.mark.parametrize(("framework", "name", "tag"), CASES)
def test_every_tap_is_caffes(framework: str, name: str, tag: str) -> None:
    for module in NEEDED[framework]:
        pytest.importorskip(module)
    spec, logits = VARIANTS[name], golden_values()[f"{name}/{tag}/logits"]
    found = conformance.run(framework, spec, params(name), image(tag))
    errors = golden_errors(found, f"{name}/{tag}/taps")
    # Layers of Caffe's that the framework does not show: in PyTorch and Flax the sums are not modules.
    hidden = {str(key) for key in golden_values()[f"{name}/{tag}/taps_name"]} - errors.keys()
    assert all(isinstance(spec.network().by_name[node].op, Add) for node in hidden)
    assert not hidden or framework in ("torch", "jax_eager")
    assert_within(errors, TAPS["float64"])
    assert np.abs(found["logits"] - logits).max() <= TAPS["float64"] * np.abs(logits).max()


@pytest.mark.parametrize("name", VARIANTS)
def test_every_gradient_in_pytorch_is_caffes(name: str) -> None:
    pytest.importorskip("torch")
    cotangent = golden_values()[f"{name}/48x48/top_diff"]
    found = conformance.gradients("torch", VARIANTS[name], params(name), image("48x48"), cotangent)
    assert set(found) == {str(key) for key in golden_values()[f"{name}/48x48/grads_name"]}
    assert_within(golden_errors(found, f"{name}/48x48/grads"), GRADIENTS["float64"])
