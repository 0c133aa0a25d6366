"""What docs/adding-a-network.md promises: one file in each package and a row in each table, and everything works."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import conformance
import se_jax
import se_tf
import se_torch
import weights
from conformance.cases import image, seeded, top_diff
from se_jax.models import NETWORKS as JAX
from se_tf.models import NETWORKS as TF
from se_torch.models import NETWORKS as TORCH
from tests.adding import squeezenet, squeezenet_jax, squeezenet_tf, squeezenet_torch
from tests.adding.squeezenet import SqueezeNetSpec
from weights import FAMILIES, MODELS, SE, InputError, cost, schema
from weights.files.state_dict import from_state, to_state

TINY = SqueezeNetSpec(name="tiny", first=6, widths=(16, 24, 32), pooled=(1, 3), se=SE(reduction=4), classes=5)
SPECS = {"se": TINY, "plain": replace(TINY, se=None, dropout=0.5)}
PACKAGES = {"torch": se_torch, "jax": se_jax, "tf": se_tf}


@pytest.fixture(autouse=True)
def _added(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that the page asks for."""
    monkeypatch.setitem(FAMILIES, SqueezeNetSpec.family, SqueezeNetSpec)
    for spec in squeezenet.PUBLISHED:
        monkeypatch.setitem(MODELS, spec.name, spec)
    monkeypatch.setitem(TORCH, SqueezeNetSpec.family, squeezenet_torch.SqueezeNet)
    monkeypatch.setitem(JAX, SqueezeNetSpec.family, squeezenet_jax.SqueezeNet)
    monkeypatch.setitem(TF, SqueezeNetSpec.family, squeezenet_tf.SqueezeNet)


@pytest.mark.parametrize("framework", ["torch", "jax_eager", "tf", "onnx"])
@pytest.mark.parametrize("name", SPECS)
def test_every_framework_agrees_with_the_reference(name: str, framework: str) -> None:
    spec = SPECS[name]
    params, x = seeded(spec, 1), image(2, 2, 43, 58)
    found = conformance.compare(spec, params, x, [framework], isolated=False)
    assert found.agreed, found.results[framework]
    if framework != "onnx":
        back = conformance.compare_gradients(spec, params, x, top_diff(3, 2, 5), [framework], isolated=False)
        assert back.agreed, back.results[framework]


def test_parameters_and_costs_follow_from_the_nodes() -> None:
    plain, se = squeezenet.PUBLISHED
    assert [p.name for p in schema(plain)][:3] == ["conv.weight", "conv.bias", "fire1.squeeze.weight"]
    # torchvision's squeezenet1_1 has 1,235,496: the convolution at its end has the shape of the matrix here.
    assert cost(plain).learnable == 1_235_496
    assert cost(se).learnable - cost(plain).learnable == sum(2 * c * (c // 16) + c + c // 16 for c in plain.widths)
    one = replace(TINY, widths=(16,), pooled=(1,))
    assert cost(one, 33, 33).macs == 16 * 16 * 6 * 27 + 8 * 8 * (6 * 2 + 2 * 8 + 2 * 8 * 9) + 2 * 16 * 4 + 16 * 5


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".keras", ".weights.h5", ".onnx", ".caffemodel"])
def test_every_format_returns_the_parameters(suffix: str, tmp_path: Path) -> None:
    params = seeded(TINY, 1)
    weights.write(tmp_path / f"net{suffix}", TINY, params)
    spec, found = weights.read(tmp_path / f"net{suffix}")
    assert spec == TINY
    assert all(np.array_equal(found[name], params[name]) for name in params)


@pytest.mark.parametrize("spec", [*SPECS.values(), *squeezenet.PUBLISHED], ids=lambda spec: spec.name)
def test_bare_tensors_are_recognised_and_what_they_do_not_tell_is_assumed(spec: SqueezeNetSpec) -> None:
    found = from_state("some.pth", to_state(spec, seeded(spec, 1)))
    told: Any = found.spec
    assert replace(told, pooled=spec.pooled, dropout=spec.dropout).network().nodes == spec.network().nodes
    assert "pooled" in found.info.assumed


@pytest.mark.parametrize("framework", PACKAGES)
def test_the_network_is_built_by_name_and_varied_by_its_record(framework: str) -> None:
    spec = squeezenet.PUBLISHED[1]
    choices: Any = {"classes": 3, "widths": (16, 16, 16, 16, 16), "se": SE(reduction=2, gate="tanh")}
    assert PACKAGES[framework].build("se-squeezenet-1.1", **choices).spec == replace(spec, **choices)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"se": SE(reduction=32)}, "leaves no hidden unit for 16 channels"),
        ({"se": SE(reduction=4, position="pre")}, "SE blocks stand behind the fire modules"),
        ({"widths": (16, 20, 32)}, "multiples of 8"),
        ({"pooled": (1, 4)}, "a pooling before module 4 of 3"),
    ],
)
def test_impossible_records_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(TINY, **changes)
