"""Every framework against the reference at every tap; and that what goes wrong is said, and where."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import conformance
from conformance import cases
from conformance.adapters import STANDARD, adapter
from conformance.judge.answer import Answer
from conformance.judge.measure import judge
from conformance.judge.question import Forward, Given
from conformance.judge.standard import Standard, relative_error
from conformance.report.run import comparison_to_dict
from weights import MODELS, InputError, graph
from weights.networks.operations import Add

TINY = cases.TINY["tiny-se-resnet"]
SIZES = {"square": (2, 3, 224, 224), "odd": (1, 3, 197, 211), "small": (1, 3, 65, 64)}
SIZES_OF_INCEPTION = {"square": (2, 3, 224, 224), "odd": (1, 3, 67, 51), "small": (1, 3, 64, 32)}


def _image(spec, size):
    n, _, h, w = (SIZES_OF_INCEPTION if "inception" in spec.name else SIZES)[size]
    return cases.image(7, n, h, w)


@pytest.mark.parametrize("framework", STANDARD)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", cases.TINY)
def test_every_tap_agrees_in_float64(name, size, framework):
    spec = cases.TINY[name]
    x = _image(spec, size)
    found = conformance.compare(spec, cases.seeded(spec, 11), x, [framework], isolated=False).results[framework]
    assert (found.status, found.first_divergent, found.message) == ("agreed", None, "")
    assert found.dtype == "float64"


@pytest.mark.parametrize("framework", STANDARD)
@pytest.mark.parametrize("name", cases.TINY)
def test_every_tap_agrees_in_float32(name, framework):
    spec = cases.TINY[name]
    x = cases.image(8, 2, 64, 64)
    found = conformance.compare(spec, cases.seeded(spec, 12), x, [framework], "float32", isolated=False)
    assert (found.results[framework].status, found.results[framework].first_divergent) == ("agreed", None)


@pytest.mark.parametrize("framework", STANDARD)
@pytest.mark.parametrize("name", cases.TINY)
def test_every_node_is_tapped_but_the_sums_that_are_no_module(name, framework):
    spec = cases.TINY[name]
    sums = {node.name for node in graph(spec) if isinstance(node.op, Add)} if framework in ("torch", "jax") else set()
    taps = conformance.run(framework, spec, cases.seeded(spec, 13), cases.image(9, 1, 64, 64), "float32")
    assert [node.name for node in graph(spec) if node.name not in sums] == list(taps)


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_se_resnet_50_agrees_in_every_framework(dtype):
    spec = MODELS["se-resnet-50"]
    comparison = conformance.compare(spec, cases.seeded(spec, 1001), cases.image(2001), dtype=dtype)
    assert {name: (r.status, r.first_divergent) for name, r in comparison.results.items()} == dict.fromkeys(
        STANDARD, ("agreed", None)
    )
    # ONNX Runtime has float32 kernels only, and the result says so.
    assert {name: r.dtype for name, r in comparison.results.items()} == dict.fromkeys(STANDARD, dtype) | {
        "onnx": "float32"
    }


def test_without_a_classifier_the_last_tap_is_the_pooled_features():
    spec = replace(TINY, classes=0)
    found = conformance.compare(spec, cases.seeded(spec, 1), cases.image(1, 1, 64, 64), isolated=False)
    assert {(r.status, list(r.errors)[-1], r.top1) for r in found.results.values()} == {("agreed", "pool", None)}


ADAPTER = """
import time
from conformance.adapters.numpy import *
from conformance.adapters.numpy import taps as right

NAME = "broken"

def taps(model, x):
    found = right(model, x)
    {break_it}
    return found
"""

BREAKS = {
    "a value": ("found['stage2.0.bn1'][0, 0, 0, 0] += 1e-9", "disagreed", "stage2.0.bn1", ""),
    "a NaN": ("found['stage2.0.bn1'][0, 0, 0, 0] = np.nan", "disagreed", "stage2.0.bn1", ""),
    "an infinity": ("found['stage2.0.bn1'][0, 0, 0, 0] = np.inf", "disagreed", "stage2.0.bn1", ""),
    "a shape": (
        "found['stage2.0.bn1'] = found['stage2.0.bn1'][..., :-1]",
        "disagreed",
        "stage2.0.bn1",
        "stage2.0.bn1 has shape (1, 8, 8, 7), expected (1, 8, 8, 8)",
    ),
    "no logits": ("del found['logits']", "disagreed", None, "there is no tap 'logits'"),
    "a wrong name": (
        "found['stage9'] = found['logits']",
        "disagreed",
        None,
        "taps that the network does not have: stage9",
    ),
    "an exception": ("raise RuntimeError('out of luck')", "failed", None, "RuntimeError: out of luck"),
}


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Makes an adapter that goes wrong in a given way; its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(break_it, more=""):
        name = f"port{abs(hash(break_it + more))}"
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "adapter.py").write_text(ADAPTER.format(break_it=break_it) + more)
        return f"{name}.adapter"

    return make


def _compare(framework, **options):
    found = conformance.compare(TINY, cases.seeded(TINY, 1), cases.image(1, 1, 64, 64), [framework], **options)
    assert found.agreed == (found.results[framework].status == "agreed")
    return found.results[framework]


@pytest.mark.parametrize("isolated", [False, True], ids=["in-process", "isolated"])
@pytest.mark.parametrize(("break_it", "status", "first", "message"), BREAKS.values(), ids=BREAKS)
def test_what_goes_wrong_is_named(broken, break_it, status, first, message, isolated):
    found = _compare(broken(break_it), isolated=isolated)
    assert (found.status, found.first_divergent, found.message) == (status, first, message)


def test_an_adapter_of_ones_own_agrees(broken):
    assert _compare(broken("pass")).status == "agreed"


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL"),
        (
            "import os, sys; print('no\\n  such device', file=sys.stderr); os._exit(3)",
            "ended with exit code 3: such device",
        ),
        ("import os; os._exit(0)", "ended with exit code 0"),
        (
            "found['logits'] = np.array([object()])",
            "TypeError: taps() gave logits as an array of object, expected float64 or float32",
        ),
        ("time.sleep(600)", "no answer within 3 s"),
    ],
    ids=["killed", "exit", "exit without an answer", "objects", "hang"],
)
def test_a_process_that_dies_or_hangs_takes_nothing_down(broken, break_it, message):
    bad = broken(break_it)
    found = conformance.compare(
        TINY, cases.seeded(TINY, 1), cases.image(1, 1, 64, 64), [bad, "numpy"], timeout=3
    ).results
    assert (found[bad].status, found[bad].message, found["numpy"].status) == ("failed", message, "agreed")


@pytest.mark.parametrize("isolated", [False, True], ids=["in-process", "isolated"])
@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        ("raise ValueError('one\\n two\\x1b[31m' + 'x' * 1000)", r"ValueError: one two\\x1b\[31mx{200,300}\.\.\."),
        ("raise KeyError(None)", r"KeyError: None"),
        ("found['\\x1b[2J\\ud800'] = found['logits']", r"taps that the network does not have: \\x1b\[2J\\ud800"),
    ],
    ids=["many lines", "no text", "control characters"],
)
def test_what_an_adapter_says_is_one_printable_line(broken, break_it, message, isolated):
    found = _compare(broken(break_it), isolated=isolated)
    assert found.status in ("failed", "disagreed")
    assert re.fullmatch(message, found.message), found.message


@pytest.mark.parametrize("isolated", [False, True], ids=["in-process", "isolated"])
def test_version_that_is_no_text_is_a_failure_of_its_own_row(broken, isolated):
    bad = broken("pass", "def version(): return None")
    found = _compare(bad, isolated=isolated)
    assert (found.status, found.message) == ("failed", "TypeError: version() gave a NoneType, expected a text")


def test_precision_that_is_none_is_a_failure():
    spec = cases.TINY["tiny-se-resnet"]
    given = Given(spec.network(), cases.seeded(spec, 1), "float64", Forward(cases.image(1, 1, 64, 64)))
    found = judge("numpy", Answer(dtype="complex64", tensors={}), Standard(given))
    assert (found.status, found.message[:46]) == ("failed", "says that it computed in 'complex64': expected")


def test_a_framework_that_is_not_installed_is_absent_and_says_what_to_install():
    code = """
import sys
sys.modules["torch"] = None  # as if it were not installed
import conformance
from conformance import cases
spec = cases.TINY["tiny-se-resnet"]
found = conformance.compare(spec, cases.seeded(spec, 1), cases.image(1, 1, 64, 64), ["torch", "numpy"], isolated=False)
print([(r.status, r.message) for r in found.results.values()], found.agreed)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[('absent', \"torch is not installed: pip install 'senet[torch]'\"), ('agreed', '')] True"


@pytest.mark.parametrize("name", ["caffe", "no.such", "conformance.adapters.caffe"])
def test_an_unknown_framework_is_bad_input(name):
    with pytest.raises(InputError, match=f"unknown framework '{name}': expected one of numpy, torch, jax, tf, onnx"):
        _compare(name)
    with pytest.raises(InputError):
        adapter(name)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((1, 64, 64, 3), "float64", r"the input has shape \(1, 64, 64, 3\), expected \(N, 3, H, W\)"),
        ((1, 3, 2, 2), "float64", "tiny-se-resnet cannot take 2x2"),
        ((1, 3, 64, 64), "int8", "unknown dtype 'int8': expected one of float64, float32, tf32, float16, bfloat16"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(shape, dtype, message):
    with pytest.raises(InputError, match=message):
        conformance.compare(TINY, cases.seeded(TINY, 1), np.zeros(shape), dtype=dtype)


def test_parameters_that_do_not_fit_are_refused():
    params = cases.seeded(TINY, 1)
    del params["fc.bias"]
    with pytest.raises(InputError, match=r"fc\.bias \(10,\) is missing"):
        conformance.run("numpy", TINY, params, cases.image(1, 1, 64, 64))


def test_a_reference_that_is_not_finite_agrees_with_nothing():
    params = cases.seeded(TINY, 1)
    params["stage1.0.bn1.running_var"][0] = -1
    with np.errstate(invalid="ignore"):
        found = conformance.compare(TINY, params, cases.image(1, 1, 64, 64), ["numpy"], isolated=False)
    result = found.results["numpy"]
    assert (result.status, result.first_divergent) == ("disagreed", "stage1.0.bn1")
    assert result.message == "the reference itself is not finite from stage1.0.bn1 on"


@pytest.mark.parametrize(
    ("a", "b", "error"),
    [
        ([1.0, 2.0], [1.0, 4.0], 0.5),
        ([0.0], [0.0], 0.0),
        ([1e-300], [0.0], np.inf),
        ([np.nan], [1.0], np.inf),
        ([1.0], [np.nan], np.inf),
        ([np.inf], [np.inf], np.inf),
        ([[1.0]], [1.0], np.inf),
    ],
)
def test_errors_are_relative_to_the_largest_value(a, b, error):
    assert relative_error(np.array(a), np.array(b)) == error


def test_results_are_plain_data():
    found = conformance.compare(TINY, cases.seeded(TINY, 1), cases.image(1, 2, 64, 64), ["numpy"], isolated=False)
    data = comparison_to_dict(found)
    assert (data["shapes"], data["bound"], data["eps"]) == ([[2, 3, 64, 64]], 1e-13, 2.0**-52)
    row = data["frameworks"]["numpy"]
    assert (row["status"], row["logits_error"], row["worst"]) == ("agreed", 0.0, {"tap": "stem.conv1", "error": 0.0})
    assert row["top1"] == int(found.output[0].argmax())
