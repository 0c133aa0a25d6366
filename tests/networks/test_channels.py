"""Images of one channel or of four, with maps of depth or temperature beside the colours: a field of the record."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import conformance
import weights
from conformance.cases import TINY, image, seeded
from weights import InputError, Params, Spec, schema
from weights.change import rewrite
from weights.images import takes_photographs
from weights.networks.models import from_dict, parse, to_dict

SPECS = [replace(TINY[name], in_channels=n) for name in ("tiny-se-resnet", "tiny-se-bn-inception") for n in (1, 4)]


def single(spec: Spec) -> Params:
    params = seeded(spec, 1)
    return Params({name: array.astype(np.float32) for name, array in params.items()}, params.info)


def identity(spec: Spec) -> str:
    return f"{spec.name} {spec.in_channels}"


@pytest.mark.parametrize("spec", SPECS, ids=identity)
def test_first_convolution_has_as_many_channels(spec: Spec):
    assert schema(spec)[0].shape[1] == spec.in_channels


@pytest.mark.parametrize("spec", SPECS, ids=identity)
def test_record_survives_data(spec: Spec):
    assert from_dict(to_dict(spec)) == spec
    assert "in_channels" not in to_dict(replace(spec, in_channels=3))  # as in older files


@pytest.mark.parametrize("framework", ["torch", "jax_eager", "tf", "onnx"])
def test_every_framework_agrees_with_the_reference(framework: str):
    spec = SPECS[0]
    x = image(2, 2, 64, 67, spec.in_channels)
    found = conformance.compare(spec, seeded(spec, 1), x, [framework], isolated=False)
    assert found.agreed, found.results[framework]


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".keras", ".weights.h5", ".onnx", ".caffemodel"])
@pytest.mark.parametrize("spec", SPECS, ids=identity)
def test_every_format_keeps_the_channels(spec: Spec, suffix: str, tmp_path: Path):
    params = single(spec)
    weights.write(tmp_path / f"x{suffix}", spec, params)
    found = weights.read(tmp_path / f"x{suffix}")
    assert replace(found.spec, name=spec.name) == spec
    assert all(np.array_equal(found.params[name], params[name]) for name in params)


@pytest.mark.parametrize("spec", SPECS, ids=identity)
def test_bare_tensors_tell_the_channels(spec: Spec, tmp_path: Path):
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(array) for name, array in single(spec).items()}
    torch.save(state, tmp_path / "x.pth")
    found = weights.read(tmp_path / "x.pth")
    assert found.spec.in_channels == spec.in_channels
    assert "in_channels" not in found.info.assumed


def test_description_states_the_channels():
    assert parse("se-resnet-50,in_channels=4").in_channels == 4


def test_input_of_other_channels_is_refused():
    with pytest.raises(InputError, match=r"the input has shape \(1, 3, 64, 64\), expected \(N, 1, H, W\)"):
        conformance.run("numpy", SPECS[0], seeded(SPECS[0], 1), image(2, 1, 64, 64))


def test_photographs_are_refused_with_both_numbers():
    with pytest.raises(InputError, match=r"photo.jpg: is an image of 3 channels, and tiny-se-resnet takes 1"):
        takes_photographs(SPECS[0], "photo.jpg")


def test_rewriting_for_colours_is_refused():
    with pytest.raises(InputError, match="takes images of 4 channels, expected 3"):
        rewrite(SPECS[1], seeded(SPECS[1], 1), "rgb01")
