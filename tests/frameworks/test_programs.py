"""Programs for other runtimes: any number and size of images, what travels, and who writes which."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock
from zipfile import ZipFile

import numpy as np
import pytest
from click.testing import CliRunner

import weights
from conformance import cases, cli
from conformance.adapters import adapter
from conformance.judge.bounds import COARSE
from weights import CAFFE, MODELS, SE, InputError, Params
from weights.networks.models import changed
from weights.networks.sizes import smallest_side
from weights.params import Info

SPEC = cases.TINY["tiny-se-resnet"]
NAMES = tuple(f"class {i}" for i in range(SPEC.classes))
PARAMS = Params(cases.seeded(SPEC, 1), Info(preprocessing=CAFFE, class_names=NAMES, source="small.caffemodel"))
SIZES = [(1, 64, 64), (3, 65, 59), (1, 96, 32), (2, 3, 8)]
"""Odd and even, and such that the last map has one pixel along an axis or both."""


def states_all(text: str | bytes) -> bool:
    said = json.loads(text)
    names = list(NAMES)
    return (said["spec"]["name"], said["class_names"], said["preprocessing"]["channels"]) == (SPEC.name, names, "bgr")


@pytest.fixture(scope="module")
def torch_program(tmp_path_factory) -> tuple[Any, Path]:
    pytest.importorskip("torch")
    import se_torch

    model = se_torch.restore(SPEC, PARAMS, "float64")
    model.train()
    path = tmp_path_factory.mktemp("program") / "x.pt2"
    se_torch.save(model, path)
    assert model.training
    return model.eval(), path


def test_a_program_of_pytorch_takes_any_number_and_size_of_images(torch_program):
    import torch

    model, path = torch_program
    extra = {"senet.json": ""}
    program = torch.export.load(path, extra_files=extra).module()
    assert states_all(extra["senet.json"])
    with torch.inference_mode():
        for size in SIZES:
            x = torch.from_numpy(cases.image(2, *size)).double()
            assert torch.equal(program(x), model(x)), size


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize(("stride", "pad", "after"), [(2, 0, 0), (2, 0, 1), (2, 1, 1), (1, 1, 0)])
def test_pooling_that_is_exported_has_the_bits_of_the_eager_one(dtype, stride, pad, after):
    torch = pytest.importorskip("torch")
    from se_torch.layers import max_pool

    pool = max_pool(stride, pad, after)
    for side in range(3, 10):
        x = torch.from_numpy(cases.image(side, 2, side, side + 3) - 128).to(getattr(torch, dtype))
        eager = pool(x)
        with mock.patch("torch.compiler.is_compiling", return_value=True):
            exported = pool(x)
        assert torch.equal(eager, exported), side


def test_pooling_that_rounds_up_is_one_graph_for_all_sizes():
    torch = pytest.importorskip("torch")
    from se_torch.layers import max_pool

    pool, maps = max_pool(2, 0), torch.from_numpy(cases.image(1, 2, 40, 41))
    sizes = {axis: torch.export.Dim(name, min=6) for axis, name in ((2, "height"), (3, "width"))}
    program = torch.export.export(pool, (maps,), dynamic_shapes=(sizes,)).module()
    for part in (maps, maps[:, :, :33], maps[:, :, :38, :37]):
        assert torch.equal(program(part), pool(part))


@pytest.mark.slow
def test_a_program_of_jax_takes_any_number_and_size_of_images(tmp_path):
    pytest.importorskip("flax.nnx")
    import jax
    from flax import nnx

    import se_jax

    model = se_jax.restore(SPEC, PARAMS)
    se_jax.save(model, tmp_path / "x.stablehlo")
    assert states_all(ZipFile(tmp_path / "x.stablehlo").read("senet.json"))
    program = jax.export.deserialize(bytearray((tmp_path / "x.stablehlo").read_bytes()))
    forward = nnx.jit(lambda model, x: model(x))
    for size in SIZES[:2]:
        x = cases.image(2, *size).transpose(0, 2, 3, 1).astype("float32")
        wanted = np.asarray(forward(model, x))
        assert np.abs(program.call(x) - wanted).max() <= 1e-6 * np.abs(wanted).max(), size


@pytest.mark.slow
def test_a_program_of_litert_takes_the_maximum_as_a_squeeze():
    pytest.importorskip("tensorflow")
    import se_tf

    spec = replace(SPEC, se=replace(SPEC.se or SE(), squeeze="max", gate="hard-sigmoid"), depths=(1, 1, 1, 1))
    model = se_tf.restore(spec, cases.seeded(spec, 1), "float32")
    x = cases.image(2, 2, 33, 38).astype("float32")
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # another package is to have the interpreter
        logits = adapter("tf_lite").taps(model, x)["logits"]
    wanted = model(x.transpose(0, 2, 3, 1)).numpy()
    assert np.abs(logits - wanted).max() <= 1e-6 * np.abs(wanted).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny-se-resnet", "tiny-se-bn-inception"])
def test_a_program_of_8_bits_agrees_within_its_bound_and_computes_in_8_bits(name, tmp_path):
    tf = pytest.importorskip("tensorflow")
    import se_tf

    spec = cases.TINY[name]
    model = se_tf.restore(spec, cases.seeded(spec, 1), "float32")
    x = cases.image(2, 8, 64, 64).transpose(0, 2, 3, 1).astype("float32")
    se_tf.save(model, tmp_path / "x.tflite", images=x)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # another package is to have the interpreter
        interpreter = tf.lite.Interpreter(str(tmp_path / "x.tflite"))
        logits = adapter("tf_lite_int8").taps(model, x.transpose(0, 3, 1, 2))["logits"]
    kinds = [tensor["dtype"] for tensor in interpreter.get_tensor_details() if len(tensor["shape"]) == 4]
    assert (kinds.count(np.float32), set(kinds)) == (1, {np.int8, np.float32})  # the images alone are float32
    wanted = model(x).numpy()
    error = np.abs(logits - wanted).max() / np.abs(wanted).max()
    assert COARSE["tf_lite_int8"] / 20 < error <= COARSE["tf_lite_int8"]  # the bound means something


@pytest.mark.slow
@pytest.mark.parametrize(("stride", "pad", "after"), [(2, 0, 0), (2, 0, 1), (2, 1, 0), (1, 1, 0)])
def test_padding_by_the_edge_has_the_bits_of_padding_by_infinity(stride, pad, after):
    pytest.importorskip("keras")
    from se_tf.layers import MaxPool

    pool = MaxPool(stride, pad, after)
    for side in range(3, 8):
        x = (cases.image(side, 2, side, side + 3) - 128).transpose(0, 2, 3, 1)
        pool.repeats_edge = False
        wanted = np.asarray(pool(x))
        pool.repeats_edge = True
        assert np.array_equal(np.asarray(pool(x)), wanted), side


@pytest.mark.slow
def test_a_saved_model_states_all_and_replaces_nothing_else(tmp_path):
    pytest.importorskip("tensorflow")
    import se_tf

    model = se_tf.restore(SPEC, PARAMS, "float32")
    path = tmp_path / "x.savedmodel"
    path.mkdir()
    (path / "mine.txt").touch()
    with pytest.raises(InputError, match=r"x\.savedmodel: stands already and is no SavedModel"):
        se_tf.save(model, path)
    (path / "mine.txt").unlink()
    (path / "saved_model.pb").touch()
    se_tf.save(model, path)
    assert states_all((path / "assets.extra" / "senet.json").read_text())
    assert [found.name for found in tmp_path.iterdir()] == ["x.savedmodel"]
    for images in (np.zeros((0, 8, 8, 3)), "photo.jpg", np.full((1, 8, 8, 3), np.nan), np.zeros((1, 3, 8, 8))):
        with pytest.raises(InputError, match=r"x\.tflite: images of shape .* expected \(N, H, W, 3\) of finite"):
            se_tf.save(model, tmp_path / "x.tflite", images=images)
    for suffix in (".savedmodel", ".pth"):
        with pytest.raises(InputError, match="leave out images"):
            se_tf.save(model, tmp_path / f"y{suffix}", images=np.zeros((1, 8, 8, 3)))
    with pytest.raises(InputError, match="the model is one of float64; LiteRT programs need float32"):
        se_tf.save(se_tf.restore(SPEC, PARAMS, "float64"), tmp_path / "x.tflite")


def test_openvino_reads_what_is_written_for_it(tmp_path):
    pytest.importorskip("openvino")
    weights.write(tmp_path / "x.xml", SPEC, PARAMS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.bin", "x.xml"]
    from conformance.adapters.openvino import openvino

    model = openvino.Core().read_model(tmp_path / "x.xml")
    assert states_all(model.get_rt_info(["senet.json"]).astype(str))
    with pytest.raises(InputError, match=r"x\.xml: OpenVINO files are written, not read; read what it was made of"):
        weights.read(tmp_path / "x.xml")


def test_openvino_replaces_no_file_that_is_not_its_own(tmp_path):
    weights.write(tmp_path / "net.safetensors", SPEC, PARAMS)
    weights.write(tmp_path / "source.bin.pth", SPEC, PARAMS)
    source = (tmp_path / "source.bin.pth").rename(tmp_path / "source.bin")
    before = source.read_bytes()
    refused = CliRunner().invoke(cli.main, ["convert", str(source), str(tmp_path / "source.xml")])
    assert (refused.exit_code, "source.bin" in refused.stderr) == (2, True)
    with pytest.raises(InputError, match="belongs to no"):
        weights.write(tmp_path / "source.xml", SPEC, PARAMS)
    assert source.read_bytes() == before
    assert not (tmp_path / "source.xml").exists()


@pytest.mark.parametrize(
    ("suffix", "package"), [(".tflite", "se_tf"), (".savedmodel", "se_tf"), (".stablehlo", "se_jax")]
)
def test_a_program_of_another_framework_is_refused_with_who_writes_it(torch_program, tmp_path, suffix, package):
    import se_torch

    with pytest.raises(InputError, match=rf"x\{suffix}: .* programs are written by {package}\.save, not by se_torch"):
        se_torch.save(torch_program[0], tmp_path / f"x{suffix}")
    with pytest.raises(InputError, match=rf"x\{suffix}: is a program; {package}\.save\(model, path\) writes it"):
        weights.write(tmp_path / f"x{suffix}", SPEC, PARAMS)
    assert not list(tmp_path.iterdir())


def test_a_program_takes_no_options_of_checkpoints(torch_program, tmp_path):
    import se_torch

    with pytest.raises(InputError, match=r"x\.pt2: a program is written without such options; leave out dialect timm"):
        se_torch.save(torch_program[0], tmp_path / "x.pt2", dialect="timm")


@pytest.mark.slow
def test_the_command_converts_into_a_program(tmp_path):
    torch = pytest.importorskip("torch")
    weights.write(tmp_path / "x.safetensors", SPEC, PARAMS)
    done = CliRunner().invoke(cli.main, ["convert", str(tmp_path / "x.safetensors"), str(tmp_path / "x.pt2")])
    assert (done.exit_code, done.output.count("\n")) == (0, 1), done.output
    assert "a program of torch.export in float32" in done.output
    assert torch.export.load(tmp_path / "x.pt2").module()(torch.zeros(1, 3, 40, 40)).shape == (1, SPEC.classes)


def test_from_which_size_on_every_image_fits():
    assert smallest_side(SPEC) == 3
    assert smallest_side(MODELS["se-bn-inception"]) == 7
    assert smallest_side(MODELS["vgg-16"]) is None  # of one size
    uneven = MODELS["se-bn-inception"]
    means = tuple(replace(m, pool="avg") for m in uneven.modules)  # type: ignore[attr-defined]
    assert smallest_side(changed(uneven, modules=means)) is None  # odd maps do not fit together
