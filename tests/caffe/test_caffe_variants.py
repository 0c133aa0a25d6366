"""SE variants as Caffe files: recognised by structure, computed as the original Caffe does, written and read again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from caffe_dresses import DRESSES, with_blobs
from caffe_variants import INPUTS, VARIANTS, golden_errors, golden_values, image, params
from variants import COVERING, with_three_stages
from within import assert_within

import weights
from conformance import cases
from conformance.reference import backward
from conformance.reference import forward as reference
from weights import SE, InceptionSpec, InputError, ResNetSpec
from weights.caffe import file as caffe_file
from weights.caffe.as_written import as_written
from weights.caffe.layers import layers
from weights.caffe.net import Layer, Net
from weights.caffe.recognise import recognise

TAPS = 1e-13  # of a tap's largest value; two orders of summation differ by 1e-14 at most
GRADIENTS = 1e-12  # twice as many sums as in the forward pass


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every variant, written."""
    folder = tmp_path_factory.mktemp("variants")
    for name, spec in VARIANTS.items():
        weights.write(folder / f"{name}.caffemodel", spec, params(name))
    return folder


@pytest.mark.parametrize("tag", INPUTS)
@pytest.mark.parametrize("name", VARIANTS)
def test_read_variant_computes_what_caffe_computed(name: str, tag: str, files: Path) -> None:
    taps = reference.run(*weights.read(files / f"{name}.caffemodel"), image(tag))
    errors = golden_errors(taps, f"{name}/{tag}/taps")
    assert set(errors) == {str(key) for key in golden_values()[f"{name}/{tag}/taps_name"]}
    assert_within(errors, TAPS)
    logits = golden_values()[f"{name}/{tag}/logits"]
    assert np.abs(taps["logits"] - logits).max() <= TAPS * np.abs(logits).max()


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_of_read_variant_are_caffes(name: str, files: Path) -> None:
    cotangent = golden_values()[f"{name}/48x48/top_diff"]
    found = backward.gradients(*weights.read(files / f"{name}.caffemodel"), image("48x48"), cotangent)
    assert set(found) == {str(key) for key in golden_values()[f"{name}/48x48/grads_name"]}
    assert_within(golden_errors(found, f"{name}/48x48/grads"), GRADIENTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_golden_file_of_a_variant_is_read_as_its_record(name: str, golden: Path) -> None:
    spec, found = weights.read(golden / "variants" / name / "net.caffemodel")
    wanted = params(name)
    assert spec == VARIANTS[name]
    assert all(np.array_equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("name", VARIANTS)
def test_written_variant_has_the_layers_of_the_golden_file(name: str, golden: Path) -> None:
    """Order, types and blobs; the last pooling of the golden nets has a name of its own, and no engine is stated."""

    def said(layer: Layer) -> tuple[object, ...]:
        settings = {key: value for key, value in layer.settings.items() if key not in ("phase", "param")}
        pooling = {key: value for key, value in settings.get("pooling_param", {}).items() if key != "engine"}
        settings |= {"pooling_param": pooling} if pooling else {}
        return layer.type, *(own(name) for name in (layer.name, *layer.bottoms, *layer.tops)), settings

    def own(name: str) -> str:
        return name.replace("pool5/7x7_s1", "pool5")

    found = as_written(d.layer for d in layers(VARIANTS[name], (64, 64)))
    wanted = caffe_file.load(golden / "variants" / name / "net.caffemodel").layers
    assert [said(layer) for layer in found] == [said(layer) for layer in wanted]


# --- there and back


@pytest.mark.parametrize("name", COVERING)
@pytest.mark.parametrize("size", [lambda spec: spec, with_three_stages], ids=["two stages", "three stages"])
def test_every_pair_of_choices_comes_back_bit_for_bit(
    size: Callable[[ResNetSpec], ResNetSpec], name: str, tmp_path: Path
) -> None:
    spec = size(COVERING[name])
    arrays = cases.seeded(spec, 1)
    weights.write(tmp_path / "x.caffemodel", spec, arrays)
    found, read = weights.read(tmp_path / "x.caffemodel")
    assert found.network().nodes == spec.network().nodes
    assert found.se
    assert spec.se
    # A width that a reduction explains as well, of blocks of one size, is read as the reduction.
    assert replace(found, se=replace(found.se, reduction=spec.se.reduction, width=spec.se.width)) == spec
    assert all(a.tobytes() == b.tobytes() for a, b in zip(read.values(), arrays.values(), strict=True))
    weights.write(tmp_path / "y.caffemodel", found, read)
    assert (tmp_path / "y.caffemodel").read_bytes() == (tmp_path / "x.caffemodel").read_bytes()


def test_width_that_no_reduction_explains_is_read_as_a_width(files: Path) -> None:
    assert weights.read(files / "width-6.caffemodel")[0].se == SE(width=6)


def test_widths_rounded_to_eight_are_read_as_such(tmp_path: Path) -> None:
    spec = replace(VARIANTS["reduction-2"], out_channels=(48, 72, 120, 200), se=SE(reduction=3, rounding="to 8"))
    weights.write(tmp_path / "x.caffemodel", spec, cases.seeded(spec, 1))
    assert weights.read(tmp_path / "x.caffemodel")[0] == spec


def test_branches_of_equal_widths_are_told_apart_by_what_follows() -> None:
    spec = cases.TINY["tiny-se-bn-inception"]
    assert isinstance(spec, InceptionSpec)
    equal = [replace(m, conv1x1=m.conv1x1 and 8, conv3x3=(8, 8), double3x3=(8, 8, 8)) for m in spec.modules]
    spec = replace(spec, modules=tuple(equal), name="net")
    assert recognise(Net("net", tuple(d.layer for d in layers(spec)))).network.spec == spec


def test_projection_of_the_width_of_its_branch_is_told_apart() -> None:
    spec = replace(VARIANTS["mix-3x3-none-resnext"], name="net", out_channels=(8, 12, 16, 24))
    assert recognise(Net("net", tuple(d.layer for d in layers(spec)))).network.spec == spec


DRESSED = ("Split layers", "odd names", "nowhere in place", "no input layer", "convolutional classifier")


@pytest.mark.parametrize("dress", DRESSED)
@pytest.mark.parametrize("name", [name for name in VARIANTS if name.startswith(("mix", "position", "squeeze-none"))])
def test_variant_in_another_dress_is_the_same_record(name: str, dress: str) -> None:
    net = Net(name, tuple(DRESSES[dress](with_blobs(VARIANTS[name], params(name), (64, 64)))))
    assert recognise(net).network.spec == VARIANTS[name]


WRONG = {
    "squeeze": SE(reduction=4, squeeze="max"),
    "gate": SE(reduction=4, gate="relu"),
    "position": SE(reduction=4, position="post"),
    "bias": SE(reduction=4, bias=False),
    "stages": SE(reduction=4, stages=(1, 2, 3)),
    "reduction": SE(reduction=8),
    "no block": None,
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_guess_cannot_pass(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(VARIANTS["gate-tanh"], se=SE(reduction=4))
    net = Net("net", tuple(d.layer for d in layers(spec, (64, 64))))
    assert recognise(net).network.spec
    wrong = SimpleNamespace(from_network=lambda _: replace(spec, se=WRONG[what]))
    monkeypatch.setattr("weights.caffe.recognise.FAMILIES", {"wrong": wrong})
    with pytest.raises(InputError, match=r"layer '.*' .* expected .*, found "):
        recognise(net)


# --- blocks that are none of the variants


def changed(name: str, layer: str, **fields: Any) -> Net:
    found = [d.layer for d in layers(VARIANTS[name], (64, 64))]
    return Net("net", tuple(replace(x, **fields) if x.name == layer else x for x in found))


CONV, POWER = "convolution_param", "power_param"
AVERAGE = {"pooling_param": {"pool": "AVE", "global_pooling": True}}
MISFITS: dict[str, tuple[Net, str, str]] = {
    "another gate": (
        changed("gate-tanh", "conv3_1_prob", type="ELU"),
        "conv3_1_prob",
        "expected a TanH (stage2.0.se.gate), found a layer of type ELU",
    ),
    "another gate in the first block": (
        changed("gate-tanh", "conv2_1_prob", type="AbsVal"),
        "conv2_1_prob",
        "expected a Sigmoid (stage1.0.se.gate), found a layer of type AbsVal",
    ),
    "another slope of the hard sigmoid": (
        changed("gate-hard-sigmoid", "conv3_2_prob/plus3", settings={POWER: {"shift": 2.0}}),
        "conv3_2_prob/plus3",
        "expected a hard sigmoid, min(max(x + 3, 0), 6) * 6^-1 (stage2.1.se.gate), found a layer of type Power",
    ),
    "squeeze of another kind in one block": (
        changed(
            "squeeze-max", "conv4_1_global_pool", settings={"pooling_param": {"pool": "AVE", "global_pooling": True}}
        ),
        "conv4_1_global_pool",
        "with pool MAX as in layer 'conv2_1_global_pool', found pool AVE",
    ),
    "gate of a part of the channels": (
        changed("squeeze-none", "conv3_1_1x1_up", settings={CONV: {"num_output": 12, "kernel_size": [1]}}),
        "conv3_1_1x1_up",
        "num_output 24, found num_output 12",
    ),
    "excitation by 3x3 convolutions": (
        changed("squeeze-none", "conv3_1_1x1_down", settings={CONV: {"num_output": 6, "kernel_size": [3], "pad": [1]}}),
        "conv3_1_1x1_down",
        "found a 3x3 convolution",
    ),
    "block in one unit of a stage alone": (
        Net(
            "net",
            tuple(
                replace(x, type="Eltwise", bottoms=x.bottoms[1:]) if x.name == "conv3_2" else x
                for x in changed("gate-tanh", "").layers
                if not x.name.startswith(("conv3_2_global_pool", "conv3_2_1x1_down", "conv3_2_1x1_up", "conv3_2_prob"))
            ),
        ),
        "conv3_2_1x1_increase",
        "expected an SE block here (stage2.1.se) as elsewhere, found none",
    ),
    "block that nothing reads": (
        changed("position-pre", "conv4_1_1x1_reduce", bottoms=("conv3_2",)),
        "conv4_1_global_pool",
        "expected no further layer, found this one",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_block_that_is_no_variant_is_one_error_that_names_the_layer(case: str) -> None:
    net, layer, why = MISFITS[case]
    with pytest.raises(InputError) as error:
        recognise(net, "file")
    assert str(error.value).startswith(f"file: layer '{layer}' (")
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_file_whose_block_is_no_variant_is_not_read_and_the_error_names_file_and_layer(tmp_path: Path) -> None:
    name, path = "gate-tanh", tmp_path / "other.caffemodel"
    whole = with_blobs(VARIANTS[name], params(name), (64, 64))
    other = [replace(x, type="ELU") if x.name == "conv3_1_prob" else x for x in whole]
    caffe_file.save(path, Net("net", tuple(other)))
    with pytest.raises(InputError) as error:
        weights.read(path)
    assert str(error.value).startswith(f"{path}: layer 'conv3_1_prob' (")
    assert "\n" not in str(error.value)
