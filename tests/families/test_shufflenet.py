"""ShuffleNet V1: counts, every framework against the reference, pytorchcv's and the original Caffe's numbers, files."""

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
from odd_networks import same
from within import assert_within, errors

import conformance
import weights
from conformance.adapters import adapter
from conformance.adapters.protocol import Trainable
from conformance.cases import image, seeded, top_diff
from conformance.judge.bounds import GRADIENTS, TAPS
from conformance.judge.standard import relative_error
from conformance.reference import backward, forward
from weights import MODELS, SE, InputError, Params, ShuffleNetSpec, Spec, cost
from weights.caffe.layers import layers
from weights.caffe.net import Layer, Net
from weights.caffe.recognise import import_network, recognise
from weights.files.state_dict import from_state, to_state
from weights.names.frameworks import FLAX, KERAS, KERAS_ON_TORCH, TORCH
from weights.names.shufflenet import PYTORCHCV
from weights.networks.operations import Add, Shuffle
from weights.networks.recognition import same_tensors, untold

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

NEEDED = {
    "torch": ["torch"],
    "jax_eager": ["jax", "flax"],
    "tf": ["tensorflow", "keras"],
    "onnx": ["onnx", "onnx_ir", "onnxruntime"],
}
TINY = ShuffleNetSpec(
    name="tiny", stem_channels=6, depths=(1, 2), out_channels=(24, 48), classes=5, dropout=0.25, se=SE(reduction=4)
)
_CAFFES: Any = {"stem_pool": "caffe", "concatenation": "pooled-first"}
SPECS = {
    "se": TINY,
    "plain": replace(TINY, se=None, dropout=0.0, **_CAFFES),
    "post": replace(TINY, se=SE(reduction=4, position="post", stages=(2,))),
}
X, COTANGENT = image(1, 2, 43, 58).astype(np.float64), top_diff(2, 2, 5)


# --- counts


def test_counts_are_those_of_the_paper() -> None:
    """Table 2 of the article on SE networks: 140 MFLOPs and 1.8 M, 142 and 2.4 M (truncated)."""
    plain, se = cost(MODELS["shufflenet-v1"]), cost(MODELS["se-shufflenet-v1"])
    assert (plain.learnable, plain.macs) == (1_865_728, 137_460_672)
    assert (se.learnable, se.macs) == (2_484_533, 138_071_088)


@pytest.mark.parametrize(
    ("se", "learnable"),
    [
        (SE(bias=False), 2_476_144),
        (SE(position="post"), 2_594_908),
        (SE(position="post", bias=False), 2_585_728),
    ],
)
def test_counts_of_the_other_places_of_the_blocks(se: SE, learnable: int) -> None:
    assert cost(replace(MODELS["se-shufflenet-v1"], se=se)).learnable == learnable


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": (1,)}, "out_channels has 2 stages, depths has 1"),
        ({"out_channels": (24, 24)}, "a stage of 24 channels after 24: concatenation can only add channels"),
        ({"groups": 5}, "groups is 5, which does not divide 24 / 4 and 24 - 6"),
        ({"stem_channels": 7}, "groups is 3, which does not divide 24 / 4 and 24 - 7"),
        (
            {"stem_channels": 3, "out_channels": (12, 48)},
            "groups is 3, which leaves nothing to shuffle of 12 / 4 channels",
        ),
        ({"se": SE(reduction=4, position="3x3")}, 'SE blocks stand at "standard" or "post", not at "3x3"'),
        ({"se": SE(reduction=4, stages=(3,))}, "SE blocks in stage 3 of 2"),
        ({"se": SE(reduction=19)}, "SE: reduction 19 leaves no hidden unit for 18 channels"),
        ({"stem_pool": "other"}, "stem_pool is 'other', expected one of torchvision, caffe"),
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
    # In PyTorch and Flax the sums and the last ReLU before another block are not modules.
    assert expected.keys() - hidden(spec) <= taps.keys() <= expected.keys()
    assert_within(errors(taps, expected), TAPS["float64"])
    found, wanted = (
        framework.gradients(model, X, COTANGENT, False),
        backward.gradients(spec, params, X, COTANGENT),
    )
    assert found.keys() == wanted.keys()
    assert_within(errors(found, wanted), GRADIENTS["float64"])


@pytest.mark.parametrize("name", SPECS)
def test_gradients_through_the_statistics_of_the_batch_agree(name: str) -> None:
    pytest.importorskip("torch")
    spec, params = SPECS[name], seeded(SPECS[name], 1)
    found = conformance.gradients("torch", spec, params, X, COTANGENT, training=True)
    wanted = backward.gradients(spec, params, X, COTANGENT, training=True)
    # The BatchNorm behind the last 1x1 takes away what the beta before it adds: gradients are nothing but rounding.
    nothing = {name for name in wanted if name.endswith("bn2.bias")}
    largest = max(np.abs(gradient).max() for gradient in wanted.values())
    assert len(nothing) == sum(spec.depths)
    assert all(np.abs(g[name]).max() < 1e-12 * largest for g in (found, wanted) for name in nothing)
    assert_within({n: e for n, e in errors(found, wanted).items() if n not in nothing}, GRADIENTS["float64"])


def test_gradients_of_keras_without_a_graph_agree() -> None:
    """Convolutions in groups have gradients in TensorFlow on a CPU without tf.function too."""
    tf = pytest.importorskip("tensorflow")
    import se_tf

    spec, params = SPECS["se"], seeded(SPECS["se"], 1)
    model = se_tf.restore(spec, params, "float64")
    with tf.GradientTape() as tape:
        logits = model(tf.constant(X.transpose(0, 2, 3, 1)), training=False)
        total = tf.reduce_sum(logits * COTANGENT)
    variables = {v.path.replace("/", "."): v for v in model.trainable_variables}
    kernels = {module: variables[f"{module}.kernel"] for module in ("stage2.0.conv1", "stage2.0.conv2")}
    found = tape.gradient(total, kernels)
    wanted = backward.gradients(spec, params, X, COTANGENT)
    for module, gradient in found.items():
        error = relative_error(gradient.numpy().transpose(3, 2, 0, 1), wanted[f"{module}.weight"])
        assert error < GRADIENTS["float64"]


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


def hidden(spec: Spec) -> set[str]:
    """Nodes that are no modules."""
    post = {f"{b.name}.relu" for b in spec.blocks()}
    return post | {node.name for node in spec.network().nodes if isinstance(node.op, Add)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jax_eager", "tf"])
@pytest.mark.parametrize("network", ["shufflenet-v1", "se-shufflenet-v1"])
def test_full_size_agrees(network: str, name: str) -> None:
    for needed in NEEDED[name]:
        pytest.importorskip(needed)
    spec = MODELS[network]
    found = conformance.compare(spec, seeded(spec, 1), image(3, 1, 96, 96), [name], isolated=False)
    assert found.agreed, found.results[name]


# --- pytorchcv

PEER = Peer("shufflenet_g3_w1", replace(MODELS["shufflenet-v1"], eps=1e-5), PYTORCHCV)


def test_every_tap_is_pytorchcvs() -> None:
    pytest.importorskip("torch")
    names = {"stem.relu": "features.init_block.activ", "stem.pool": "features.init_block.pool"}
    for b in PEER.spec.blocks():
        stage, i = b.name.split(".")
        theirs = f"features.{stage}.unit{int(i) + 1}"
        names |= {b.name: theirs, f"{b.name}.shuffle": f"{theirs}.c_shuffle", f"{b.name}.pool": f"{theirs}.avgpool"}
    found = PEER.errors(conformance.run("torch", PEER.spec, PEER.params(), PEER.image("224x224")), "224x224", names)
    assert len(found) == 1 + 2 + 2 + 16 * 8 + 3
    assert_within(found, TAPS["float64"])


def test_file_of_pytorchcvs_is_the_published_network(tmp_path: Path) -> None:
    params = PEER.params()
    found = from_state("some.pth", to_state(PEER.spec, params, "pytorchcv"))
    assert (found.spec, found.info.format) == (PEER.spec, "pytorchcv")
    assert same(Params(found.params), params)
    weights.write(tmp_path / "x.safetensors", PEER.spec, params, dialect="pytorchcv")
    assert same(weights.read(tmp_path / "x.safetensors").params, params)


@pytest.mark.parametrize(
    "spec",
    [
        TINY,
        replace(TINY, se=None, concatenation="pooled-first"),
        replace(TINY, se=None, stem_pool="caffe"),
    ],
)
def test_pytorchcv_has_no_names_for_what_it_computes_otherwise(spec: ShuffleNetSpec) -> None:
    with pytest.raises(InputError, match=r"'pytorchcv' has no names for tiny: it knows .* without SE blocks only"):
        to_state(spec, seeded(spec, 1), "pytorchcv")


def test_file_of_pytorchcvs_is_not_read_as_a_network_that_computes_otherwise() -> None:
    state = to_state(PEER.spec, PEER.params(), "pytorchcv")
    with pytest.raises(InputError, match=r"though the shapes agree: .*concatenation branch-first"):
        from_state("some.pth", state, spec=replace(PEER.spec, concatenation="pooled-first"))


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


VARIED = {
    **SPECS,
    "one group": replace(TINY, groups=1),
    "two groups": replace(TINY, groups=2),
    "more units": replace(TINY, depths=(2, 1, 3), out_channels=(24, 36, 96), **_CAFFES),
    "one stage": replace(TINY, depths=(1,), out_channels=(24,)),
    "no classifier": replace(TINY, classes=0, dropout=0.0),
    "no biases": replace(TINY, se=SE(reduction=4, bias=False)),
    "one hidden width": replace(TINY, se=SE(width=5)),
    "gray images": replace(TINY, in_channels=1),
}


@pytest.mark.parametrize("name", VARIED)
def test_bare_tensors_are_recognised_in_every_dialect(name: str) -> None:
    spec = VARIED[name]
    for names in (TORCH, KERAS, KERAS_ON_TORCH, FLAX):
        tensors = {names.key(p): names.shape(p) for p in weights.schema(spec)}
        guess = ShuffleNetSpec.from_shapes(partial(names.find, tensors))
        assert guess
        assert same_tensors(guess, spec)
    found = from_state("some.pth", to_state(spec, seeded(spec, 1)))
    assert found.info.assumed == untold(found.spec)
    # Where the blocks stand and in how many groups, the shapes tell.
    assert {"eps", "stem_pool", "concatenation"} <= set(found.info.assumed)
    assert not {"groups", "se.position", "se.stages"} & set(found.info.assumed)
    told = replace(found.spec, **{field: getattr(spec, field) for field in ("stem_pool", "concatenation", "dropout")})
    assert told.network().nodes == spec.network().nodes


# --- the original Caffe

CAFFE = {
    "se-shufflenet": replace(TINY, name="se-shufflenet", depths=(2, 2), classes=10, dropout=0.0, **_CAFFES),
}
CAFFE["shufflenet"] = replace(CAFFE["se-shufflenet"], name="shufflenet", se=None)
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
        assert net.names(f"{tag}/taps") - found.keys() <= (hidden(spec) if framework == "torch" else set())
        assert_within(net.errors(found, f"{tag}/taps"), TAPS["float64"])
        logits = net.golden[f"{tag}/logits"]
        assert np.abs(found["logits"] - logits).max() <= TAPS["float64"] * np.abs(logits).max()
    tag = net.tags[0]
    found = conformance.gradients(framework, spec, params, net.image(tag), net.golden[f"{tag}/top_diff"])
    assert set(found) == net.names(f"{tag}/grads")
    assert_within(net.errors(found, f"{tag}/grads"), GRADIENTS["float64"])


@pytest.mark.parametrize("name", VARIED)
def test_caffe_file_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    spec, params = VARIED[name], seeded(VARIED[name], 1)
    weights.write(tmp_path / "x.caffemodel", spec, params)
    found = weights.read(tmp_path / "x.caffemodel")
    assert found.spec.network().nodes == spec.network().nodes
    assert same(found.params, params)
    weights.write(tmp_path / "y.caffemodel", *found)
    assert (tmp_path / "y.caffemodel").read_bytes() == (tmp_path / "x.caffemodel").read_bytes()


@pytest.mark.parametrize("dress", ["Split layers", "odd names", "nowhere in place", "no input layer", "no softmax"])
@pytest.mark.parametrize("name", SPECS)
def test_network_in_another_dress_is_the_same_record(name: str, dress: str) -> None:
    net = Net("tiny", tuple(DRESSES[dress](with_blobs(SPECS[name], seeded(SPECS[name], 1), (64, 64)))))
    assert recognise(net).network.spec == SPECS[name]


def changed(layer: str, **fields: Any) -> Net:
    found = [d.layer for d in layers(TINY, (64, 64))]
    return Net("net", tuple(replace(x, **fields) if x.name == layer else x for x in found))


def tops(prefix: str, order: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"{prefix}/{i}" for i in order)


CUT = "stage1.0.shuffle"
MISFITS: dict[str, tuple[Net, str, str]] = {
    "another order": (
        changed(CUT, bottoms=tops(CUT, (0, 2, 4, 1, 5, 3))),
        "stage1.0.shuffle/slice' (Slice",
        "a Concat after it that alone reads its tops, in the order of a shuffle",
    ),
    "other groups in one unit": (
        changed("stage2.1.shuffle", bottoms=tops("stage2.1.shuffle", (0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11))),
        "stage2.1.shuffle' (Concat",
        "a shuffle of channels (stage2.1.shuffle) with group 3",
    ),
    "a channel twice": (
        changed(CUT, bottoms=tops(CUT, (0, 2, 4, 1, 3, 3))),
        "stage1.0.shuffle/slice' (Slice",
        "a Concat after it that alone reads its tops",
    ),
    "cut along the height": (
        changed(f"{CUT}/slice", settings={"slice_param": {"axis": 2}}),
        "stage1.0.shuffle/slice' (Slice",
        "expected a Slice into single channels, found axis 2",
    ),
    "cut elsewhere": (
        changed(f"{CUT}/slice", settings={"slice_param": {"slice_point": [1, 2, 3, 4, 6]}}),
        "stage1.0.shuffle/slice' (Slice",
        "expected a Slice into single channels",
    ),
    "another pooling beside the branch": (
        changed("stage2.0.pool", settings={"pooling_param": {"pool": "MAX", "kernel_size": 3, "stride": 2, "pad": 1}}),
        "stage2.0.pool' (Pooling",
        "pool AVE",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_file_that_is_no_shufflenet_is_one_error_that_names_the_layer(case: str) -> None:
    net, layer, why = MISFITS[case]
    with pytest.raises(InputError) as error:
        recognise(net, "file")
    assert str(error.value).startswith(f"file: layer '{layer}")
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_network_of_shuffles_that_is_no_shufflenet_is_read_by_its_operations() -> None:
    """Of a Slice whose points are stated, too."""
    found = [d.layer for d in layers(TINY, (64, 64))][:11]
    cut = replace(found[-1], settings={"slice_param": {"slice_point": [1, 2, 3, 4, 5]}})
    assert cut.type == "Slice"
    joined = Layer("mixed", "Concat", tops(CUT, (0, 3, 1, 4, 2, 5)), ("mixed",))
    network = import_network(Net("net", (*found[:-1], cut, joined))).network
    assert network.spec is None
    assert network.output.op == Shuffle(2)
