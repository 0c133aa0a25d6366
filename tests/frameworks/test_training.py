"""Training: running statistics as Caffe's and by each framework's own rule, SGD in step, and dropout."""

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from conftest import golden_data, golden_params, golden_spec
from within import assert_within

import conformance
from conformance import Recipe, cases
from conformance.adapters import DIFFERENTIABLE, adapter
from conformance.adapters.protocol import Trainable
from conformance.judge.bounds import TRAINING
from conformance.judge.standard import relative_error
from conformance.reference import forward as reference
from conformance.reference.training import caffe_rules
from conformance.report.run import comparison_to_dict
from weights import InputError, graph
from weights.networks.operations import BatchNorm
from weights.networks.parameters import STATISTICS
from weights.networks.running_statistics import FLAX, FRACTION, KERAS, TORCH, caffe
from weights.params import info_of

FRAMEWORKS = [name for name in DIFFERENTIABLE if name != "numpy"]
TRAINED = ["tiny-se-resnet", "tiny-se-resnext", "tiny-se-bn-inception"]


def _batches(steps=10, n=4, size=64):
    rng = np.random.default_rng(41)
    return [(cases.image(42 + i, n, size, size).astype(np.float64), rng.integers(0, 10, n)) for i in range(steps)]


@pytest.mark.parametrize("name", [TRAINED[0], *(pytest.param(name, marks=pytest.mark.slow) for name in TRAINED[1:])])
def test_ten_steps_of_sgd_agree_in_every_parameter_and_statistic(name):
    spec = cases.TINY[name]
    params = cases.seeded(spec, 40)
    found = conformance.compare_training(spec, params, _batches(), Recipe(), isolated=False)
    # Measured: 6e-14. Steps are small beside the parameters, so what one is off by hardly grows in the next.
    assert {n: (r.status, r.first_divergent) for n, r in found.results.items()} == dict.fromkeys(
        DIFFERENTIABLE, ("agreed", None)
    )
    assert set(found.truth) == set(params)
    # All of it moved, by far more than the bound.
    assert min(relative_error(found.truth[n], np.asarray(params[n], np.float64)) for n in params) > 1e-4


@pytest.mark.parametrize("framework", DIFFERENTIABLE)
@pytest.mark.parametrize("name", TRAINED)
def test_a_step_moves_the_statistics_as_caffe_does(name, framework):
    spec, params, data = golden_spec(name), golden_params(name), golden_data(f"{name}.train")
    factors = info_of(params).factors
    recipe = Recipe(statistics=caffe_rules(factors, 1))
    after = conformance.train(framework, spec, params, [(data["data"].astype(float), np.arange(4))], recipe)
    for module, factor in factors.items():
        blobs = [data[f"train/bn_after/{module}/{i}"] for i in range(3)]
        # The factor is one multiplication and one addition; Caffe's file holds the one before in float32.
        assert float(blobs[2].item()) == pytest.approx(caffe(factor)[1], rel=1e-15)
        for leaf, blob in zip(STATISTICS, blobs, strict=False):
            # Sums over 4 * 32 * 32 values, in another order: 1e-14 measured.
            assert relative_error(after[f"{module}.{leaf}"], blob / blobs[2]) <= 1e-12


def test_caffes_rules_follow_the_factor_from_step_to_step():
    spec = cases.TINY["tiny-se-resnet"]
    params = cases.seeded(spec, 40)
    factors = dict.fromkeys(info_of(params).factors, 0.0)
    module = "stem.bn1"
    batches = _batches(3)
    recipe = Recipe(learning_rate=0.0, statistics=caffe_rules(factors, 3))
    found = conformance.compare_training(spec, params, batches, recipe, ["torch"], isolated=False)
    assert found.agreed
    # Nothing but the statistics moves, so the convolution in front of the layer is the same in all steps.
    x = [reference.run(spec, params, x, training=True)["stem.conv1"] for x, _ in batches]
    total, factor = np.zeros(8), 0.0
    for values in x:
        total, factor = FRACTION * total + values.mean((0, 2, 3)), FRACTION * factor + 1
    assert relative_error(found.truth[f"{module}.running_mean"], total / factor) <= 1e-14
    assert relative_error(found.truth["fc.weight"], params["fc.weight"].astype(np.float64)) == 0


OWN = {"torch": TORCH, "jax": FLAX, "tf": KERAS}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_default_statistics_rule_is_the_frameworks(framework, monkeypatch):
    spec = cases.TINY["tiny-se-resnet"]
    params = cases.seeded(spec, 40)
    port = adapter(framework)
    package = getattr(port, f"se_{framework}")
    monkeypatch.setattr(package, "set_statistics_rule", lambda *_: None)
    batches = _batches(1)
    after = conformance.train(framework, spec, params, batches, Recipe())
    values = reference.run(spec, params, batches[0][0], training=True)
    rule, other = OWN[framework], replace(OWN[framework], unbiased=not OWN[framework].unbiased)
    for node in graph(spec):
        if isinstance(node.op, BatchNorm):
            x = values[node.inputs[0]]
            size = x.size // x.shape[1]
            mean, var = reference.statistics(x)
            for leaf, new in (("running_mean", mean), ("running_var", var)):
                before = params[f"{node.module}.{leaf}"]

                def moved(rule, new=new, leaf=leaf, before=before, size=size):
                    spread = size / (size - 1) if rule.unbiased and leaf == "running_var" else 1
                    return rule.keep * before + (1 - rule.keep) * new * spread

                found = after[f"{node.module}.{leaf}"]
                assert relative_error(found, moved(rule)) <= 1e-12
                if leaf == "running_var":  # the other rule would be seen: 1 / M of a tenth of the variance
                    assert relative_error(found, moved(other)) > 1e-6


def test_another_common_rule_makes_the_frameworks_agree():
    spec = cases.TINY["tiny-se-resnet"]
    params, batches = cases.seeded(spec, 40), _batches(2)
    found = conformance.compare_training(spec, params, batches, Recipe(statistics=KERAS), isolated=False)
    assert {n: r.message for n, r in found.results.items()} == dict.fromkeys(DIFFERENTIABLE, "")
    for result in found.results.values():
        assert_within(result.errors, 1e-12)  # measured: 6e-14


def test_training_is_isolated_like_taps():
    spec = cases.TINY["tiny-se-resnet"]
    params = cases.seeded(spec, 40)
    rules = caffe_rules(params.info.factors, 2)
    found = conformance.compare_training(spec, params, _batches(2), Recipe(statistics=rules), ["torch", "onnx"])
    data = comparison_to_dict(found)
    assert (data["what"], data["bound"]) == ("training", TRAINING["float64"])
    assert {n: (r.status, r.message) for n, r in found.results.items()} == {
        "torch": ("agreed", ""),
        "onnx": ("absent", "ONNX Runtime has no training"),
    }


def test_another_recipe_is_another_result():
    spec = cases.TINY["tiny-se-resnet"]
    params, batches = cases.seeded(spec, 40), _batches(3)
    usual = conformance.train("torch", spec, params, batches, Recipe())
    for recipe in (
        Recipe(weight_decay=0.0),
        Recipe(momentum=0.0),
        Recipe(learning_rate=0.049),
        Recipe(statistics=KERAS),
    ):
        other = conformance.train("torch", spec, params, batches, recipe)
        assert max(relative_error(other[n], usual[n]) for n in usual) > 1e-6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, y: (x[:, :, 1:], y), r"the batches have shapes \(4, 3, 64, 64\) and \(4, 3, 63, 64\), expected one"),
        (
            lambda x, y: (x, y[1:]),
            r"the classes have shape \(3,\) and dtype int64, expected integers, one for each of 4",
        ),
        (lambda x, y: (x, y + 0.5), r"the classes have shape \(4,\) and dtype float64, expected integers"),
    ],
)
def test_batches_that_do_not_fit_are_refused(change, said):
    spec = cases.TINY["tiny-se-resnet"]
    first, second = _batches(2)
    with pytest.raises(InputError, match=said):
        conformance.train("numpy", spec, cases.seeded(spec, 40), [first, change(*second)], Recipe())
    headless = replace(spec, classes=0)
    with pytest.raises(InputError, match="has no classifier, so it cannot be trained on classes"):
        conformance.train("numpy", headless, cases.seeded(headless, 40), [first], Recipe())


def test_the_numbers_of_a_recipe_are_floats_of_caffe():
    recipe = Recipe(learning_rate=0.1)
    assert (recipe.learning_rate, recipe.momentum) == (0.10000000149011612, 0.8999999761581421)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_dropout_keeps_the_share_it_should_and_scales_it(framework):
    rate = cases.TINY["tiny-senet"].dropout
    n, features = 64, 2048
    x = np.random.default_rng(43).uniform(1, 2, (n, features))
    found = _dropped(framework, rate, x, training=True)
    kept = found != 0
    assert relative_error(found[kept], x[kept] / (1 - rate)) <= 1e-7
    # Binomial: the share kept has the deviation sqrt(p (1 - p) / count); five of them are passed once in two million.
    deviation = np.sqrt(rate * (1 - rate) / x.size)
    assert abs(kept.mean() - (1 - rate)) <= 5 * deviation
    # Each element by itself: no row, which is an image, and no column, which is a channel, is dropped as a whole.
    assert kept.mean(0).min() > 0
    assert kept.mean(1).max() < 1
    assert np.array_equal(_dropped(framework, rate, x, training=False), x)


def _dropped(framework, rate, x, *, training):
    """What the dropout layer of a framework's network makes of x."""
    spec = replace(cases.TINY["tiny-senet"], dropout=rate)
    model = adapter(framework).build(spec, cases.seeded(spec, 1), "float64")
    match framework:
        case "torch":
            import torch

            layer = model.dropout
            layer.train(training)
            torch.manual_seed(0)
            return layer(torch.from_numpy(x)).numpy()
        case "jax":
            import jax

            model.dropout.deterministic = not training
            with jax.enable_x64(True):
                return np.asarray(model.dropout(jax.numpy.asarray(x)))
        case _:
            import keras

            keras.utils.set_random_seed(0)
            return model.get_layer("dropout")(x, training=training).numpy()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_in_training_the_classifier_does_not_see_what_is_dropped(framework):
    spec = replace(cases.TINY["tiny-senet"], dropout=0.5)
    params = cases.seeded(spec, 1)
    x = cases.image(44, 1, 64, 64).astype(np.float64)
    port = cast(Trainable, adapter(framework))
    recipe = Recipe(momentum=0.0, weight_decay=0.0)
    after = port.train(port.build(spec, params, "float64"), [(x, np.array([3]))], recipe)
    seen = reference.run(spec, params, x, training=True)["pool"][0] > 0
    moved = (after["fc.weight"] != params["fc.weight"]).any(0)
    assert seen.all()
    # 128 features: half of them, give or take five deviations of 0.044.
    assert abs(moved.mean() - 0.5) <= 0.22
