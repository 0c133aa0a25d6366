"""Gradients of every framework against the original Caffe's, against each other, and where a wrong one is found."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from conftest import SEEDS, golden_data, golden_image, golden_params, golden_spec
from within import assert_within

import conformance
from conformance import cases
from conformance.adapters import DIFFERENTIABLE
from conformance.judge.bounds import GRADIENTS
from conformance.judge.standard import relative_error
from conformance.reference import backward
from conformance.reference import forward as reference
from conformance.report.run import comparison_to_dict
from weights import MODELS, InputError, schema

FRAMEWORKS = [name for name in DIFFERENTIABLE if name != "numpy"]
TRAINED = ["tiny-se-resnet", "tiny-se-resnext", "tiny-se-bn-inception"]
COTANGENTS = {"se-resnet-50": 9001, "se-resnext-50": 9004}
"""What the gradient on the logits of the large networks was drawn with."""

CASES = [(name, False) for name in cases.TINY] + [(name, True) for name in TRAINED]
IDS = [f"{name}-{'training' if training else 'inference'}" for name, training in CASES]


def _problem(name, training=False):
    """What Caffe was given, where there is golden data; otherwise something like it."""
    if name not in SEEDS:
        spec = cases.TINY[name]
        return spec, cases.seeded(spec, 31), cases.image(32, 2, 64, 64).astype(np.float64), cases.top_diff(33, 2, 10)
    spec, params = golden_spec(name), golden_params(name)
    if training:
        data = golden_data(f"{name}.train")
        return spec, params, data["data"].astype(np.float64), data["train/top_diff"]
    data = golden_data(name)
    if name in COTANGENTS:
        return spec, params, golden_image(data, "224x224"), cases.top_diff(COTANGENTS[name])
    return spec, params, golden_image(data, "64x64"), data["64x64/top_diff"]


@cache
def _gradients(framework, name, training=False):
    return conformance.gradients(framework, *_problem(name, training), training=training)


def _assert_caffes(found, data, tag):
    """Every sample of every gradient, and every element of those that are there as a whole."""
    assert set(found) == {str(name) for name in data[f"{tag}/grads_name"]}
    off = {}
    for row, name in enumerate(data[f"{tag}/grads_name"]):
        at, expected = data[f"{tag}/grads_idx"][row], data[f"{tag}/grads_val"][row]
        _, mean_size, largest, norm = data[f"{tag}/grads_stat"][row]
        gradient = found[str(name)]
        used = at >= 0
        off[name] = np.abs(gradient.ravel()[at[used]] - expected[used]).max() / largest
        # Of the elements that were not sampled, too.
        off[f"sizes of {name}"] = max(
            abs(np.abs(gradient).mean() / mean_size - 1),
            abs(np.abs(gradient).max() / largest - 1),
            abs(np.linalg.norm(gradient) / norm - 1),
        )
        whole = data.get(f"{tag}/grad/{name}")
        if whole is not None and whole.dtype == np.float64:
            off[f"whole {name}"] = relative_error(gradient, whole.reshape(gradient.shape))
    # Twice as many sums as in the forward pass, and through batch statistics longer ones: 3e-14 measured.
    assert_within(off, GRADIENTS["float64"])


@pytest.mark.parametrize("framework", DIFFERENTIABLE)
@pytest.mark.parametrize(
    ("name", "training"),
    [case for case in CASES if case[0] in SEEDS],
    ids=[i for i in IDS if i[: i.rindex("-")] in SEEDS],
)
def test_gradients_are_caffes(name, training, framework):
    data, tag = (golden_data(f"{name}.train"), "train") if training else (golden_data(name), "64x64")
    _assert_caffes(_gradients(framework, name, training), data, tag)


@pytest.mark.slow
@pytest.mark.parametrize("framework", DIFFERENTIABLE)
@pytest.mark.parametrize("name", COTANGENTS)
def test_gradients_are_caffes_at_full_size(name, framework):
    _assert_caffes(conformance.gradients(framework, *_problem(name)), golden_data(name), "224x224")


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("name", "training"), CASES, ids=IDS)
def test_gradients_agree_between_frameworks(name, training, framework):
    found = _gradients(framework, name, training)
    for other in DIFFERENTIABLE:
        wanted = _gradients(other, name, training)
        errors = {tensor: relative_error(found[tensor], gradient) for tensor, gradient in wanted.items()}
        assert_within(errors, GRADIENTS["float64"])


@pytest.mark.parametrize("name", cases.TINY)
def test_gradients_are_of_every_learnable_parameter_in_its_layout(name):
    spec = cases.TINY[name]
    found = _gradients("numpy", name)
    assert {n: g.shape for n, g in found.items()} == {"data": (2, 3, 64, 64)} | {
        p.name: p.shape for p in schema(spec) if p.learnable
    }


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", cases.TINY)
def test_the_reference_has_the_slopes_of_the_function(name, training):
    spec, params, x, cotangent = _problem(name)
    rng = np.random.default_rng(34)
    toward = {"data": rng.standard_normal(x.shape)}
    toward |= {
        p.name: rng.standard_normal(p.shape) * np.abs(params[p.name]).mean() for p in schema(spec) if p.learnable
    }

    def value(step):
        moved = {n: a + step * toward[n] if n in toward else a for n, a in params.items()}
        run = reference.run(spec, moved, x + step * toward["data"], training=training)
        return (run["logits"] * cotangent).sum()

    found = backward.gradients(spec, params, x, cotangent, training=training)
    slope = sum(float((found[n] * v).sum()) for n, v in toward.items())
    # Central differences. Rounding leaves 1e-14 / 1e-8 of the value; a larger step would cross kinks of ReLU.
    assert (value(1e-8) - value(-1e-8)) / 2e-8 == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_gradients_agree_in_float32(training):
    spec, params, x, cotangent = _problem("tiny-se-resnet", training=True)
    found = conformance.compare_gradients(
        spec, params, x, cotangent, dtype="float32", training=training, isolated=False
    )
    assert {(r.status, r.first_divergent) for r in found.results.values()} == {("agreed", None)}


WRONG = """
from conformance.adapters.torch import *
import torch

class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g * (1 + 1e-9)

def gradients(model, x, cotangent, training=False):
    model.get_submodule("stage2.0.relu2").register_forward_hook(lambda *seen: Halved.apply(seen[-1]))
    from conformance.adapters.torch import gradients as right
    return right(model, x, cotangent, training)
"""


def test_a_wrong_slope_is_found_where_it_is(tmp_path, monkeypatch):
    (tmp_path / "slopes").mkdir()
    (tmp_path / "slopes" / "__init__.py").touch()
    (tmp_path / "slopes" / "wrong.py").write_text(WRONG)
    monkeypatch.syspath_prepend(tmp_path)
    found = conformance.compare_gradients(*_problem("tiny-se-resnet"), ["slopes.wrong", "torch"], isolated=False)
    # Backward, that layer's own input is reached through the BatchNorm in front of it.
    assert (found.results["slopes.wrong"].status, found.results["slopes.wrong"].first_divergent) == (
        "disagreed",
        "stage2.0.bn2.weight",
    )
    assert found.results["torch"].status == "agreed"
    names = list(found.results["torch"].errors)
    assert (names[0], names[-1]) == ("fc.weight", "data")


def test_gradients_that_are_missing_are_not_agreed(tmp_path, monkeypatch):
    (tmp_path / "fewer").mkdir()
    (tmp_path / "fewer" / "__init__.py").touch()
    (tmp_path / "fewer" / "port.py").write_text(
        "from conformance.adapters.numpy import *\n"
        "from conformance.adapters import numpy as right\n"
        "def gradients(*given):\n"
        "    return {name: g for name, g in right.gradients(*given).items() if name != 'stage1.0.bn1.bias'}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = conformance.compare_gradients(*_problem("tiny-se-resnet"), ["fewer.port"], isolated=False)
    result = found.results["fewer.port"]
    assert (result.status, result.message) == ("disagreed", "there is no tensor 'stage1.0.bn1.bias'")


def test_without_gradients_a_framework_is_absent():
    found = conformance.compare_gradients(*_problem("tiny-se-resnet"), ["numpy", "onnx"], isolated=True)
    assert (found.results["onnx"].status, found.results["onnx"].message) == ("absent", "ONNX Runtime has no gradients")
    assert found.agreed
    with pytest.raises(InputError, match="ONNX Runtime has no gradients"):
        conformance.gradients("onnx", *_problem("tiny-se-resnet"))


def test_gradients_are_isolated_like_taps():
    found = conformance.compare_gradients(*_problem("tiny-se-resnet", True), ["torch"], training=True)
    data = comparison_to_dict(found)
    assert (data["what"], data["bound"], data["frameworks"]["torch"]["status"]) == (
        "training gradients",
        1e-12,
        "agreed",
    )


def test_dropout_does_not_make_gradients_random():
    spec, params, x, cotangent = _problem("tiny-senet")
    once, again = (conformance.gradients("torch", spec, params, x, cotangent, training=True) for _ in range(2))
    assert np.array_equal(once["data"], again["data"])


def test_a_cotangent_that_does_not_fit_is_refused():
    spec, params, x, cotangent = _problem("tiny-se-resnet")
    with pytest.raises(InputError, match=r"the cotangent has shape \(2, 9\), expected that of the output, \(2, 10\)"):
        conformance.gradients("torch", spec, params, x, cotangent[:, :9])
    with pytest.raises(InputError, match="unknown dtype 'float8'"):
        conformance.gradients("torch", spec, params, x, cotangent, "float8")


def test_gradients_of_the_pooled_features():
    spec = replace(MODELS["se-resnet-50"], classes=0, depths=(1, 1, 1, 1))
    found = conformance.compare_gradients(
        spec, cases.seeded(spec, 1), cases.image(2, 1, 32, 32), cases.top_diff(3, 1, 2048), ["torch"], isolated=False
    )
    assert found.results["torch"].status == "agreed"
