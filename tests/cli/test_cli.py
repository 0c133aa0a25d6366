"""The command line: what it prints, what it writes, how it fails."""

import errno
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from html import unescape
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import weights
from conformance.adapters import STANDARD
from conformance.cases import TINY, seeded
from conformance.cli import main
from conformance.cli.demonstration import PHOTO
from conformance.cli.options import DTYPES, FRAMEWORKS
from conformance.judge.bounds import BOUNDS
from weights import CAFFE, MODELS, SE, Checkpoint, Info, InputError, Params, Spec
from weights.caffe import file as caffe_file
from weights.networks.network import Builder
from weights.networks.operations import Conv

SPEC = TINY["tiny-se-resnet"]


def senet(*args: object):
    return CliRunner().invoke(main, [str(a) for a in args])


def fails(result, *parts: str, code: int = 2) -> None:
    """One message on stderr that holds all parts, and no traceback."""
    assert result.exit_code == code, result.output
    assert result.stderr.lstrip().startswith("senet: ")
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def caffemodel(folder):
    path = folder / "tiny.caffemodel"
    weights.write(path, SPEC, seeded(SPEC, 5001))
    return path


@pytest.fixture
def alone(caffemodel, folder, monkeypatch):
    """The same without the .prototxt, in which we note what the network expects; a released network."""
    monkeypatch.setattr("weights.caffe.released.RELEASED", (SPEC,))
    path = folder / "alone.caffemodel"
    path.write_bytes(caffemodel.read_bytes())
    return path


@pytest.fixture(scope="module")
def canonical(folder):
    path = folder / "tiny.safetensors"
    weights.write(path, SPEC, seeded(SPEC, 5001))
    return path


@pytest.fixture(scope="module")
def photo(folder):
    path = folder / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_models_lists_every_network_with_its_costs():
    rows = json.loads(senet("models", "--json").stdout)
    assert [row["name"] for row in rows] == list(MODELS)
    assert (rows[0]["parameters"], round(rows[0]["gmacs"], 3)) == (28_088_024, 3.860)
    table = senet("models").stdout
    assert all(name in table for name in MODELS)
    assert "28,088,024" in table


def test_models_are_chosen_by_names_and_by_families():
    def chosen(*patterns: str) -> list[str]:
        return [row["name"] for row in json.loads(senet("models", "--json", *patterns).stdout)]

    assert chosen("senet*", "bn-*") == ["senet-154", "bn-inception"]
    assert chosen("inception") == chosen("Inception") == ["se-bn-inception", "bn-inception"]
    assert chosen("SENet*", "BN-*") == chosen("senet*", "bn-*")
    sizes = {row["family"]: tuple(row["size"]) for row in json.loads(senet("models", "--json").stdout)}
    assert (sizes["resnet"], sizes["preact"], sizes["inception-resnet"]) == ((224, 224), (32, 32), (299, 299))
    table = senet("models", "inception").stdout.split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in table[2:]] == ["inception", "se-bn-inception", "bn-inception"]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["x*"], f"no network is named 'x*'; senet models lists all {len(MODELS)}"),
        (["se-*", "senet-145"], "no network is named 'senet-145'; there are senet-154"),
        (["--paper", "x*"], "no table is named 'x*'; there are baselines, reduction"),
    ],
)
def test_pattern_that_no_network_fits_is_one_line_and_status_2(patterns: list[str], message: str):
    result = senet("models", *patterns)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"senet: {message}")
    assert result.stderr.count("\n") == 1


def test_the_name_of_a_network_where_a_file_is_expected_is_said_to_be_one():
    fails(senet("inspect", "resnet-18"), "resnet-18: no trained weights of this network are known")
    with pytest.raises(InputError, match=r"resnet-18 is a network: weights.hub.fetch gets trained weights of some"):
        weights.read("resnet-18")
    assert "is a network" not in senet("inspect", "photo.jpg").stderr


def test_freezing_says_the_channels_of_the_input(folder):
    path = folder / "gray.safetensors"
    senet("init", "tiny-resnet,in_channels=1", path)
    assert weights.read(path).info.preprocessing is None  # photographs are of three
    assert "at 2x1x33x34," in senet("freeze", path, folder / "gray-golden.safetensors", "--size", "33x34").stdout


def test_list_of_all_models_fits_a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("conformance.cli.options.terminal_width", lambda: 80)
    lines = senet("models").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert {*MODELS} <= {line.split()[0] for line in lines if line}  # a network a line, none wrapped


def test_inspect_says_what_is_recognised_and_what_is_assumed(alone):
    shown = " ".join(senet("inspect", alone).stdout.split())
    assert "format caffemodel" in shown
    assert "SE reduction 4" in shown
    assert "units by stage 1, 2, 1, 1" in shown
    assert "BGR 0..255, minus (104, 117, 123); short side 256, centre 224x224 (assumed" in shown
    assert "label order not known" in shown
    assert "999.98236" in shown


@pytest.mark.parametrize("name", ["se-resnet-50", "se-bn-inception"])
def test_inspect_names_a_published_network_exactly_or_by_its_differences(name, folder):
    from conformance.report.describe import describe

    path = folder / "x.safetensors"
    path.touch()

    def described(**changes: Any) -> str:
        return describe(path, Checkpoint(replace(MODELS[name], **changes), Params()))

    assert f"({name}, exactly)" in described()
    assert f"({name}, but for classes 7 instead of 1000)" in described(classes=7)
    varied = SE(gate="tanh", squeeze="max", bias=False)
    words = "SE reduction 16, squeeze max, gate tanh, without biases instead of 16"
    assert f"({name}, but for {words})" in described(se=varied)
    assert "SE reduction none: 32 hidden units instead of 16" in described(se=SE(width=32))


def test_inspect_describes_a_family_that_it_does_not_know(folder):
    from conformance.report.describe import describe

    @dataclass(frozen=True, slots=True, kw_only=True)
    class ToySpec(Spec):
        family = "toy"
        widths_of_paths: tuple[int, ...] = (4, 8)

        def body(self, g: Builder) -> tuple[str, ...]:
            return (g("conv", Conv(self.widths_of_paths[-1], 3), "data"),)

    path = folder / "x.safetensors"
    path.touch()
    shown = " ".join(describe(path, Checkpoint(ToySpec(name="toy"), Params())).split())
    assert "network SE-toy (none of the published) widths of paths 4, 8 SE reduction 16" in shown


def test_inspect_lists_tensors_that_are_not_finite(folder):
    params = seeded(SPEC, 1)
    params["fc.bias"] = np.full_like(params["fc.bias"], np.nan)
    weights.write(folder / "nan.safetensors", SPEC, params)
    assert "not finite" in senet("inspect", folder / "nan.safetensors").stdout


def test_convert_round_trip_returns_the_same_bytes(caffemodel, folder):
    assert senet("convert", caffemodel, folder / "there.safetensors").exit_code == 0
    assert senet("convert", folder / "there.safetensors", folder / "back.caffemodel").exit_code == 0
    assert (folder / "back.caffemodel").read_bytes() == caffemodel.read_bytes()
    assert (folder / "back.prototxt").exists()


def test_convert_reorders_labels_and_rewrites_the_input(folder):
    spec = replace(SPEC, classes=1000)
    source, target = folder / "devkit.safetensors", folder / "sorted.safetensors"
    weights.write(source, spec, seeded(spec, 1))
    assert senet("convert", source, target, "--labels", "sorted", "--input", "rgb01").exit_code == 0
    info = weights.read(target)[1].info
    assert info.labels == "sorted"
    assert info.preprocessing is not None
    assert (info.preprocessing.channels, info.preprocessing.range) == ("rgb", 1)


def test_convert_says_what_is_assumed(alone, folder):
    assert "assumed, not stated by alone.caffemodel" in senet("convert", alone, folder / "a.safetensors").stdout


def test_compare_agrees_and_writes_json_and_report(canonical, photo, folder):
    page, result = folder / "report.html", folder / "result.json"
    options = ("--frameworks", "torch,numpy", "--dtype", "float64,float32", "--size", "65x64", "--image", photo)
    done = senet("compare", canonical, *options, "--report", page, "--json", result)
    assert done.exit_code == 0, done.output
    assert done.stdout.count("agreed") == 4
    run = json.loads(result.read_text())
    assert [c["dtype"] for c in run["comparisons"]] == ["float64", "float32"]
    assert run["input"]["shapes"] == [[2, 3, 65, 64]]
    assert "PyTorch" in page.read_text()


def test_compare_compares_gradients_if_asked(canonical, tmp_path):
    options = ("--frameworks", "torch,onnx", "--size", "65x64", "--gradients", "--json", tmp_path / "result.json")
    done = senet("compare", canonical, *options)
    assert done.exit_code == 0, done.output
    assert "PyTorch, gradients" in done.stdout
    forward, backward = json.loads((tmp_path / "result.json").read_text())["comparisons"]
    assert set(forward["frameworks"]) == {"torch", "onnx"}
    assert {name: found["status"] for name, found in backward["frameworks"].items()} == {
        "torch": "agreed",
        "onnx": "absent",
    }
    assert backward["what"] == "gradients"
    assert {"data", "fc.weight"} <= set(backward["frameworks"]["torch"]["taps"])


def test_help_names_the_bounds():
    text = " ".join(senet("compare", "--help").stdout.split())
    said = {
        what: [f"{bounds[dtype]:.0e} in {dtype}".replace("e-0", "e-") for dtype in DTYPES if dtype in bounds]
        for what, bounds in BOUNDS.items()
        if what in ("taps", "gradients")
    }
    first, *others = said["taps"]
    assert ", ".join([first.replace(" in ", " of a layer's largest value in "), *others]) in text
    assert f"the bounds are {' and '.join(said['gradients'])}." in text
    assert (len(said["taps"]), len(said["gradients"])) == (len(DTYPES), 2)


def test_report_holds_the_commands_to_run_it_again(canonical, tmp_path, monkeypatch):
    page = tmp_path / "report.html"
    args = ["compare", str(canonical), "--frameworks", "numpy", "--size", "65x64", "--report", str(page)]
    monkeypatch.setattr(sys, "argv", ["senet", *args])
    assert senet(*args).exit_code == 0
    blocks = [unescape(block) for block in re.findall(r"<pre><code>(.*?)</code></pre>", page.read_text(), re.S)]
    check, again = blocks[-1].splitlines()
    assert subprocess.run(check, shell=True, capture_output=True, text=True).stdout.endswith(": OK\n")
    assert shlex.split(again) == ["senet", *args]


def test_compare_prints_markdown(canonical):
    done = senet("compare", canonical, "--frameworks", "numpy", "--size", "65x64", "--markdown")
    assert done.stdout.startswith("# tiny-se-resnet: all agree\n\n| framework |")


def test_compare_exits_with_1_if_a_framework_disagrees(canonical, monkeypatch):
    import conformance.adapters.torch as adapter

    def wrong(model, x, taps=adapter.taps):
        found = taps(model, x)
        return {**found, "stage2.0.conv2": found["stage2.0.conv2"] * 1.001}

    monkeypatch.setattr(adapter, "taps", wrong)
    done = senet("compare", canonical, "--frameworks", "torch", "--size", "65x64", "--in-process")
    assert done.exit_code == 1
    assert "disagreed, first at stage2.0.conv2" in done.stdout


@pytest.mark.parametrize("labels", ["devkit", "sorted"])
def test_classify_names_classes_in_the_order_of_the_file(labels, photo, folder):
    spec = replace(SPEC, classes=1000)
    params = seeded(spec, 1)
    params["fc.weight"][:] = 0
    params["fc.bias"][:] = np.arange(1000) == 0  # class 0 wins
    path = folder / f"{labels}.safetensors"
    weights.write(path, spec, Params(params, Info(preprocessing=CAFFE, labels=labels)))
    shown = senet("classify", photo, "--weights", path, "--top", "1").stdout
    assert {"devkit": "kit fox", "sorted": "tench"}[labels] in shown


def test_classify_prints_indices_if_label_order_is_unknown(canonical, photo):
    done = senet("classify", photo, "--weights", canonical, "--top", "3")
    assert done.exit_code == 0
    assert "label order" in done.stderr
    assert len(done.stdout.splitlines()) == 5
    assert "class" not in done.stdout


@pytest.mark.parametrize("framework", ["torch", "tf", "onnx"])
def test_classify_prints_the_same_in_every_framework(framework, canonical, photo):
    ours = senet("classify", photo, "--weights", canonical)
    theirs = senet("classify", photo, "--weights", canonical, "--framework", framework)
    assert theirs.stdout == ours.stdout


@pytest.fixture
def port(tmp_path, monkeypatch):
    """An adapter in the current folder, of which the Python path knows nothing."""
    package = tmp_path / "myport"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "adapter.py").write_text("from conformance.adapters.numpy import *\nNAME = 'mine'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    yield "myport.adapter"
    for name in ("myport.adapter", "myport"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("command", ["classify", "compare"])
def test_commands_find_an_adapter_in_the_current_folder(command, port, canonical, photo):
    before = list(sys.path)
    args = {"classify": (photo, "--weights", canonical), "compare": (canonical, "--size", "65x64", "--in-process")}
    done = senet(command, *args[command], "--framework", port)
    assert done.exit_code == 0, done.output
    assert sys.path == before


def test_demo_converts_compares_and_reports_a_checkpoint(caffemodel, folder):
    done = senet("demo", "--caffemodel", caffemodel, "--output", folder / "out", "--frameworks", "numpy")
    assert done.exit_code == 0, done.output
    assert "seeded" not in done.stdout
    assert {p.name for p in (folder / "out").iterdir()} >= {"tiny.safetensors", "report.html", PHOTO.name}


def test_demo_prints_next_commands_that_run(caffemodel, folder, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # no environment is active
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # and what is installed may be another checkout
    done = senet("demo", "--caffemodel", caffemodel, "--output", folder / "next", "--frameworks", "numpy")
    following = done.stdout[done.stdout.index("Next") :].removeprefix("Next").splitlines()
    assert len(following) == 2
    for command in following:
        again = subprocess.run(command.strip(), shell=True, capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr


def test_picture_of_the_demo_is_what_the_program_draws():
    from benchmarks.balloon import draw

    drawn, shipped = draw().astype(float), np.asarray(Image.open(PHOTO), float)
    assert drawn.shape == shipped.shape
    assert np.abs(drawn - shipped).mean() < 4  # JPEG at quality 90 loses 2.9, most of it grain


def test_frameworks_of_the_commands_are_the_standard_adapters():
    assert ("numpy", *FRAMEWORKS) == STANDARD


def test_help_imports_nothing_heavy():
    code = "import sys, conformance.cli; print([n for n in ('numpy', 'rich', 'jinja2', 'weights') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def _damage(kind: str, caffemodel, folder):
    """A checkpoint with something wrong."""
    path = folder / f"{kind}.caffemodel"
    whole = caffemodel.read_bytes()
    if kind == "html":
        path.write_bytes(b"<!DOCTYPE html><html><body>404 Not Found</body></html>")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(whole[: len(whole) * 2 // 3])
    elif kind != "absent":
        net = caffe_file.load(caffemodel)
        layers = list(net.layers)
        at = next(i for i, layer in enumerate(layers) if layer.name == "conv2_1_1x1_reduce")
        if kind == "missing_layer":
            del layers[at]
        elif kind == "extra_layer":
            layers.insert(at, replace(layers[at], name="one_too_many", tops=("nowhere",)))
        elif kind == "wrong_shape":
            layers[at] = replace(layers[at], blobs=(layers[at].blobs[0][:-1],))
        elif kind == "other_network":
            layers = [layer for layer in layers if layer.type != "Axpy"]
        caffe_file.save(path, replace(net, layers=tuple(layers)))
    return path


@pytest.mark.parametrize(
    "kind",
    ["html", "empty", "truncated", "missing_layer", "extra_layer", "wrong_shape", "other_network", "absent"],
)
@pytest.mark.parametrize("command", ["inspect", "convert", "compare"])
def test_bad_checkpoint_exits_2_with_one_message(kind, command, caffemodel, folder):
    path = _damage(kind, caffemodel, folder)
    target = folder / f"{kind}.safetensors"
    result = senet(command, path, *([target] if command == "convert" else []))
    fails(result, str(path))
    assert not target.exists()
    assert not list(folder.glob(".*.part"))


def test_message_names_layer_of_wrong_shape(caffemodel, folder):
    fails(senet("inspect", _damage("wrong_shape", caffemodel, folder)), "conv2_1_1x1_reduce")


def test_inspect_describes_caffe_file_of_unknown_family(caffemodel, folder):
    result = senet("inspect", _damage("other_network", caffemodel, folder))
    fails(result)
    assert "none of this family" in result.stdout
    assert "Convolution" in result.stdout


def test_ignored_content_gives_one_warning(caffemodel, folder):
    path = folder / "trailing.caffemodel"
    path.write_bytes(caffemodel.read_bytes() + b"\0" * 16)
    result = senet("inspect", path)
    assert result.exit_code == 0
    assert result.stderr == f"senet: warning: {path}: 16 zero bytes follow the network; not used\n"


@pytest.mark.parametrize("place", ["folder", "missing/x.safetensors", "file/x.safetensors"])
def test_unwritable_output_exits_2_with_one_message(place, canonical, tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "file").touch()
    target = tmp_path / (place if place != "folder" else "folder.safetensors")
    fails(senet("convert", canonical, target), str(target))


def test_full_disk_exits_2_with_one_message(canonical, tmp_path, monkeypatch):
    class Full(FileIO):
        def write(self, _data: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    opened = Path.open

    def full(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        return Full(path, mode) if "x" in mode else opened(path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    fails(senet("convert", canonical, tmp_path / "x.pth"), "no space")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--report", "--json"])
def test_compare_exits_2_if_an_output_cannot_be_written(option, canonical, tmp_path):
    done = senet("compare", canonical, "--frameworks", "numpy", "--size", "65x64", option, tmp_path / "no" / "x")
    fails(done, str(tmp_path / "no"))


@pytest.mark.parametrize("command", ["classify", "compare"])
@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, None])
def test_unreadable_image_exits_2_with_one_line(command, content, canonical, tmp_path):
    image = tmp_path / "photo.jpg"
    if content is not None:
        image.write_bytes(content)
    args = {"classify": (image, "--weights", canonical), "compare": (canonical, "--image", image)}[command]
    fails(senet(command, *args), str(image))


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (("compare", "x.safetensors", "--size", "224"), "224x224"),
        (("compare", "x.safetensors", "--frameworks", "torch,mxnet"), "mxnet"),
        (("compare", "x.safetensors", "--dtype", "float8"), "float8"),
        (("convert", "x.safetensors"), "DST"),
        (("convert", "x.unknown", "y.onnx"), "x.unknown"),
        (("inspect", "x.safetensors", "--prototxt", "y"), "leave out prototxt y"),
        (("nonsense",), "nonsense"),
    ],
)
def test_wrong_usage_exits_2_with_one_line(args, part):
    result = senet(*args)
    fails(result, part)
    assert len(result.stderr.splitlines()) == 1


def test_too_small_input_exits_2_with_one_message(canonical):
    fails(senet("compare", canonical, "--frameworks", "numpy", "--size", "1x1"), "1x1")


def test_convert_refuses_to_overwrite_its_source(canonical):
    before = canonical.read_bytes()
    fails(senet("convert", canonical, canonical), "source itself")
    assert canonical.read_bytes() == before


def test_interrupt_exits_130(canonical, monkeypatch):
    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, "read", interrupted)
    fails(senet("inspect", canonical), "interrupted", code=130)


def test_closed_pipe_exits_quietly_with_141():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "conformance", "models"], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 141


def test_senet_without_arguments_lists_the_commands():
    result = senet()
    assert "convert" in result.output
    assert result.exit_code == 2
