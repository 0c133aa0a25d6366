"""The example is judged as any port is, by the command and by name; its own tests stand beside it."""

import json
from pathlib import Path

import jax
import pytest
from click.testing import CliRunner

import weights
from conformance.adapters.protocol import Adapter
from conformance.cases import TINY, seeded
from conformance.cli import main
from pytest_senet import Conformance

EXAMPLES = Path(__file__).parents[2] / "examples"
SPEC = TINY["tiny-se-resnet"]


@pytest.fixture
def adapter(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    from functional_jax import adapter

    return adapter


def test_the_command_takes_a_port_by_name(tmp_path, monkeypatch):
    weights.write(tmp_path / "tiny.safetensors", SPEC, seeded(SPEC, 1))
    monkeypatch.chdir(EXAMPLES)
    args = ["compare", tmp_path / "tiny.safetensors", "--framework", "functional_jax.adapter", "--size", "67x63"]
    done = CliRunner().invoke(main, [*map(str, args), "--json", str(tmp_path / "run.json")])
    assert done.exit_code == 0, done.stderr
    run = json.loads((tmp_path / "run.json").read_text())
    (found,) = run["comparisons"][0]["frameworks"].values()
    assert len(found["taps"]) == len(weights.graph(SPEC))


def test_it_follows_the_protocol(adapter):
    assert isinstance(adapter, Adapter)


def test_a_mistake_in_it_is_found_where_it_is(adapter, monkeypatch):
    from functional_jax import se_resnet

    jax.clear_caches()
    monkeypatch.setattr(se_resnet, "EPS", 1e-5)  # of PyTorch
    with pytest.raises(
        AssertionError, match=r"first at stem\.bn1\nwrong by .*\nstem\.bn1 is BatchNorm.* of stem\.conv1 \(agreed\)"
    ):
        Conformance(SPEC).assert_agrees(adapter)
    jax.clear_caches()


def test_another_network_is_refused(adapter):
    with pytest.raises(weights.InputError, match="tiny-resnet is no SE-ResNet"):
        Conformance("tiny-resnet").assert_agrees(adapter)
