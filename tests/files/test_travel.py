"""What a network is travels in every file, and what a file cannot state is assumed out loud, never silently."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_networks import INCEPTION, INFO, SENET, same, seeded

from weights import CAFFE, MODELS, SE, InputError, Preprocessing, Spec, read, schema, write
from weights.change import with_classes
from weights.files.safetensors import save_tensors
from weights.files.state_dict import from_state, to_state
from weights.networks import recognition
from weights.networks.models import changed, parse, to_dict
from weights.networks.recognition import differing, same_tensors

NAMES = tuple("abcdefghi")
OTHER = Preprocessing(channels="rgb", range=1, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


# Pairs of networks whose tensors have the same names and shapes.


def twins(spec: Spec) -> Iterator[Spec]:
    """Every record with one field of another value, of this record or of its nested ones, that has the same tensors."""
    for _, other in recognition._alternatives(spec):
        try:
            if same_tensors(other, spec) and other.network().nodes != spec.network().nodes:
                yield other
        except InputError:  # no network has this value
            continue


PAIRS = [twin for spec in (SENET, INCEPTION) for twin in twins(spec)] + list(twins(MODELS["senet-154"]))


def test_every_choice_that_shapes_do_not_tell_is_among_the_pairs():
    fields = {path for twin in PAIRS for path in differing(twin, _original(twin))}
    assert fields == {
        *("stem_pool", "stride_on_3x3", "modules.pool"),
        *("se.squeeze", "se.gate", "se.inner", "se.position", "dropout", "eps"),
    }  # fmt: skip
    gates = {twin.se.gate for twin in PAIRS if twin.se}
    assert gates == {"sigmoid", "tanh", "relu", "hard-sigmoid"}


def _original(twin: Spec) -> Spec:
    return next(spec for spec in (SENET, INCEPTION, MODELS["senet-154"]) if spec.name == twin.name)


def bare(spec: Spec) -> dict[str, np.ndarray]:
    return {p.name: np.broadcast_to(np.float32(1), p.shape) for p in schema(spec)}


@pytest.mark.parametrize("spec", PAIRS, ids=lambda s: f"{s.name} {'+'.join(differing(s, _original(s)))}")
def test_a_bare_state_dict_is_equal_or_the_field_is_assumed(spec):
    found = from_state("some.pth", bare(spec))
    assert set(differing(found.spec, spec)) - {"name"} <= set(found.info.assumed)


def test_a_varied_network_of_a_published_ones_shapes_is_read_as_published_and_said():
    found = from_state("some.pth", bare(changed(MODELS["senet-154"], stride_on_3x3=False)))
    assert found.spec == MODELS["senet-154"]
    assert "stride_on_3x3" in found.info.assumed


VARIED = changed(
    SENET, stride_on_3x3=False, eps=1e-3, dropout=0.5, se=SE(reduction=4, gate="tanh", squeeze="max", position="post")
)
OTHER_GATE = SE(reduction=4, gate="relu", squeeze="max", position="post")
INFORMED = replace(INFO, class_names=NAMES, labels=None, assumed=())
PACKAGES = pytest.mark.parametrize("package", ["se_torch", "se_jax", "se_tf"])


def restored(package: str, spec: Spec = VARIED, info: Any = INFORMED) -> tuple[Any, Any]:
    pytest.importorskip({"se_torch": "torch", "se_jax": "flax.nnx", "se_tf": "keras"}[package])
    module = import_module(package)
    return module, module.restore(spec, seeded(spec, info))


def _as_torch_saves(model: Any, folder: Path) -> Path:
    torch = import_module("torch")
    torch.save(model.state_dict(), folder / "native.pth")
    keys = torch.load(folder / "native.pth", weights_only=True).keys()
    assert keys == to_state(VARIED, seeded(VARIED)).keys()  # the note is no key
    return folder / "native.pth"


def _as_torch_saves_wrapped(model: Any, folder: Path) -> Path:
    torch = import_module("torch")
    averaged = torch.optim.swa_utils.AveragedModel(model)
    torch.save({"epoch": 3, "state_dict": averaged.state_dict()}, folder / "native.ckpt")
    return folder / "native.ckpt"


def _as_keras_saves(model: Any, folder: Path) -> Path:
    model.save(folder / "native.keras")
    return folder / "native.keras"


def _as_keras_saves_weights(model: Any, folder: Path) -> Path:
    model.save_weights(folder / "native.weights.h5")
    return folder / "native.weights.h5"


STATING: list[tuple[str, Callable[[Any, Path], Path]]] = [
    ("se_torch", _as_torch_saves),
    ("se_torch", _as_torch_saves_wrapped),
    ("se_tf", _as_keras_saves),
    ("se_tf", _as_keras_saves_weights),
]


@pytest.mark.parametrize(("package", "save"), STATING, ids=lambda v: v if isinstance(v, str) else v.__name__[4:])
def test_what_a_framework_saves_itself_states_the_whole_network(tmp_path, package, save):
    module, model = restored(package)
    path = save(model, tmp_path)
    found = read(path)
    assert (found.spec, found.info.assumed) == (VARIED, ())
    assert (found.info.preprocessing, found.info.class_names, found.info.factors) == (CAFFE, NAMES, INFO.factors)
    assert found.info.source == path.name
    assert {*INFO.history, f"saved as {path.name}, from tiny.caffemodel"} <= set(found.info.history)
    assert same(found.params, module.dump(model))


def test_a_bare_copy_of_a_state_dict_is_recognised_and_its_fields_assumed(tmp_path):
    torch = pytest.importorskip("torch")
    _, model = restored("se_torch")
    torch.save(dict(model.state_dict()), tmp_path / "bare.pth")
    found = read(tmp_path / "bare.pth")
    assert set(differing(found.spec, VARIED)) - {"name"} <= set(found.info.assumed)


def test_a_state_that_orbax_saves_is_recognised_and_its_fields_assumed(tmp_path):
    checkpoints: Any = pytest.importorskip("orbax.checkpoint")
    nnx = pytest.importorskip("flax.nnx")
    module, model = restored("se_jax")
    with checkpoints.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "native.orbax", nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat)))
    found = read(tmp_path / "native.orbax")
    assert set(differing(found.spec, VARIED)) - {"name"} <= set(found.info.assumed)
    module.save(model, tmp_path / "ours.orbax")
    assert read(tmp_path / "ours.orbax")[0] == VARIED


def test_keras_takes_over_what_its_files_state(tmp_path):
    keras: Any = pytest.importorskip("keras")
    _, model = restored("se_tf")
    model.save(tmp_path / "native.keras")
    again = keras.saving.load_model(tmp_path / "native.keras")
    assert (again.spec, again.info) == (VARIED, INFORMED)
    again.info = replace(INFO, history=())
    again.load_weights(_as_keras_saves_weights(model, tmp_path))
    assert again.info == INFORMED
    write(tmp_path / "ours.keras", VARIED, seeded(VARIED, INFORMED))
    ours = keras.saving.load_model(tmp_path / "ours.keras").info
    assert replace(ours, factors=INFO.factors) == INFORMED  # Caffe's factors are not in the configuration


SUFFIXES = [
    ".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".pth.tar", ".keras", ".weights.h5", ".onnx", ".caffemodel"
]  # fmt: skip


# The eps of the model is no float: ONNX and Caffe files say so.
@pytest.mark.filterwarnings("ignore:.*eps:weights.errors.InputWarning")
@PACKAGES
def test_one_call_saves_a_model_with_all_that_travels(tmp_path, package):
    module, model = restored(package)
    for suffix in SUFFIXES:
        module.save(model, tmp_path / f"x{suffix}")
        found = read(tmp_path / f"x{suffix}")
        assert replace(found.spec, name=VARIED.name) == VARIED or suffix == ".caffemodel"
        assert (found.info.preprocessing, found.info.class_names) == (CAFFE, NAMES)
        assert found.info.history[:2] == INFO.history
        assert found.info.assumed == ()
    module.save(model, tmp_path / "timm.pth", dialect="timm")
    assert read(tmp_path / "timm.pth").spec == VARIED


# Models that have changed since they were built.


def _replace_head(package: str, model: Any, classes: int) -> None:
    width = SENET.network().by_name["logits"] and 64
    if package == "se_torch":
        model.fc = import_module("torch").nn.Linear(width, classes) if classes else None
    else:
        nnx = import_module("flax.nnx")
        model.fc = nnx.Linear(width, classes, rngs=nnx.Rngs(0)) if classes else None


@pytest.mark.parametrize("package", ["se_torch", "se_jax"])
@pytest.mark.parametrize("classes", [7, 0])
def test_a_replaced_head_is_saved_as_what_it_is_now(tmp_path, package, classes):
    module, model = restored(package)
    _replace_head(package, model, classes)
    module.save(model, tmp_path / "x.safetensors")
    found = read(tmp_path / "x.safetensors")
    assert found.spec == replace(VARIED, classes=classes)
    assert (found.info.preprocessing, found.info.labels, found.info.class_names) == (CAFFE, None, ())
    assert found.info.history[-1].startswith("classifier of 9 classes replaced by")
    assert same(found.params, module.dump(model))


@pytest.mark.parametrize("package", ["se_torch", "se_jax"])
def test_a_first_convolution_for_other_channels_is_saved_as_what_it_is_now(tmp_path, package):
    module, model = restored(package)
    if package == "se_torch":
        model.stem.conv1 = import_module("torch").nn.Conv2d(1, 8, 3, 2, 1, bias=False)
    else:
        nnx = import_module("flax.nnx")
        sides = [(1, 1), (1, 1)]
        model.stem.conv1 = nnx.Conv(1, 8, (3, 3), (2, 2), padding=sides, use_bias=False, rngs=nnx.Rngs(0))
    module.save(model, tmp_path / "x.safetensors")
    found = read(tmp_path / "x.safetensors")
    assert found.spec == changed(VARIED, in_channels=1)
    assert (found.info.preprocessing, found.info.class_names) == (None, NAMES)
    assert found.info.history[-1] == "first convolution of 3 channels replaced by one of 1"
    assert same(found.params, module.dump(model))


def test_what_a_model_does_not_know_is_given_when_it_is_saved(tmp_path):
    module, model = restored("se_torch")
    module.save(model, tmp_path / "rgb.pth", convention="rgb01")
    found = read(tmp_path / "rgb.pth").info.preprocessing
    assert found is not None
    assert (found.channels, found.range, model.preprocessing) == ("rgb", 1, CAFFE)
    _replace_head("se_torch", model, 2)
    module.save(model, tmp_path / "x.keras", class_names=["cat", "dog"])
    assert read(tmp_path / "x.keras").info.class_names == ("cat", "dog")
    for wrong in ({"class_names": ["cat"]}, {"labels": "sorted"}, {"preprocessing": OTHER}, {"dialect": "klingon"}):
        with pytest.raises(InputError):
            module.save(model, tmp_path / "y.pth", **wrong)
    assert not (tmp_path / "y.pth").exists()


def test_a_head_that_no_network_here_has_is_refused_with_the_reason():
    nn = pytest.importorskip("torch").nn
    module, model = restored("se_torch")
    model.fc = nn.Sequential(nn.Linear(64, 5), nn.Linear(5, 2))
    with pytest.raises(InputError, match=r"(?s)another classifier must be one fully connected layer.*fc\.0\.weight"):
        module.dump(model)
    assert "fc.0.weight" in model.state_dict()  # PyTorch's own way stays open


def _norm(package: str, model: Any) -> tuple[Any, str]:
    if package == "se_tf":
        return model.get_layer("stem.bn1"), "epsilon"
    return model.stem.bn1, "eps" if package == "se_torch" else "epsilon"


@PACKAGES
def test_a_changed_eps_or_dropout_is_refused_with_what_to_do(package):
    module, model = restored(package)
    norm, attribute = _norm(package, model)
    before = getattr(norm, attribute)
    setattr(norm, attribute, 0.25)
    with pytest.raises(InputError, match=r"stem\.bn1 has eps 0\.25, but tiny-senet was built with 0\.001: build"):
        module.dump(model)
    setattr(norm, attribute, before)
    dropout = model.get_layer("dropout") if package == "se_tf" else model.dropout
    setattr(dropout, "p" if package == "se_torch" else "rate", 0.1)
    with pytest.raises(InputError, match=r"dropout before the classifier is 0\.1, but tiny-senet was built with 0\.5"):
        module.dump(model)


# Class names.


@pytest.mark.parametrize("names", [("a",), ("a", "a"), ("",), ("a", 3), "ab"])
def test_class_names_that_do_not_fit_are_refused(tmp_path, names):
    write(tmp_path / "x.pth", SENET, seeded(SENET))
    with pytest.raises(InputError, match="class names"):
        read(tmp_path / "x.pth", class_names=names)


def test_class_names_must_be_as_many_as_classes_when_written(tmp_path):
    with pytest.raises(InputError, match=r"x\.pth: 2 class names for 9 classes"):
        write(tmp_path / "x.pth", SENET, seeded(SENET, replace(INFO, class_names=("a", "b"))))
    assert not list(tmp_path.iterdir())


def test_a_new_classifier_has_no_class_names():
    assert with_classes(SENET, seeded(SENET, INFORMED), 3).info.class_names == ()
    assert with_classes(SENET, seeded(SENET, INFORMED), 9).info.class_names == NAMES


def test_a_fine_tuned_model_keeps_its_preprocessing_and_has_names_of_its_own(tmp_path):
    module, _ = restored("se_torch")
    write(tmp_path / "x.pth", SENET, seeded(SENET, INFO))
    model = module.from_pretrained(tmp_path / "x.pth", classes=2, class_names=["cat", "dog"])
    assert (model.preprocessing, model.class_names, model.labels) == (CAFFE, ("cat", "dog"), None)
    with pytest.raises(InputError, match="2 class names for 9 classes"):
        module.from_pretrained(tmp_path / "x.pth", class_names=["cat", "dog"])


# What a file does not state can be given.


@pytest.fixture
def unstated(tmp_path: Path) -> Path:
    save_tensors(tmp_path / "x.safetensors", to_state(VARIED, seeded(VARIED)), {})
    return tmp_path / "x.safetensors"


def test_what_is_not_stated_can_be_given(unstated):
    found = read(unstated, spec=VARIED, preprocessing=OTHER, class_names=NAMES)
    assert (found.spec, found.info.preprocessing, found.info.class_names) == (VARIED, OTHER, NAMES)
    assert found.info.assumed == ()


def test_fields_that_a_file_lists_as_assumed_can_be_given(unstated, tmp_path):
    write(tmp_path / "kept.pth", read(unstated))
    assert "se.gate" in read(tmp_path / "kept.pth").info.assumed
    found = read(tmp_path / "kept.pth", spec=VARIED)
    assert (found.spec, found.info.assumed) == (VARIED, ())
    with pytest.raises(InputError, match="says itself what it is; leave out spec"):
        read(tmp_path / "kept.pth", spec=changed(VARIED, se=SE(reduction=4, bias=False)))


def test_an_assumed_preprocessing_is_replaced_and_a_stated_one_is_not(tmp_path):
    write(tmp_path / "assumed.pth", SENET, seeded(SENET, replace(INFO, labels=None, assumed=("preprocessing",))))
    found = read(tmp_path / "assumed.pth", preprocessing=OTHER)
    assert (found.info.preprocessing, found.info.assumed) == (OTHER, ())
    write(tmp_path / "stated.pth", SENET, seeded(SENET, INFORMED))
    assert read(tmp_path / "stated.pth", preprocessing=CAFFE).info == INFORMED
    for given in ({"preprocessing": OTHER}, {"class_names": NAMES[::-1]}):
        with pytest.raises(InputError, match=rf"stated\.pth: states its .* itself .*; leave out {next(iter(given))}$"):
            read(tmp_path / "stated.pth", **given)  # type: ignore[arg-type]


def test_a_path_that_is_none_is_refused():
    with pytest.raises(InputError, match="expected the path of a file, found 3"):
        read(3)  # type: ignore[arg-type]


def test_a_line_of_text_describes_a_network(tmp_path):
    assert parse("se-resnet-50") == MODELS["se-resnet-50"]
    line = "resnet-50,depths=[1,2,1,1],stem=((32,3),(64,3)),se.gate=tanh, eps=0.001, stride_on_3x3=true,dropout=0"
    wanted: dict[str, Any] = {"depths": (1, 2, 1, 1), "stem": ((32, 3), (64, 3)), "eps": 1e-3, "stride_on_3x3": True}
    assert parse(line) == changed(MODELS["resnet-50"], se=SE(gate="tanh"), **wanted)
    assert parse("se-resnet-50,se=none,name=mine") == changed(MODELS["se-resnet-50"], se=None, name="mine")
    assert parse("se-resnet-50,se.squeeze=none,se.stages=none").se == SE(squeeze="none")
    (tmp_path / "x.json").write_text(__import__("json").dumps(to_dict(SENET)))
    assert parse(f"{tmp_path / 'x.json'},classes=3") == changed(SENET, classes=3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("se-resnet-5", "did you mean se-resnet-50"),
        ("se-resnet-50,classes", "expected FIELD=VALUE"),
        ("se-resnet-50,nonsense=3", "no field nonsense"),
        ("se-resnet-50,se.nonsense=3", r"no field se\.nonsense; those of se are reduction"),
        ("se-resnet-50,stem.out=3", r"no field stem\.out; only se has"),
        ("se-resnet-50,se.gate=loud", "gate is 'loud', expected one of sigmoid"),
        ("se-resnet-50,depths=[3,4", "depths is"),
        ("se-resnet-50,eps=NaN", "eps is 'NaN'"),
        ("absent.json", r"absent\.json: cannot be read"),
    ],
)
def test_a_line_that_describes_no_network_is_refused(line, message):
    with pytest.raises(InputError, match=message):
        parse(line)


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000, '{"family": "alexnet"}'])
def test_a_json_file_that_describes_no_network_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InputError, match=r"x\.json: "):
        parse(str(tmp_path / "x.json"))


def _change_gate(package: str, model: Any) -> None:
    if package == "se_torch":
        model.stage1[0].se.gate = import_module("torch").nn.Hardswish()
    else:
        model.stage1[0].se.gate = import_module("flax.nnx").hard_swish


def _change_stride(package: str, model: Any) -> None:
    if package == "se_torch":
        model.stage2[0].conv1.stride = model.stage2[0].conv2.stride = (1, 1)
    else:
        model.stage2[0].conv1.strides = model.stage2[0].conv2.strides = (1, 1)


@pytest.mark.parametrize("package", ["se_torch", "se_jax"])
@pytest.mark.parametrize(("change", "layer"), [(_change_gate, "stage1.0.se.gate"), (_change_stride, "stage2.0.conv")])
def test_a_changed_layer_is_refused(tmp_path, package, change, layer):
    module, model = restored(package)
    change(package, model)
    with pytest.raises(InputError, match=layer):
        module.save(model, tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_state_dict_of_a_changed_network_is_not_noted(tmp_path):
    torch = import_module("torch")
    _, model = restored("se_torch")
    _change_gate("se_torch", model)
    torch.save(model.state_dict(), tmp_path / "x.pth")
    assert "se.gate" in read(tmp_path / "x.pth").info.assumed


def test_pytorch_refuses_weights_of_a_network_that_computes_otherwise():
    module, model = restored("se_torch")
    other = module.build(replace(VARIED, se=OTHER_GATE))
    with pytest.raises(RuntimeError, match=r"the weights are of another network, which differs in se\.gate"):
        other.load_state_dict(model.state_dict())
    other.load_state_dict(dict(model.state_dict()))  # says nothing of its network
    same = module.build(VARIED)
    same.load_state_dict(model.state_dict())
    assert same.info == model.info


def test_keras_refuses_weights_of_a_network_that_computes_otherwise(tmp_path):
    module, model = restored("se_tf")
    model.save_weights(tmp_path / "x.weights.h5")
    other = module.build(replace(VARIED, se=OTHER_GATE))
    with pytest.raises(ValueError, match=r"differs from tiny-senet in se\.gate"):  # in the words of Keras' own error
        other.load_weights(tmp_path / "x.weights.h5")


@pytest.mark.parametrize("classes", [0, 7])
def test_noted_state_dict_with_another_classifier_is_read_as_it_is(tmp_path, classes):
    torch = import_module("torch")
    _, model = restored("se_torch")
    state = model.state_dict()
    width = state["fc.weight"].shape[1]
    del state["fc.weight"], state["fc.bias"]
    if classes:
        state |= {"fc.weight": torch.zeros(classes, width), "fc.bias": torch.zeros(classes)}
    torch.save(state, tmp_path / "x.pth")
    found = read(tmp_path / "x.pth")
    assert found.spec == replace(VARIED, classes=classes)
    assert (found.info.class_names, found.info.assumed) == ((), ())
