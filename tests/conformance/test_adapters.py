"""The table of adapters, and that each sees the nodes of every kind of network where they are."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

import conformance
from conformance import cases
from conformance.adapters import ADAPTERS, DIFFERENTIABLE, EXTRAS, STANDARD, AbsentError, adapter, title_of
from conformance.adapters.protocol import Adapter
from conformance.judge.answer import UnableError
from weights import Network, graph
from weights.networks.operations import Add
from weights.networks.se import SE, Position

SPEC = cases.TINY["tiny-se-resnet"]


def test_standard_adapters_come_first_and_have_the_titles_of_the_reports():
    assert STANDARD == ("numpy", "torch", "jax", "tf", "onnx")
    assert tuple(ADAPTERS)[: len(STANDARD)] == STANDARD
    assert DIFFERENTIABLE == ("numpy", "torch", "jax", "tf")
    assert len({row.title for row in ADAPTERS.values()}) == len(ADAPTERS)
    assert (title_of("jax"), title_of("mine.adapter")) == ("Flax (JAX)", "mine.adapter")
    assert (EXTRAS["optax"], EXTRAS["keras"], EXTRAS["openvino"]) == ("jax", "tf", "contestants")


# Importing OpenVINO starts a process; JAX, which other tests have started, warns of that.
@pytest.mark.filterwarnings("ignore:os.fork")
@pytest.mark.parametrize("name", ADAPTERS)
def test_row_says_what_the_module_has(name):
    if ADAPTERS[name].backend not in ("", "tensorflow"):
        pytest.skip("Keras has one backend for all of a process")
    try:
        module = adapter(name)
    except AbsentError as error:
        pytest.skip(str(error))
    assert isinstance(module, Adapter)
    assert ADAPTERS[name].title == module.NAME
    assert hasattr(module, "gradients") == ADAPTERS[name].differentiable
    assert not ADAPTERS[name].standard or hasattr(module, "train") == ADAPTERS[name].differentiable


@pytest.mark.parametrize("name", STANDARD)
@pytest.mark.parametrize("position", get_args(Position))
def test_every_node_is_seen_wherever_the_se_block_stands(position, name):
    small = replace(SPEC, depths=(1, 1), reduce=(4, 8), width=(4, 8), out_channels=(16, 32))
    spec = replace(small, se=SE(reduction=4, position=position))
    found = conformance.compare(spec, cases.seeded(spec, 3), cases.image(4, 1, 32, 31), [name], isolated=False)
    verdict = found.results[name]
    assert (verdict.status, verdict.first_divergent, verdict.message) == ("agreed", None, "")
    sums = {node.name for node in graph(spec) if isinstance(node.op, Add)} if name in ("torch", "jax") else set()
    assert list(verdict.errors) == [node.name for node in graph(spec) if node.name not in sums]


def _only_nodes() -> Network:
    network = SPEC.network()
    return Network("only-nodes", network.nodes)


@pytest.mark.parametrize("isolated", [False, True], ids=["in-process", "isolated"])
def test_network_without_a_record_runs_where_any_network_does(isolated):
    network, x = _only_nodes(), cases.image(6, 2, 33, 35)
    params = cases.seeded(network, 5)
    found = conformance.compare(network, params, x, ["numpy", "onnx", "torch"], isolated=isolated)
    assert {name: (v.status, v.message) for name, v in found.results.items()} == {
        "numpy": ("agreed", ""),
        "onnx": ("agreed", ""),
        "torch": ("absent", "PyTorch has no model of only-nodes, which is only its nodes, without a record"),
    }
    assert found.network == "only-nodes"
    assert list(found.results["onnx"].errors) == [node.name for node in network.nodes]
    with pytest.raises(UnableError, match="PyTorch has no model of only-nodes"):
        conformance.run("torch", network, params, x)


def test_network_without_a_record_has_gradients_and_trains():
    network, x = _only_nodes(), cases.image(6, 2, 33, 35)
    params = cases.seeded(network, 5)
    record = conformance.gradients("numpy", SPEC, params, x, cases.top_diff(7, 2, 10))
    found = conformance.gradients("numpy", network, params, x, cases.top_diff(7, 2, 10))
    assert all(np.array_equal(found[name], gradient) for name, gradient in record.items())
    batches, recipe = [(x, np.array([1, 2]))], conformance.Recipe()
    after = conformance.compare_training(network, params, batches, recipe, ["numpy"])
    assert after.agreed
