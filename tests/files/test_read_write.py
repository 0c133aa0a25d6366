"""Reading and writing as a whole: what comes back, which options a format takes, what is not lost silently."""

from typing import Any

import pytest
from odd_networks import INFO, SENET, same, seeded

import weights
from weights import CAFFE, Checkpoint, Info, InputError, Params, Preprocessing, read, write
from weights.errors import InputWarning, printable
from weights.params import info_of

SUFFIXES = {"caffemodel": "Caffe", "safetensors": "safetensors", "pth": "PyTorch", "keras": "Keras", "onnx": "ONNX"}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.safetensors"
    write(path, SENET, seeded(SENET, INFO))
    return path


def test_a_checkpoint_is_read_and_written_as_one(file, tmp_path):
    found = read(file)
    assert isinstance(found, Checkpoint)
    assert (found.spec, found.info, found.params.info) == (SENET, INFO, INFO)
    write(tmp_path / "again.safetensors", found)
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()


def test_a_plain_mapping_is_written_with_one_line_of_warning(tmp_path):
    with pytest.warns(InputWarning, match=r"x\.pth: will not state preprocessing.*; hand in Params, or info=$") as said:
        write(tmp_path / "x.pth", SENET, dict(seeded(SENET, INFO)))
    assert len(said) == 1
    assert read(tmp_path / "x.pth").info == Info()


def test_info_travels_with_a_plain_mapping(tmp_path):
    write(tmp_path / "x.pth", SENET, dict(seeded(SENET)), info=INFO)
    assert read(tmp_path / "x.pth").info == INFO


def test_stated_info_replaces_that_of_the_parameters(tmp_path):
    write(tmp_path / "x.pth", SENET, seeded(SENET, INFO), info=Info(labels="sorted"))
    assert read(tmp_path / "x.pth").info == Info(labels="sorted")


def test_writing_a_spec_without_parameters_is_a_type_error(tmp_path):
    with pytest.raises(TypeError, match="checkpoint"):
        write(tmp_path / "x.pth", SENET)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("suffix", "option", "known"),
    [
        ("caffemodel", "dialect", "with no option but prototxt"),
        ("caffemodel", "spec", "with no option but prototxt"),
        ("safetensors", "prototxt", "with no option but dialect, spec and weights_key"),
        ("pth", "prototxt", "with no option but dialect, spec and weights_key"),
        ("keras", "dialect", "with no option but spec"),
        ("orbax", "prototxt", "with no option but spec"),
        ("onnx", "spec", "without options"),
    ],
)
def test_an_option_that_a_format_does_not_take_is_refused(tmp_path, suffix, option, known):
    value: Any = {"dialect": "timm", "prototxt": "net.prototxt", "spec": SENET}[option]
    shown = {"spec": SENET.name}.get(option, value)
    with pytest.raises(InputError, match=rf"x\.{suffix}: .* files are read {known}; leave out {option} {shown}$"):
        read(tmp_path / f"x.{suffix}", **{option: value})


@pytest.mark.parametrize("suffix", ["caffemodel", "orbax", "onnx"])
def test_a_dialect_is_refused_where_names_are_fixed(tmp_path, suffix):
    taken = "with no option but onnx" if suffix == "onnx" else "without options"
    with pytest.raises(InputError, match=rf"x\.{suffix}: .* files are written {taken}; leave out dialect timm"):
        write(tmp_path / f"x.{suffix}", SENET, seeded(SENET), dialect="timm")


def test_an_unknown_option_is_a_type_error(file):
    with pytest.raises(TypeError, match="nonsense"):
        read(file, nonsense=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "keras", "weights.h5"])
def test_a_spec_that_contradicts_the_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    write(path, SENET, seeded(SENET))
    assert same(read(path, spec=SENET).params, seeded(SENET))
    with pytest.raises(InputError, match="says itself what it is; leave out spec se-resnet-50"):
        read(path, spec=weights.MODELS["se-resnet-50"])


def test_parameters_keep_their_info_through_copies_and_unions():
    params = seeded(SENET, INFO)
    for same_info in (params.copy(), params | {}, {} | params, Params(params, params.info)):
        assert info_of(same_info) == INFO


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channels", "hsv"),
        ("range", 0),
        ("range", float("inf")),
        ("range", "255"),
        ("range", 10**400),
        ("mean", (1.0, 2.0)),
        ("mean", (1.0, 2.0, float("nan"))),
        ("std", (1.0, 0.0, 1.0)),
        ("std", 3),
        ("crop", -5),
        ("crop", 224.0),
        ("crop", True),
        ("crop", 257),
        ("resize", 0),
        ("resize", 2**14 + 1),
    ],
)
def test_preprocessing_that_is_impossible_is_refused_when_made(field, value):
    data = {"channels": "bgr", "range": 255, "mean": [104, 117, 123], "std": [1, 1, 1], "resize": 256, "crop": 224}
    assert Preprocessing.from_data(data) == CAFFE
    with pytest.raises(InputError, match=f"preprocessing: {field} is "):
        Preprocessing.from_data(data | {field: value})


def test_impossible_preprocessing_in_a_file_is_refused_on_reading(file):
    from weights.files.safetensors import load_tensors, save_tensors

    tensors, strings = load_tensors(file)
    stated = strings["senet.preprocessing"].replace('"crop": 224', '"crop": -5')
    save_tensors(file, tensors, strings | {"senet.preprocessing": stated})
    with pytest.raises(InputError, match=r"net\.safetensors: preprocessing: crop is -5, expected a whole number"):
        read(file)


def test_preprocessing_says_itself_in_one_line():
    assert str(CAFFE) == "BGR 0..255, minus (104, 117, 123); short side 256, centre 224x224"


def test_messages_are_printable():
    assert str(InputError("x\x1b[0m\ud800\nñ")) == "x\\x1b[0m\\ud800\nñ"
    assert printable("ñ — ok") == "ñ — ok"
