"""The NumPy reference and the seeded weights, against the original Caffe and against arithmetic done by hand."""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from conftest import SEEDS, golden_data, golden_image, golden_params, golden_spec
from within import assert_within

from conformance import cases
from conformance.reference import forward as reference
from weights import MODELS, graph
from weights.networks.network import Node
from weights.networks.operations import Act, BatchNorm, Pool

BOUND = 1e-13  # of a tap's largest value; two orders of summation differ by 1e-14 at most
WHOLE = {np.dtype("float64"): BOUND, np.dtype("float32"): 1e-7}  # large taps are kept in float32

NETS = [
    (name, tag)
    for name in SEEDS
    for tag in (
        ("224x224", "197x211") if name in MODELS else ("64x64", "67x51" if name == "tiny-se-bn-inception" else "67x59")
    )
]


@pytest.fixture(scope="module", params=NETS, ids="-".join)
def computed(request):
    """What the reference computes on a golden input, and what Caffe computed."""
    name, tag = request.param
    data = golden_data(name)
    taps = reference.run(golden_spec(name), golden_params(name), golden_image(data, tag))
    return golden_spec(name), taps, {key.removeprefix(f"{tag}/"): value for key, value in data.items() if tag in key}


def test_every_tap_is_sampled_equal_to_caffe(computed):
    _, taps, golden = computed
    errors = {
        name: np.abs(taps[name].reshape(-1)[idx] - val).max() / largest
        for name, idx, val, (_, _, largest, _) in zip(
            golden["taps_name"], golden["taps_idx"], golden["taps_val"], golden["taps_stat"], strict=True
        )
    }
    assert_within(errors, BOUND)


def test_every_tap_has_the_mean_and_norm_of_caffes(computed):
    _, taps, golden = computed
    errors = {}
    for name, (mean, mean_abs, largest, norm) in zip(golden["taps_name"], golden["taps_stat"], strict=True):
        a = taps[name]
        errors[name] = max(
            abs(a.mean() - mean) / largest,
            abs(np.abs(a).mean() - mean_abs) / largest,
            abs(np.abs(a).max() - largest) / largest,
            abs(np.sqrt((a**2).sum()) - norm) / norm,
        )
    assert_within(errors, BOUND)


def test_whole_taps_equal_caffes(computed):
    _, taps, golden = computed
    for key, value in golden.items():
        if key.startswith("tap/"):
            error = np.abs(taps[key.removeprefix("tap/")].reshape(value.shape) - value).max()
            assert error < WHOLE[value.dtype] * np.abs(value).max(), key


def test_logits_equal_caffes(computed):
    _, taps, golden = computed
    assert np.abs(taps["logits"] - golden["logits"]).max() < BOUND * np.abs(golden["logits"]).max()


def test_caffe_has_every_tap_that_is_not_inside_an_axpy(computed):
    spec, taps, golden = computed
    inside = {name for name in taps if name.startswith("stage") and name.endswith(".se")}
    assert set(golden["taps_name"]) | inside == set(taps) == {node.name for node in graph(spec)}


def test_images_are_those_of_the_golden_data():
    data = golden_data("se-resnet-50")
    assert sha256(cases.image(2001, 1, 224, 224).tobytes()).hexdigest() == str(data["224x224/input_sha256"])


def test_seeded_weights_carry_the_factor_they_were_freed_of():
    params = cases.seeded(cases.TINY["tiny-se-resnet"], 1)
    factor = np.float32(params.info.factors["stem.bn1"])
    blob = np.float32(params["stem.bn1.running_mean"] * np.float64(factor))
    assert np.array_equal(blob.astype(np.float64) * (1 / np.float64(factor)), params["stem.bn1.running_mean"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_tap_has_the_precision_of_the_input(dtype):
    spec = cases.TINY["tiny-se-bn-inception"]
    taps = reference.run(spec, cases.seeded(spec, 1), cases.image(1, 1, 64, 64).astype(dtype))
    assert {tap.dtype for tap in taps.values()} == {np.dtype(dtype)}


def test_without_classes_the_output_is_the_pooled_features():
    spec = replace(cases.TINY["tiny-senet"], classes=0)
    assert list(reference.run(spec, cases.seeded(spec, 1), cases.image(1, 2, 64, 64)))[-1] == "pool"


def _single(op, x, **params):
    x = np.asarray(x, np.float64)
    return reference.execute([Node("y", op, ("data",), "y")], {f"y.{k}": np.array(v) for k, v in params.items()}, x)[
        "y"
    ]


def test_sigmoid_is_relatively_accurate_at_both_ends():
    x = np.array([-700.0, -40.0, 0.0, 40.0, 700.0])
    expected = [np.exp(-700.0), np.exp(-40.0), 0.5, 1 - np.exp(-40.0), 1.0]
    np.testing.assert_allclose(_single(Act("sigmoid"), x), expected, rtol=1e-15)


def test_batch_norm_adds_eps_to_the_variance():
    y = _single(BatchNorm(0.5), [[[[3.0]]]], weight=[2.0], bias=[1.0], running_mean=[1.0], running_var=[3.5])
    assert y.item() == 3.0


RAMP = np.arange(16.0).reshape(1, 1, 4, 4)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (Pool("max", 3, 2), [[10, 11], [14, 15]]),  # rounds up: the last windows hang over the edge
        (Pool("max", 3, 2, 1), [[5, 7, 7], [13, 15, 15], [13, 15, 15]]),
        (Pool("max", 2, 2, 1), [[0, 2, 3], [8, 10, 11], [12, 14, 15]]),
        # Sums over full windows are divided by 9, padding counted; what hangs over the padding is not counted.
        (Pool("avg", 3, 2, 1), [[10 / 9, 24 / 9, 10 / 6], [51 / 9, 90 / 9, 33 / 6], [25 / 6, 42 / 6, 15 / 4]]),
    ],
)
def test_pooling_rounds_up_and_pads_as_caffes(op, expected):
    y = _single(op, RAMP)
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-15)


def test_a_last_window_wholly_in_the_padding_is_dropped():
    assert _single(Pool("max", 2, 2, 1), RAMP[..., :3, :3]).shape == (1, 1, 2, 2)
