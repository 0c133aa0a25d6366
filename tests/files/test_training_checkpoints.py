"""Checkpoints as training scripts leave them: what is plain tensors is read, nothing else is imported or run."""

import argparse
import datetime
import pickle
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from odd_networks import SENET, same, seeded

from weights import MODELS, InputError, read, schema, write
from weights.errors import InputWarning
from weights.files.state_dict import from_state, to_state
from weights.names.resnet import TIMM
from weights.networks.models import changed

WRAPPERS = ["module.", "model.", "net.", "backbone.", "_forward_module.", "_orig_mod.", "model._orig_mod.module."]


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


def state(seed: int = 0, prefix: str = "", dialect: str = "torch") -> dict[str, np.ndarray]:
    return {prefix + name: a for name, a in to_state(SENET, seeded(SENET, seed=seed), dialect).items()}


def tensors(torch: Any, **options: Any) -> dict[str, Any]:
    return {name: torch.from_numpy(np.array(array)) for name, array in state(**options).items()}


@pytest.mark.parametrize("prefix", WRAPPERS)
@pytest.mark.parametrize("dialect", ["torch", "timm"])
def test_the_names_of_wrapping_modules_are_taken_off_and_noted(prefix, dialect):
    held = {"n_averaged": np.array(3), **state(prefix=prefix, dialect=dialect)}
    found = from_state("some.pth", held)
    assert same(found.params, seeded(SENET))
    said = [line.split("'")[1] for line in found.info.history if line.startswith("names lost")]
    assert said == [f"{part}." for part in prefix.split(".")[:-1]]
    assert found.info.history[-1] == "not used: n_averaged"


def test_names_of_modules_that_wrap_parts_of_the_network_are_taken_off():
    held = {name.replace("stage2.", "stage2._checkpoint_wrapped_module."): a for name, a in state().items()}
    assert same(from_state("some.pth", held).params, seeded(SENET))


def test_tensors_beside_the_network_are_not_used_and_said():
    held = {**state(prefix="backbone."), "head.weight": np.zeros((3, 64))}
    with pytest.warns(InputWarning, match=r"some\.pth: not used: head\.weight$"):
        assert same(from_state("some.pth", held).params, seeded(SENET))


@pytest.mark.parametrize("dialect", ["torch", "timm"])
@pytest.mark.parametrize("classifier", ["fc", "last_linear"])
@pytest.mark.parametrize("kernels", [True, False])
def test_classifier_and_squeeze_are_read_in_either_spelling(dialect, classifier, kernels):
    held = {}
    for name, array in state(dialect=dialect).items():
        name = name.replace("last_linear.", "fc.").replace("fc.", f"{classifier}.") if name[:2] in "fc la" else name
        if name.endswith(("se.fc1.weight", "se.fc2.weight", "module.fc1.weight", "module.fc2.weight")):
            array = array.reshape(*array.shape[:2], *((1, 1) if kernels else ()))
        held[name] = array
    assert same(from_state("some.pth", held).params, seeded(SENET))


@pytest.mark.parametrize("classes", [0, 7])
def test_other_classes_and_no_head_of_a_published_network_are_recognised(classes):
    spec = changed(MODELS["se-resnet-50"], classes=classes)
    held = {f"net.{TIMM.key(p)}": np.broadcast_to(np.float16(1), TIMM.shape(p)) for p in schema(spec)}
    found = from_state("some.pth", held)
    assert (found.spec.name, found.spec.classes) == ("se-resnet-50", classes)
    assert found.params["stem.conv1.weight"].dtype == np.float16


@pytest.mark.parametrize("suffix", [".ckpt", ".bin", ".pth.tar"])
def test_suffixes_of_training_scripts_are_read_and_written(torch, tmp_path, suffix):
    torch.save({"epoch": 3, "state_dict": tensors(torch, prefix="module.")}, tmp_path / f"theirs{suffix}")
    assert same(read(tmp_path / f"theirs{suffix}").params, seeded(SENET))
    write(tmp_path / f"ours{suffix}", SENET, seeded(SENET))
    assert read(tmp_path / f"ours{suffix}").spec == SENET


class Schedule:
    """Of a training script; anything that it does is done when it is unpickled."""

    done: ClassVar[list[str]] = []

    def __setstate__(self, values: Any) -> None:
        self.done.append("run")


FOREIGN = {
    "arguments": argparse.Namespace(lr=0.1, out=Path("/tmp")),
    "date": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    "best": np.float64(0.7),
    "scores": np.arange(3.0),
    "schedule": Schedule(),
    "seen": {1, 2},
    "frozen": frozenset({3}),
    "raw": b"bytes",
    "large": 2**3000,
    "complex": 1 + 2j,
    "range": range(3),
    "kind": dict,
}


@pytest.mark.parametrize(("protocol", "zipped"), [(2, True), (3, True), (4, True), (5, True), (2, False)])
def test_objects_of_other_classes_are_passed_over_and_nothing_runs(torch, tmp_path, protocol, zipped):
    FOREIGN["schedule"].__dict__["lr"] = 1
    held = {**FOREIGN, "state_dict": tensors(torch), "optimizer": torch.optim.SGD([torch.zeros(2)], 0.1).state_dict()}
    held["device"], held["dtype"] = torch.device("cpu"), torch.float32
    torch.save(held, tmp_path / "x.ckpt", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    Schedule.done.clear()
    found = read(tmp_path / "x.ckpt")
    assert same(found.params, seeded(SENET))
    assert found.info.history == ("weights of the key 'state_dict'",)
    assert not Schedule.done
    torch.load(tmp_path / "x.ckpt", weights_only=False)
    assert Schedule.done  # the guard is against something that works


def test_weights_made_by_a_class_of_others_are_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.ckpt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"state_dict": Schedule()}, 2))
    with pytest.raises(InputError, match=r"x\.ckpt: is no state dict: 'state_dict' is a \S*Schedule, expected"):
        read(tmp_path / "x.ckpt")


def test_a_dictionary_that_holds_itself_is_read_once(torch, tmp_path):
    held: dict[str, Any] = {"state_dict": tensors(torch)}
    held |= {f"again{i}": held for i in range(50)}
    torch.save(held, tmp_path / "x.ckpt")
    assert same(read(tmp_path / "x.ckpt").params, seeded(SENET))


SEVERAL = [("model", "ema"), ("model", "model_ema"), ("state_dict", "state_dict_ema")]


@pytest.mark.parametrize("keys", SEVERAL, ids=str)
def test_one_of_several_sets_of_weights_is_never_taken_silently(torch, tmp_path, keys):
    path = tmp_path / "x.pth"
    torch.save({keys[0]: tensors(torch), keys[1]: {"module": tensors(torch, seed=1)}, "epoch": 3}, path)
    message = (
        rf"x\.pth: holds several sets of weights: '{keys[0]}', '{keys[1]}\.module'; say which one, with weights_key="
    )
    with pytest.raises(InputError, match=message):
        read(path)
    for seed, key in enumerate(keys):
        found = read(path, weights_key=key)
        assert same(found.params, seeded(SENET, seed=seed))
        write(tmp_path / "kept.safetensors", found)
        assert read(tmp_path / "kept.safetensors").info.history == found.info.history
        assert found.info.history[0] in (f"weights of the key '{key}{end}', one of several" for end in ("", ".module"))
    with pytest.raises(InputError, match=rf"has no weights under the key 'best'; it has '{keys[0]}', "):
        read(path, weights_key="best")


def test_several_networks_side_by_side_in_one_dictionary_are_told_apart():
    held = {**state(prefix="student."), **state(prefix="teacher.", seed=1)}
    with pytest.raises(InputError, match="holds several sets of weights: 'student', 'teacher'"):
        from_state("some.pth", held)
    assert same(from_state("some.pth", held, weights_key="teacher").params, seeded(SENET, seed=1))


def test_the_same_weights_under_two_keys_are_one_set(torch, tmp_path):
    held = tensors(torch)
    torch.save({"model": held, "state_dict": held}, tmp_path / "x.pth")
    assert same(read(tmp_path / "x.pth").params, seeded(SENET))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_read_exactly(torch, tmp_path, dtype):
    held = {n: t.to(getattr(torch, dtype)) if t.is_floating_point() else t for n, t in tensors(torch).items()}
    torch.save({"model": held}, tmp_path / "x.bin")
    found = read(tmp_path / "x.bin").params
    assert all(np.array_equal(found[p.name], held[p.name].float().numpy()) for p in schema(SENET))
