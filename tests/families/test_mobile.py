"""MobileNets and EfficientNet: counts, every framework against the reference, other projects' and Caffe's numbers."""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from caffe_dresses import DRESSES, with_blobs
from families.caffe import CaffeNet
from families.peers import Peer
from families.small import SMALL
from odd_networks import same
from within import assert_within, errors

import conformance
import weights
from conformance.adapters import adapter
from conformance.adapters.protocol import Trainable
from conformance.cases import image, seeded, top_diff
from conformance.judge.bounds import GRADIENTS, TAPS
from conformance.reference import backward, forward
from weights import MODELS, SE, InputError, MobileSpec, Params, cost, feature_nodes, schema, shapes
from weights.caffe.layers import layers
from weights.caffe.net import Layer, Net
from weights.caffe.recognise import recognise
from weights.files.state_dict import from_state, to_state
from weights.names import mobile
from weights.names.frameworks import FLAX, KERAS, KERAS_ON_TORCH, TORCH
from weights.networks.mobile import Stage
from weights.networks.models import changed
from weights.networks.operations import Act
from weights.networks.recognition import same_tensors

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

NEEDED = {
    "torch": ["torch"],
    "jax_eager": ["jax", "flax"],
    "tf": ["tensorflow", "keras"],
    "onnx": ["onnx", "onnx_ir", "onnxruntime"],
}
V3 = replace(SMALL["mobile"], name="tiny", padding="same", dropout=0.25, classes=5)
V2 = MobileSpec(
    name="tiny",
    stages=(Stage(out=4, expanded=(8,)), Stage(out=6, expanded=(16, 12), stride=2)),
    stem=8,
    top=16,
    se=None,
    classes=5,
)
EFFICIENT = replace(
    V2,
    stages=(Stage(out=4, expanded=(8,)), Stage(out=6, expanded=(16, 24, 24), kernel=5, stride=2)),
    activation="swish",
    se=SE(reduction=2, inner="swish", position="3x3"),
    reduced="unit",
)
V1 = MobileSpec(
    name="tiny",
    stages=(Stage(out=6, expanded=(4,)), Stage(out=8, expanded=(6,), stride=2)),
    stem=4,
    top=None,
    inverted=False,
    padding="even",
    se=SE(reduction=2),
    classes=5,
)
SPECS = {
    "v3": V3,
    "v1": V1,
    "before the sum": replace(
        EFFICIENT, stages=(Stage(out=8, expanded=(12,)),), se=SE(reduction=2), reduced="map", padding="same"
    ),
    "efficientnet": EFFICIENT,
    "v2": V2,
    "v1 after the depthwise convolution": replace(V1, padding="symmetric", se=SE(reduction=2, position="3x3")),
}
COMPILED = ("v3", "v1", "before the sum")
"""Those that Flax and Keras compute too, in which every choice occurs."""

X, COTANGENT = image(1, 2, 21, 30).astype(np.float64), top_diff(2, 2, 5)


# --- counts


@pytest.mark.parametrize(
    ("name", "learnable", "macs"),
    [
        ("mobilenet-v1", 4_231_976, 568_740_352),
        ("se-mobilenet-v1", 4_718_044, 569_220_096),
        ("mobilenet-v2", 3_504_872, 300_774_272),
        ("mobilenet-v3-large", 5_483_032, 216_589_760),
        ("mobilenet-v3-small", 2_542_856, 56_510_400),
        ("efficientnet-b0", 5_288_548, 385_814_752),
        ("efficientnet-b0-plain", 4_652_008, 385_187_552),
    ],
)
def test_counts_are_those_of_other_implementations(name: str, learnable: int, macs: int) -> None:
    """Of timm, torchvision, Keras; SE-MobileNet V1 has the paper's 4.7 M and, with the scaling, 572 M."""
    found = cost(MODELS[name])
    assert (found.learnable, found.macs) == (learnable, macs)
    assert name == "se-mobilenet-v1" or f"tf-{name}" not in MODELS or cost(MODELS[f"tf-{name}"]) == found


@pytest.mark.parametrize(
    ("se", "learnable"),
    [(SE(bias=False), 4_711_720), (SE(position="3x3"), 4_586_046)],
)
def test_counts_of_other_blocks_in_mobilenet_v1(se: SE, learnable: int) -> None:
    assert cost(replace(MODELS["se-mobilenet-v1"], se=se)).learnable == learnable


def test_hidden_widths_are_a_quarter_of_the_units_input_or_of_its_expansion() -> None:
    efficientnet = [(b.se.channels, b.se.hidden) for b in _spec("efficientnet-b0").blocks() if b.se]
    assert efficientnet[:5] == [(32, 8), (96, 4), (144, 6), (144, 6), (240, 10)]
    assert efficientnet[-5:] == [(672, 28), *[(1152, 48)] * 4]
    large = [(b.se.channels, b.se.hidden) for b in _spec("mobilenet-v3-large").blocks() if b.se]
    assert large == [(72, 24), (120, 32), (120, 32), (480, 120), (672, 168), (672, 168), (960, 240), (960, 240)]


@pytest.mark.parametrize("name", [name for name, spec in MODELS.items() if isinstance(spec, MobileSpec)])
def test_feature_maps_have_the_strides_from_4_to_32(name: str) -> None:
    sizes = shapes(MODELS[name].network())
    assert [sizes[node][1] for node in feature_nodes(MODELS[name])] == [56, 28, 14, 7]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": (Stage(out=4, expanded=(4,), kernel=4),)}, "kernels are of odd size"),
        ({"se": SE(reduction=4, position="post")}, "SE blocks at 'post': expected 'standard', the end of a unit, or"),
        ({"se": SE(reduction=4, stages=(3,))}, "SE blocks in stage 3 of 2"),
        ({"se": SE(reduction=7)}, "SE: reduction 7 leaves no hidden unit for 6 channels"),
        ({"padding": "valid"}, "padding is 'valid', expected one of symmetric, same, even"),
        ({"activation": "tanh"}, "activation is 'tanh', expected one of relu, relu6, swish, hard-swish"),
    ],
)
def test_impossible_records_are_refused(changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        replace(V1, **changes)
    assert str(error.value).startswith(f"tiny: {message}")


def test_stages_are_checked() -> None:
    with pytest.raises(InputError, match="stage: expanded is \\(\\), expected a list"):
        Stage(out=4, expanded=())


def _spec(name: str) -> MobileSpec:
    return cast(MobileSpec, MODELS[name])


# --- the frameworks and the reference

CASES = [("torch", name) for name in SPECS] + [
    (framework, name) for framework in ("jax_eager", "tf") for name in COMPILED
]


@pytest.mark.parametrize(("framework", "name"), CASES)
def test_every_tap_and_every_gradient_agrees(framework: str, name: str) -> None:
    for needed in NEEDED[framework]:
        pytest.importorskip(needed)
    spec, params, port = SPECS[name], seeded(SPECS[name], 1), cast(Trainable, adapter(framework))
    model = port.build(spec, params, "float64")
    taps, expected = port.taps(model, X), forward.run(spec, params, X)
    assert taps.keys() == expected.keys()
    assert_within(errors(taps, expected), TAPS["float64"])
    found, wanted = port.gradients(model, X, COTANGENT, False), backward.gradients(spec, params, X, COTANGENT)
    assert found.keys() == wanted.keys()
    assert_within(errors(found, wanted), GRADIENTS["float64"])


@pytest.mark.parametrize("name", SPECS)
def test_gradients_through_the_statistics_of_the_batch_agree(name: str) -> None:
    pytest.importorskip("torch")
    spec, params = SPECS[name], seeded(SPECS[name], 1)
    found = conformance.gradients("torch", spec, params, X, COTANGENT, training=True)
    wanted = backward.gradients(spec, params, X, COTANGENT, training=True)
    # A BatchNorm takes away what the beta before a linear projection adds: such gradients are nothing but rounding.
    largest = max(np.abs(gradient).max() for gradient in wanted.values())
    nothing = {name for name, gradient in wanted.items() if np.abs(gradient).max() < 1e-13 * largest}
    assert len(nothing) < len(wanted) / 3
    assert all(np.abs(found[name]).max() < 1e-12 * largest for name in nothing)
    assert_within({n: e for n, e in errors(found, wanted).items() if n not in nothing}, 10 * GRADIENTS["float64"])


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


# --- other projects


def peer(name: str, ours: str, dialect: Any, **changes: Any) -> Peer:
    return Peer(name, replace(MODELS[ours], **changes), dialect, raw=name == "EfficientNetB0")


PEERS = {
    found.name: found
    for found in (  # timm's eps is 1e-5 itself
        peer("efficientnet_b0", "efficientnet-b0", mobile.TIMM, eps=1e-5),
        peer("tf_efficientnet_b0", "tf-efficientnet-b0", mobile.TIMM),
        peer("mobilenetv1_100", "mobilenet-v1", mobile.TIMM, eps=1e-5),
        peer("mobilenetv2_100", "mobilenet-v2", mobile.TIMM, eps=1e-5),
        peer("mobilenetv3_large_100", "mobilenet-v3-large", mobile.TIMM_V3[1], eps=1e-5),
        peer("EfficientNetB0", "tf-efficientnet-b0", mobile.KERAS_EFFICIENTNET),
        peer("MobileNet", "tf-mobilenet-v1", mobile.KERAS_V1),
        peer("MobileNetV2", "tf-mobilenet-v2", mobile.KERAS_V2),
        peer("MobileNetV3Large", "tf-mobilenet-v3-large", mobile.KERAS_V3[0]),
    )
}


def fused(found: Peer) -> dict[str, str]:
    """timm's BatchNorms are taken with the activations in them, and so are the matrices of Keras' EfficientNet."""
    nodes, names = found.spec.network().by_name, dict[str, str]()
    for node in nodes.values():
        source = nodes.get(node.inputs[0])
        if isinstance(node.op, Act) and source:
            of_norm = found.dialect.name == "timm" and source.op.kind == "bn"
            if of_norm or (found.raw and node.block):
                names |= {node.name: found.dialect.module(source.module), source.name: ""}
    return names


QUICK = [(name, "75x83") for name in ("efficientnet_b0", "mobilenetv3_large_100", "EfficientNetB0", "MobileNet")]
ALL = [(name, tag) for name in PEERS for tag in ("75x83", "96x96")]


@pytest.mark.parametrize(
    ("name", "tag"), [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in ALL if case not in QUICK)]
)
def test_every_tap_is_the_other_projects(name: str, tag: str) -> None:
    pytest.importorskip("torch")
    found = PEERS[name]
    x = found.image(tag)
    x = x * float(np.float32(1 / 255)) if found.raw else x  # its first layer
    off = found.errors(conformance.run("torch", found.spec, found.params(), x), tag, fused(found))
    assert len(off) > 50
    assert_within(off, TAPS["float64"])


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["jax_eager", "tf"])
@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenetv3_large_100", "MobileNet"])
def test_every_tap_of_flax_and_keras_is_the_other_projects(name: str, framework: str) -> None:
    for needed in NEEDED[framework]:
        pytest.importorskip(needed)
    found, tag = PEERS[name], "75x83"
    taps = conformance.run(framework, found.spec, found.params(), found.image(tag))
    assert_within(found.errors(taps, tag, fused(found)), TAPS["float64"])


def blank(spec: weights.Spec) -> Params:
    """Parameters of a network, which hold nothing."""
    return Params({p.name: np.broadcast_to(np.float32(0), p.shape) for p in schema(spec)})


@pytest.mark.parametrize("name", [name for name, spec in MODELS.items() if isinstance(spec, MobileSpec)])
def test_state_dicts_of_timm_are_recognised_and_padding_and_eps_assumed(name: str) -> None:
    spec = MODELS[name]
    found = from_state("some.pth", to_state(spec, blank(spec), "timm"))
    assert (found.spec.name, found.info.format) == (name.removeprefix("tf-"), "timm")
    assert {"padding", "eps"} <= set(found.info.assumed)
    assert ("activation" in found.info.assumed) == (name in ("se-mobilenet-v1", "efficientnet-b0-plain"))
    stated = from_state("some.pth", to_state(spec, blank(spec), "timm"), spec=spec)
    assert stated.spec == spec


@pytest.mark.parametrize(
    ("name", "eps"),
    [("mobilenet-v2", 1e-5), ("mobilenet-v3-large", 1e-3), ("mobilenet-v3-small", 1e-3), ("efficientnet-b0", 1e-5)],
)
def test_state_dicts_of_torchvision_are_recognised_and_tell_everything(name: str, eps: float) -> None:
    spec = replace(MODELS[name], eps=eps) if eps == 1e-3 else MODELS[name]
    state = to_state(spec, blank(spec), "torchvision")
    assert {"features.0.0.weight", "features.1.0.block.0.0.weight", "features.1.conv.0.0.weight"} & state.keys()
    found = from_state("some.pth", state)
    assert (found.spec, found.info.format) == (replace(spec, eps=eps), "torchvision")
    assert found.info.assumed == ("preprocessing", "labels")


@pytest.mark.parametrize("name", ["tf-mobilenet-v2", "mobilenet-v1", "efficientnet-b0-plain", "mobilenet-v3-large"])
def test_torchvision_has_no_names_for_other_networks(name: str) -> None:
    """Of MobileNet V3 those of another eps: torchvision's is 1e-3."""
    with pytest.raises(InputError, match=f"'torchvision' has no names for {name}"):
        to_state(MODELS[name], blank(MODELS[name]), "torchvision")


def test_larger_network_of_timms_is_recognised() -> None:
    """EfficientNet-B1: as B0, with one unit more in each stage."""
    b0 = _spec("efficientnet-b0")
    spec = replace(b0, stages=tuple(replace(s, expanded=(*s.expanded, 6 * s.out)) for s in b0.stages))
    spec = replace(spec, stages=(replace(spec.stages[0], expanded=(32, 16)), *spec.stages[1:]))
    found = from_state("b1.pth", to_state(spec, blank(spec), "timm"))
    assert found.spec.network().nodes == replace(spec, eps=1e-5, dropout=0.0).network().nodes
    assert {"stages.stride", "activation", "padding", "eps"} <= set(found.info.assumed)


# --- keras.applications

APPLICATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "MobileNet": ({"alpha": 0.25}, ""),
    "MobileNetV2": ({}, "tf-mobilenet-v2"),
    "MobileNetV3Small": ({"include_preprocessing": False}, "tf-mobilenet-v3-small"),
    "EfficientNetB0": ({}, "tf-efficientnet-b0"),
}


@pytest.mark.parametrize(
    "name", ["MobileNet", *(pytest.param(name, marks=pytest.mark.slow) for name in list(APPLICATIONS)[1:])]
)
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_models_of_keras_applications_are_read_and_computed(suffix: str, name: str, tmp_path: Path) -> None:
    keras: Any = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    import se_tf

    given, published = APPLICATIONS[name]
    theirs = getattr(keras.applications, name)(
        input_shape=(45, 38, 3), weights=None, classes=7, classifier_activation=None, **given
    )
    rng = np.random.default_rng(5)
    for variable in theirs.weights:
        spread = rng.uniform(0.5, 1.5, variable.shape)
        if variable.path.rpartition("/")[2] in ("gamma", "moving_variance"):
            variable.assign(spread)
        elif variable.path.rpartition("/")[2] in ("beta", "moving_mean"):
            variable.assign(spread / 10)
    path = tmp_path / f"x{suffix}"
    theirs.save_weights(path) if suffix == ".weights.h5" else theirs.save(path)
    spec, params = weights.read(path)
    assert isinstance(spec, MobileSpec)
    assert (spec.eps, spec.padding, spec.classes) == (1e-3, "even" if name == "MobileNet" else "same", 7)
    assert not published or spec == replace(MODELS[published], classes=7)
    assert params.info.preprocessing
    assert params.info.preprocessing.range == 1
    assert "preprocessing" in params.info.assumed
    assert "padding" not in params.info.assumed
    pixels = rng.integers(0, 256, (2, 45, 38, 3)).astype(np.float32)
    x = pixels / 255 if name == "EfficientNetB0" else pixels / 127.5 - 1
    wanted = np.asarray(theirs(pixels if name == "EfficientNetB0" else x, training=False))
    ours = np.asarray(se_tf.restore(spec, params)(x, training=False))
    assert np.abs(ours - wanted).max() < 2e-5 * np.abs(wanted).max()
    held = [np.asarray(variable) for variable in theirs.weights]
    for variable in theirs.weights:
        variable.assign(np.zeros(variable.shape))
    weights.write(tmp_path / "back.weights.h5", spec, params, dialect="keras.applications")
    theirs.load_weights(tmp_path / "back.weights.h5")
    assert all(np.array_equal(variable, before) for variable, before in zip(theirs.weights, held, strict=True))


def test_normalization_of_an_efficientnet_is_its_preprocessing(tmp_path: Path) -> None:
    """The released weights hold ImageNet's deviations where their squares belong, and another layer makes up for it."""
    h5py = pytest.importorskip("h5py")
    spec = replace(MODELS["tf-efficientnet-b0"], classes=3)
    names, mean = mobile.KERAS_EFFICIENTNET, (0.485, 0.456, 0.406)
    for i, (variance, std) in enumerate((((0.25, 0.16, 0.09), (0.5, 0.4, 0.3)), ((0.229, 0.224, 0.225),) * 2)):
        with h5py.File(tmp_path / f"{i}.weights.h5", "w") as file:
            leaves = {"kernel": 0, "gamma": 0, "bias": 1, "beta": 1, "moving_mean": 2, "moving_variance": 3}
            for p in schema(spec):
                layer, leaf = names.key(p).split("/")
                group = file.require_group(f"layers/{layer}/vars")
                group.attrs["name"] = layer
                group[str(leaves[leaf])] = np.zeros(names.shape(p), np.float32)
            group = file.create_group("layers/normalization/vars")
            group.attrs["name"] = f"normalization_{i}" if i else "normalization"  # of a second model in one session
            for index, value in enumerate((mean, variance, 0)):
                group[str(index)] = np.asarray(value, np.float32)
        found = weights.read(tmp_path / f"{i}.weights.h5")
        assert found.spec == spec
        assert found.info.preprocessing
        assert np.allclose(found.info.preprocessing.mean, mean, atol=1e-7)
        assert np.allclose(found.info.preprocessing.std, std, atol=1e-7)


# --- files


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".keras", ".weights.h5", ".onnx", ".orbax", ".caffemodel"])
def test_every_format_returns_the_parameters(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip({".onnx": "onnx_ir", ".orbax": "orbax.checkpoint"}.get(suffix, "numpy"))
    spec = replace(V3, padding="symmetric") if suffix == ".caffemodel" else V3
    params = seeded(spec, 1)
    if suffix == ".onnx":
        params = Params({name: array.astype(np.float32) for name, array in params.items()}, params.info)
    weights.write(tmp_path / f"x{suffix}", spec, params)
    found = weights.read(tmp_path / f"x{suffix}")
    assert found.spec == spec
    assert same(found.params, params)
    assert found.info.assumed == ()


VARIED = {
    **SPECS,
    "no classifier": replace(V3, classes=0, hidden=None, dropout=0.0),
    "no biases": replace(V1, se=SE(reduction=2, bias=False)),
    "one hidden width": replace(EFFICIENT, se=SE(width=5, position="3x3"), reduced="map"),
    "some stages": replace(V1, se=SE(reduction=2, stages=(1,))),
    "gray images": replace(V2, in_channels=1),
}


@pytest.mark.parametrize("name", VARIED)
def test_bare_tensors_are_recognised_in_every_dialect(name: str) -> None:
    spec = VARIED[name]
    for names in (TORCH, KERAS, KERAS_ON_TORCH, FLAX):
        tensors = {names.key(p): names.shape(p) for p in schema(spec)}
        guess = MobileSpec.from_shapes(partial(names.find, tensors))
        assert guess
        assert same_tensors(guess, spec)
    found = from_state("some.pth", to_state(spec, seeded(spec, 1)))
    assert same_tensors(found.spec, spec)
    assert {"eps", "padding", "stages.stride", "stages.activation", "activation"} <= set(found.info.assumed)


# --- the original Caffe

_CAFFE = MobileSpec(
    name="mobilenet",
    stages=(
        Stage(out=16, expanded=(8,)),
        Stage(out=24, expanded=(16, 24), stride=2),
        Stage(out=48, expanded=(24,), stride=2),
        Stage(out=64, expanded=(48,), stride=2),
    ),
    stem=8,
    top=None,
    inverted=False,
    activation="relu",
    se=None,
    classes=10,
)
_MBCONV = replace(
    _CAFFE,
    name="mbconv-relu6",
    stages=(
        Stage(out=8, expanded=(8,)),
        Stage(out=12, expanded=(32, 48), stride=2),
        Stage(out=16, expanded=(48, 64), kernel=5, stride=2),
    ),
    top=48,
    inverted=True,
    activation="relu6",
)
_SWISH = replace(_MBCONV, name="mbconv", activation="swish", eps=float(np.float32(1e-3)))
CAFFE = {
    spec.name: spec
    for spec in (
        _CAFFE,
        replace(_CAFFE, name="se-mobilenet", se=SE(reduction=4)),
        _MBCONV,
        replace(_MBCONV, name="se-mbconv-hard", se=SE(reduction=4, gate="hard-sigmoid", position="3x3")),
        _SWISH,
        replace(_SWISH, name="se-mbconv", se=SE(reduction=4, inner="swish", position="3x3"), reduced="unit"),
    )
}
NETS = {name: CaffeNet(name) for name in CAFFE}


@pytest.mark.parametrize("name", CAFFE)
@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_every_tap_and_every_gradient_is_caffes(framework: str, name: str, tmp_path: Path) -> None:
    pytest.importorskip({"torch": "torch"}.get(framework, "numpy"))
    net = NETS[name]
    spec, params = weights.read(net.write(tmp_path / "net.caffemodel"))
    assert spec == CAFFE[name]
    for tag in net.tags:
        found = conformance.run(framework, spec, params, net.image(tag))
        assert net.names(f"{tag}/taps") <= found.keys()
        assert_within(net.errors(found, f"{tag}/taps"), TAPS["float64"])
        logits = net.golden[f"{tag}/logits"]
        assert np.abs(found["logits"] - logits).max() <= TAPS["float64"] * np.abs(logits).max()
    tag = net.tags[0]
    found = conformance.gradients(framework, spec, params, net.image(tag), net.golden[f"{tag}/top_diff"])
    assert set(found) == net.names(f"{tag}/grads")
    assert_within(net.errors(found, f"{tag}/grads"), GRADIENTS["float64"])


@pytest.mark.parametrize("name", VARIED)
def test_caffe_file_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    spec = replace(VARIED[name], padding="symmetric")
    params = seeded(spec, 1)
    weights.write(tmp_path / "x.caffemodel", spec, params)
    found = weights.read(tmp_path / "x.caffemodel")
    assert found.spec == spec
    assert same(found.params, params)
    weights.write(tmp_path / "y.caffemodel", *found)
    assert (tmp_path / "y.caffemodel").read_bytes() == (tmp_path / "x.caffemodel").read_bytes()


@pytest.mark.parametrize("dress", ["Split layers", "odd names", "nowhere in place", "no input layer", "no softmax"])
@pytest.mark.parametrize("name", SPECS)
def test_network_in_another_dress_is_the_same_record(name: str, dress: str) -> None:
    spec = replace(SPECS[name], padding="symmetric")
    net = Net("tiny", tuple(DRESSES[dress](with_blobs(spec, seeded(spec, 1), (64, 64)))))
    assert recognise(net).network.spec == spec


def test_the_nearest_family_says_what_does_not_fit() -> None:
    """Caffe's popular MobileNet V2 has a 1x1 convolution before its first depthwise one too."""
    found = [d.layer for d in layers(changed(MODELS["mobilenet-v2"], activation="relu"))]
    at = next(i for i, layer in enumerate(found) if layer.name == "stage1.0.depthwise")
    settings = {"convolution_param": {"num_output": 32, "kernel_size": [1], "bias_term": False}}
    scale = {"scale_param": {"bias_term": True}}
    expansion = [Layer("extra", "Convolution", found[at].bottoms, ("extra",), settings)]
    for kind, stated in (("BatchNorm", {}), ("Scale", scale), ("ReLU", {})):
        expansion.append(Layer(f"extra/{kind}", kind, ("extra",), ("extra",), stated))
    found[at : at + 1] = [*expansion, replace(found[at], bottoms=("extra",))]
    with pytest.raises(InputError, match=r"layer 'extra' .* expected a 3x3 convolution \(stage1\.0\.depthwise\) with"):
        recognise(Net("net", tuple(found)))


@pytest.mark.parametrize("padding", ["same", "even"])
def test_paddings_of_tensorflow_are_refused_in_caffe(padding: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Caffe pads opposite sides alike, and TensorFlow's padding does not"):
        weights.write(tmp_path / "x.caffemodel", replace(V2, padding=padding), seeded(V2, 1))
    assert not list(tmp_path.iterdir())
