"""Model cards beside converted files, as the hub's own library reads them."""

import ast
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from huggingface_hub import ModelCard
from PIL import Image

import weights
from conformance import cases, cli
from conformance.report.card import card
from weights import Checkpoint, Info, OnnxOptions, Params, hub


def senet(*args: object) -> Result:
    return CliRunner().invoke(cli.main, list(map(str, args)))


def tiny(classes: int = 10, **info: object) -> Checkpoint:
    spec = replace(cases.TINY["tiny-se-resnet"], classes=classes)
    return Checkpoint(spec, Params(cases.seeded(spec, 1), Info(**info)))  # type: ignore[arg-type]


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "net.safetensors"
    known = hub.find("se-resnet-50")
    sha256 = {"source": known.file, "format": "caffemodel", "sha256": known.sha256}
    history = ("classifier reordered from | to devkit",)
    weights.write(path, tiny(1000, labels="devkit", preprocessing=weights.CAFFE, history=history, **sha256))
    return path


def test_card_of_released_weights_says_where_they_come_from(source, tmp_path):
    (tmp_path / "out").mkdir()
    done = senet("convert", source, tmp_path / "out" / "net.pth", "--card")
    assert done.exit_code == 0, done.stderr
    found = ModelCard.load(tmp_path / "out" / "README.md", ignore_metadata_errors=False)
    assert found.data.to_dict() == {
        "license": "apache-2.0",
        "library_name": "senet",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "squeeze-and-excitation", "resnet"],
        "datasets": ["imagenet-1k"],
        "metrics": ["accuracy"],
    }
    text = found.text
    assert hub.find("se-resnet-50").sha256 in text
    assert hub.find("se-resnet-50").address in text
    assert "top-1 77.63 %, top-5 93.64 %, of the published file, by its authors" in text
    assert "the order of the ILSVRC devkit" in text
    assert "BGR 0..255, minus (104, 117, 123)" in text
    assert "| since then | `classifier reordered from / to devkit` |" in text
    assert "senet compare net.pth" in text


def test_card_of_unknown_weights_claims_nothing():
    found = ModelCard(card(Path("x.safetensors"), tiny()), ignore_metadata_errors=False)
    assert sorted(found.data.to_dict()) == ["library_name", "pipeline_tag", "tags"]
    assert "licence | not known" in found.text
    assert "accuracy" not in found.text
    assert "10, whose meaning is not known" in found.text


def test_card_of_published_weights_that_were_changed_says_what_they_were_made_from():
    known = hub.find("se-resnet-50")
    made = tiny(1000, labels="devkit", source=known.file, sha256=known.sha256, history=("trained on | mine",))
    found = ModelCard(card(Path("x.pth"), made), ignore_metadata_errors=False)
    assert sorted(found.data.to_dict()) == ["library_name", "pipeline_tag", "tags"]
    assert f"| made from | `{known.file}`, " in found.text
    assert "licence of that file | Apache-2.0" in found.text
    assert "| since then | `trained on / mine` |" in found.text
    assert not re.search("top-1|published by \\|", found.text)


def test_card_of_seeded_weights_claims_no_data_set():
    text = card(Path("x.pth"), tiny(1000, labels="devkit", history=("drawn from seed 0",)))
    assert not re.search("imagenet-1k|accuracy", text)


@pytest.mark.parametrize(
    ("name", "made", "taken"),
    [
        ("x.onnx", OnnxOptions(precision="float16", batch=1, size=(32, 64)), "images (1, 3, 32, 64)"),
        ("x.onnx", OnnxOptions(folded=True, preprocessing="normalize"), "photographs (N, H, W, 3), uint8 RGB"),
        ("x.xml", None, "images (N, 3, H, W)"),
    ],
)
def test_card_of_a_file_that_is_not_read_shows_how_a_runtime_computes_it(name, made, taken):
    text = card(Path(name), tiny(preprocessing=weights.CAFFE), made)
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    ast.parse(code)
    assert f"# {taken}" in code
    assert "from_pretrained" not in text
    assert f"compare {name}" not in text
    assert ("senet inspect x.onnx" in text) == bool(made and made.reduced)


def test_code_of_a_card_of_a_folded_file_runs(source, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 40)).save("photo.jpg")
    assert senet("convert", source, "x.onnx", "--fold", "--card").exit_code == 0
    (code,) = re.findall(r"^```python\n(.*?)^```$", Path("README.md").read_text(), re.M | re.S)
    found: dict[str, Any] = {}
    exec(code, found)
    assert found["logits"].shape == (1, 1000)


def test_where_a_card_cannot_be_nothing_is_written(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").symlink_to(tmp_path / "nowhere" / "x.md")
    done = senet("convert", source, tmp_path / "out" / "x.pth", "--card")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["README.md"]


def test_card_of_a_network_without_classifier_is_of_features():
    found = ModelCard(card(Path("x.safetensors"), tiny(0)), ignore_metadata_errors=False)
    assert found.data.to_dict()["pipeline_tag"] == "image-feature-extraction"


def test_card_marks_what_is_assumed():
    known = tiny(1000, labels="devkit", preprocessing=weights.CAFFE, assumed=("labels",))
    assert "assumed, because the source did not state it | label order (devkit)" in card(Path("x.pth"), known)


def test_names_from_files_change_neither_metadata_nor_text():
    nasty = "`---\nlicense: mit\n|<script>`"
    spec, params = tiny()
    text = card(Path(f'{nasty}".onnx'), Checkpoint(replace(spec, name=nasty), Params(params, Info(history=(nasty,)))))
    assert yaml.safe_load(text.split("---\n")[1]).keys() == {"library_name", "pipeline_tag", "tags"}
    code = "`'---\\nlicense: mit\\n/<script>'`"
    assert [line for line in text.splitlines() if "script" in line and "from_pretrained" not in line] == [
        f"# {code}",
        next(line for line in text.splitlines() if line.endswith(f'to {code[:-1]}".onnx`.')),
        f"| since then | {code} |",
        '    senet compare `---\\nlicense: mit\\n|<script>`".onnx',
    ]
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S):
        ast.parse(block)


def test_code_of_a_card_is_python_for_each_framework():
    text = card(Path("x.onnx"), tiny(preprocessing=weights.CAFFE))
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert [re.findall(r"se_\w+", block)[0] for block in blocks] == ["se_torch", "se_jax", "se_tf"]
    assert all(ast.parse(block) for block in blocks)
    assert "Any ONNX runtime" in text


def test_card_of_somebody_else_is_not_replaced_unless_that_is_said(source, tmp_path):
    target, readme = tmp_path / "x.pth", tmp_path / "README.md"
    readme.write_text("mine")
    done = senet("convert", source, target, "--card")
    assert (done.exit_code, done.stderr) == (
        2,
        f"senet: {readme}: was not written by senet; --replace-card replaces it\n",
    )
    assert (readme.read_text(), target.exists()) == ("mine", False)
    assert senet("convert", source, target, "--replace-card").exit_code == 0
    assert senet("convert", source, tmp_path / "y.pth", "--card").exit_code == 0  # over one of ours
    assert "y.pth" in readme.read_text()


def test_without_being_asked_no_card_is_written(source, tmp_path):
    assert senet("convert", source, tmp_path / "x.pth").exit_code == 0
    assert not (tmp_path / "README.md").exists()


def test_card_beside_no_file_is_one_line(source):
    done = senet("convert", source, "/dev/stdout", "--card")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
