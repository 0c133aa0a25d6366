"""The bounds of every precision: that frameworks keep them, that they mean something, and that the page is true."""

import json

import numpy as np
import pytest

import conformance
from benchmarks.precision import EVIDENCE, PAGE, page
from conformance import cases
from conformance.adapters import DIFFERENTIABLE, STANDARD
from conformance.adapters.devices import TF32
from conformance.judge.answer import Answer
from conformance.judge.bounds import BOUNDS, FAST, ROUNDING, bound_of
from conformance.judge.local import Known, explained, kind
from conformance.judge.measure import judge
from conformance.judge.question import Forward, Given
from conformance.judge.standard import Standard
from conformance.reference import forward as reference
from weights.networks.network import Node
from weights.networks.operations import Conv

SPEC = cases.TINY["tiny-se-resnet"]
ROWS = json.loads(EVIDENCE.read_text())["rows"]
MEASURED = [row for row in ROWS if "error" in row]


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == page(json.loads(EVIDENCE.read_text())), "run make docs"


def test_every_measurement_is_within_its_bound():
    assert [row for row in MEASURED if not row["error"] <= bound(row)] == []


def bound(row):
    what = "taps" if row["what"] == "fast" else row["what"]
    return bound_of(what, row["dtype"], row["framework"])


@pytest.mark.parametrize(
    ("what", "dtype"), [(what, dtype) for what in BOUNDS for dtype in BOUNDS[what] if dtype != TF32]
)
def test_every_bound_has_evidence_of_every_framework(what, dtype):
    found = {row["framework"] for row in ROWS if (row["what"], row["dtype"]) == (what, dtype)}
    assert found == set(STANDARD if what == "taps" else DIFFERENTIABLE)
    # Gradients have one bound, with and without the statistics of a batch.
    several = [other for other in BOUNDS if BOUNDS[other] is BOUNDS[what]]
    worst = max(r["error"] for r in MEASURED if r["what"] in several and r["dtype"] == dtype)
    # A bound far above what is measured would let mistakes pass; other inputs and other machines need some room.
    assert BOUNDS[what][dtype] <= ROOM.get((what, dtype), 50) * worst


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", FAST)
def test_the_bounds_of_fast_paths_are_their_own_and_have_evidence(name, dtype):
    errors = [r["error"] for r in MEASURED if (r["what"], r["framework"], r["dtype"]) == ("fast", name, dtype)]
    assert max(errors) < bound_of("taps", dtype, name) < min(12 * max(errors), BOUNDS["taps"][dtype])
    assert bound_of("taps", dtype) == BOUNDS["taps"][dtype]


@pytest.mark.parametrize("name", ["torch", "torch_fast"])
def test_a_fast_path_is_judged_by_its_own_bound(name):
    params, x = cases.seeded(SPEC, 61), cases.image(62, 2, 64, 64)
    standard = Standard(Given(SPEC.network(), params, "float32", Forward(x)))
    logits = reference.run(SPEC, params, x.astype(np.float64))["logits"]
    logits.flat[3] += 7e-6 * np.abs(logits).max()  # between the two bounds
    result = judge(name, Answer(dtype="float32", tensors={"logits": logits.astype(np.float32)}), standard)
    assert (result.status == "disagreed") == (name == "torch_fast")


ROOM = {("training", "float64"): 10_000, ("momentum", "float32"): 2_000}
"""Where more is left: every step multiplies errors, and how much depends on the rate and the data; where rounding swaps
a ReLU, two steps in float32 make 2e-2, not 8e-5."""


@pytest.mark.parametrize("framework", ["torch", "jax", "tf"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_frameworks_keep_the_bounds_of_narrow_precisions(framework, dtype):
    params, x = cases.seeded(SPEC, 61), cases.image(62, 2, 64, 64)
    found = conformance.compare(SPEC, params, x, [framework], dtype, isolated=False)
    result = found.results[framework]
    assert (result.status, result.dtype, result.first_divergent) == ("agreed", dtype, None)
    # It did compute in that precision: float32 would be off by thousands of times less than one rounding.
    assert max(result.roundings.values()) > 1


@pytest.mark.parametrize("framework", ["numpy", "onnx"])
def test_what_does_not_compute_in_a_precision_says_what_it_takes(framework):
    found = conformance.compare(SPEC, cases.seeded(SPEC, 61), cases.image(62, 1, 64, 64), [framework], "bfloat16")
    assert (found.results[framework].dtype, found.results[framework].bound) == ("float32", BOUNDS["taps"]["float32"])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_plain_rounding_is_some_roundings(dtype):
    params, x = cases.seeded(SPEC, 61), cases.image(62, 2, 64, 64)
    found = conformance.compare(SPEC, params, x, ["torch", "onnx"], dtype, isolated=False)
    for result in found.results.values():
        assert list(result.roundings) == list(result.errors)
        assert all(result.roundings[tap] * ROUNDING[dtype] == error for tap, error in result.errors.items())
        # Each of the up to 1152 products of a sum is rounded: some tens of roundings, as random steps add up.
        assert 1 < max(result.roundings.values()) < 100


def test_a_worse_precision_in_the_middle_is_seen_where_it_is():
    params, x = cases.seeded(SPEC, 61), cases.image(62, 2, 64, 64)
    standard = Standard(Given(SPEC.network(), params, "float32", Forward(x)))
    taps = reference.run(SPEC, params, x)
    tap = "stage2.0.conv2"
    taps[tap] = _rounded(taps[tap], 11)  # as TF32's factors
    result = judge("numpy", Answer(dtype="float32", tensors=taps), standard)
    assert (result.status, result.first_divergent) == ("disagreed", tap)
    # The layer by itself is wrong, and so, of what it makes of the rounded values, is nothing but the one behind it.
    assert result.wrong_layers == (tap, "stage2.0.bn2")
    assert result.roundings[tap] > 1000
    assert max(r for name, r in result.roundings.items() if name != tap) < 100


def test_products_added_one_by_one_to_a_large_bias_are_explained():
    node = Node("conv", Conv(16, 3, pad=0, bias=True), ("data",), module="conv")
    rng = np.random.default_rng(61)
    x, weight, bias = rng.normal(size=(1, 16, 62, 62)), rng.normal(size=(16, 16, 3, 3)) * 1e-3, np.full(16, 0.6)
    total = np.full((16, 60, 60), 0.6)
    for c, i, j in np.ndindex(16, 3, 3):
        total += weight[:, c, i, j, None, None] * x[0, c, i : i + 60, j : j + 60]
    y, allowed = explained(node, [Known(x)], {"conv.weight": weight, "conv.bias": bias}, ROUNDING["float64"])
    share = (np.abs(total - y) / allowed).max()
    # By the constant of convolutions alone it would be 1.8.
    assert 0.3 < share < 1


def _rounded(x, bits):
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent).astype(x.dtype)


LAYER_ROWS = [row for row in ROWS if row["what"] == "layers"]


def test_every_layer_is_within_what_rounding_explains_with_room_for_other_machines():
    assert max(row["share"] for row in LAYER_ROWS) <= 0.75


@pytest.mark.parametrize("operation", ["Conv", "BatchNorm", "Linear", "sigmoid"])
def test_what_rounding_explains_is_not_far_above_what_is_measured(operation):
    # A constant of three times the largest share would let errors of twice as many roundings pass.
    assert max(row["share"] for row in LAYER_ROWS if row["operation"] == operation) >= 0.33


@pytest.mark.parametrize("tap", ["stem.conv1", "stage2.0.bn1", "stage3.0.se.gate", "stage2.1.se.pool"])
def test_the_smallest_error_of_the_page_is_caught(tap):
    spec = cases.TINY["tiny-se-resnext"]
    operation = kind(spec.network().by_name[tap])
    smallest = max(
        row["worst"]
        for row in ROWS
        if (row["what"], row["network"], row.get("operation")) == ("sharpness", spec.name, operation)
    )
    params, x = cases.seeded(spec, 11), cases.image(12, 2, 64, 64)
    standard = Standard(Given(spec.network(), params, "float32", Forward(x)))
    taps = reference.run(spec, params, x)
    taps[tap] = taps[tap].copy()
    taps[tap][:, 1] *= np.float32(1 + 2 * smallest)
    assert tap in judge("numpy", Answer(dtype="float32", tensors=taps), standard).wrong_layers
