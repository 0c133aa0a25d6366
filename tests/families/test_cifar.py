"""Pre-activation networks and Shake-Shake: counts, taps, gradients, files; the numbers of Caffe and of other people."""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from families.cifar import CAFFES, INPUTS, PYTORCHCV, golden, golden_errors, image, params, shake_dialect
from families.peers import Peer
from within import assert_within

import conformance
import weights
from conformance import cases
from conformance.judge.bounds import GRADIENTS, TAPS
from conformance.reference import backward
from conformance.report.wording import assumed
from weights import MODELS, SE, InputError, Params, PreActSpec, ShakeSpec, Spec, cost, graph, schema
from weights.caffe import text
from weights.caffe.recognise import recognise
from weights.networks.models import find
from weights.networks.operations import Add
from weights.networks.recognition import untold

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

NEEDED = {"torch": ["torch"], "jax_eager": ["jax", "flax"], "tf": ["tensorflow", "keras"], "onnx": ["onnx", "onnx_ir"]}

COUNTS = {  # plain, plain MACs, with biases, without; multiply-adds at 32x32
    "resnet-110-cifar-10": (1_730_522, 253_149_824, 1_744_760, 1_742_618),
    "resnet-110-cifar-100": (1_736_372, 253_155_584, 1_750_610, 1_748_468),
    "resnet-164-cifar-10": (1_703_258, 244_500_992, 1_905_362, 1_896_794),
    "resnet-164-cifar-100": (1_726_388, 244_524_032, 1_928_492, 1_919_924),
    "wrn-16-8-cifar-10": (10_961_370, 1_548_145_664, 11_049_290, 11_047_386),
    "wrn-16-8-cifar-100": (11_007_540, 1_548_191_744, 11_095_460, 11_093_556),
    "shake-shake-26-2x96d-cifar-10": (26_192_922, 3_776_892_672, 26_292_546, 26_289_690),
    "shake-even-29-2x4x64d-cifar-100": (34_529_700, 5_387_358_208, 35_051_508, 35_045_796),
}
"""Computed by arithmetic from the authors' Lua files; most also counted in pytorchcv and in the peers of ``PEERS``."""

_PREACT = PreActSpec(
    name="small-preact",
    depths=(1, 2, 1),
    stem=4,
    width=(4, 6, 8),
    out_channels=(4, 6, 8),
    se=SE(reduction=2),
    classes=5,
)
_WIDE = replace(_PREACT, unit="bottleneck", out_channels=(8, 12, 16))
_SHAKE = ShakeSpec(
    name="small-shake",
    depths=(1, 2, 1),
    stem=4,
    width=(4, 6, 8),
    out_channels=(4, 6, 8),
    se=SE(reduction=2),
    classes=5,
)
_EVEN = replace(_SHAKE, unit="bottleneck", out_channels=(8, 12, 16), groups=2, shares="shake-even")
_THREE_STAGES = {
    "basic": _PREACT,
    "basic-zeros-plain": replace(_PREACT, shortcut="zeros", se=None),
    "post": replace(_PREACT, order="post"),
    "post-zeros-bottleneck": replace(_WIDE, order="post", shortcut="zeros"),
    "bottleneck-plain": replace(_WIDE, se=None),
    "bottleneck-on-3x3": replace(_WIDE, stride_on_3x3=True, se=SE(reduction=2, bias=False, stages=(2,))),
    "shake-shake": replace(_SHAKE, stem=6),
    "shake-shake-plain": replace(_SHAKE, se=None),
    "shake-even-branch": replace(_EVEN, place="branch"),
    "shake-even-plain": replace(_EVEN, groups=1, se=None),
}
SMALL: dict[str, Spec] = {
    name: replace(spec, depths=(1, 2), width=spec.width[:2], out_channels=spec.out_channels[:2])
    for name, spec in _THREE_STAGES.items()
}
X, COTANGENT = cases.image(1, 2, 13, 10).astype(np.float64), cases.top_diff(2, 2, 5)


def needs(framework: str) -> None:
    for module in NEEDED[framework]:
        pytest.importorskip(module)


def living(spec: Spec, training: bool = False) -> Params:
    """Parameters of the first seed with which every parameter has a gradient that is more than rounding."""
    return Params(_living(spec, training))


@cache
def _living(spec: Spec, training: bool) -> Params:
    def lives(params: Params) -> bool:
        found = backward.gradients(spec, params, X, COTANGENT, training=training)
        sizes = [np.abs(gradient).max() for name, gradient in found.items() if name != "data"]
        return min(sizes) > (2e-5 if training else 1e-4) * max(sizes)

    return next(filter(lives, (cases.seeded(spec, seed) for seed in count())))


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_and_multiply_adds(name: str) -> None:
    spec, (plain, macs, biased, bare) = MODELS[name], COUNTS[name]
    assert (cost(spec, 32, 32).learnable, cost(spec, 32, 32).macs) == (plain, macs)
    assert cost(MODELS[f"se-{name}"]).learnable == biased
    assert cost(replace(spec, se=SE(bias=False))).learnable == bare


@pytest.mark.parametrize(
    ("name", "choices", "learnable", "macs"),
    [
        ("resnet-110-cifar-10", {"shortcut": "zeros"}, 1_727_962, 252_887_680),
        ("resnet-110-cifar-100", {"shortcut": "zeros"}, 1_733_812, 252_893_440),
        ("se-resnet-110-cifar-10", {"shortcut": "zeros"}, 1_742_200, None),
        ("resnet-110-cifar-10", {"order": "post"}, 1_730_714, 253_149_824),
        ("se-resnet-110-cifar-10", {"order": "post"}, 1_744_952, None),
        ("resnet-110-cifar-100", {"order": "post", "shortcut": "zeros"}, 1_733_812, 252_893_440),
        ("resnet-164-cifar-10", {"stride_on_3x3": True}, 1_703_258, 247_646_720),
        ("se-shake-shake-26-2x96d-cifar-10", {"place": "branch"}, 26_392_170, None),
        ("se-shake-even-29-2x4x64d-cifar-100", {"place": "branch"}, 35_573_316, None),
    ],
)
def test_parameters_and_multiply_adds_of_other_choices(
    name: str, choices: dict[str, object], learnable: int, macs: int | None
) -> None:
    found = cost(find(name, **choices), 32, 32)
    assert (found.learnable, found.macs if macs else None) == (learnable, macs)


SOME = ("basic-zeros-plain", "post", "bottleneck-on-3x3", "shake-shake", "shake-even-branch")
"""Every layer of the two families occurs."""


@pytest.mark.parametrize(
    ("framework", "name"),
    [*(("torch", name) for name in SMALL), *((framework, name) for framework in ("jax_eager", "tf") for name in SOME)],
)
def test_every_tap_and_every_gradient_agrees(framework: str, name: str) -> None:
    needs(framework)
    spec = SMALL[name]
    taps = conformance.compare(spec, living(spec), X, [framework], isolated=False)
    assert taps.agreed, taps.results[framework]
    gradients = conformance.compare_gradients(spec, living(spec), X, COTANGENT, [framework], isolated=False)
    assert gradients.agreed, gradients.results[framework]


def test_every_node_but_hidden_sums_is_seen() -> None:
    """The nodes that no module of PyTorch computes are sums before a ReLU."""
    needs("torch")
    for spec in SMALL.values():
        hidden = {node.name for node in graph(spec)} - conformance.run("torch", spec, living(spec), X).keys()
        assert all(isinstance(spec.network().by_name[node].op, Add) for node in hidden)
        assert all(node.endswith(".add") for node in hidden)


@pytest.mark.parametrize("name", SMALL)
def test_onnx_agrees(name: str) -> None:
    needs("onnx")
    pytest.importorskip("onnxruntime")
    found = conformance.compare(SMALL[name], living(SMALL[name]), X, ["onnx"], dtype="float32", isolated=False)
    assert found.agreed, found.results["onnx"]


TRAINED = {name: ["torch"] for name in SMALL} | {
    name: ["torch", "jax_eager", "tf"] for name in ("bottleneck-on-3x3", "shake-shake")
}


@pytest.mark.parametrize(("name", "framework"), [(name, framework) for name in TRAINED for framework in TRAINED[name]])
def test_gradients_in_training_agree(name: str, framework: str) -> None:
    """Through the statistics of the batch; the shares of the branches are then halves, as in the reference."""
    needs(framework)
    spec = SMALL[name]
    found = conformance.compare_gradients(
        spec, living(spec, True), X, COTANGENT, [framework], isolated=False, training=True
    )
    assert found.agreed, found.results[framework]


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".keras", ".weights.h5", ".onnx", ".caffemodel"])
@pytest.mark.parametrize("name", ["basic-zeros-plain", "shake-shake"])
def test_every_format_returns_the_parameters(name: str, suffix: str, tmp_path: Path) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnx_ir")
    spec = replace(SMALL[name], stem=3) if suffix == ".caffemodel" and name == "basic-zeros-plain" else SMALL[name]
    spec = replace(spec, out_channels=(6, 12)) if spec.family == "preact" else spec
    params = cases.seeded(spec, 1)
    if suffix == ".onnx":  # which holds float32 alone
        params = Params({key: array.astype(np.float32) for key, array in params.items()}, params.info)
    found_spec, found = written_and_read(tmp_path / f"net{suffix}", spec, params)
    assert found_spec == spec
    assert found.keys() == params.keys()
    assert all(np.array_equal(found[key], params[key]) for key in params)


def written_and_read(path: Path, spec: Spec, params: Mapping[str, np.ndarray]) -> tuple[Spec, Params]:
    weights.write(path, spec, params)
    return weights.read(path)


@pytest.mark.parametrize("name", SMALL)
def test_networks_are_recognised_by_their_tensors(name: str, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    spec, path = SMALL[name], tmp_path / "bare.safetensors"
    safetensors.save_file({key: np.ascontiguousarray(a) for key, a in cases.seeded(spec, 1).items()}, path)
    found, params = weights.read(path)
    assert set(untold(spec)) <= set(params.info.assumed)
    assert type(found) is type(spec)
    assert {p.name: p.shape for p in schema(found)} == {p.name: p.shape for p in schema(spec)}
    told = {"stride_on_3x3": spec.stride_on_3x3} if isinstance(spec, PreActSpec) else {}
    assert replace(found, name=spec.name, **told) == spec


@pytest.mark.parametrize("name", ["resnet-110-cifar-10", "resnet-110-cifar-100"])
def test_networks_that_differ_in_their_classes_alone_keep_their_names(name: str, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    params = cases.seeded(MODELS[name], 1)
    safetensors.save_file({key: np.ascontiguousarray(a) for key, a in params.items()}, tmp_path / "bare.safetensors")
    assert weights.read(tmp_path / "bare.safetensors").spec == MODELS[name]
    assert written_and_read(tmp_path / "net.caffemodel", MODELS[name], params)[0] == MODELS[name]


def test_what_tensors_do_not_tell() -> None:
    assert untold(_PREACT) == ("se.squeeze", "se.gate", "se.inner", "dropout", "eps")
    assert untold(_WIDE) == ("stride_on_3x3", "se.squeeze", "se.gate", "se.inner", "dropout", "eps")
    assert untold(_SHAKE) == ("shares", "se.squeeze", "se.gate", "se.inner", "dropout", "eps")


# --- the original Caffe


@pytest.mark.parametrize("name", CAFFES)
def test_definitions_of_caffe_are_recognised(name: str, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(golden(name)["prototxt"].tobytes())
    assert recognise(text.read(path)).network.spec == CAFFES[name][0]


@pytest.mark.parametrize("name", CAFFES)
@pytest.mark.parametrize("tag", INPUTS)
def test_every_tap_is_caffes(name: str, tag: str) -> None:
    network = CAFFES[name][0].network()
    for framework in ("numpy", "torch"):
        if framework == "torch":
            needs("torch")
        found = conformance.run(framework, network, params(name), image(tag))
        errors = golden_errors(name, found, f"{tag}/taps")
        hidden = {str(key) for key in golden(name)[f"{tag}/taps_name"]} - errors.keys()
        assert not hidden or framework == "torch"
        assert all(isinstance(network.by_name[node].op, Add) for node in hidden)
        assert len(errors) > 30
        assert_within(errors, TAPS["float64"])
        logits = golden(name)[f"{tag}/logits"]
        assert np.abs(found["logits"] - logits).max() <= TAPS["float64"] * np.abs(logits).max()
        # Of the nodes Caffe lacks only products that its Axpy sums, and maps that its convolutions move.
        lacking = found.keys() - errors.keys() - hidden
        assert all(node.endswith((".se", ".shift")) for node in lacking), lacking


@pytest.mark.parametrize("name", CAFFES)
def test_every_gradient_is_caffes(name: str) -> None:
    spec, cotangent = CAFFES[name][0], golden(name)["32x32/top_diff"]
    for framework in ("numpy", "torch"):
        if framework == "torch":
            needs("torch")
        found = conformance.gradients(framework, spec, params(name), image("32x32"), cotangent)
        assert set(found) == {str(key) for key in golden(name)["32x32/grads_name"]}
        assert_within(golden_errors(name, found, "32x32/grads"), GRADIENTS["float64"])


@pytest.mark.parametrize("name", CAFFES)
def test_caffe_files_are_written_and_read(name: str, tmp_path: Path) -> None:
    """With the same layers as the definition that Caffe computed from, apart from their names."""
    spec, path = CAFFES[name][0], tmp_path / "net.caffemodel"
    found_spec, found = written_and_read(path, spec, params(name))
    assert found_spec == spec
    assert all(np.array_equal(found[key], array) for key, array in params(name).items())
    (tmp_path / "caffes.prototxt").write_bytes(golden(name)["prototxt"].tobytes())
    ours, theirs = (text.read(tmp_path / file).layers for file in ("net.prototxt", "caffes.prototxt"))
    assert sorted(layer.type for layer in ours if layer.type != "Split") == sorted(layer.type for layer in theirs)


def test_caffes_layers_do_not_say_how_branches_share_in_training(tmp_path: Path) -> None:
    spec = replace(_SHAKE, shares="even-even")
    found, params = written_and_read(tmp_path / "net.caffemodel", spec, living(spec))
    assert params.info.assumed == ("shares",)
    assert found == replace(spec, shares="shake-shake")
    assert assumed(found, params.info) == "shares of the branches in training (shake-shake)"


def test_channels_of_zeros_that_caffe_cannot_append_are_refused(tmp_path: Path) -> None:
    spec = SMALL["basic-zeros-plain"]
    with pytest.raises(InputError, match=r"as many channels of zeros as the map has, 4, or a multiple of them, not 2"):
        weights.write(tmp_path / "net.caffemodel", spec, living(spec))


@pytest.mark.parametrize(
    ("name", "at", "setting", "to", "message"),
    [
        ("cifar-wrn", "conv3_1_3x3_1", "stride: 2", "stride: 1", "conv3_1_3x3_1"),
        ("cifar-se-preact-basic-a", "conv3_1_zero", "scale: 0", "scale: 1", "conv3_1_zero"),
        ("cifar-shake-shake", "conv3_1_1x1_proj_b_crop", "offset: 0", "offset: 1", "conv3_1_1x1_proj_b"),
        ("cifar-shake-shake", "conv3_1_halves", "coeff: 0.5 coeff: 0.5", "coeff: 0.5 coeff: 0.4", "conv3_1_halves"),
    ],
)
def test_definition_of_another_network_is_refused_by_its_layer(
    name: str, at: str, setting: str, to: str, message: str, tmp_path: Path
) -> None:
    found = " ".join(golden(name)["prototxt"].tobytes().decode().split())
    head, mark, tail = found.partition(f'name: "{at}"')
    assert setting in tail
    path = tmp_path / "net.prototxt"
    path.write_text(head + mark + tail.replace(setting, to, 1))
    with pytest.raises(InputError, match=f"layer '{message}'") as caught:
        recognise(text.read(path))
    assert "\n" not in str(caught.value)


# --- files that do not fit


@pytest.mark.parametrize(
    ("spec", "changes", "message"),
    [
        (_PREACT, {"width": (4, 6)}, "width has 2 stages, depths has 3"),
        (_PREACT, {"stride_on_3x3": True}, "a choice of bottlenecks"),
        (_PREACT, {"shortcut": "zeros", "out_channels": (8, 6, 8)}, "out_channels must not fall"),
        (_PREACT, {"shortcut": "zeros", "stem": 8}, "out_channels must not fall"),
        (_PREACT, {"depths": (9000, 1, 1001)}, "10002 units"),
        (_PREACT, {"se": SE(reduction=8)}, "leaves no hidden unit for 4 channels"),
        (_PREACT, {"se": SE(position="pre")}, "at the end of the residual branch only, not at 'pre'"),
        (_PREACT, {"se": SE(reduction=2, stages=(4,))}, "SE blocks in stage 4 of 3"),
        (_SHAKE, {"out_channels": (4, 6)}, "out_channels has 2 stages, depths has 3"),
        (_SHAKE, {"groups": 2}, "which only bottlenecks have"),
        (_SHAKE, {"out_channels": (4, 7, 8)}, "out_channels has 7"),
        (_EVEN, {"groups": 4}, "does not divide the width 6"),
        (_SHAKE, {"depths": (9000, 1, 1001)}, "10002 units"),
        (_SHAKE, {"se": SE(reduction=8)}, "leaves no hidden unit for 4 channels"),
        (_SHAKE, {"se": SE(position="post")}, "before the sum only, not at 'post'"),
        (_SHAKE, {"se": SE(reduction=2, stages=(4,))}, "SE blocks in stage 4 of 3"),
    ],
)
def test_impossible_records_are_refused(spec: Spec, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(spec, **changes)


# --- other people's implementations


def _peer(name: str, model: str, **changes: object) -> Peer:
    # The peers' eps is 1e-5 itself, Caffe's is the nearest of float32.
    spec = find(model, eps=1e-5, **changes)
    return Peer(name, spec, shake_dialect(spec) if isinstance(spec, ShakeSpec) else PYTORCHCV)


PEERS = {
    peer.name: peer
    for peer in (
        _peer("preresnet110", "resnet-110-cifar-10"),
        _peer("sepreresnet110", "se-resnet-110-cifar-10"),
        _peer("preresnet164", "resnet-164-cifar-10"),
        _peer("sepreresnet164", "se-resnet-164-cifar-10"),
        _peer("wrn16_8", "wrn-16-8-cifar-10"),
        _peer("sewrn16_8", "se-wrn-16-8-cifar-10"),
        _peer("shake26_2x96d", "shake-shake-26-2x96d-cifar-10"),
        _peer("shake26_2x96d_se_mix", "se-shake-shake-26-2x96d-cifar-10"),
        _peer("shake26_2x96d_se_branch", "se-shake-shake-26-2x96d-cifar-10", place="branch"),
        _peer("shake29_2x4x64d", "shake-even-29-2x4x64d-cifar-100"),
        _peer("shake29_2x4x64d_se_mix", "se-shake-even-29-2x4x64d-cifar-100"),
    )
}
USUAL = ("preresnet110", "sepreresnet164", "sewrn16_8", "shake26_2x96d_se_branch", "shake29_2x4x64d_se_mix")
CASES = [
    *(("torch", name) for name in USUAL),
    *(pytest.param("torch", name, marks=pytest.mark.slow) for name in PEERS if name not in USUAL),
    *(
        pytest.param(framework, name, marks=pytest.mark.slow)
        for framework in ("jax_eager", "tf")
        for name in ("sewrn16_8", "shake29_2x4x64d_se_mix")
    ),
]


@pytest.mark.parametrize(("framework", "name"), CASES)
def test_every_tap_is_the_peers(framework: str, name: str) -> None:
    needs(framework)
    peer = PEERS[name]
    for tag in peer.sizes:
        found = conformance.run(framework, peer.spec, peer.params(), peer.image(tag))
        errors = peer.errors(found, tag)
        convolutions = sum(node.op.kind == "conv" for node in graph(peer.spec))
        assert len(errors) > 2 * convolutions - 5  # with the BatchNorms
        assert_within(errors, TAPS["float64"])
