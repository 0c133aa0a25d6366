"""VGG: counts, every framework against the reference, other projects' and the original Caffe's numbers, files."""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from caffe_dresses import DRESSES, with_blobs
from families.drawn import VGGS
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
from weights import MODELS, SE, InputError, Params, VGGSpec, cost, feature_nodes, shapes
from weights.caffe import checkpoint, text
from weights.caffe.layers import layers
from weights.caffe.net import Net
from weights.caffe.recognise import import_network, recognise
from weights.files.state_dict import IMAGENET, from_state, to_state
from weights.names import vgg
from weights.names.frameworks import FLAX, KERAS, KERAS_ON_TORCH, TORCH
from weights.networks.recognition import untold

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

NEEDED = {
    "torch": ["torch"],
    "jax_eager": ["jax", "flax"],
    "tf": ["tensorflow", "keras"],
    "onnx": ["onnx", "onnx_ir", "onnxruntime"],
}
# The last map has 3x3 values, so that their order matters.
TINY = VGGSpec(
    name="tiny",
    size=24,
    depths=(2, 1, 1),
    widths=(6, 8, 10),
    hidden=(12, 9),
    dropout=0.25,
    classes=5,
    se=SE(reduction=2),
)
SPECS = {
    "se": TINY,
    "without biases": replace(TINY, se=None, conv_bias=False),
    "original": replace(TINY, se=None, batch_norm=False, hidden=(12,), dropout=0.0),
}
X, COTANGENT = image(1, 2, 24, 24).astype(np.float64), top_diff(2, 2, 5)


# --- counts


def test_counts_are_those_of_the_paper() -> None:
    """Table 2 of the article on SE networks: 15.47 and 15.48 GFLOPs, which count the products of the SE blocks."""
    plain, se = cost(MODELS["vgg-16-bn"]), cost(MODELS["se-vgg-16-bn"])
    assert (plain.learnable, plain.macs) == (138_365_992, 15_470_264_320)
    assert (se.learnable, se.macs) == (138_596_784, 15_470_490_624)
    scaled = sum(
        np.prod(shape)
        for name, shape in shapes(MODELS["se-vgg-16-bn"]).items()
        if name.startswith("stage") and name.count(".") == 1
    )
    assert scaled == 13_547_520
    assert f"{(se.macs + scaled) / 1e9:.2f}" == "15.48"


@pytest.mark.parametrize(
    ("changes", "learnable"),
    [
        ({"batch_norm": False, "se": None}, 138_357_544),
        ({"batch_norm": False}, 138_588_336),
        ({"batch_norm": False, "se": SE(bias=False)}, 138_583_848),
        ({"se": SE(bias=False)}, 138_592_296),
        ({"conv_bias": False, "se": None}, 138_361_768),
        ({"conv_bias": False}, 138_592_560),
        ({"conv_bias": False, "se": SE(bias=False)}, 138_588_072),
    ],
)
def test_counts_of_what_the_paper_leaves_open(changes: Mapping[str, Any], learnable: int) -> None:
    """As torchvision, timm and pytorchcv have them."""
    assert cost(replace(MODELS["se-vgg-16-bn"], **changes)).learnable == learnable


def test_feature_maps_are_the_last_ones_of_the_strides_from_4_to_32() -> None:
    sizes = shapes(MODELS["se-vgg-16-bn"])
    assert [sizes[name] for name in feature_nodes(MODELS["se-vgg-16-bn"])] == [
        (256, 56, 56),
        (512, 28, 28),
        (512, 14, 14),
        (512, 7, 7),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": (1,)}, "widths has 3 stages, depths has 1"),
        ({"size": 20}, "size is 20, which 3 halvings do not divide by 8"),
        (
            {"se": SE(reduction=2, position="pre")},
            "SE blocks stand after the activations: no other position, found pre",
        ),
        ({"se": SE(reduction=2, stages=(4,))}, "SE blocks in stage 4 of 3"),
        ({"se": SE(reduction=16)}, "SE: reduction 16 leaves no hidden unit for 6 channels"),
        ({"hidden": ()}, "hidden is ()"),
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
    assert taps.keys() == expected.keys()
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
    # A BatchNorm takes away what the bias before it adds: these gradients are nothing but rounding.
    nothing = {name for name in wanted if spec.batch_norm and name.endswith("conv.bias")}
    largest = max(np.abs(gradient).max() for gradient in wanted.values())
    assert all(np.abs(g[name]).max() < 1e-12 * largest for g in (found, wanted) for name in nothing)
    assert_within({n: e for n, e in errors(found, wanted).items() if n not in nothing}, GRADIENTS["float64"])


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


ANOTHER_SIZE = r"^tiny takes images of 24x24 alone, for its first matrix reads every pixel .* found 24x32$"


def test_images_of_another_size_are_one_error_in_every_framework(framework: Trainable) -> None:
    params = seeded(TINY, 1)
    with pytest.raises(InputError, match=ANOTHER_SIZE):
        framework.taps(framework.build(TINY, params, "float64"), image(1, 2, 24, 32).astype(np.float64))


def test_images_of_another_size_are_one_error_without_a_framework() -> None:
    params, x = seeded(TINY, 1), image(1, 2, 24, 32).astype(np.float64)
    for ask in (
        lambda: shapes(TINY, 24, 32),
        lambda: cost(TINY, 24, 32),
        lambda: layers(TINY, (24, 32)),
        lambda: forward.run(TINY, params, x),
        lambda: backward.gradients(TINY, params, x, COTANGENT),
        lambda: conformance.run("numpy", TINY, params, x),
    ):
        with pytest.raises(InputError, match=ANOTHER_SIZE):
            ask()


def test_without_a_classifier_the_output_is_the_last_hidden_layer(framework: Trainable) -> None:
    spec = replace(TINY, classes=0)
    params = seeded(spec, 1)
    taps = framework.taps(framework.build(spec, params, "float64"), X)
    assert list(taps)[-1] == "head.relu2"
    assert_within(errors(taps, forward.run(spec, params, X)), TAPS["float64"])


def test_features_are_the_maps_that_the_record_names(framework: Trainable) -> None:
    model: Any = framework.build(TINY, seeded(TINY, 1), "float32")
    x = X.astype(np.float32)
    if hasattr(model, "named_modules"):
        import torch

        maps = [tuple(a.shape[1:]) for a in model.features(torch.from_numpy(x))]
    else:
        maps = [(a.shape[3], *a.shape[1:3]) for a in model.features(x.transpose(0, 2, 3, 1))]
    sizes = shapes(TINY)
    assert maps == [sizes[name] for name in feature_nodes(TINY)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch", "jax_eager", "tf"])
def test_full_depth_agrees(name: str) -> None:
    for needed in NEEDED[name]:
        pytest.importorskip(needed)
    spec = replace(MODELS["se-vgg-16-bn"], size=96, hidden=(256, 256))
    found = conformance.compare(spec, seeded(spec, 1), image(3, 1, 96, 96), [name], isolated=False)
    assert found.agreed, found.results[name]


# --- other projects

BN, ORIGINAL = replace(MODELS["vgg-16-bn"], eps=1e-5), MODELS["vgg-16"]
NARROW: dict[str, Any] = {"widths": (2, 3, 4, 5, 6), "hidden": (7, 6), "classes": 5}
PEERS = {
    "bn_vgg16": Peer("bn_vgg16", replace(BN, conv_bias=False), vgg.PYTORCHCV_BN),
    "VGG16": Peer("VGG16", ORIGINAL, vgg.KERAS_APPLICATIONS),
}


def keras_taps() -> dict[str, str]:
    """In Keras' VGG16 the activation is a part of its layer."""
    names = {f"pool{i}": f"block{i}_pool" for i in range(1, 6)}
    for node, activated in [(f"{b.name}.conv", b.name) for b in ORIGINAL.blocks()] + [
        (f"head.fc{i}", f"head.relu{i}") for i in (1, 2)
    ]:
        names |= {node: "", activated: vgg.KERAS_APPLICATIONS.module(node)}
    return names


@pytest.mark.slow
@pytest.mark.parametrize(("name", "taps"), [("bn_vgg16", 2 * 13 + 3), ("VGG16", 13 + 5 + 3)])
def test_every_tap_is_the_peers(name: str, taps: int) -> None:
    pytest.importorskip("torch")
    peer = PEERS[name]
    found = conformance.run("torch", peer.spec, peer.params(), peer.image("224x224"))
    errors = peer.errors(found, "224x224", keras_taps() if name == "VGG16" else None)
    assert len(errors) == taps
    assert_within(errors, TAPS["float64"])


DIALECTS = [
    (vgg.TORCHVISION_BN, BN),
    (vgg.TORCHVISION, ORIGINAL),
    (vgg.TIMM_BN, BN),
    (vgg.TIMM, ORIGINAL),
    (vgg.PYTORCHCV_BN, replace(BN, conv_bias=False)),
]


@pytest.mark.parametrize(("dialect", "spec"), DIALECTS, ids=lambda x: x.name)
def test_files_of_other_projects_are_told_by_their_names(dialect: Any, spec: VGGSpec) -> None:
    spec = replace(spec, **NARROW)
    params = seeded(spec, 1)
    state = to_state(spec, params, dialect.name)
    assert not any(name.startswith("stage1.0") for name in state)
    found = from_state("some.pth", state)
    assert (found.info.format, found.info.preprocessing) == (dialect.name, IMAGENET)
    assert replace(found.spec, name=spec.name, dropout=spec.dropout, eps=spec.eps) == spec
    assert same(Params(found.params), Params(params))
    if spec.batch_norm:
        assert found.spec.eps == 1e-5


def test_names_are_those_that_the_projects_use() -> None:
    schema = {p.name: p for p in weights.schema(BN)}
    for dialect, name, theirs in (
        (vgg.TORCHVISION_BN, "stage5.2.bn.running_var", "features.41.running_var"),
        (vgg.TORCHVISION, "stage5.2.conv.bias", "features.28.bias"),
        (vgg.TIMM_BN, "head.fc1.weight", "pre_logits.fc1.weight"),
        (vgg.TIMM_BN, "fc.weight", "head.fc.weight"),
        (vgg.PYTORCHCV_BN, "stage3.1.conv.weight", "features.stage3.unit2.conv.weight"),
        (vgg.KERAS_APPLICATIONS, "stage3.1.conv.weight", "block3_conv2/kernel"),
    ):
        assert dialect.key(schema[name]) == theirs
    assert vgg.TIMM_BN.shape(schema["head.fc1.weight"]) == (4096, 512, 7, 7)
    assert vgg.TIMM_BN.shape(schema["head.fc2.weight"]) == (4096, 4096, 1, 1)


@pytest.mark.parametrize("dialect", ["torchvision", "timm", "pytorchcv"])
@pytest.mark.parametrize("changes", [{"se": SE(reduction=2)}, {"depths": (2, 2, 4, 4, 4)}, {"depths": (1, 1, 2, 2, 2)}])
def test_no_project_has_names_for_other_networks(dialect: str, changes: Mapping[str, Any]) -> None:
    spec = replace(BN, **NARROW, **changes)
    with pytest.raises(
        InputError, match=f"'{dialect}' has no names for vgg-16-bn: it knows .*; use the dialect 'torch'"
    ):
        to_state(spec, seeded(spec, 1), dialect)


def test_matrix_of_keras_reads_the_map_in_another_order() -> None:
    names = replace(vgg.KERAS_APPLICATIONS, channels_last=("head.fc1", 9))
    p = next(p for p in weights.schema(TINY) if p.name == "head.fc1.weight")
    array = np.arange(12 * 90, dtype=np.float64).reshape(12, 90)
    kernel = names.encode(p, array)
    x = np.random.default_rng(1).standard_normal((10, 3, 3))
    assert np.allclose(x.transpose(1, 2, 0).ravel() @ kernel, array @ x.ravel())
    assert np.array_equal(names.decode(p, kernel), array)


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

    params = seeded(TINY, 1)
    weights.write(tmp_path / "x.keras", TINY, params)
    model = keras.saving.load_model(tmp_path / "x.keras")
    assert model.spec == TINY
    dumped = se_tf.dump(model)
    assert all(np.array_equal(dumped[name], array.astype(np.float32)) for name, array in params.items())


VARIED = {
    **SPECS,
    "two stages": replace(TINY, depths=(1, 1), widths=(4, 6)),
    "no classifier": replace(TINY, classes=0),
    "no biases": replace(TINY, se=SE(reduction=2, bias=False), conv_bias=False),
    "one hidden width": replace(TINY, se=SE(width=5)),
    "stage 2": replace(TINY, se=SE(reduction=2, stages=(2,))),
    "gray images": replace(TINY, in_channels=1),
    "blocks without BatchNorm": replace(TINY, batch_norm=False),
}


@pytest.mark.parametrize("name", VARIED)
def test_bare_tensors_are_recognised_in_every_dialect(name: str) -> None:
    spec = VARIED[name]
    for names in (TORCH, KERAS, KERAS_ON_TORCH, FLAX):
        tensors = {names.key(p): names.shape(p) for p in weights.schema(spec)}
        guess = VGGSpec.from_shapes(partial(names.find, tensors))
        assert guess
        assert replace(guess, name=spec.name, dropout=spec.dropout) == spec
    found = from_state("some.pth", to_state(spec, seeded(spec, 1)))
    assert found.info.assumed == untold(found.spec)
    assert "dropout" in found.info.assumed
    assert not {"size", "conv_bias", "batch_norm"} & set(found.info.assumed)


# --- the original Caffe


@pytest.mark.parametrize("name", VGGS)
@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_every_tap_and_every_gradient_is_caffes(framework: str, name: str) -> None:
    pytest.importorskip({"torch": "torch"}.get(framework, "numpy"))
    net = VGGS[name]
    params, x = net.params(), net.image("64x64")
    found = conformance.run(framework, net.spec, params, x)
    assert net.names("64x64/taps") <= found.keys()
    assert len(net.names("64x64/taps")) == len(found) - 1  # Caffe does not flatten
    assert_within(net.errors(found, "64x64/taps"), TAPS["float64"])
    logits = net.golden["64x64/logits"]
    assert np.abs(found["logits"] - logits).max() <= TAPS["float64"] * np.abs(logits).max()
    gradients = conformance.gradients(framework, net.spec, params, x, net.golden["64x64/top_diff"])
    assert set(gradients) == net.names("64x64/grads")
    assert_within(net.errors(gradients, "64x64/grads"), GRADIENTS["float64"])


@pytest.mark.parametrize("name", VGGS)
def test_definition_of_caffes_is_recognised(name: str, tmp_path: Path) -> None:
    net = VGGS[name]
    (tmp_path / "x.prototxt").write_bytes(net.prototxt)
    assert recognise(text.read(tmp_path / "x.prototxt")).network.spec == net.spec


@pytest.mark.parametrize("name", VARIED)
def test_caffe_file_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    spec, params = VARIED[name], seeded(VARIED[name], 1)
    weights.write(tmp_path / "x.caffemodel", spec, params)
    found = weights.read(tmp_path / "x.caffemodel")
    assert found.spec == spec
    assert same(found.params, params)
    weights.write(tmp_path / "y.caffemodel", *found)
    assert (tmp_path / "y.caffemodel").read_bytes() == (tmp_path / "x.caffemodel").read_bytes()


@pytest.mark.parametrize("dress", ["Split layers", "odd names", "nowhere in place", "no input layer", "no softmax"])
@pytest.mark.parametrize("name", SPECS)
def test_network_in_another_dress_is_the_same_record(name: str, dress: str) -> None:
    net = Net("tiny", tuple(DRESSES[dress](with_blobs(SPECS[name], seeded(SPECS[name], 1), (24, 24)))))
    if dress != "no input layer":
        assert recognise(net).network.spec == SPECS[name]


def test_network_of_no_record_keeps_its_size(tmp_path: Path) -> None:
    """Its operations are read under the names of its layers, and the one size that fits is known."""
    found = [d.layer for d in layers(TINY)]
    odd = [replace(x, type="Sigmoid") if x.name == "head.relu1" else x for x in found]
    network = import_network(Net("odd", tuple(odd))).network
    assert (network.spec, network.size) == (None, (24, 24))
    params = seeded(network, 1)
    checkpoint.write(tmp_path / "x.caffemodel", network, params)
    again, held = checkpoint.network(tmp_path / "x.caffemodel")
    assert again.size == (24, 24)
    assert all(np.array_equal(held[name], params[name]) for name in params)
    with pytest.raises(InputError, match="odd takes images of 24x24 alone"):
        forward.run(network, params, image(1, 1, 32, 32))


def misfit(layer: str, **fields: Any) -> Net:
    found = [d.layer for d in layers(TINY)]
    return Net("net", tuple(replace(x, **fields) if x.name == layer else x for x in found))


MISFITS = {
    "another pooling": (
        misfit("pool2", settings={"pooling_param": {"pool": "AVE", "kernel_size": 2, "stride": 2}}),
        "layer 'pool2' (Pooling)",
        "pool MAX, found pool AVE",
    ),
    "an unknown layer": (misfit("head.relu1", type="PReLU"), "layer 'head.relu1' (PReLU)", "a ReLU (head.relu1)"),
    "another kernel": (
        misfit(
            "stage2.0.conv",
            settings={"convolution_param": {"num_output": 8, "pad": [2], "kernel_size": [5], "stride": [1]}},
        ),
        "layer 'stage2.0.conv' (Convolution)",
        "(stage2.0.conv) with kernel 3, pad 1 as in layer 'stage1.0.conv', found kernel 5, pad 2",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_file_that_is_no_vgg_is_one_error_that_names_the_layer(case: str) -> None:
    net, layer, why = MISFITS[case]
    with pytest.raises(InputError) as error:
        recognise(net, "file")
    assert str(error.value).startswith(f"file: {layer}")
    assert why in str(error.value)
    assert "\n" not in str(error.value)
