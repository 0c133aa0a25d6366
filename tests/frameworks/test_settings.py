"""Settings that users make around the networks, in each framework and in the environment."""

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch
from flax import nnx

import conformance
import se_jax
import se_tf
import se_torch
import weights
from conformance import Recipe, cases
from conformance.adapters import adapter
from se_jax.layers import AvgPool, BatchNorm
from weights import InputError, Params

SPEC = cases.TINY["tiny-se-resnet"]
PARAMS = cases.seeded(SPEC, 1)
X = cases.image(2, 1, 64, 64)
COTANGENT = cases.top_diff(3, 1, 10)


@contextmanager
def _set(get: Any, set_: Any, value: Any) -> Generator[None]:
    before = get()
    set_(value)
    try:
        yield
    finally:
        set_(before)


def _default(dtype: torch.dtype) -> AbstractContextManager[None]:
    return _set(torch.get_default_dtype, torch.set_default_dtype, dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_pytorchs_default_dtype_is_that_of_new_networks_and_not_of_restored_ones(dtype):
    with _default(dtype):
        assert {p.dtype for p in se_torch.build(SPEC).parameters()} == {dtype}
        assert {p.dtype for p in se_torch.build(SPEC, "float32").parameters()} == {torch.float32}
        assert {p.dtype for p in se_torch.se_resnet18(10).parameters()} == {dtype}
        restored = se_torch.restore(SPEC, PARAMS)
        assert {p.dtype for p in restored.parameters()} == {torch.float32}
        assert restored(torch.from_numpy(X)).dtype == torch.float32


def test_network_on_a_device_without_values_is_refused():
    with torch.device("meta"):
        assert se_torch.build(SPEC).spec == SPEC
        with pytest.raises(InputError, match='tiny-se-resnet: the model is on the device "meta", which holds no val'):
            se_torch.restore(SPEC, PARAMS)


AROUND = {
    "default dtype float64": lambda: _default(torch.float64),
    "default dtype float16": lambda: _default(torch.float16),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "deterministic algorithms": lambda: _set(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_pytorchs_settings_around_a_comparison_do_not_change_what_is_compared(around):
    with around():
        taps = conformance.compare(SPEC, PARAMS, X, ["torch"], "float32", isolated=False)
        gradients = conformance.compare_gradients(SPEC, PARAMS, X, COTANGENT, ["torch"], isolated=False)
    assert (taps.agreed, gradients.agreed) == (True, True)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_layers_in_flax_take_strict_promotion(dtype):
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(X.transpose(0, 2, 3, 1), dtype)
        norm = BatchNorm(3, 1e-5, dtype=dtype, rngs=nnx.Rngs(0))
        norm.unbiased = True
        with jax.numpy_dtype_promotion("strict"):
            assert norm(x).dtype == dtype
            assert AvgPool(2, 0)(x).dtype == dtype


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny-se-resnet", "tiny-se-bn-inception"])
@pytest.mark.parametrize("setting", ["strict promotion", "debug nans", "x64", "matmul precision"])
def test_jaxs_settings_do_not_change_the_network(name, setting):
    spec = cases.TINY[name]
    params, x = cases.seeded(spec, 1), cases.image(2, 1, 64, 64)
    around: AbstractContextManager[Any] = {
        "strict promotion": jax.numpy_dtype_promotion("strict"),
        "debug nans": jax.debug_nans(True),
        "x64": jax.enable_x64(True),
        "matmul precision": jax.default_matmul_precision("bfloat16"),
    }[setting]
    with around:
        model = se_jax.restore(spec, params)
        logits = nnx.jit(lambda model, x: model(x))(model, jnp.asarray(x.transpose(0, 2, 3, 1)))
        assert logits.dtype == "float32"
        for dtype in ("float64", "float32", "bfloat16"):
            assert conformance.compare(spec, params, x, ["jax"], dtype, isolated=False).agreed
        cotangent = cases.top_diff(3, 1, spec.classes)
        assert conformance.compare_gradients(spec, params, x, cotangent, ["jax"], isolated=False).agreed


KERAS = {
    "policy mixed_float16": ("mixed_float16", keras.config.dtype_policy, keras.config.set_dtype_policy),
    "policy float64": ("float64", keras.config.dtype_policy, keras.config.set_dtype_policy),
    "floatx float64": ("float64", keras.config.floatx, keras.config.set_floatx),
    "floatx float16": ("float16", keras.config.floatx, keras.config.set_floatx),
    "channels first": ("channels_first", keras.config.image_data_format, keras.config.set_image_data_format),
}


@pytest.mark.parametrize(("value", "get", "set_"), KERAS.values(), ids=KERAS)
def test_keras_settings_do_not_change_a_network_whose_dtype_is_asked_for(value, get, set_):
    with _set(get, set_, value):
        model = se_tf.restore(SPEC, PARAMS, "float32")
        logits = model(X.transpose(0, 2, 3, 1), training=False)
    assert {v.dtype for v in model.variables} == {"float32"}
    truth = conformance.run("numpy", SPEC, PARAMS, X)["logits"]
    np.testing.assert_allclose(np.asarray(keras.ops.convert_to_numpy(logits)), truth, atol=1e-5 * abs(truth).max())


@pytest.mark.slow
@pytest.mark.parametrize(("value", "get", "set_"), KERAS.values(), ids=KERAS)
def test_keras_settings_around_a_comparison_do_not_change_what_is_compared(value, get, set_):
    batches = [(cases.image(2, 2, 67, 63), np.array([1, 2]))]
    with _set(get, set_, value):
        assert conformance.compare(SPEC, PARAMS, X, ["tf"], isolated=False).agreed
        assert conformance.compare_gradients(SPEC, PARAMS, X, COTANGENT, ["tf"], isolated=False).agreed
        assert conformance.compare_training(SPEC, PARAMS, batches, Recipe(), ["tf"], isolated=False).agreed


def test_warnings_that_are_errors_keep_no_model_from_being_saved(tmp_path):
    model = se_tf.restore(SPEC, PARAMS)
    with warnings.catch_warnings(action="error"):
        se_tf.save(model, tmp_path / "x.safetensors")
    assert weights.read(tmp_path / "x.safetensors").spec == SPEC


def test_keras_on_another_backend_is_a_failure_that_says_so(monkeypatch):
    adapter("tf")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    found = conformance.compare(SPEC, PARAMS, X, ["tf"], isolated=False).results["tf"]
    assert found.status == "failed"
    assert "Keras runs on jax in this process: set KERAS_BACKEND=tensorflow, or compare wi" in found.message


ENVIRONMENTS = {
    "warnings are errors": {"PYTHONWARNINGS": "error"},
    "optimised, C locale, no home": {
        "PYTHONOPTIMIZE": "2",
        "PYTHONHASHSEED": "1",
        "PYTHONUTF8": "0",
        "LC_ALL": "C",
        "OMP_NUM_THREADS": "1",
        "HOME": "/nonexistent",
        "KERAS_BACKEND": "torch",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        "JAX_ENABLE_X64": "1",
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_frameworks_agree_whatever_the_environment(environment, tmp_path):
    done = _compare(tmp_path, "torch,jax,tf,onnx", **environment)
    assert (done.returncode, done.stdout.count("agreed")) == (0, 4), done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "environment", "said"),
    [
        (".orbax", {"JAX_PLATFORMS": "nosuch"}, "Orbax checkpoints need JAX, which does not start: Unable to init"),
        (
            ".stablehlo",
            {"JAX_PLATFORMS": "nosuch"},
            "StableHLO programs need se_jax, which does not start: Unable to i",
        ),
        (".savedmodel", {"KERAS_BACKEND": "nosuch"}, "SavedModel programs need se_tf, which does not start: Unable to"),
    ],
)
def test_backend_that_is_not_there_is_a_line_about_the_file(suffix, environment, said, tmp_path):
    source, target = tmp_path / "tiny.safetensors", tmp_path / f"tiny{suffix}"
    weights.write(source, cases.TINY["tiny-resnet"], cases.seeded(cases.TINY["tiny-resnet"], 1))
    command = [sys.executable, "-m", "conformance", "convert", str(source), str(target)]
    env = {**os.environ, **environment, "PYTHONPATH": str(Path(conformance.__file__).parents[1])}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n"), target.exists()) == (2, 1, False)
    assert said in done.stderr


@pytest.mark.slow
def test_platform_that_jax_has_not_is_a_row(tmp_path):
    done = _compare(tmp_path, "jax,numpy", JAX_PLATFORMS="nosuch")
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"failed: RuntimeError: Unable to initialize backend 'nosuch'.*\n.* agreed\n", done.stdout)


def _compare(folder: Path, frameworks: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    path = folder / "tiny.safetensors"
    weights.write(path, SPEC, Params(PARAMS))
    command = [sys.executable, "-m", "conformance", "compare", str(path), "--size", "64x64", "--frameworks", frameworks]
    home = str(Path(conformance.__file__).parents[1])
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env={**os.environ, "PYTHONPATH": home, **environment}
    )
