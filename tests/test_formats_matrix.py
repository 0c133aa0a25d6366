"""Every format to every other, and back to Caffe: the same bits, and the same knowledge about them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from networks import INCEPTION, INFO, SENET, same, seeded

from weights import Inception, Params, Spec, read, schema, write


class Route(NamedTuple):
    suffix: str
    options: Mapping[str, Any] = {}
    needs: str = "numpy"


FORMATS = {
    "caffe": Route(".caffemodel"),
    "canonical": Route(".safetensors"),
    "torch safetensors": Route(".safetensors", {"dialect": "torch"}),
    "timm safetensors": Route(".safetensors", {"dialect": "timm"}),
    "pth": Route(".pth"),
    "timm pth": Route(".pth", {"dialect": "timm"}),
    "cadene pt": Route(".pt", {"dialect": "cadene"}),
    "keras": Route(".keras"),
    "keras weights": Route(".weights.h5"),
    "orbax": Route(".orbax", needs="orbax.checkpoint"),
    "onnx": Route(".onnx", needs="onnx_ir"),
}
NETWORKS = {spec.name: spec for spec in (SENET, INCEPTION)}


class Origin(NamedTuple):
    path: Path
    spec: Spec
    params: Params


@pytest.fixture(scope="module", params=NETWORKS)
def origin(request, tmp_path_factory) -> Origin:
    """A Caffe pair, as read."""
    path = tmp_path_factory.mktemp("origin") / "net.caffemodel"
    spec = NETWORKS[request.param]
    write(path, spec, seeded(spec, INFO))
    return Origin(path, *read(path))


def through(name: str, folder: Path, spec: Spec, params: Params) -> tuple[Spec, Params]:
    route = FORMATS[name]
    pytest.importorskip(route.needs)
    if route.options.get("dialect") in ("timm", "cadene") and isinstance(spec, Inception):
        pytest.skip("timm and Cadene have no names for such a network")
    path = folder / f"{name.replace(' ', '-')}{route.suffix}"
    write(path, spec, params, **route.options)
    return read(path)


def rounded(params: Params, *names: str) -> Params:
    """What is left after formats that hold float32 alone, or (Caffe) statistics as float64."""
    found = Params(params, params.info)
    for name in names:
        for key, array in found.items():
            if name == "onnx":
                found[key] = array.astype(np.float32)
            elif name == "caffe" and key.endswith(("running_mean", "running_var")):
                found[key] = array.astype(np.float64)
    return found


@pytest.mark.parametrize("second", FORMATS)
@pytest.mark.parametrize("first", FORMATS)
def test_bits_and_knowledge_survive_two_formats(origin, tmp_path, first, second):
    spec, params = through(second, tmp_path, *through(first, tmp_path, origin.spec, origin.params))
    assert spec == origin.spec
    assert same(params, rounded(origin.params, first, second))
    assert params.info.preprocessing == origin.params.info.preprocessing
    assert params.info.labels == origin.params.info.labels
    assert params.info.assumed == origin.params.info.assumed


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "onnx"])
def test_a_caffe_pair_comes_back_byte_for_byte(origin, tmp_path, name):
    spec, params = through(name, tmp_path, origin.spec, origin.params)
    write(tmp_path / "back.caffemodel", spec, params)
    assert (tmp_path / "back.caffemodel").read_bytes() == origin.path.read_bytes()
    assert definition(tmp_path / "back.prototxt") == definition(origin.path.with_suffix(".prototxt"))


def definition(path: Path) -> list[str]:
    """Without the comments, which say where the values come from."""
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def test_a_caffe_pair_from_onnx_has_its_float32_statistics(origin, tmp_path):
    spec, params = through("onnx", tmp_path, origin.spec, origin.params)
    write(tmp_path / "back.caffemodel", spec, params)
    found, back = read(tmp_path / "back.caffemodel")
    assert found == origin.spec
    assert all(np.array_equal(back[p.name], params[p.name]) for p in schema(spec))
