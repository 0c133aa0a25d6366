"""Keras' files without Keras: what we write it loads, what it saves we read, damage is one clear error."""

import json
import os
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_networks import INCEPTION, INFO, SENET, same, seeded
from published import PUBLISHED

from weights import MODELS, SE, InputError, Params, read, write
from weights.files.keras_layout import layout
from weights.networks.se import Position

SUFFIXES = pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
VARIANTS = {
    "senet": SENET,
    "projection of one pixel": replace(SENET, shortcut=1, stride_on_3x3=False, groups=1),
    "plain": replace(SENET, se=None),
    "inception": INCEPTION,
    "plain inception": replace(INCEPTION, se=None),
    "no classifier": replace(SENET, classes=0),
}
NETWORKS = pytest.mark.parametrize("spec", VARIANTS.values(), ids=VARIANTS)


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("keras")


@pytest.fixture(scope="module")
def se_tf(keras: Any) -> Any:
    assert keras.__version__
    return pytest.importorskip("se_tf")


@SUFFIXES
@NETWORKS
def test_everything_comes_back_as_it_was(tmp_path, spec, suffix):
    path = tmp_path / f"tiny{suffix}"
    write(path, spec, seeded(spec, INFO))
    found, params = read(path)
    assert (found, params.info) == (spec, INFO)
    assert same(params, seeded(spec))


@SUFFIXES
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_each_precision_is_kept(tmp_path, dtype, suffix):
    params = Params({name: array.astype(dtype) for name, array in seeded(SENET).items()})
    write(tmp_path / f"tiny{suffix}", SENET, params)
    assert same(read(tmp_path / f"tiny{suffix}")[1], params)


def _layout(path: Path) -> dict[str, tuple]:
    found = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and name not in ("senet", "vars/senet"):
            found[name] = (item.shape, item.parent.attrs["name"])

    with h5py.File(path) as values:
        values.visititems(visit)
    return found


@NETWORKS
def test_the_layout_is_the_one_that_keras_writes(se_tf, tmp_path, spec):
    se_tf.build(spec).save_weights(tmp_path / "theirs.weights.h5")
    write(tmp_path / "ours.weights.h5", spec, seeded(spec))
    assert _layout(tmp_path / "ours.weights.h5") == _layout(tmp_path / "theirs.weights.h5")


VARIED = {
    **{f"position {position}": {"position": position} for position in get_args(Position)},
    **{f"squeeze {squeeze}": {"squeeze": squeeze} for squeeze in ("max", "none")},
    "no biases": {"bias": False},
    "some stages": {"stages": (2, 4), "position": "identity-before"},
    "no squeeze before the block": {"squeeze": "none", "position": "pre"},
}


@pytest.mark.parametrize("change", VARIED.values(), ids=VARIED)
def test_the_layout_of_each_se_position_is_the_one_that_keras_writes(se_tf, tmp_path, change):
    spec = replace(SENET, se=replace(SENET.se or SE(), **change))
    model = se_tf.build(spec)
    model.save_weights(tmp_path / "theirs.weights.h5")
    write(tmp_path / "ours.weights.h5", spec, seeded(spec))
    assert _layout(tmp_path / "ours.weights.h5") == _layout(tmp_path / "theirs.weights.h5")
    model.load_weights(tmp_path / "ours.weights.h5")
    assert _equal(se_tf, model, seeded(spec))


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_layout_of_each_published_network_is_the_one_that_keras_writes(se_tf, tmp_path, name):
    se_tf.build(MODELS[name]).save_weights(tmp_path / "theirs.weights.h5")
    assert set(layout(MODELS[name]).values()) == _layout(tmp_path / "theirs.weights.h5").keys()


def _equal(se_tf, model, params) -> bool:
    dumped = se_tf.dump(model)
    return all(np.array_equal(dumped[name], array.astype(np.float32)) for name, array in params.items())


@NETWORKS
def test_keras_loads_the_model(keras, se_tf, tmp_path, spec):
    write(tmp_path / "tiny.keras", spec, seeded(spec, INFO))
    model = keras.saving.load_model(tmp_path / "tiny.keras")
    assert (model.spec, model.preprocessing, model.labels) == (spec, INFO.preprocessing, INFO.labels)
    assert _equal(se_tf, model, seeded(spec))


@NETWORKS
def test_keras_loads_the_weights(se_tf, tmp_path, spec):
    write(tmp_path / "tiny.weights.h5", spec, seeded(spec))
    model = se_tf.build(spec)
    model.load_weights(tmp_path / "tiny.weights.h5")
    assert _equal(se_tf, model, seeded(spec))


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_a_model_that_keras_saved_is_read(se_tf, tmp_path, dtype):
    model = se_tf.build(SENET, dtype)
    se_tf.load(model, seeded(SENET, INFO))
    model.save(tmp_path / "saved.keras")
    spec, params = read(tmp_path / "saved.keras")
    assert spec == SENET
    assert same(params, se_tf.dump(model))
    assert (params.info.preprocessing, params.info.labels) == (INFO.preprocessing, INFO.labels)
    assert (params.info.source, len(params.info.sha256)) == ("saved.keras", 64)


def test_weights_that_keras_saved_are_read(se_tf, tmp_path):
    model = se_tf.build(SENET)
    model.save_weights(tmp_path / "saved.weights.h5")
    assert same(read(tmp_path / "saved.weights.h5", spec=SENET)[1], se_tf.dump(model))
    assert read(tmp_path / "saved.weights.h5").info.assumed == ()
    _edit(tmp_path / "saved.weights.h5", lambda values: values.pop("vars"))  # as of a model that notes nothing
    assert "stride_on_3x3" in read(tmp_path / "saved.weights.h5").info.assumed


def test_weights_of_a_published_network_need_no_spec(tmp_path):
    spec = replace(MODELS["bn-inception"], classes=3)
    write(tmp_path / "saved.weights.h5", spec, seeded(spec))
    _edit(tmp_path / "saved.weights.h5", lambda values: values.pop("senet"))
    assert read(tmp_path / "saved.weights.h5")[0] == spec


def _edit(path: Path, change) -> None:
    with h5py.File(path, "r+") as values:
        change(values)


def _forget_names(values: h5py.File) -> None:
    del values["senet"]
    values.visititems(lambda _, item: item.attrs.pop("name", None) and None)


def test_files_of_a_keras_that_did_not_name_layers_are_read_by_position(tmp_path):
    path = tmp_path / "old.weights.h5"
    write(path, INCEPTION, seeded(INCEPTION))
    _edit(path, _forget_names)
    assert same(read(path, spec=INCEPTION)[1], seeded(INCEPTION))
    with pytest.raises(InputError, match=r"old\.weights\.h5: does not name its layers"):
        read(path)


@pytest.mark.parametrize("spec", [SENET, INCEPTION], ids=lambda spec: spec.name)
def test_names_without_dots_as_keras_on_pytorch_has_them_are_read(tmp_path, spec):
    def undotted(_: str, item: Any) -> None:
        if "name" in item.attrs:
            item.attrs["name"] = item.attrs["name"].replace(".", "_")

    write(tmp_path / "torch.weights.h5", spec, seeded(spec))
    _edit(tmp_path / "torch.weights.h5", lambda values: values.visititems(undotted))
    assert same(read(tmp_path / "torch.weights.h5")[1], seeded(spec))


def _link(values: Any) -> None:
    del values["layers/conv2d/vars/0"]
    values["layers/conv2d/vars/0"] = h5py.ExternalLink("/etc/passwd", "x")


def _compress(values: Any) -> None:
    array = values["layers/conv2d/vars/0"][()]
    del values["layers/conv2d/vars/0"]
    values.create_dataset("layers/conv2d/vars/0", data=array, compression="gzip")


def _unwritten(values: Any) -> None:
    shape = values["layers/conv2d/vars/0"].shape
    del values["layers/conv2d/vars/0"]
    values.create_dataset("layers/conv2d/vars/0", shape, np.float32)


def _transpose(values: Any) -> None:
    array = values["layers/dense/vars/0"][()]
    del values["layers/dense/vars/0"]
    values["layers/dense/vars/0"] = array.T


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.pop("layers/conv2d_3"), r"- stage1\.0\.conv1\.kernel .* is missing"),
        (_transpose, r"! fc\.kernel has shape \(9, 64\), expected \(64, 9\)"),
        (_link, "link to elsewhere"),
        (_compress, "in one piece"),
        (_unwritten, "of which the file holds 0; it may be cut off"),
        (lambda values: values.pop("layers"), "does not name its layers|has no layers"),
    ],
)
def test_damage_is_named(tmp_path, change, message):
    path = tmp_path / "bad.weights.h5"
    write(path, SENET, seeded(SENET))
    _edit(path, change)
    with pytest.raises(InputError, match=rf"(?s)bad\.weights\.h5: .*({message})"):
        read(path)


def test_a_model_of_another_class_is_refused(tmp_path):
    path = tmp_path / "other.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "registered_name": None}))
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(InputError, match=r"other\.keras: is a model of the class 'None'"):
        read(path)


@SUFFIXES
@pytest.mark.parametrize("data", [b"", b"<html>", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"])
def test_other_files_are_refused(tmp_path, data, suffix):
    path = tmp_path / f"other{suffix}"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"other\."):
        read(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    for suffix in (".keras", ".weights.h5"):
        write(folder / f"tiny{suffix}", SENET, seeded(SENET))
    return {suffix: (folder / f"tiny{suffix}").read_bytes() for suffix in (".keras", ".weights.h5")}


@SUFFIXES
@settings(max_examples=40, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused(whole, tmp_path_factory, suffix, where):
    path = tmp_path_factory.getbasetemp() / f"cut{suffix}"
    path.write_bytes(whole[suffix][: int(where * len(whole[suffix]))])
    with pytest.raises(InputError, match=r"cut\."):
        read(path)


@settings(max_examples=100, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_changes_nothing(whole, tmp_path_factory, where, flip):
    data = bytearray(whole[".keras"])  # an archive has checksums; HDF5 as Keras writes it has none
    data[int(where * len(data))] ^= flip
    path = tmp_path_factory.getbasetemp() / "flipped.keras"
    path.write_bytes(data)
    with suppress(InputError):
        spec, params = read(path)
        assert spec == SENET
        assert same(params, seeded(SENET))


@SUFFIXES
def test_parameters_of_another_network_are_refused(tmp_path, suffix):
    with pytest.raises(InputError, match=r"fc\.bias has shape \(9,\), expected \(8,\)"):
        write(tmp_path / f"tiny{suffix}", replace(SENET, classes=8), seeded(SENET))
    assert not list(tmp_path.iterdir())
