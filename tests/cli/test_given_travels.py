"""What is said of a bare file by hand (network, preprocessing, class names) travels with it through every format."""

import json
from dataclasses import asdict, replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

import weights
from conformance.cases import TINY, seeded
from conformance.cli import main
from weights import SE, Preprocessing
from weights.files.safetensors import save_tensors
from weights.files.state_dict import to_state
from weights.networks.models import to_dict

SPEC = replace(TINY["tiny-se-resnet"], se=SE(reduction=4, gate="tanh"), stride_on_3x3=True, classes=4)
PREPROCESSING = Preprocessing(
    channels="rgb", range=1, mean=(0.485, 0.456, 0.1), std=(0.229, 0.224, 1 / 3), resize=40, crop=32
)
NAMES = ["Größe, 大きさ", '"quoted" \\ back', "# no comment", "a" * 300]
FORMATS = ("1.onnx", "2.caffemodel", "3.keras", "4.weights.h5", "5.pth", "6.caffemodel", "7.onnx", "8.safetensors")


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> list[Path]:
    """A bare state dict as the first file, and each of the formats made from the one before."""
    folder = tmp_path_factory.mktemp("chain")
    save_tensors(folder / "bare.safetensors", to_state(SPEC, seeded(SPEC, 1)), {})
    (folder / "spec.json").write_text(json.dumps(to_dict(replace(SPEC, se=SE(reduction=4)))))
    (folder / "preprocessing.json").write_text(json.dumps(asdict(PREPROCESSING)))
    (folder / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    given = ["--spec", f"{folder / 'spec.json'},se.gate=tanh", "--preprocessing", folder / "preprocessing.json"]
    given += ["--class-names", folder / "names.txt"]
    files = [folder / "bare.safetensors", *(folder / name for name in FORMATS)]
    for source, target in pairwise(files):
        done = CliRunner().invoke(main, ["convert", *map(str, (source, target, *given))])
        assert done.exit_code == 0, done.output
        given = []
    return files


def test_every_format_states_it(chain):
    for file in chain[1:]:
        spec, params = weights.read(file)
        assert replace(spec, name=SPEC.name) == SPEC, file
        assert params.info.preprocessing == PREPROCESSING, file
        assert params.info.class_names == tuple(NAMES), file
        assert params.info.assumed == (), file


@pytest.mark.slow
@pytest.mark.parametrize("package", ["se_torch", "se_jax", "se_tf"])
def test_models_of_every_framework_have_it(package, chain):
    model = import_module(package).from_pretrained(chain[-2])
    assert (model.preprocessing, model.class_names) == (PREPROCESSING, tuple(NAMES))
    assert replace(model.spec, name=SPEC.name) == SPEC


def test_classes_are_called_the_same_from_first_to_last(chain, tmp_path):
    Image.effect_noise((50, 60), 90).convert("RGB").save(tmp_path / "photo.png")
    said = []
    for file in (chain[1], chain[2], chain[-1]):
        args = ("classify", tmp_path / "photo.png", "--weights", file, "--json", "-", "--top", 4)
        done = CliRunner().invoke(main, [str(arg) for arg in args])
        assert done.exit_code == 0, done.output
        said.append(json.loads(done.stdout)["photos"])
    assert said[0] == said[1] == said[2]
    assert {c["name"] for c in said[0][0]["classes"]} == set(NAMES)
