"""Names and layouts of other projects' checkpoints: exact in both directions, and look-alikes are refused."""

from dataclasses import replace

import numpy as np
import pytest
from odd_networks import INCEPTION, SENET, same, seeded

from weights import MODELS, SE, InputError, Params, schema
from weights.caffe.released import RELEASED
from weights.files.state_dict import IMAGENET, from_state, to_state
from weights.names.frameworks import FLAX, KERAS, KERAS_ON_TORCH, TORCH
from weights.names.keras import by_flat, flat
from weights.names.resnet import CADENE, TIMM
from weights.networks.recognition import untold
from weights.networks.spec import EPS

STATE_DICTS = {d.name: d for d in (TORCH, TIMM, CADENE)}
DIALECTS = [*STATE_DICTS.values(), KERAS, KERAS_ON_TORCH, FLAX]
SE_RESNETS = [spec.name for spec in RELEASED if spec.family == "resnet"]


@pytest.mark.parametrize("names", DIALECTS, ids=lambda d: d.name)
def test_every_array_returns_from_a_dialect_as_it_was(names):
    params = seeded(SENET)
    for p in schema(SENET):
        encoded = names.encode(p, params[p.name])
        assert encoded.shape == names.shape(p)
        assert names.decode(p, encoded).tobytes() == params[p.name].tobytes()


@pytest.mark.parametrize("names", DIALECTS, ids=lambda d: d.name)
@pytest.mark.parametrize("model", SE_RESNETS)
def test_no_two_parameters_share_a_name(names, model):
    keys = [names.key(p) for p in schema(MODELS[model])]
    assert len(set(keys)) == len(keys)


def test_timm_calls_each_kind_of_parameter_what_its_legacy_networks_do():
    # The names of timm.models.senet, which are those of Cadene's pretrainedmodels.
    wanted = {
        "stem.conv3.weight": "layer0.conv3.weight",
        "stem.bn1.running_var": "layer0.bn1.running_var",
        "stage1.0.conv1.weight": "layer1.0.conv1.weight",
        "stage2.1.bn3.bias": "layer2.1.bn3.bias",
        "stage3.0.se.fc1.bias": "layer3.0.se_module.fc1.bias",
        "stage4.0.shortcut.conv.weight": "layer4.0.downsample.0.weight",
        "stage4.0.shortcut.bn.running_mean": "layer4.0.downsample.1.running_mean",
        "fc.weight": "last_linear.weight",
    }
    keys = {p.name: TIMM.key(p) for p in schema(SENET)}
    assert {name: keys[name] for name in wanted} == wanted


def test_timm_keeps_the_matrices_of_se_blocks_as_1x1_convolutions():
    shapes = {TIMM.key(p): TIMM.shape(p) for p in schema(MODELS["se-resnet-50"])}
    assert shapes["layer1.0.se_module.fc1.weight"] == (16, 256, 1, 1)
    assert shapes["last_linear.weight"] == (1000, 2048)


@pytest.mark.parametrize("names", DIALECTS, ids=lambda d: d.name)
def test_a_wrong_shape_is_refused_even_where_the_size_fits(names):
    p = next(p for p in schema(SENET) if p.name == "stage1.0.se.fc1.weight")
    with pytest.raises(InputError, match="has shape"):
        names.decode(p, np.zeros(names.shape(p)[::-1]))
    with pytest.raises(InputError, match="has shape"):
        names.encode(p, np.zeros(p.shape[::-1]))


@pytest.mark.parametrize("model", SE_RESNETS)
@pytest.mark.parametrize("dialect", ["timm", "cadene"])
def test_a_bare_state_dict_of_a_published_network_is_recognised(model, dialect):
    spec = replace(MODELS[model], classes=7)
    state = {name: np.broadcast_to(np.float32(1), shape) for name, shape in _shapes(spec, dialect).items()}
    found, _ = from_state("some.pth", state)
    assert replace(found, eps=EPS) == spec


def _shapes(spec, dialect):
    return {STATE_DICTS[dialect].key(p): STATE_DICTS[dialect].shape(p) for p in schema(spec)}


def test_a_bare_checkpoint_in_timms_names_is_labelled_as_timms():
    spec = MODELS["se-resnet-50"]
    state = {name: np.broadcast_to(np.float32(1), shape) for name, shape in _shapes(spec, "timm").items()}
    found, params = from_state("some.pth", state)
    assert params.info.preprocessing == IMAGENET
    assert params.info.labels == "sorted"
    assert params.info.assumed == ("preprocessing", "labels")
    assert found.eps == 1e-5  # PyTorch's is a double, Caffe's the nearest float


def test_a_bare_checkpoint_in_our_names_says_nothing_of_its_preprocessing():
    spec = MODELS["senet-154"]
    state = {name: np.broadcast_to(np.float32(1), shape) for name, shape in _shapes(spec, "torch").items()}
    found, params = from_state("some.pth", state)
    assert found == spec
    assert (params.info.preprocessing, params.info.labels) == (None, None)
    assert params.info.assumed == (
        *("stem_pool", "stride_on_3x3", "se.squeeze", "se.gate", "se.inner", "se.position", "dropout", "eps"),
    )


@pytest.mark.parametrize("spec", [SENET, INCEPTION, MODELS["se-resnext-50"]], ids=lambda s: s.name)
def test_flat_names_lead_back_to_every_parameter(spec):
    keys = [KERAS.key(p) for p in schema(spec)]
    assert [by_flat(keys)[KERAS_ON_TORCH.key(p)] for p in schema(spec)] == keys
    assert [flat(key) for key in keys] == [KERAS_ON_TORCH.key(p) for p in schema(spec)]


def test_two_names_with_one_flat_form_are_refused():
    with pytest.raises(InputError, match=r"a\.b and a_b have the same name in Keras on PyTorch"):
        by_flat(["a.b", "a_b"])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrapping_modules_are_taken_off_and_noted(prefix):
    state = {f"{prefix}{name}": array for name, array in to_state(SENET, seeded(SENET)).items()}
    _, params = from_state("some.pth", state, spec=SENET)
    assert same(params, seeded(SENET))
    assert [line.split("'")[1] for line in params.info.history] == [f"{part}." for part in prefix.split(".")[:-1]]


def test_strides_of_an_unknown_network_are_assumed_and_said():
    found, params = from_state("some.pth", to_state(SENET, seeded(SENET)))
    assert (found.name, params.info.assumed) == ("se-resnet", untold(SENET))
    assert "stride_on_3x3" in params.info.assumed


def test_an_error_lists_what_is_missing_unexpected_and_misshaped():
    state = to_state(SENET, seeded(SENET))
    state["extra.weight"] = state.pop("fc.bias")
    state["stem.conv1.weight"] = state["stem.conv1.weight"][:, :2]
    with pytest.raises(InputError) as error:
        from_state("some.pth", state, spec=SENET)
    for line in ("- fc.bias (9,)", "+ extra.weight (9,)", "! stem.conv1.weight has shape (8, 2, 3, 3)"):
        assert line in str(error.value)


def test_integers_are_no_parameters():
    state = to_state(SENET, seeded(SENET))
    state["fc.bias"] = state["fc.bias"].astype(np.int64)
    with pytest.raises(InputError, match=r"some\.pth: fc\.bias holds int64"):
        from_state("some.pth", state, spec=SENET)


@pytest.mark.parametrize("spec", [INCEPTION, replace(SENET, se=None)], ids=["inception", "plain"])
def test_timm_has_no_names_for_other_networks(spec):
    with pytest.raises(InputError, match="'timm' has no names"):
        to_state(spec, seeded(spec), "timm")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"se": SE(gate="tanh")}, "se.gate"),
        ({"se": SE(squeeze="none")}, "se.squeeze"),
        ({"se": SE(position="post")}, "se.position"),
        ({"stride_on_3x3": True}, "stride_on_3x3"),
        ({"eps": 1e-3}, "eps"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_network_is_not_written_under_names_that_are_read_as_another_one(change, field):
    spec = replace(MODELS["se-resnet-50"], **change)
    params = {p.name: np.broadcast_to(np.float32(1), p.shape) for p in schema(spec)}
    with pytest.raises(
        InputError, match=rf"has another {field} there, and would be read as se-resnet-50; use .*'torch'"
    ):
        to_state(spec, params, "timm")


def test_an_unknown_dialect_is_named_with_the_known_ones():
    with pytest.raises(InputError, match="'tinm'; known are torch, timm, cadene"):
        to_state(SENET, seeded(SENET), "tinm")


def test_state_dicts_have_batchnorms_counters_and_need_none_to_be_read():
    state = to_state(SENET, seeded(SENET))
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    assert len(counters) == sum(p.leaf == "running_var" for p in schema(SENET))
    without = {name: array for name, array in state.items() if name not in counters}
    assert same(from_state("some.pth", without, spec=SENET)[1], Params(seeded(SENET)))
