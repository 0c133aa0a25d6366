"""Every format to every other, and back to Caffe: the same bits, and the same knowledge about them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from odd_networks import INCEPTION, INFO, SENET, same, seeded

from weights import InceptionSpec, Params, Spec, read, schema, write


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
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*statistics rounded to float32:weights.errors.InputWarning"),
    pytest.mark.filterwarnings("ignore:.*dropout. 0.2 to 0.20000000298023224:weights.errors.InputWarning"),
]


class Origin(NamedTuple):
    path: Path
    spec: Spec
    params: Params


@pytest.fixture(scope="module")
def origins(tmp_path_factory) -> dict[str, Origin]:
    """A Caffe pair of each network, as read."""
    found = {}
    for name, spec in NETWORKS.items():
        path = tmp_path_factory.mktemp("origin") / "net.caffemodel"
        write(path, spec, seeded(spec, INFO))
        found[name] = Origin(path, *read(path))
    return found


def names(network: str) -> list[str]:
    """The formats that can hold a network: timm and Cadene have no names for Inception."""
    without = ("timm", "cadene") if isinstance(NETWORKS[network], InceptionSpec) else ()
    return [name for name, route in FORMATS.items() if route.options.get("dialect") not in without]


PAIRS = [(network, a, b) for network in NETWORKS for a in names(network) for b in names(network)]


def through(name: str, folder: Path, spec: Spec, params: Params) -> tuple[Spec, Params]:
    route = FORMATS[name]
    pytest.importorskip(route.needs)
    path = folder / f"{name.replace(' ', '-')}{route.suffix}"
    write(path, spec, params, **route.options)
    return read(path)


def rounded(params: Params, *formats: str) -> Params:
    """What is left after formats that hold float32 alone, or (Caffe) statistics as float64."""
    found = Params(params, params.info)
    for name in formats:
        for key, array in found.items():
            if name == "onnx":
                found[key] = array.astype(np.float32)
            elif name == "caffe" and key.endswith(("running_mean", "running_var")):
                found[key] = array.astype(np.float64)
    return found


@pytest.mark.parametrize(("network", "first", "second"), PAIRS)
def test_bits_and_knowledge_survive_two_formats(origins, tmp_path, network, first, second):
    origin = origins[network]
    spec, params = through(second, tmp_path, *through(first, tmp_path, origin.spec, origin.params))
    assert spec == origin.spec
    assert same(params, rounded(origin.params, first, second))
    assert params.info.preprocessing == origin.params.info.preprocessing
    assert params.info.labels == origin.params.info.labels
    assert params.info.assumed == origin.params.info.assumed


@pytest.mark.parametrize(
    ("network", "name"), [(network, name) for network in NETWORKS for name in names(network) if name != "onnx"]
)
def test_a_caffe_pair_comes_back_byte_for_byte(origins, tmp_path, network, name):
    origin = origins[network]
    spec, params = through(name, tmp_path, origin.spec, origin.params)
    write(tmp_path / "back.caffemodel", spec, params)
    assert (tmp_path / "back.caffemodel").read_bytes() == origin.path.read_bytes()
    assert definition(tmp_path / "back.prototxt") == definition(origin.path.with_suffix(".prototxt"))


def definition(path: Path) -> list[str]:
    """Without the comments, which say where the values come from."""
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("network", NETWORKS)
def test_a_caffe_pair_from_onnx_has_its_float32_statistics(origins, tmp_path, network):
    origin = origins[network]
    spec, params = through("onnx", tmp_path, origin.spec, origin.params)
    write(tmp_path / "back.caffemodel", spec, params)
    found, back = read(tmp_path / "back.caffemodel")
    assert found == origin.spec
    assert all(np.array_equal(back[p.name], params[p.name]) for p in schema(spec))
