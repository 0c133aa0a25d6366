"""What holds for every family alike, on a small network of each: the commands, and files that do not fit."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from families.small import SMALL

import weights
from conformance.cases import seeded
from conformance.cli import main
from conformance.cli.demonstration import PHOTO
from weights import FAMILIES, InputError, Params
from weights.caffe.layers import layers
from weights.caffe.net import Net
from weights.caffe.recognise import recognise
from weights.files.state_dict import from_state, to_state
from weights.networks.models import to_dict

FAMILY = pytest.mark.parametrize("family", SMALL)


def test_there_is_a_small_network_of_every_family() -> None:
    assert SMALL.keys() == FAMILIES.keys()
    assert all(spec.se for spec in SMALL.values())


# --- the commands


def senet(*args: object) -> str:
    """What a command prints that ends with 0."""
    done = CliRunner().invoke(main, [str(arg) for arg in args])
    assert done.exit_code == 0, done.output
    return done.stdout


@FAMILY
def test_every_command_takes_every_family(family: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx_ir")
    spec = SMALL[family]
    height, width = spec.only_size or (45, 38)
    size = f"{height}x{width}"
    record, first = tmp_path / "spec.json", tmp_path / "x.safetensors"
    record.write_text(json.dumps(to_dict(spec)))
    assert f"{spec.name}, " in senet("init", record, first, "--seed", 3)
    before = first
    for suffix in (".pth", ".weights.h5", ".caffemodel", ".onnx"):
        target = tmp_path / f"x{suffix}"
        assert f"{target}: {spec.name}, " in senet("convert", before, target)
        assert re.search(rf"^ +classes +{spec.classes}$", senet("inspect", target), re.MULTILINE)
        before = target
    senet("diff", first, before, "--rounding")
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"class {i}" for i in range(spec.classes)))
    ranked = senet("classify", PHOTO, "--weights", before, "--framework", "torch", "--class-names", names, "--top", 10)
    assert sum(f"class {i}" in ranked for i in range(spec.classes)) == spec.classes
    golden = tmp_path / "golden.safetensors"
    assert spec.name in senet("freeze", first, golden, "--size", size)
    table = senet("compare", first, "--frameworks", "numpy,torch", "--in-process", "--against", golden)
    assert table.count(" agreed") >= 2
    assert "disagreed" not in table


# --- files that do not fit


@FAMILY
@pytest.mark.parametrize("suffix", [".caffemodel", ".safetensors", ".pth", ".weights.h5", ".keras", ".onnx"])
def test_a_truncated_file_is_one_line(suffix: str, family: str, tmp_path: Path) -> None:
    pytest.importorskip({".onnx": "onnx_ir"}.get(suffix, "numpy"))
    path = tmp_path / f"x{suffix}"
    weights.write(path, SMALL[family], rounded(family))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError) as error:
        weights.read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def rounded(family: str) -> Params:
    """Seeded weights that every format can hold."""
    params = seeded(SMALL[family], 1)
    return Params({name: array.astype(np.float32) for name, array in params.items()}, params.info)


@FAMILY
def test_a_tensor_of_another_shape_is_named_with_the_network_that_was_recognised(family: str) -> None:
    spec = SMALL[family]
    state = to_state(spec, seeded(spec, 1))
    name = next(name for name in reversed(state) if state[name].ndim == 4)
    shape = state[name].shape
    state[name] = state[name][:, :-1] if shape[1] > 1 else state[name][:-1]
    with pytest.raises(InputError) as error:
        from_state("some.pth", state)
    first, *others = str(error.value).splitlines()
    assert re.fullmatch(r"some\.pth: does not fit [\w-]+, the nearest network known", first)
    assert any(line.strip().startswith(f"! {name} has shape {state[name].shape}, expected ") for line in others)


@FAMILY
def test_tensors_under_foreign_names_are_of_no_network(family: str) -> None:
    spec = SMALL[family]
    state = {f"net.{i}.w": array for i, array in enumerate(seeded(spec, 1).values())}
    with pytest.raises(InputError) as error:
        from_state("some.pth", state)
    tensors = f"its {len(state)} tensors (net.0.w, net.1.w, net.2.w, ...)"
    assert str(error.value).startswith(f"some.pth: {tensors} are those of no network here; names that are read are ")
    assert "\n" not in str(error.value)


@FAMILY
def test_a_foreign_layer_is_named_with_what_was_expected_there(family: str) -> None:
    spec = SMALL[family]
    found = [d.layer for d in layers(spec, spec.only_size or (64, 64))]
    last = [x.name for x in found if x.type == "Convolution" and "proj" not in x.name][-1]
    net = Net("net", tuple(replace(layer, type="Deconvolution") if layer.name == last else layer for layer in found))
    with pytest.raises(InputError) as error:
        recognise(net, "file")
    assert str(error.value).startswith(f"file: layer {last!r} (Deconvolution) does not fit ")
    assert re.search(r"expected an? .* \([\w.]+\).*, found a layer of type Deconvolution", str(error.value))
    assert "\n" not in str(error.value)
