"""Residual networks of torchvision's geometry and of basic units: counts, the frameworks, peers, names, Caffe's files.

The original Caffe computed none of them: torchvision's geometry is proven by timm's networks, basic units by the
reference, which reads their nodes.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from families.peers import Peer
from within import assert_within

import conformance
from conformance import cases
from conformance.judge.bounds import GRADIENTS, TAPS
from conformance.judge.standard import relative_error
from conformance.reference import backward
from conformance.reference import forward as reference
from weights import MODELS, SE, Info, InputError, Params, ResNetSpec, Spec, cost, feature_nodes, read, schema, write
from weights.caffe.as_written import as_written
from weights.caffe.layers import layers
from weights.caffe.net import Net
from weights.caffe.recognise import recognise
from weights.files.state_dict import IMAGENET, from_state, identify, to_state
from weights.names.dialect import Dialect
from weights.names.frameworks import FLAX, KERAS, TORCH
from weights.names.resnet import CADENE, MOSKOMULE, TIMM, TIMM_RESNET, TORCHVISION
from weights.names.state_dicts import dialect_for
from weights.networks.models import from_dict, parse, to_dict
from weights.networks.operations import Add
from weights.networks.sizes import shapes
from weights.networks.spec import EPS

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

BOTTLENECKS = ResNetSpec(
    name="tiny-torchvision",
    depths=(1, 2, 1),
    stem=((8, 7),),
    stem_pool="torchvision",
    reduce=(4, 8, 16),
    width=(4, 8, 16),
    out_channels=(16, 24, 40),
    stride_on_3x3=True,
    se=SE(reduction=4),
    classes=10,
)
BASIC = replace(BOTTLENECKS, name="tiny-basic", unit="basic", stem_pool="caffe", reduce=None, out_channels=(8, 12, 16))
SMALL: dict[str, ResNetSpec] = {
    "bottlenecks": BOTTLENECKS,
    "plain bottlenecks": replace(BOTTLENECKS, se=None),
    "groups": replace(BOTTLENECKS, groups=4),
    "basic": BASIC,
    "plain basic": replace(BASIC, se=None, stem_pool="torchvision"),
    "basic with a ReLU": replace(BASIC, unit="basic-relu"),
    "basic, widths to 8": replace(BASIC, stem_pool="torchvision", se=SE(rounding="to 8")),
    "basic, pre": replace(BASIC, se=SE(reduction=4, position="pre")),
    "basic, post": replace(BASIC, stem_pool="torchvision", se=SE(reduction=4, position="post")),
    "basic, identity": replace(BASIC, unit="basic-relu", se=SE(reduction=4, position="identity", stages=(2, 3))),
    "basic, identity before": replace(BASIC, se=SE(reduction=4, position="identity-before", bias=False)),
}
FRAMEWORKS = {"torch": "se_torch", "jax_eager": "se_jax", "tf": "se_tf"}
NEEDED = {"torch": ["torch"], "jax_eager": ["jax", "flax"], "tf": ["tensorflow", "keras"]}
IMAGE = cases.image(5, 2, 43, 37).astype(np.float64)


def need(framework: str) -> None:
    for module in NEEDED[framework]:
        pytest.importorskip(module)


# --- counts

PLAIN = {  # torchvision's own figures: parameters, and GMACs to three decimals
    "resnet-18": (11_689_512, 1.814),
    "resnet-34": (21_797_672, 3.664),
    "resnet-50": (25_557_032, 4.089),
    "resnet-101": (44_549_160, 7.801),
    "resnet-152": (60_192_808, 11.514),
    "resnext-50": (25_028_904, 4.23),
}
LEARNABLE = {  # timm counts as many; the published geometry has the same parameters
    "se-resnet-50": 28_088_024,
    "se-resnet-101": 49_326_872,
    "se-resnet-152": 66_821_848,
    "se-resnext-50": 27_559_896,
    "se-resnext-101": 48_955_416,
    "resnext-101": 44_177_704,
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_networks_have_torchvisions_counts(name: str) -> None:
    found = cost(MODELS[f"{name}-torchvision"])
    assert (found.learnable, round(found.macs / 1e9, 3)) == PLAIN[name]


@pytest.mark.parametrize("name", LEARNABLE)
def test_geometry_changes_no_parameters(name: str) -> None:
    assert cost(MODELS[name]).learnable == cost(MODELS[f"{name}-torchvision"]).learnable == LEARNABLE[name]


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("se-resn") and name not in LEARNABLE])
def test_se_blocks_add_their_two_matrices_to_the_plain_network(name: str) -> None:
    """2 C h + C + h parameters and 2 C h multiply-adds of every block, h = C / 16, or the nearest multiple of 8."""
    plain = cost(MODELS[name.removeprefix("se-").removesuffix("-legacy")])
    channels = [block.out_channels for block in MODELS[name].blocks()]  # pyright: ignore[reportAttributeAccessIssue]
    least = 8 if name.endswith("-torchvision") else 1
    hidden = [max(c // 16, least) for c in channels]
    matrices = sum(2 * c * h for c, h in zip(channels, hidden, strict=True))
    found = cost(MODELS[name])
    assert found.macs - plain.macs == matrices
    assert found.learnable - plain.learnable == matrices + sum(channels) + sum(hidden)


@pytest.mark.parametrize("size", ["18", "34"])
def test_basic_networks_cost_the_same_in_both_geometries(size: str) -> None:
    first, second = cost(MODELS[f"resnet-{size}"]), cost(MODELS[f"resnet-{size}-torchvision"])
    assert (first.learnable, first.macs) == (second.learnable, second.macs)


SCENES = {
    "se-resnet-152": (65_520_733, 11_287_693_312),
    "resnet-152": (58_891_693, 11_281_115_136),
    "se-resnet-50": (26_786_909, None),
    "se-resnet-101": (48_025_757, None),
    "se-resnext-50": (26_258_781, None),
}
"""Learnable parameters and multiply-adds with the 365 classes of Places (section 5.2 of the paper)."""


@pytest.mark.parametrize("name", SCENES)
def test_networks_of_scenes_have_365_classes(name: str) -> None:
    parameters, macs = SCENES[name]
    found = cost(replace(MODELS[name], classes=365))
    assert found.learnable == parameters
    assert macs in (None, found.macs)


# --- detection: feature maps of large images

MAPS = {
    "": [(256, 200, 333), (512, 100, 167), (1024, 50, 84), (2048, 25, 42)],
    "-torchvision": [(256, 200, 334), (512, 100, 167), (1024, 50, 84), (2048, 25, 42)],
}
"""Of 800x1333, the size of section 5.3: 667 columns after the stem make 333 or 334."""


@pytest.mark.parametrize("geometry", MAPS)
@pytest.mark.parametrize("name", ["se-resnet-50", "se-resnet-101"])
def test_feature_maps_of_detection(name: str, geometry: str) -> None:
    spec = MODELS[f"{name}{geometry}"]
    sizes = shapes(spec, 800, 1333)
    assert [sizes[node] for node in feature_nodes(spec)] == MAPS[geometry]


@pytest.mark.parametrize("name", ["se-resnet-50-torchvision", "resnet-18-torchvision"])
def test_the_smallest_image_is_a_pixel(name: str) -> None:
    assert min(min(shape[1:], default=1) for shape in shapes(MODELS[name], 1, 1).values()) == 1
    for height, width in ((0, 1), (1, 0)):
        with pytest.raises(InputError, match=f"^{name} cannot take {height}x{width}: "):
            shapes(MODELS[name], height, width)


NARROW: Mapping[str, Any] = {
    "depths": (1, 1, 1, 1),
    "stem": ((4, 7),),
    "reduce": (4, 4, 8, 8),
    "width": (4, 4, 8, 8),
    "out_channels": (8, 8, 16, 16),
    "se": SE(reduction=4),
    "classes": 3,
}


def maps(package: Any, spec: Spec, params: Params, x: np.ndarray) -> list[np.ndarray]:
    """``features`` of a network of that package, (N, C, H, W)."""
    model = package.restore(spec, params, "float64")
    match package.__name__:
        case "se_torch":
            import torch

            with torch.no_grad():
                return [m.numpy() for m in model.eval().features(torch.from_numpy(x))]
        case "se_jax":
            model.eval()
        case _:
            pass
    return [np.asarray(m).transpose(0, 3, 1, 2) for m in model.features(x.transpose(0, 2, 3, 1))]


@pytest.mark.slow
@pytest.mark.parametrize("geometry", MAPS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_feature_maps_of_a_narrow_network_agree(framework: str, geometry: str) -> None:
    spec = replace(MODELS[f"se-resnet-50{geometry}"], name="narrow", **NARROW)
    _assert_maps([framework], spec, MAPS[geometry])


@pytest.mark.slow
def test_feature_maps_of_a_whole_network_agree() -> None:
    _assert_maps(FRAMEWORKS, replace(MODELS["se-resnet-50"], classes=0), MAPS[""])


def _features(spec: Spec, params: Params, x: np.ndarray) -> dict[str, np.ndarray]:
    """The reference's maps, without keeping all others, which are gigabytes."""
    network, kept = spec.network(), feature_nodes(spec)
    left = {name: len(readers) for name, readers in network.readers.items()}
    values = {"data": x}
    for node in network.nodes:
        values[node.name] = reference.output(node, [values[name] for name in node.inputs], params)
        for name in set(node.inputs):
            left[name] -= 1
            if not left[name] and name not in kept:
                del values[name]
    return {name: values[name] for name in kept}


def _assert_maps(frameworks: Iterable[str], spec: Spec, sizes: list[tuple[int, ...]]) -> None:
    params, x = cases.seeded(spec, 1), cases.image(2, 1, 800, 1333).astype(np.float64)
    wanted = _features(spec, params, x)
    for framework in frameworks:
        need(framework)
        if framework == "jax_eager":
            import jax

            jax.config.update("jax_enable_x64", True)
        found = maps(import_module(FRAMEWORKS[framework]), spec, params, x)
        assert [m.shape[2:] for m in found] == [size[1:] for size in sizes]
        assert_within({n: relative_error(m, wanted[n]) for n, m in zip(wanted, found, strict=True)}, TAPS["float64"])


# --- the same numbers everywhere

COMPUTED = {
    "torch": list(SMALL),
    "jax_eager": ["bottlenecks", "basic with a ReLU", "basic, post"],
    "tf": ["bottlenecks", "basic", "basic with a ReLU", "basic, identity", "basic, post"],
}


@pytest.mark.parametrize(
    ("framework", "name"), [(framework, name) for framework, names in COMPUTED.items() for name in names]
)
def test_every_tap_and_every_gradient_agrees(framework: str, name: str) -> None:
    need(framework)
    spec = SMALL[name]
    params, cotangent = cases.seeded(spec, 1), cases.top_diff(3, 2, 10)
    wanted = reference.run(spec, params, IMAGE)
    found = conformance.run(framework, spec, params, IMAGE)
    # In PyTorch and Flax the sums are not modules.
    assert all(isinstance(spec.network().by_name[node].op, Add) for node in wanted.keys() - found.keys())
    assert_within({node: relative_error(found[node], wanted[node]) for node in found}, TAPS["float64"])
    gradients = backward.gradients(spec, params, IMAGE, cotangent)
    theirs = conformance.gradients(framework, spec, params, IMAGE, cotangent)
    assert theirs.keys() == gradients.keys()
    assert_within({n: relative_error(theirs[n], gradients[n]) for n in gradients}, GRADIENTS["float64"])


@pytest.mark.parametrize("name", ["bottlenecks", "basic", "basic with a ReLU"])
def test_gradients_through_the_statistics_of_the_batch_agree(name: str) -> None:
    need("torch")
    spec = SMALL[name]
    params = cases.seeded(spec, 1)
    # Some windows of the first pooling are all 0: else the next BatchNorm takes away what the first one's beta adds.
    params["stem.bn1.bias"] = params["stem.bn1.bias"] - np.float32(1)
    contrasts = np.array([0.2, 0.5, 0.8, 1.1, 1.4, 1.7])[:, None, None, None]
    given = spec, params, cases.image(6, 6, 43, 37) * contrasts, cases.top_diff(4, 6, 10)
    gradients = backward.gradients(*given, training=True)
    found = conformance.gradients("torch", *given, training=True)
    assert_within({n: relative_error(found[n], gradients[n]) for n in gradients}, GRADIENTS["float64"])


@pytest.mark.parametrize("name", ["bottlenecks", "basic", "basic with a ReLU", "basic, post"])
def test_every_tap_of_the_onnx_model_agrees(name: str) -> None:
    for module in ("onnx", "onnx_ir", "onnxruntime"):
        pytest.importorskip(module)
    spec = SMALL[name]
    params = cases.seeded(spec, 1)
    wanted = reference.run(spec, params, IMAGE)
    found = conformance.run("onnx", spec, params, IMAGE.astype(np.float32), "float32")
    assert_within({node: relative_error(found[node], wanted[node]) for node in found}, TAPS["float32"])


# --- other people's networks

PEERS = {
    name: Peer(name, replace(MODELS[ours], eps=1e-5), TIMM_RESNET)
    for name, ours in (("seresnet50", "se-resnet-50-torchvision"), ("seresnext50_32x4d", "se-resnext-50-torchvision"))
}
NAMES = {f"stage{i}.{j}.se": f"layer{i}.{j}.se" for i in range(1, 5) for j in range(6)} | {"stem.pool": "maxpool"}
"""Taps beside those of the convolutions and BatchNorms: SE blocks, and the first pooling."""


@pytest.mark.parametrize("name", PEERS)
def test_every_tap_is_timms(name: str) -> None:
    need("torch")
    assert len(PEERS[name].sizes) == 2
    for tag in PEERS[name].sizes:
        _assert_timms("torch", name, tag)


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["jax_eager", "tf"])
@pytest.mark.parametrize("name", PEERS)
def test_every_tap_is_timms_in_the_other_frameworks(name: str, framework: str) -> None:
    need(framework)
    _assert_timms(framework, name, "75x83")  # of odd sizes, where paddings show


def _assert_timms(framework: str, name: str, tag: str) -> None:
    peer = PEERS[name]
    errors = peer.errors(conformance.run(framework, peer.spec, peer.params(), peer.image(tag)), tag, NAMES)
    assert {"logits", "stem.pool", "stage3.5.se", "stage4.0.shortcut.bn"} <= errors.keys()
    assert len(errors) > 120
    assert_within(errors, TAPS["float64"])


# --- names, which tell the geometry


def bare(spec: Spec, names: Dialect, prefix: str = "") -> dict[str, np.ndarray]:
    return {f"{prefix}{names.key(p)}": np.broadcast_to(np.float32(1), names.shape(p)) for p in schema(spec)}


OWN = {
    "stem.conv1.weight": "conv1.weight",
    "stem.bn1.running_mean": "bn1.running_mean",
    "stage1.0.conv1.weight": "layer1.0.conv1.weight",
    "stage2.1.bn2.bias": "layer2.1.bn2.bias",
    "stage2.0.shortcut.conv.weight": "layer2.0.downsample.0.weight",
    "stage2.0.shortcut.bn.running_var": "layer2.0.downsample.1.running_var",
    "stage1.0.se.fc1.weight": "layer1.0.se.fc1.weight",
    "fc.bias": "fc.bias",
}


def test_timm_calls_each_kind_of_parameter_what_its_resnets_do() -> None:
    keys = {p.name: TIMM_RESNET.key(p) for p in schema(MODELS["se-resnet-18-torchvision"])}
    assert {name: keys[name] for name in OWN} == OWN
    se = next(p for p in schema(MODELS["se-resnet-50-torchvision"]) if p.name == "stage1.0.se.fc1.weight")
    assert TIMM_RESNET.shape(se) == (16, 256, 1, 1)


TOLD = {
    "stem_pool torchvision, stride_on_3x3 True": ["resnet-50", "se-resnet-101", "se-resnext-50", "resnext-101"],
    "stem_pool torchvision, unit basic, stride_on_3x3 True": ["resnet-18", "se-resnet-18", "se-resnet-34"],
}


@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
@pytest.mark.parametrize(("told", "name"), [(told, name) for told, names in TOLD.items() for name in names])
def test_names_of_torchvision_tell_its_geometry(name: str, told: str, prefix: str) -> None:
    spec = MODELS[f"{name}-torchvision"]
    found, params = from_state("some.pth", bare(spec, TIMM_RESNET, prefix))
    assert found == replace(spec, eps=1e-5)  # PyTorch's is a double, Caffe's the nearest float
    assert params.info.history[-1] == f"the names tell: {told}"
    assert params.info.assumed == ("preprocessing", "labels")
    assert (params.info.preprocessing, params.info.labels, params.info.format) == (IMAGENET, "sorted", "timm")


@pytest.mark.parametrize("name", ["se-resnet-50", "se-resnext-50", "se-resnet-18-legacy"])
def test_names_of_timms_legacy_networks_tell_the_published_geometry(name: str) -> None:
    found, params = from_state("some.pth", bare(MODELS[name], TIMM))
    assert replace(found, eps=EPS) == MODELS[name]
    said = ("the names tell: unit basic-relu",) if name.endswith("-legacy") else ()
    assert params.info.history == said


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("se-resnet-50", "se-resnet-50-torchvision"), "stem_pool and stride_on_3x3"),
        (("se-resnext-101", "se-resnext-101-torchvision"), "stem_pool"),
        (("se-resnet-18", "se-resnet-18-legacy"), "unit"),
        (("resnet-18", "resnet-18-torchvision"), "stem_pool"),
        (("mobilenet-v2", "tf-mobilenet-v2"), "eps and padding"),
    ],
)
@pytest.mark.parametrize("changes", [{}, {"classes": 10}, {"classes": 10, "in_channels": 1}])
def test_our_own_names_tell_no_geometry_and_it_is_asked_for(
    changes: Mapping[str, Any], names: Sequence[str], said: str
) -> None:
    tail = "".join(f",{field}={value}" for field, value in changes.items())
    one, other = (f"{name}{tail}" for name in names)
    for name in names:
        spec = replace(MODELS[name], **changes)
        for ours in (TORCH, FLAX, KERAS):
            with pytest.raises(InputError) as error:
                identify("some.pth", {ours.key(p): ours.shape(p) for p in schema(spec)}, [ours])
            assert str(error.value) == (
                f"some.pth: neither names nor shapes of its tensors tell whether it is {one} or {other}, "
                f"which differ in {said}; say which one, with spec= (--spec on the command line)"
            )
        found = from_state("some.pth", bare(spec, TORCH), spec=parse(f"{name}{tail}"))
        assert (found.spec, found.info.assumed) == (spec, ())


def test_our_own_names_of_networks_that_compute_alike_need_no_spec() -> None:
    for name in ("senet-154", "se-bn-inception", "se-resnet-110-cifar-100", "vgg-16", "se-shufflenet-v1"):
        assert from_state("some.pth", bare(MODELS[name], TORCH)).spec == MODELS[name]


@pytest.mark.parametrize("suffix", [".weights.h5", ".safetensors"])
@pytest.mark.parametrize("name", ["bottlenecks", "basic with a ReLU"])
def test_a_stated_record_is_that_of_the_file(name: str, suffix: str, tmp_path: Path) -> None:
    spec = SMALL[name]
    write(tmp_path / f"x{suffix}", spec, Params(cases.seeded(spec, 1), Info(source="net")))
    assert read(tmp_path / f"x{suffix}").info.assumed == ()


def test_networks_of_other_widths_are_read_and_only_what_names_do_not_tell_is_assumed() -> None:
    found, params = from_state("some.pth", bare(BOTTLENECKS, TIMM_RESNET))
    assert replace(found, name=BOTTLENECKS.name, eps=EPS) == BOTTLENECKS
    assert {"se.gate", "se.position"} <= set(params.info.assumed)
    assert not {"stem_pool", "stride_on_3x3", "unit"} & set(params.info.assumed)


def test_names_of_another_geometry_contradict_a_stated_network() -> None:
    for names, spec, said in (
        (TIMM_RESNET, MODELS["se-resnet-50"], "networks of stem_pool torchvision, stride_on_3x3 True"),
        (TIMM, MODELS["se-resnet-50-torchvision"], "networks of stem_pool caffe"),
        (TIMM, MODELS["se-resnet-18"], "networks of unit basic-relu"),
    ):
        with pytest.raises(InputError, match=rf"some\.pth: is not {spec.name}, though the shapes agree: .*{said}"):
            from_state("some.pth", bare(spec, names), spec=spec)
    assert from_state("some.pth", bare(MODELS["se-resnet-50"], TORCH), spec=MODELS["se-resnet-50"]).spec


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(("depths", "widths"), [((3, 3, 3), (16, 32, 64)), ((2, 2, 2, 2), (64, 128, 256, 512))])
def test_a_network_for_small_images_is_not_taken_for_one_of_torchvisions(depths: Any, widths: Any, prefix: str) -> None:
    """Everybody's ResNet-20 and -18 for CIFAR have these names, and neither strides nor pooling in the stem."""
    spec = replace(
        MODELS["resnet-18-torchvision"], depths=depths, stem=((widths[0], 3),), width=widths, out_channels=widths
    )
    tensors = {f"{prefix}{name}": array for name, array in bare(spec, TIMM_RESNET).items()}
    with pytest.raises(InputError, match=r"some\.pth: conv1 is no 7x7 convolution, .* say which one, with spec="):
        from_state("some.pth", tensors)
    assert from_state("some.pth", tensors, spec=spec).spec == spec
    with pytest.raises(InputError, match="'torchvision' has no names for"):
        dialect_for("torchvision", spec)


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("name", ["se-resnet-18", "se-resnet-50"])
def test_the_block_that_is_copied_most_is_read_and_written(name: str, biases: bool) -> None:
    model = MODELS[f"{name}-torchvision"]
    spec = replace(model, se=SE(bias=biases), depths=(1, 1, 1, 1), classes=7)
    state = bare(spec, MOSKOMULE)
    assert {"conv1.weight", "layer1.0.se.fc.0.weight", "layer4.0.se.fc.2.weight", "fc.bias"} <= set(state)
    assert ("layer1.0.se.fc.0.bias" in state) == biases
    found = from_state("some.pth", state)
    assert replace(found.spec, name=spec.name, eps=spec.eps) == spec
    assert {"se.gate", "se.squeeze", "se.position"} <= set(found.info.assumed)
    assert {"stem_pool", "stride_on_3x3"}.isdisjoint(found.info.assumed)
    assert dialect_for("moskomule", spec) is MOSKOMULE


DIALECTS = {
    "se-resnet-50": {"timm": TIMM, "cadene": CADENE},
    "se-resnet-50-torchvision": {"timm": TIMM_RESNET},
    "resnet-50-torchvision": {"timm": TIMM_RESNET, "torchvision": TORCHVISION},
    "resnet-50": {},
    "se-resnet-18": {},
    "se-resnet-34-legacy": {"timm": TIMM, "cadene": CADENE},
    "se-resnet-34-torchvision": {"timm": TIMM_RESNET},
}


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("dialect", ["timm", "cadene", "torchvision"])
def test_a_dialect_is_chosen_by_the_geometry(dialect: str, name: str) -> None:
    if dialect in DIALECTS[name]:
        assert dialect_for(dialect, MODELS[name]) is DIALECTS[name][dialect]
        return
    with pytest.raises(InputError, match=rf"the dialect '{dialect}' has no names for {name}:"):
        dialect_for(dialect, MODELS[name])


@pytest.mark.parametrize(
    "spec",
    [
        replace(MODELS["se-resnet-50-torchvision"], stem=((32, 3), (64, 3))),
        replace(MODELS["se-resnet-50-torchvision"], stride_on_3x3=False),
        replace(MODELS["se-resnet-50"], stem_pool="torchvision"),
    ],
    ids=["deep stem", "stride on the 1x1", "pooling alone"],
)
def test_what_the_names_would_not_tell_is_not_written_under_them(spec: Spec) -> None:
    with pytest.raises(InputError, match="the dialect 'timm' has no names for"):
        dialect_for("timm", spec)


def test_a_network_with_se_blocks_is_not_torchvisions() -> None:
    with pytest.raises(InputError, match=r"some\.pth: "):
        from_state("some.pth", bare(MODELS["se-resnet-50-torchvision"], TIMM_RESNET), "torchvision")


# --- files

FILES: dict[str, dict[str, Any]] = {
    ".safetensors": {},
    ".pth": {},
    ".caffemodel": {},
    ".keras": {},
    ".weights.h5": {},
    ".onnx": {},
    ".orbax": {},
    "-timm.pth": {"dialect": "timm"},
    "-timm.safetensors": {"dialect": "timm"},
}


@pytest.mark.filterwarnings("ignore:.*statistics rounded to float32:weights.errors.InputWarning")
@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("name", ["bottlenecks", "basic with a ReLU"])
def test_every_file_comes_back_bit_for_bit(suffix: str, name: str, tmp_path: Path) -> None:
    for module in {".onnx": ["onnx_ir"], ".orbax": ["orbax.checkpoint"]}.get(suffix, []):
        pytest.importorskip(module)
    spec = SMALL[name]
    params = Params(cases.seeded(spec, 1), Info(source="net", format="x"))
    write(tmp_path / f"x{suffix}", spec, params, **FILES[suffix])
    found, back = read(tmp_path / f"x{suffix}")
    assert replace(found, name=spec.name) == spec
    assert all(back[n].tobytes() == a.astype(back[n].dtype).tobytes() for n, a in params.items())


def test_records_of_before_have_no_new_fields_and_new_ones_come_back() -> None:
    assert not {"unit", "stem_pool"} & to_dict(MODELS["se-resnet-50"]).keys()
    for spec in SMALL.values():
        assert from_dict(to_dict(spec)) == spec


def test_a_state_dict_that_does_not_fit_is_one_clear_error() -> None:
    state = to_state(BASIC, cases.seeded(BASIC, 1))
    del state["stage2.1.conv2.weight"]
    with pytest.raises(InputError, match=r"does not fit .*\n  - stage2\.1\.conv2\.weight"):
        from_state("some.pth", state)
    state = bare(BOTTLENECKS, TIMM_RESNET) | {"layer2.0.se.fc1.bias": np.zeros(7, np.float32)}
    with pytest.raises(InputError, match=r"layer2\.0\.se\.fc1\.bias has shape \(7,\), expected \(6,\)"):
        from_state("some.pth", state)


# --- Caffe's


@pytest.mark.parametrize("name", SMALL)
def test_caffes_layers_are_recognised(name: str) -> None:
    spec = SMALL[name]
    found = recognise(Net(spec.name, tuple(as_written(d.layer for d in layers(spec, (43, 37))))))
    assert found.network.nodes == spec.network().nodes
    assert isinstance(found.network.spec, ResNetSpec)
    assert (found.network.spec.unit, found.network.spec.stem_pool) == (spec.unit, spec.stem_pool)


def test_caffe_is_told_to_round_down_where_torchvision_does() -> None:
    pools = [d.layer.settings["pooling_param"] for d in layers(BOTTLENECKS) if d.node and d.node.name == "stem.pool"]
    assert [(p["pad"], p["round_mode"]) for p in pools] == [(1, "FLOOR")]


def test_layers_of_basic_units_have_names_in_the_manner_of_the_published() -> None:
    found = [d.layer.name for d in layers(MODELS["se-resnet-18-legacy"]) if d.node and "conv3_1" in d.layer.name]
    assert [name for name in found if not name.endswith("/scale")] == [
        *("conv3_1_3x3_1", "conv3_1_3x3_1/bn", "conv3_1_3x3_1/relu"),
        *("conv3_1_3x3_2", "conv3_1_3x3_2/bn", "conv3_1_3x3_2/relu"),
        *("conv3_1_global_pool", "conv3_1_1x1_down", "conv3_1_1x1_down/relu", "conv3_1_1x1_up", "conv3_1_prob"),
        *("conv3_1_1x1_proj", "conv3_1_1x1_proj/bn", "conv3_1", "conv3_1/relu"),
    ]


WRONG = {
    "conv3_1_3x3_1 of stride 3": ("conv3_1_3x3_1", "convolution_param", {"stride": [3]}, r"'conv3_1_3x3_1'.*stride"),
    "pooling that rounds up": (
        *("pool1/3x3_s2", "pooling_param", {"round_mode": "CEIL"}),
        r"'pool1/3x3_s2'.*with pad 0, found pad 1",
    ),
    "pooling that is not padded": (
        "pool1/3x3_s2",
        "pooling_param",
        {"pad": 0},
        r"'pool1/3x3_s2'.*round_mode CEIL, found",
    ),
    "padding of 2": ("conv4_1_3x3_2", "convolution_param", {"pad": [2]}, r"'conv4_1_3x3_2'.*pad 1"),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_first_layer_that_differs_is_named(what: str) -> None:
    layer, field, change, said = WRONG[what]
    spec = replace(BASIC, stem_pool="torchvision")
    found = [
        replace(x, settings={**x.settings, field: {**x.settings[field], **change}}) if x.name == layer else x
        for x in as_written(d.layer for d in layers(spec, (64, 64)))
    ]
    with pytest.raises(InputError, match=said):
        recognise(Net("net", tuple(found)))


# --- what no network can be

MISFITS = {
    "reduce of basic units": ({"reduce": (4, 8, 16)}, "basic units none"),
    "bottlenecks without reduce": ({"unit": "bottleneck"}, "bottlenecks have a first 1x1"),
    "stride of basic units": ({"stride_on_3x3": False}, "their stride in the first 3x3"),
    "groups of basic units": ({"groups": 4}, "groups is 4, but basic units have none"),
    "within a bottleneck": ({"se": SE(reduction=4, position="3x3")}, "position 3x3 is within a bottleneck"),
    "before a BatchNorm": ({"se": SE(reduction=4, position="3x3-raw")}, "position 3x3-raw is within a bottleneck"),
    "a stage beyond": ({"se": SE(reduction=4, stages=(4,))}, "SE blocks in stage 4 of 3"),
    "an unknown pooling": ({"stem_pool": "keras"}, "stem_pool is 'keras', expected one of caffe, torchvision"),
}


@pytest.mark.parametrize("what", MISFITS)
def test_fields_that_do_not_fit_together_are_one_clear_error(what: str) -> None:
    change, said = MISFITS[what]
    with pytest.raises(InputError, match=f"tiny-basic: .*{said}") as error:
        replace(BASIC, **change)
    assert "\n" not in str(error.value)
