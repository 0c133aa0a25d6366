"""Every way of running the networks, each in a process of its own, against the reference.

What is not installed is skipped here with what to install, as ``senet compare`` reports it.
"""

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest
from click.testing import CliRunner

import conformance
from conformance import cases, cli
from conformance.adapters import ADAPTERS, STANDARD, adapter
from conformance.cli import options
from weights import InputError, graph
from weights.networks.operations import Add

OTHERS = tuple(name for name in ADAPTERS if name not in STANDARD)
"""Every way of running the networks that is not compared unless it is asked for."""
FAST = {"torch_fast", "jax_fast", "tf_fast"}
SINGLE = {"tf_lite", "tf_lite_int8", "onnx_torch", "onnx_jax", "openvino", "openvino_ir", *FAST}
"""Those that compute in float32 where float64 is asked for."""
LOGITS = {
    *(
        "torch_compiled",
        "torch_exported",
        "torch_scripted",
        "jax_exported",
        "tf_saved_model",
        "tf_lite",
        "tf_lite_int8",
    ),
    *("onnx_torch", "onnx_jax", "openvino_ir"),
    *FAST,
}
"""Those that leave nothing else to compare."""
DIFFERENTIABLE = [name for name in OTHERS if name not in {*LOGITS, "openvino"}] + ["torch_compiled"]
QUICK = {"torch_channels_last", "tf_eager", "openvino", "openvino_ir", "onnx_torch"}
"""Those that need no more than some seconds for each test; the rest compiles, or compiles every operation by itself."""


def slowly(names, slow):
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in slow)) for name in names]


def _agreed(result):
    if result.status == "absent":
        pytest.skip(result.message)
    assert (result.status, result.first_divergent, result.message) == ("agreed", None, "")


def _taps(spec, contestant, size):
    found = conformance.compare(spec, cases.seeded(spec, 31), cases.image(32, *size), [contestant])
    _agreed(found.results[contestant])
    return found.results[contestant]


def _check_taps(spec, contestant, size):
    found = _taps(spec, contestant, size)
    assert found.dtype == ("float32" if contestant in SINGLE else "float64")
    nodes = [node.name for node in graph(spec)]
    if contestant in LOGITS:
        nodes = ["logits"]
    elif contestant in ("torch_channels_last", "jax_eager"):  # a sum is no module
        nodes = [node.name for node in graph(spec) if not isinstance(node.op, Add)]
    assert list(found.errors) == nodes


@pytest.mark.parametrize("contestant", slowly(OTHERS, set(OTHERS) - QUICK))
def test_every_tap_of_a_residual_network_agrees(contestant):
    _check_taps(cases.TINY["tiny-se-resnet"], contestant, (2, 65, 59))


@pytest.mark.parametrize("contestant", slowly(OTHERS, set(OTHERS) - QUICK))
def test_every_tap_of_an_inception_network_agrees(contestant):
    _check_taps(cases.TINY["tiny-se-bn-inception"], contestant, (2, 64, 32))


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("contestant", slowly(DIFFERENTIABLE, set(DIFFERENTIABLE) - QUICK))
def test_every_gradient_agrees(contestant, training):
    spec = cases.TINY["tiny-se-resnet"]
    found = conformance.compare_gradients(
        spec,
        cases.seeded(spec, 33),
        cases.image(34, 2, 65, 64),
        cases.top_diff(35, 2, spec.classes),
        [contestant],
        training=training,
    ).results[contestant]
    _agreed(found)
    assert found.dtype == "float64"


@pytest.mark.slow
@pytest.mark.parametrize("contestant", OTHERS)
def test_without_a_classifier_the_features_agree(contestant):
    spec = replace(cases.TINY["tiny-se-resnet"], classes=0)
    assert list(_taps(spec, contestant, (1, 64, 64)).errors)[-1] == "pool"


@pytest.mark.parametrize(
    ("contestant", "module"), [("openvino", "openvino"), ("onnx_jax", "jax2onnx"), ("onnx_torch", "onnxscript")]
)
def test_what_is_not_installed_is_absent_and_says_what_to_install(contestant, module):
    code = f"""
import sys
sys.modules[{module!r}] = None  # as if it were not installed
import conformance
from conformance import cases
spec = cases.TINY["tiny-se-resnet"]
x = cases.image(1, 1, 64, 64)
found = conformance.compare(spec, cases.seeded(spec, 1), x, [{contestant!r}], isolated=False).results[{contestant!r}]
print(found.status, found.message)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == f"absent {module} is not installed: pip install 'senet[contestants]'"


def test_keras_on_the_wrong_backend_says_how_to_get_the_right_one():
    spec = cases.TINY["tiny-se-resnet"]
    with pytest.raises(InputError, match=r"runs on tensorflow in this process: set KERAS_BACKEND=torch, or compare"):
        adapter("keras_torch").build(spec, cases.seeded(spec, 1), "float32")


def test_channels_last_lie_so_in_memory():
    import torch

    spec = cases.TINY["tiny-se-resnet"]
    model = adapter("torch_channels_last").build(spec, cases.seeded(spec, 1), "float32")
    seen = []
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    adapter("torch_channels_last").taps(model, cases.image(1, 2, 64, 64))
    assert seen
    assert all(maps.is_contiguous(memory_format=torch.channels_last) for maps in seen)


def test_all_is_every_one_that_is_known():
    assert tuple(ADAPTERS) == STANDARD + OTHERS
    assert options._names(None, None, "all") == tuple(ADAPTERS)  # type: ignore[arg-type]  # click hands over a context
    listed = CliRunner().invoke(cli.main, ["models"]).output
    assert all(name in listed for name in ADAPTERS)


@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_importing_openvino_reports_to_nobody():
    code = """
import os, sys
os.environ.pop("CI", None)  # where it reports nothing by itself
os.register_at_fork(before=lambda: os._exit(3))
from conformance.adapters import adapter
adapter("openvino")
print(sys.modules["openvino_telemetry"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "None"), done.stderr
