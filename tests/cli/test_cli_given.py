"""What is said to a command because a file does not say it, and what commands say they assume."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from click.testing import CliRunner

import se_torch
import weights
from conformance.cases import TINY, seeded
from conformance.cli import main
from conformance.cli.demonstration import PHOTO
from weights import CAFFE, MODELS, SE, Info, Params
from weights.files.state_dict import to_state
from weights.networks.models import to_dict

SPEC = TINY["tiny-se-resnet"]
SMALL = replace(CAFFE, resize=40, crop=33)


def senet(*args: object):
    return CliRunner().invoke(main, [str(a) for a in args])


@pytest.fixture
def bare(tmp_path):
    """A dictionary of tensors as PyTorch saves it, without the note that the state dict of a network carries."""
    path = tmp_path / "bare.pth"
    torch.save(dict(se_torch.restore(SPEC, seeded(SPEC, 1)).state_dict()), path)
    return path


@pytest.fixture
def preprocessing(tmp_path):
    path = tmp_path / "preprocessing.json"
    path.write_text(json.dumps(asdict(SMALL)))
    return path


def test_what_is_assumed_is_said_in_words(bare, tmp_path):
    words = (
        "stride of a stage in (the first 1x1)",
        "BatchNorm epsilon (9.99",
        "gate of the SE blocks (sigmoid)",
        "position of the SE blocks (standard)",
    )
    shown = " ".join(senet("inspect", bare).stdout.split())
    said = senet("convert", bare, tmp_path / "x.safetensors").stdout
    compared = senet("compare", bare, "--frameworks", "numpy", "--size", "33x33")
    frozen = senet("freeze", bare, tmp_path / "golden.safetensors", "--size", "33x33", "--batch", 1)
    for text in words:
        assert frozen.stderr.count(text) == 1
        assert text in shown
        assert text in said
        assert compared.stderr.count(text) == 1
    assert "assumed, not stated by bare.pth: " in said


def test_a_program_too_says_what_is_assumed(bare, tmp_path, monkeypatch):
    import se_torch

    monkeypatch.setattr(se_torch, "save", lambda *_: None)
    for suffix in (".pt2", ".onnx"):
        said = senet("convert", bare, tmp_path / f"x{suffix}").stdout
        assert "\nassumed, not stated by bare.pth: first pooling (" in said
        assert "gate of the SE blocks (sigmoid)" in said


def test_what_is_given_is_not_assumed(bare, tmp_path):
    target = tmp_path / "x.safetensors"
    done = senet("convert", bare, target, "--spec", "se-resnet-50")
    assert done.exit_code == 2
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(to_dict(SPEC)))
    done = senet("convert", bare, target, "--spec", f"{spec},se.gate=tanh")
    assert done.exit_code == 0, done.stderr
    assert "assumed" not in done.stdout
    assert weights.read(target).spec.se == SE(reduction=4, gate="tanh")


def test_classify_asks_for_the_preprocessing_that_is_not_known(bare, preprocessing):
    asked = senet("classify", PHOTO, "--weights", bare)
    assert (asked.exit_code, len(asked.stderr.splitlines())) == (2, 1)
    assert "--preprocessing" in asked.stderr
    assert senet("classify", PHOTO, "--weights", bare, "--preprocessing", preprocessing).exit_code == 0


def test_classify_asks_for_the_classes_of_a_thousand_that_are_not_known(tmp_path):
    spec = replace(SPEC, classes=1000)
    path = tmp_path / "thousand.safetensors"
    weights.write(path, spec, Params(seeded(spec, 1), Info(preprocessing=SMALL)))
    asked = senet("classify", PHOTO, "--weights", path)
    assert (asked.exit_code, len(asked.stderr.splitlines())) == (2, 1)
    assert "--labels" in asked.stderr
    assert senet("classify", PHOTO, "--weights", path, "--labels", "sorted").exit_code == 0


def test_classify_prints_the_class_names_that_are_given(tmp_path):
    path, names = tmp_path / "ten.safetensors", tmp_path / "names.txt"
    weights.write(path, SPEC, Params(seeded(SPEC, 1), Info(preprocessing=SMALL)))
    names.write_text("\n".join(f"kind {i}" for i in range(10)))
    shown = senet("classify", PHOTO, "--weights", path, "--class-names", names, "--top", "10").stdout
    assert all(f"kind {i}" in shown for i in range(10))


@pytest.mark.parametrize(
    ("option", "value", "part"),
    [
        ("--preprocessing", "torchvision", "caffe, imagenet"),
        ("--preprocessing", "{", "is no JSON"),
        ("--preprocessing", "[]", "expected caffe"),
        ("--preprocessing", "{}", "channels"),
        ("--preprocessing", "missing.json", "missing.json"),
        ("--class-names", "missing.txt", "missing.txt"),
        ("--spec", "se-resnet-51", "se-resnet-50"),
        ("--spec", "se-resnet-50,se.gate=sin", "gate"),
        ("--labels", "sorted", "leave out --labels"),
    ],
)
def test_options_that_do_not_fit_exit_2_with_one_line(bare, option, value, part):
    done = senet("inspect", bare, option, value)
    assert done.exit_code == 2
    assert part in done.stderr
    assert done.stderr.startswith("senet: ")


def test_init_writes_the_same_numbers_for_the_same_seed(tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        assert senet("init", "tiny-se-resnet", tmp_path / f"{name}.safetensors", "--seed", seed).exit_code == 0
    a, b, c = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    assert "drawn from seed 7" in senet("inspect", tmp_path / "a.safetensors").stdout


def test_init_takes_variants(tmp_path):
    path = tmp_path / "varied.safetensors"
    done = senet("init", "se-resnet-50,depths=[1,1,1,1],classes=3,se.gate=tanh", path)
    assert done.exit_code == 0, done.stderr
    spec = weights.read(path).spec
    assert spec.classes == 3
    assert spec.se == SE(gate="tanh")


def test_models_are_chosen_by_pattern():
    names = [row["name"] for row in json.loads(senet("models", "se-resnet-1[05]?", "bn-*", "--json").stdout)]
    assert names == ["se-resnet-101", "se-resnet-152", "bn-inception"]
    done = senet("models", "alexnet*")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)


def test_paper_is_printed_as_text_markdown_and_json():
    text, page = senet("models", "--paper").stdout, senet("models", "--paper", "gate", "--markdown").stdout
    assert "28,071,976" in text
    assert "[2] The article prints 2.26" in " ".join(text.split())
    assert "| tanh | 28,088,024 | 28,071,976 | 3.860 |" in page
    assert "Reduction" not in page
    data = json.loads(senet("models", "--paper", "reduction", "--json").stdout)
    assert [row["choice"] for row in data["rows"]] == ["2", "4", "8", "16", "32", "no SE blocks"]
    assert data["rows"][2]["published"]["top1_error"] == 22.26
    assert set(data["notes"]) == {"1", "2"}


def test_every_command_asks_for_the_network_where_names_cannot_tell_it(tmp_path, preprocessing):
    spec = replace(MODELS["tf-mobilenet-v3-small"], classes=2)
    bare, whole, record = tmp_path / "bare.pth", tmp_path / "whole.safetensors", tmp_path / "spec.json"
    params = Params(seeded(spec, 1), Info(preprocessing=SMALL))
    weights.write(whole, spec, params)
    torch.save({name: torch.tensor(array) for name, array in to_state(spec, params).items()}, bare)
    record.write_text(json.dumps(to_dict(spec)))
    reading = ("--preprocessing", preprocessing)
    commands = {
        "inspect": ("inspect", bare),
        "convert": ("convert", bare, tmp_path / "x.keras"),
        "classify": ("classify", PHOTO, "--weights", bare, "--framework", "numpy", *reading),
        "compare": ("compare", bare, "--frameworks", "numpy", "--size", "32x32", "--in-process"),
        "freeze": ("freeze", bare, tmp_path / "golden.npz", "--size", "32x32"),
        "excite": ("excite", PHOTO, "--weights", bare, "--framework", "numpy", *reading),
        "diff": ("diff", whole, bare),
    }
    for name, command in commands.items():
        refused = senet(*command)
        assert refused.exit_code == 2, name
        assert refused.stderr == (
            f"senet: {bare}: neither names nor shapes of its tensors tell whether it is mobilenet-v3-small,classes=2 "
            "or tf-mobilenet-v3-small,classes=2, which differ in eps and padding; say which one, with spec= (--spec on "
            "the command line)\n"
        )
        done = senet(*command, "--spec", record if name == "inspect" else "tf-mobilenet-v3-small,classes=2")
        assert done.exit_code == 0, (name, done.output)


@pytest.mark.parametrize("option", ["--spec", "--preprocessing", "--weights-key", "--dialect"])
def test_what_is_said_of_a_file_is_refused_where_a_network_is_named(tmp_path, option):
    done = senet("freeze", "tiny-se-resnet", tmp_path / "golden.safetensors", option, "timm")
    assert done.exit_code == 2
    assert f"{option}: is for a file, and tiny-se-resnet is a network, whose weights are drawn" in done.stderr
    assert not (tmp_path / "golden.safetensors").exists()
