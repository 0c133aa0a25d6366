"""BatchNorms taken into convolutions: the same outputs, in float64 to its rounding, and each number rounded once."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from families.small import SMALL

from conformance.cases import TINY, image, seeded
from conformance.reference.forward import run
from weights import MODELS, SE, InputError, Network, Node, Params, schema
from weights.change.folding import Precision, fold
from weights.networks.operations import Act, Add, BatchNorm, Conv

NETWORKS = {**SMALL, "3x3-raw": replace(TINY["tiny-se-resnet"], se=SE(reduction=4, position="3x3-raw"))}


def agrees(a: np.ndarray, b: np.ndarray) -> bool:
    return np.abs(a - b).max() <= 1e-13 * np.abs(b).max()  # as in every framework


@pytest.mark.parametrize("name", NETWORKS)
def test_every_node_that_is_left_has_the_output_that_it_had(name: str) -> None:
    spec = NETWORKS[name]
    params = seeded(spec, 1)
    found = fold(spec, params, "float64")
    x = image(2, 2, *(spec.only_size or (45, 38)))
    before, after = (run(*network, x.astype(np.float64)) for network in ((spec, params), (found.network, found.params)))
    assert after.keys() <= before.keys()
    assert set(spec.network().features) <= after.keys()
    assert list(before)[-1] == list(after)[-1]
    assert [tap for tap in after if not agrees(after[tap], before[tap])] == []


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_norms_are_gone_or_listed_as_kept(name: str) -> None:
    spec = NETWORKS[name]
    found = fold(spec, seeded(spec, 1))
    norms = [node.module for node in spec.network().nodes if isinstance(node.op, BatchNorm)]
    assert sorted([*found.convolutions, *found.kept]) == sorted(norms)
    assert list(found.kept) == [n.module for n in found.network.nodes if isinstance(n.op, BatchNorm)]


def test_batch_norms_before_convolutions_and_after_other_layers_are_kept() -> None:
    preact = fold(SMALL["preact"], seeded(SMALL["preact"], 1))
    assert "stage1.1.bn1" in preact.kept  # its input is the sum of a unit
    assert preact.convolutions["stage1.0.bn2"] == "stage1.0.conv1"
    raw = fold(NETWORKS["3x3-raw"], seeded(NETWORKS["3x3-raw"], 1))
    assert "stage1.0.bn2" in raw.kept  # the SE block stands between


@pytest.mark.parametrize(("name", "folded"), [("se-resnet-50", 53), ("mobilenet-v2", 52), ("vgg-16", 0)])
def test_published_networks_of_ordinary_units_keep_none(name: str, folded: int) -> None:
    spec = MODELS[name]
    found = fold(spec, {p.name: np.ones(p.shape, np.float32) for p in schema(spec)})
    assert (len(found.convolutions), found.kept) == (folded, ())


CONV_BN = Network(
    "conv-bn",
    (
        Node("conv", Conv(2, 1, bias=True), ("data",), "conv"),
        Node("bn", BatchNorm(0.25), ("conv",), "bn"),
        Node("sum", Add(), ("bn", "bn"), "sum"),
    ),
    in_channels=1,
)
PARAMS = Params(
    {
        "conv.weight": np.array([1 / 3, 7], np.float32).reshape(2, 1, 1, 1),
        "conv.bias": np.array([0.1, -5], np.float32),
        "bn.weight": np.array([1.1, -2], np.float32),
        "bn.bias": np.array([0.7, 0], np.float32),
        "bn.running_mean": np.array([1e-3, 1 / 7]),
        "bn.running_var": np.array([2, 1e-30]),
    }
)


def test_a_bias_of_the_convolution_is_taken_along() -> None:
    found = fold(CONV_BN, PARAMS, "float64")
    x = np.array([[[[0.3, -2.0]]]])
    assert [node.name for node in found.network.nodes] == ["bn", "sum"]
    assert list(found.params) == ["conv.weight", "conv.bias"]
    assert agrees(run(found.network, found.params, x)["sum"], run(CONV_BN, PARAMS, x)["sum"])


@pytest.mark.parametrize("why", ["another reader", "a feature map", "another layer between"])
def test_a_convolution_whose_own_output_is_needed_keeps_its_batch_norm(why: str) -> None:
    conv, bn, add = CONV_BN.nodes
    match why:
        case "another reader":
            network = replace(CONV_BN, nodes=(conv, bn, replace(add, inputs=("bn", "conv"))))
        case "a feature map":
            network = replace(CONV_BN, features=("conv",))
        case _:
            relu = Node("relu", Act("relu"), ("conv",), "relu")
            network = replace(CONV_BN, nodes=(conv, relu, replace(bn, inputs=("relu",)), add))
    found = fold(network, PARAMS, "float64")
    assert (found.network.nodes, found.kept) == (network.nodes, ("bn",))
    assert {name: a.tolist() for name, a in found.params.items()} == {name: a.tolist() for name, a in PARAMS.items()}


@pytest.mark.parametrize(("precision", "bits"), [("float32", 24), ("float16", 11), ("bfloat16", 8)])
def test_every_number_is_rounded_once(precision: Precision, bits: int) -> None:
    rng = np.random.default_rng(3)
    # Near halfway between two numbers of 8 bits, to 40 bits: in float32 these are halfway.
    halves = (1 + (2 * rng.integers(0, 128, 50) + 1) / 256) * (1 + np.repeat([2.0**-40, -(2.0**-40)], 25))
    weight = np.concatenate([rng.standard_normal(50), halves, -halves]).reshape(-1, 1, 1, 1)
    ones = np.ones(len(weight))
    conv, bn, add = CONV_BN.nodes
    network = replace(CONV_BN, nodes=(replace(conv, op=Conv(len(weight), 1)), replace(bn, op=BatchNorm(0.0)), add))
    zeros = dict.fromkeys(("bn.bias", "bn.running_mean"), 0 * ones)
    params = {"conv.weight": weight, "bn.weight": ones, "bn.running_var": ones, **zeros}
    found = fold(network, params, precision).params["conv.weight"].ravel()
    assert [float(a) for a in found] == [nearest(w, bits) for w in weight.ravel()]


def nearest(number: float, bits: int) -> float:
    """The nearest number of so many bits; none of those above is halfway."""
    _, exponent = np.frexp(number)
    unit = Fraction(2) ** (int(exponent) - bits)
    return float(round(Fraction(number) / unit) * unit)


def test_parameters_stay_and_what_was_done_is_noted() -> None:
    spec = SMALL["resnet"]
    params = seeded(spec, 1)
    before = {name: a.copy() for name, a in params.items()}
    found = fold(spec, params, "bfloat16")
    assert all(np.array_equal(before[name], a) and before[name].dtype == a.dtype for name, a in params.items())
    assert found.params.info.history == (*params.info.history, found.done)
    assert found.done == f"{len(found.convolutions)} BatchNorms taken into convolutions, parameters rounded to bfloat16"


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="precision 'int8': expected one of float64, float32, float16, bfloat16"):
        fold(CONV_BN, PARAMS, "int8")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"- bn.running_var \(2,\) is missing"):
        fold(CONV_BN, {name: a for name, a in PARAMS.items() if name != "bn.running_var"})
