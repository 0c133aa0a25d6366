"""Inception-ResNet: counts, every framework against the reference, other projects' and Caffe's numbers, files."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from caffe_dresses import DRESSES, with_blobs
from families.drawn import INCEPTION_RESNETS
from families.peers import Peer
from odd_networks import same
from within import assert_within, errors

import conformance
import weights
from conformance.adapters import adapter
from conformance.adapters.protocol import Trainable
from conformance.cases import image, seeded, top_diff
from conformance.judge.bounds import GRADIENTS, TAPS
from conformance.reference import backward, forward
from weights import MODELS, SE, InceptionResNetSpec, InputError, Params, cost, feature_nodes, shapes
from weights.caffe import text
from weights.caffe.layers import layers
from weights.caffe.net import Net
from weights.caffe.recognise import recognise
from weights.errors import InputWarning
from weights.files.state_dict import EXPECTED, from_state, to_state
from weights.names import inception_resnet
from weights.names.frameworks import FLAX, KERAS, KERAS_ON_TORCH, TORCH
from weights.networks.inception_resnet import Module, Stage, StemLayer
from weights.networks.operations import Add, Times
from weights.networks.recognition import same_tensors, untold

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

NEEDED = {
    "torch": ["torch"],
    "jax_eager": ["jax", "flax"],
    "tf": ["tensorflow", "keras"],
    "onnx": ["onnx", "onnx_ir", "onnxruntime"],
}
# Settings that Caffe's and ONNX's floats hold exactly.
TINY = InceptionResNetSpec(
    name="tiny",
    stem=(StemLayer(out=6, kernel=3, stride=2, padded=False), StemLayer(out=8, kernel=3, pooled=True)),
    stages=(
        Stage(
            module=Module(branches=(((4, 1, 1),), ((4, 1, 1), (6, 5, 5))), pool="avg", project=6),
            units=1,
            branches=(((4, 1, 1),), ((4, 1, 1), (6, 3, 3))),
            scale=float(np.float32(0.17)),
        ),
        Stage(
            module=Module(branches=(((8, 3, 3),), ((4, 1, 1), (6, 3, 3))), pool="max", project=None),
            units=2,
            branches=(((6, 1, 1),), ((4, 1, 1), (5, 1, 7), (6, 7, 1))),
            scale=float(np.float32(0.1)),
        ),
    ),
    end=24,
    counted=True,
    dropout=0.25,
    classes=5,
    eps=float(np.float32(1e-3)),
    se=SE(reduction=4),
)
SPECS = {
    "se": replace(TINY, se_on_modules=True, counted=False),
    "after scaling": replace(TINY, se_after_scaling=True, linear_end=False),
    "plain": replace(TINY, se=None, end=None),
}
X, COTANGENT = image(1, 2, 35, 46).astype(np.float64), top_diff(2, 2, 5)
SUMS = {node.name for node in TINY.network().nodes if isinstance(node.op, Add) and node.name.endswith(".add")} | {
    "stage2.1.add"
}
"""In PyTorch and Flax they are no modules."""


# --- counts


def test_counts_are_those_of_tf_slims_network() -> None:
    """As timm, pytorchcv and Keras have it. What the paper's 11.75 GFLOPs were counted on is not known."""
    plain, se = (cost(MODELS[name], 299, 299) for name in ("inception-resnet-v2", "se-inception-resnet-v2"))
    assert (plain.learnable, plain.macs) == (55_843_464, 13_155_794_016)
    assert (se.learnable, se.macs) == (64_387_444, 13_164_289_376)


@pytest.mark.parametrize(
    ("changes", "learnable"),
    [
        ({"se": SE(bias=False)}, 64_338_824),
        ({"se_on_modules": True}, 65_092_718),
        ({"se_after_scaling": True}, 64_387_444),
    ],
)
def test_counts_of_what_the_paper_leaves_open(changes: Mapping[str, Any], learnable: int) -> None:
    assert cost(replace(MODELS["se-inception-resnet-v2"], **changes)).learnable == learnable


def test_feature_maps_are_the_last_ones_of_each_stride() -> None:
    spec = MODELS["se-inception-resnet-v2"]
    sizes = shapes(spec, 299, 299)
    assert {name: sizes[name] for name in feature_nodes(spec)} == {
        "stem5": (192, 71, 71),
        "stage1.9": (320, 35, 35),
        "stage2.19": (1088, 17, 17),
        "end": (1536, 8, 8),
    }


def with_stage(**changes: Any) -> dict[str, Any]:
    return {"stages": (replace(TINY.stages[0], **changes), TINY.stages[1])}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (with_stage(branches=(((4, 2, 2),),)), "kernels are of odd size"),
        (
            with_stage(module=Module(branches=(((4, 1, 1),),), pool="avg", project=None)),
            "a module of stride 2 has a max",
        ),
        ({"se": SE(reduction=4, position="pre")}, "SE blocks stand on the residuals: no other position, found pre"),
        ({"se": SE(reduction=4, stages=(3,))}, "SE blocks in stage 3 of 2"),
        ({"se": SE(reduction=17)}, "SE: reduction 17 leaves no hidden unit for 16 channels"),
        ({"se": None, "se_on_modules": True}, "says where SE blocks stand, and has none"),
        (with_stage(units=999), "1001 units, expected 1000 at most"),
    ],
)
def test_impossible_records_are_refused(changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        replace(TINY, **changes)
    assert str(error.value).startswith(f"tiny: {message}")


# --- the frameworks and the reference


@pytest.fixture(params=["torch", "jax_eager", "tf"])
def framework(request: pytest.FixtureRequest) -> Trainable:
    """The adapter of a framework."""
    for needed in NEEDED[request.param]:
        pytest.importorskip(needed)
    return cast(Trainable, adapter(request.param))


@pytest.mark.parametrize("name", SPECS)
def test_every_tap_and_every_gradient_agrees(framework: Trainable, name: str) -> None:
    spec, params = SPECS[name], seeded(SPECS[name], 1)
    model = framework.build(spec, params, "float64")
    taps, expected = framework.taps(model, X), forward.run(spec, params, X)
    assert expected.keys() - SUMS <= taps.keys() <= expected.keys()
    assert_within(errors(taps, expected), TAPS["float64"])
    found = framework.gradients(model, X, COTANGENT, False)
    wanted = backward.gradients(spec, params, X, COTANGENT)
    assert found.keys() == wanted.keys()
    assert_within(errors(found, wanted), GRADIENTS["float64"])


@pytest.mark.parametrize("name", SPECS)
def test_gradients_through_the_statistics_of_the_batch_agree(name: str) -> None:
    pytest.importorskip("torch")
    spec, params = SPECS[name], seeded(SPECS[name], 1)
    found = conformance.gradients("torch", spec, params, X, COTANGENT, training=True)
    wanted = backward.gradients(spec, params, X, COTANGENT, training=True)
    assert found.keys() == wanted.keys()
    assert_within(errors(found, wanted), GRADIENTS["float64"])


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_tap_of_the_onnx_model_agrees(dtype: str, name: str) -> None:
    for needed in NEEDED["onnx"]:
        pytest.importorskip(needed)
    spec, onnx = SPECS[name], adapter("onnx")
    params = seeded(spec, 1)
    taps, expected = onnx.taps(onnx.build(spec, params, dtype), X.astype(dtype)), forward.run(spec, params, X)
    assert list(taps) == list(expected)
    assert_within(errors(taps, expected), TAPS[dtype])


def test_another_factor_of_a_built_network_is_noticed() -> None:
    """What no tensor shows: a network whose layer was changed is not noted as the record that it was built from."""
    pytest.importorskip("torch")
    import se_torch

    model: Any = se_torch.build(TINY)
    model.stage1[0].times.factor = 0.5
    with pytest.raises(InputError, match=r"stage1.0.times is Times\(0.5\) now, but tiny was built with Times\(0.17"):
        model.as_it_is()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jax_eager", "tf"])
def test_full_size_agrees(name: str) -> None:
    for needed in NEEDED[name]:
        pytest.importorskip(needed)
    spec = MODELS["se-inception-resnet-v2"]
    found = conformance.compare(spec, seeded(spec, 1), image(3, 1, 75, 83), [name], isolated=False)
    assert found.agreed, found.results[name]


# --- other projects

PUBLISHED = cast(InceptionResNetSpec, MODELS["inception-resnet-v2"])
PEERS = {
    "inceptionresnetv2_299": Peer("inceptionresnetv2_299", PUBLISHED, inception_resnet.PYTORCHCV),
    "InceptionResNetV2": Peer(
        "InceptionResNetV2",
        PUBLISHED,
        inception_resnet.KERAS_APPLICATIONS,
        owns=lambda p: (p.kind, p.leaf) != ("bn", "weight"),
    ),
}


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("InceptionResNetV2", "75x83"),
        pytest.param("InceptionResNetV2", "96x96", marks=pytest.mark.slow),
        pytest.param("inceptionresnetv2_299", "299x299", marks=pytest.mark.slow),
    ],
)
def test_every_tap_is_the_peers(name: str, tag: str) -> None:
    pytest.importorskip("torch")
    peer = PEERS[name]
    errors = peer.errors(conformance.run("torch", peer.spec, peer.params(), peer.image(tag)), tag)
    assert len(errors) == 2 * 204 + 40 + 1
    assert_within(errors, TAPS["float64"])


def digest(names: Any) -> str:
    lines = sorted(f"{names.key(p)} {list(names.shape(p))}" for p in weights.schema(PUBLISHED))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def test_names_and_shapes_are_those_of_the_projects() -> None:
    """Digests of the state dicts of pytorchcv 0.0.74 and timm 1.0.31, without counters."""
    assert digest(inception_resnet.PYTORCHCV) == "fd2ff6293be4daef"
    assert digest(inception_resnet.TIMM) == "48a95a1ab9b834f8"


@pytest.mark.parametrize("dialect", ["timm", "pytorchcv"])
@pytest.mark.parametrize("classifier", ["its own", "Cadene's"])
def test_files_of_other_projects_are_told_by_their_names(dialect: str, classifier: str) -> None:
    spec = PUBLISHED
    schema = weights.schema(spec)
    params = Params({p.name: np.broadcast_to(np.float32(1), p.shape) for p in schema})
    state = to_state(spec, params, dialect)
    if classifier != "its own":
        own = {"timm": "classif", "pytorchcv": "output.fc"}[dialect]
        state = {name.replace(own, "last_linear"): array for name, array in state.items()}
    found = from_state("some.pth", state)
    assert found.spec == spec
    assert (found.info.format, found.info.preprocessing) == (dialect, EXPECTED["inception-resnet"])
    assert found.info.assumed == ("preprocessing", "labels")


@pytest.mark.parametrize("changes", [{"se": SE()}, {"end": None}, {"stages": PUBLISHED.stages[:2]}])
def test_no_project_has_names_for_other_networks(changes: Mapping[str, Any]) -> None:
    spec = replace(PUBLISHED, **changes)
    params = Params({p.name: np.broadcast_to(np.float32(1), p.shape) for p in weights.schema(spec)})
    with pytest.raises(
        InputError, match=r"'timm' has no names for inception-resnet-v2: it knows .*Inception-ResNet-v2"
    ):
        to_state(spec, params, "timm")


# --- files


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".keras", ".weights.h5", ".onnx", ".orbax", ".caffemodel"])
def test_every_format_returns_the_parameters(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip({".onnx": "onnx_ir", ".orbax": "orbax.checkpoint"}.get(suffix, "numpy"))
    params = seeded(TINY, 1)
    if suffix == ".onnx":
        params = Params({name: array.astype(np.float32) for name, array in params.items()}, params.info)
    weights.write(tmp_path / f"x{suffix}", TINY, params)
    found = weights.read(tmp_path / f"x{suffix}")
    assert found.spec == TINY
    assert same(found.params, params)
    assert found.info.assumed == ()


def test_keras_loads_the_files_that_are_written_without_it(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    import se_tf

    spec = SPECS["se"]
    params = seeded(spec, 1)
    weights.write(tmp_path / "x.keras", spec, params)
    model = keras.saving.load_model(tmp_path / "x.keras")
    assert model.spec == spec
    dumped = se_tf.dump(model)
    assert all(np.array_equal(dumped[name], array.astype(np.float32)) for name, array in params.items())


VARIED = {
    **{name: replace(spec, counted=True) for name, spec in SPECS.items()},
    "no modules": replace(TINY, stages=tuple(replace(stage, module=None) for stage in TINY.stages)),
    "no classifier": replace(TINY, classes=0, dropout=0.0),
    "no biases": replace(TINY, se=SE(reduction=4, bias=False)),
    "one hidden width": replace(TINY, se=SE(width=5)),
    "stage 2": replace(TINY, se=SE(reduction=4, stages=(2,)), se_on_modules=True),
    "gray images": replace(TINY, in_channels=1),
}


@pytest.mark.parametrize("name", VARIED)
def test_bare_tensors_are_recognised_in_every_dialect(name: str) -> None:
    spec = VARIED[name]
    for names in (TORCH, KERAS, KERAS_ON_TORCH, FLAX):
        tensors = {names.key(p): names.shape(p) for p in weights.schema(spec)}
        guess = InceptionResNetSpec.from_shapes(partial(names.find, tensors))
        assert guess
        assert same_tensors(guess, spec)
    found = from_state("some.pth", to_state(spec, seeded(spec, 1)))
    assert found.info.assumed == untold(found.spec)
    told = {"stem.stride", "stem.padded", "stem.pooled", "stages.scale", "linear_end", "dropout", "eps"}
    assert told - (set() if spec.classes else {"dropout"}) <= set(found.info.assumed)
    assert not {"end", "se_on_modules", "stages.units"} & set(found.info.assumed)


def test_bare_tensors_of_the_published_network_are_recognised() -> None:
    for name in ("inception-resnet-v2", "se-inception-resnet-v2"):
        tensors = {TORCH.key(p): TORCH.shape(p) for p in weights.schema(MODELS[name])}
        guess = InceptionResNetSpec.from_shapes(partial(TORCH.find, tensors))
        assert guess
        assert replace(guess, name=name) == MODELS[name]


# --- the original Caffe


@pytest.mark.parametrize("name", INCEPTION_RESNETS)
@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_every_tap_and_every_gradient_is_caffes(framework: str, name: str) -> None:
    pytest.importorskip({"torch": "torch"}.get(framework, "numpy"))
    net = INCEPTION_RESNETS[name]
    params = net.params()
    sums = {node.name for node in net.spec.network().nodes if isinstance(node.op, Add)}
    factors = {node.name for node in net.spec.network().nodes if isinstance(node.op, Times)}
    for tag in net.inputs:
        found = conformance.run(framework, net.spec, params, net.image(tag))
        assert found.keys() - net.names(f"{tag}/taps") <= factors  # parts of Caffe's sums
        assert net.names(f"{tag}/taps") - found.keys() <= (sums if framework == "torch" else set())
        assert_within(net.errors(found, f"{tag}/taps"), TAPS["float64"])
        logits = net.golden[f"{tag}/logits"]
        assert np.abs(found["logits"] - logits).max() <= TAPS["float64"] * np.abs(logits).max()
    gradients = conformance.gradients(framework, net.spec, params, net.image("48x48"), net.golden["48x48/top_diff"])
    assert set(gradients) == net.names("48x48/grads")
    assert_within(net.errors(gradients, "48x48/grads"), GRADIENTS["float64"])


@pytest.mark.parametrize("name", INCEPTION_RESNETS)
def test_definition_of_caffes_is_recognised(name: str, tmp_path: Path) -> None:
    """Its sums are weighted; here the factor is an operation of its own."""
    net = INCEPTION_RESNETS[name]
    (tmp_path / "x.prototxt").write_bytes(net.prototxt)
    assert recognise(text.read(tmp_path / "x.prototxt")).network.spec == net.spec


@pytest.mark.parametrize("name", VARIED)
def test_caffe_file_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    spec, params = VARIED[name], seeded(VARIED[name], 1)
    weights.write(tmp_path / "x.caffemodel", spec, params)
    found = weights.read(tmp_path / "x.caffemodel")
    assert found.spec.network().nodes == spec.network().nodes
    assert same(found.params, params)
    weights.write(tmp_path / "y.caffemodel", *found)
    assert (tmp_path / "y.caffemodel").read_bytes() == (tmp_path / "x.caffemodel").read_bytes()


def test_factor_that_caffes_float_does_not_hold_is_said(tmp_path: Path) -> None:
    spec = replace(TINY, **with_stage(scale=0.17))
    with pytest.warns(InputWarning, match=r"scale: 0.17 to 0.170000001788\d*, the nearest that Caffe's float holds"):
        weights.write(tmp_path / "x.caffemodel", spec, seeded(spec, 1))
    assert weights.read(tmp_path / "x.caffemodel").spec == TINY


def test_caffe_cannot_leave_padding_out_of_a_mean(tmp_path: Path) -> None:
    spec = replace(TINY, counted=False)
    with pytest.raises(InputError, match=r"module1\.pool: Caffe's averages count the padding"):
        weights.write(tmp_path / "x.caffemodel", spec, seeded(spec, 1))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("dress", ["Split layers", "odd names", "nowhere in place", "no input layer", "no softmax"])
@pytest.mark.parametrize("name", [name for name in VARIED if name in SPECS])
def test_network_in_another_dress_is_the_same_record(name: str, dress: str) -> None:
    spec = VARIED[name]
    net = Net("tiny", tuple(DRESSES[dress](with_blobs(spec, seeded(spec, 1), (64, 64)))))
    assert recognise(net).network.spec == spec


def misfit(layer: str, spec: str = "after scaling", **fields: Any) -> Net:
    found = [d.layer for d in layers(VARIED[spec], (64, 64))]
    return Net("net", tuple(replace(x, **fields) if x.name == layer else x for x in found))


WIDER = {"convolution_param": {"num_output": 24, "bias_term": False, "pad": [1], "kernel_size": [3], "stride": [1]}}
MISFITS = {
    "another factor in one unit": (
        misfit("stage2.1.times", settings={"power_param": {"scale": 0.5}}),
        "layer 'stage2.1.times' (Power)",
        "expected a Power that multiplies by a constant (stage2.1.times) with scale 0.100000001",
    ),
    "another kernel at the end": (
        misfit("end.conv", settings=WIDER),
        "layer 'end.conv' (Convolution)",
        "expected a 1x1 convolution (end.conv) with kernel 1, pad 0, found kernel 3, pad 1",
    ),
    "a product in place of a sum": (
        misfit("stage1.0.add", "plain", settings={"eltwise_param": {"operation": "PROD"}}),
        "layer 'stage1.0.add' (Eltwise)",
        "expected a sum of two maps, Axpy or Eltwise with operation SUM (stage1.0.add)",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_file_that_is_no_inception_resnet_is_one_error_that_names_the_layer(case: str) -> None:
    net, layer, why = MISFITS[case]
    with pytest.raises(InputError) as error:
        recognise(net, "file")
    assert str(error.value).startswith(f"file: {layer}")
    assert why in str(error.value)
    assert "\n" not in str(error.value)
