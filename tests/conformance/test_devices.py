"""Where frameworks compute: a device by name, TF32 only where it is asked for, one error for what is not there."""

import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import jax
import pytest
import tensorflow as tf
import torch
from click.testing import CliRunner

import conformance
from conformance import cases
from conformance.adapters import ADAPTERS, adapter
from conformance.adapters.devices import DeviceError, check_name, chosen
from conformance.cli import main
from conformance.judge.answer import ask
from conformance.judge.placed import placed
from conformance.judge.question import Forward, Given
from weights import InputError

SPEC = cases.TINY["tiny-se-resnet"]
PARAMS = cases.seeded(SPEC, 1)
X = cases.image(2, 1, 33, 32)
BACKENDS: Any = torch.backends  # whose newer attributes have no types
THERE = {"cuda:0": "first", "cuda:1": "second", "cpu": "processor"}
ELSEWHERE = ("torch", "jax", "tf")


@pytest.mark.parametrize(
    ("device", "found"),
    [("", "first"), ("gpu", "first"), ("cuda:1", "second"), ("gpu:1", "second"), ("cpu:0", "processor")],
)
def test_devices_have_the_names_that_people_give_them(device, found):
    assert chosen(device, THERE, "Port") == found


@pytest.mark.parametrize("device", ["cuda:2", "tpu", "cpu:1"])
def test_error_says_which_devices_there_are(device):
    with pytest.raises(DeviceError, match=f"Port has no device '{device}' here: it has cuda:0, cuda:1, cpu"):
        chosen(device, THERE, "Port")


@pytest.mark.parametrize("device", ["", "cuda:", "GPU 1", "cuda:1:1", "/device:GPU:0", "cpu\n"])
def test_what_cannot_be_a_device_is_refused(device):
    with pytest.raises(InputError, match=r"unknown device .*: expected cpu, gpu, cuda"):
        check_name(device)


def test_tf32_is_of_gpus():
    assert chosen("cuda", THERE, "Port", tf32=True) == "first"
    with pytest.raises(DeviceError, match="Port computes on cpu here, which has no TF32"):
        chosen("cpu", THERE, "Port", tf32=True)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_adapter_agrees_on_a_device_that_is_named(name):
    found = conformance.compare(SPEC, PARAMS, X, [name], device="cpu", isolated=False)
    assert found.agreed, found.results


@pytest.mark.parametrize("name", [*ELSEWHERE, "numpy", "onnx"])
def test_adapter_says_which_devices_it_has(name):
    given = Given(SPEC.network(), PARAMS, "float32", Forward(X), "tpu:77")
    with pytest.raises(DeviceError, match=r"has no device 'tpu:77' here: it has .*cpu"):
        ask(adapter(name), given)


def _tf32_in_torch() -> bool:
    return any(k.fp32_precision == "tf32" for k in (BACKENDS.cuda.matmul, BACKENDS.cudnn.conv))


def _tf32_in_jax() -> bool:
    return cast(Any, jax.config).jax_default_matmul_precision != "highest"


SWITCHED_ON = {
    "torch": _tf32_in_torch,
    "jax": _tf32_in_jax,
    "tf": tf.config.experimental.tensor_float_32_execution_enabled,
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_float32_is_not_tf32_and_the_users_setting_comes_back(name):
    port, on = adapter(name), SWITCHED_ON[name]
    assert on()  # by itself a framework may take it
    with placed(port, "", "float32"):
        assert not on()
    assert on()


AROUND: dict[str, Any] = {
    "nothing": lambda: None,
    "older, high": lambda: torch.set_float32_matmul_precision("high"),
    "older, TF32": lambda: setattr(BACKENDS.cuda.matmul, "allow_tf32", True),
    "newer, TF32": lambda: setattr(BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
    "newer, none": lambda: setattr(BACKENDS.cudnn.conv, "fp32_precision", "ieee"),
}


@pytest.fixture
def as_before():
    """PyTorch's settings come back."""
    kinds = (BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn)
    before = [kind.fp32_precision for kind in kinds]
    yield
    torch.set_float32_matmul_precision("highest")
    BACKENDS.cudnn.allow_tf32 = True
    for kind, value in zip(kinds, before, strict=True):
        kind.fp32_precision = value


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
@pytest.mark.usefixtures("as_before")
def test_pytorchs_two_ways_to_allow_tf32_do_not_contradict_each_other(around):
    around()
    before = BACKENDS.cuda.matmul.fp32_precision, BACKENDS.cudnn.conv.fp32_precision
    with placed(adapter("torch"), "", "float32"):
        assert (BACKENDS.cuda.matmul.allow_tf32, BACKENDS.cudnn.allow_tf32) == (False, False)
    assert (BACKENDS.cuda.matmul.fp32_precision, BACKENDS.cudnn.conv.fp32_precision) == before


def test_tf32_is_handed_to_an_adapter_as_float32_that_may_be_computed_in_it():
    seen: list[Any] = []
    port: Any = SimpleNamespace(
        NAME="Port",
        version=lambda: "1",
        build=lambda *given: seen.append(given[-1]),
        taps=lambda *_: {"logits": X},
        on=lambda device, tf32: seen.append((device, tf32)) or nullcontext(),
    )
    answer = ask(port, Given(SPEC.network(), PARAMS, "tf32", Forward(X), "gpu"))
    assert (seen, answer.dtype) == ([("gpu", True), "float32"], "tf32")


def test_adapter_on_the_processor_has_no_tf32():
    port: Any = SimpleNamespace(NAME="Port", version=lambda: "1", build=lambda *_: None, taps=lambda *_: {})
    with pytest.raises(DeviceError, match="Port has no TF32"):
        ask(port, Given(SPEC.network(), PARAMS, "tf32", Forward(X)))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("devices") / "tiny.safetensors"
    assert CliRunner().invoke(main, ["init", "tiny-se-resnet", str(path), "--seed", "1"]).exit_code == 0
    return path


def test_compare_on_a_device_that_is_not_there_is_one_error(checkpoint, tmp_path):
    result = tmp_path / "result.json"
    options = ("--size", "33x32", "--framework", "torch", "--device", "cuda:9", "--json", str(result))
    done = CliRunner().invoke(main, ["compare", str(checkpoint), *options])
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (
        2,
        "senet: PyTorch has no device 'cuda:9' here: it has cpu",
    )
    assert json.loads(result.read_text())["comparisons"][0]["frameworks"]["torch"]["status"] == "absent"


def test_adapters_in_processes_are_told_the_device(checkpoint):
    options = ("--size", "33x32", "--framework", "onnx", "--device", "tpu")
    done = CliRunner().invoke(main, ["compare", str(checkpoint), *options])
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (
        2,
        f"senet: {ADAPTERS['onnx'].title} has no device 'tpu' here: it has cpu",
    )


@pytest.mark.parametrize("command", ["classify", "excite"])
def test_commands_that_run_a_framework_take_a_device(command, checkpoint, tmp_path):
    from PIL import Image

    photo = tmp_path / "photo.png"
    Image.new("RGB", (40, 40)).save(photo)
    options = ("--weights", str(checkpoint), "--preprocessing", "caffe", "--device", "cuda")
    done = CliRunner().invoke(main, [command, str(photo), *options])
    expected = "senet: NumPy reference has no device 'cuda' here: it has cpu"
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (2, expected)


def test_device_that_cannot_be_one_is_refused_before_anything_runs(checkpoint):
    done = CliRunner().invoke(main, ["compare", str(checkpoint), "--device", "the fast one"])
    assert done.exit_code == 2
    assert "unknown device 'the fast one': expected cpu, gpu, cuda or another kind" in done.stderr
