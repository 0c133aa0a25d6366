"""What docs/adding-a-network.md promises: one file in each package and a row in each table, and everything works."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import conformance
import se_jax
import se_tf
import se_torch
import weights
from conformance.cases import image, seeded
from se_jax.models import NETWORKS as JAX
from se_tf.models import NETWORKS as TF
from se_torch.models import NETWORKS as TORCH
from tests.adding import pebble, pebble_jax, pebble_tf, pebble_torch
from tests.adding.pebble import PebbleSpec
from weights import FAMILIES, MODELS, SE, InputError, cost, schema

SPEC = pebble.PUBLISHED[0]
PACKAGES = {"torch": se_torch, "jax": se_jax, "tf": se_tf}


@pytest.fixture(autouse=True)
def _added(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that the page asks for."""
    monkeypatch.setitem(FAMILIES, PebbleSpec.family, PebbleSpec)
    monkeypatch.setitem(MODELS, SPEC.name, SPEC)
    monkeypatch.setitem(TORCH, PebbleSpec.family, pebble_torch.Pebble)
    monkeypatch.setitem(JAX, PebbleSpec.family, pebble_jax.Pebble)
    monkeypatch.setitem(TF, PebbleSpec.family, pebble_tf.Pebble)


@pytest.mark.parametrize("framework", ["torch", "jax", "tf", "onnx"])
def test_every_framework_agrees_with_the_reference(framework: str):
    x = image(2, 2, 21, 30)
    found = conformance.compare(SPEC, seeded(SPEC, 1), x, [framework], isolated=False)
    assert found.agreed, found.results[framework]


def test_parameters_and_costs_follow_from_the_nodes():
    assert [p.name for p in schema(SPEC)][:2] == ["unit1.conv.weight", "unit1.bn.weight"]
    assert cost(SPEC, 32, 32).macs == 16 * 16 * 8 * 27 + 2 * 8 * 2 + 8 * 8 * 16 * 72 + 2 * 16 * 4 + 16 * 5


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".keras", ".weights.h5", ".onnx"])
def test_every_format_returns_the_parameters(suffix: str, tmp_path: Path):
    params = seeded(SPEC, 1)
    params = weights.Params({name: array.astype(np.float32) for name, array in params.items()}, params.info)
    path = tmp_path / f"pebble{suffix}"
    weights.write(path, SPEC, params)
    spec, found = weights.read(path)
    assert spec == SPEC
    assert all(np.array_equal(found[name], params[name]) for name in params)


@pytest.mark.parametrize("framework", PACKAGES)
def test_the_network_is_built_by_name_and_varied_by_its_record(framework: str):
    assert PACKAGES[framework].build("se-pebble", classes=3, se=SE(reduction=2, gate="tanh")).spec == replace(
        SPEC, classes=3, se=SE(reduction=2, gate="tanh")
    )


def test_impossible_records_are_refused():
    with pytest.raises(InputError, match="leaves no hidden unit for 8 channels"):
        replace(SPEC, se=SE(reduction=16))
