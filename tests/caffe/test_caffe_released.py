"""What a bare Caffe file expects: known of the released files, assumed of files like them, not stated by all others."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

import weights
from conformance import cases
from weights import CAFFE, MODELS, Info, Params, Spec
from weights.caffe.released import CHECKSUMS, RELEASED, expectations

KNOWN = replace(cases.TINY["tiny-se-resnet"], classes=1000)
BARE = (None, None, ())


def said(info: Info) -> tuple[object, ...]:
    return info.preprocessing, info.labels, info.assumed


def bare(path: Path, spec: Spec = KNOWN, crop: int = 224) -> Path:
    """A weights file without the notes of its definition."""
    info = Info(preprocessing=replace(CAFFE, crop=crop, resize=crop * 2))
    weights.write(path, spec, Params(cases.seeded(spec, 1), info))
    path.with_suffix(".prototxt").unlink()
    return path


def test_file_of_a_released_checksum_states_the_convention_of_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bare(tmp_path / "x.caffemodel", crop=64)
    monkeypatch.setitem(CHECKSUMS, hashlib.sha256(path.read_bytes()).hexdigest(), KNOWN.name)
    assert said(weights.read(path).info) == (CAFFE, "devkit", ())


def test_other_file_of_a_released_network_assumes_the_convention_at_its_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weights.caffe.released.RELEASED", (KNOWN,))
    path = bare(tmp_path / "x.caffemodel", crop=64)
    wanted = replace(CAFFE, crop=64, resize=73)
    assert said(weights.read(path).info) == (wanted, "devkit", ("preprocessing", "labels"))


def test_file_of_any_other_network_states_and_assumes_nothing(tmp_path: Path) -> None:
    assert said(weights.read(bare(tmp_path / "x.caffemodel")).info) == BARE


def test_notes_beside_a_file_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, stated = tmp_path / "x.caffemodel", replace(CAFFE, channels="rgb")
    weights.write(path, KNOWN, Params(cases.seeded(KNOWN, 1), Info(preprocessing=stated, labels="sorted")))
    monkeypatch.setattr("weights.caffe.released.RELEASED", (KNOWN,))
    monkeypatch.setitem(CHECKSUMS, hashlib.sha256(path.read_bytes()).hexdigest(), KNOWN.name)
    assert said(weights.read(path).info) == (stated, "sorted", ())


def test_history_is_noted_without_preprocessing_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "x.caffemodel"
    weights.write(path, KNOWN, Params(cases.seeded(KNOWN, 1), Info(history=("made by hand",))))
    found = weights.read(path).info
    assert (*said(found), found.history) == (*BARE, ("made by hand",))


@pytest.mark.parametrize("name", [spec.name for spec in RELEASED])
def test_the_seven_released_networks_are_assumed_to_be_the_released_ones(name: str) -> None:
    found = expectations(replace(MODELS[name], name="of another name"), "0" * 64, (256, 256))
    wanted = replace(CAFFE, crop=256, resize=293)
    assert said(found) == (wanted, "devkit", ("preprocessing", "labels"))


OTHERS = {
    "the original ResNet-50": MODELS["resnet-50"],
    "the original ResNet-152": MODELS["resnet-152"],
    "SE-ResNet-50 of another eps": replace(MODELS["se-resnet-50"], eps=1e-4),
    "SE-ResNet-50 of 365 classes": replace(MODELS["se-resnet-50"], classes=365),
    "SE-ResNet-50 without a classifier": replace(MODELS["se-resnet-50"], classes=0),
    "plain BN-Inception": MODELS["bn-inception"],
}


@pytest.mark.parametrize("name", OTHERS)
def test_of_every_other_network_nothing_is_assumed(name: str) -> None:
    assert said(expectations(OTHERS[name], "0" * 64, (224, 224))) == BARE


def test_released_file_read_without_its_classifier_has_no_label_order() -> None:
    sha256 = next(iter(CHECKSUMS))
    assert said(expectations(OTHERS["SE-ResNet-50 without a classifier"], sha256)) == (CAFFE, None, ())


@pytest.mark.parametrize("size", [None, (1, 1), (224, 300)])
def test_size_that_is_no_square_image_does_not_count(size: tuple[int, int] | None) -> None:
    assert expectations(MODELS["senet-154"], "0" * 64, size).preprocessing == CAFFE


def test_input_size_of_a_definition_travels_where_no_preprocessing_states_it(tmp_path: Path) -> None:
    path, between, last = (
        bare(tmp_path / "x.caffemodel", crop=64),
        tmp_path / "x.safetensors",
        tmp_path / "y.caffemodel",
    )
    weights.write(between, weights.read(path))
    found = weights.read(between)
    assert found.info.input_size == (64, 64)
    weights.write(last, found)
    assert last.read_bytes() == path.read_bytes()
    stated = replace(found.info, preprocessing=CAFFE)
    weights.write(last, found.spec, found.params, info=stated)
    assert weights.read(last).info.input_size is None


def test_names_of_classes_stand_in_the_notes(tmp_path: Path) -> None:
    spec = replace(KNOWN, classes=2)
    info = Info(class_names=("cat", "dog"))
    weights.write(tmp_path / "x.caffemodel", spec, Params(cases.seeded(spec, 1), info))
    assert weights.read(tmp_path / "x.caffemodel").info.class_names == ("cat", "dog")
