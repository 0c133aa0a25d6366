"""Small files made to hurt: each is refused in one line, within a second and little memory."""

import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

import weights
from conformance.cases import TINY, seeded
from weights import InputError
from weights.caffe import text
from weights.files import torch_pickle

SPEC = TINY["tiny-se-resnet"]
PICKLES_OF_OLD = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # the number that PyTorch wrote first


def test_list_as_a_key_of_the_storages_is_one_line(tmp_path: Path) -> None:
    system = {"little_endian": True}
    parts = [pickle.dumps(value, 2) for value in (1001, system, {}, [[], "0"])]
    (tmp_path / "x.pth").write_bytes(PICKLES_OF_OLD + b"".join(parts))
    with pytest.raises(InputError, match=r"^\S+x\.pth: is damaged: no tensor lies in its numbers, named by a list$"):
        weights.read(tmp_path / "x.pth")


def test_list_as_a_key_of_a_dictionary_is_damage() -> None:
    with pytest.raises(InputError, match="damaged pickle near byte"):
        torch_pickle.load(b"\x80\x02}]K\x01s.")


def test_sizes_are_never_copies_of_a_list() -> None:
    nones = b"]q\x00(" + b"N" * 20_000 + b"e0"
    copies = b"h\x01h\x00\x85R" * 20_000  # of 20,000 each: 3 GB
    with pytest.raises(InputError, match="tuple expected, list found"):
        torch_pickle.load(b"\x80\x02ctorch\nSize\nq\x01" + nones + copies + b".")


@pytest.mark.parametrize("digits", ["0x" + "f" * 20_000, "9" * 20_000, "0" * 20_000, "-0x" + "f" * 65])
def test_endless_number_of_a_definition_is_a_short_line(digits: str, tmp_path: Path) -> None:
    (tmp_path / "x.prototxt").write_text(f"input_dim: {digits}\n")
    with pytest.raises(InputError, match=r"x\.prototxt:1: input_dim is a whole number, found one of [\d,]+ digits$"):
        text.read(tmp_path / "x.prototxt")


@pytest.fixture
def keras_file(tmp_path: Path) -> Path:
    weights.write(tmp_path / "x.weights.h5", SPEC, seeded(SPEC, 1))
    return tmp_path / "x.weights.h5"


def test_declared_but_absent_note_is_not_allocated(keras_file: Path) -> None:
    with h5py.File(keras_file, "a") as file:
        del file["senet"]
        file.create_dataset("senet", (2**33,), "u1")
    with pytest.raises(
        InputError, match=r"its dataset 'senet' has 8,589,934,592 bytes of values, of which the file holds 0"
    ):
        weights.read(keras_file)


def test_packed_note_may_be_no_bomb(keras_file: Path) -> None:
    with h5py.File(keras_file, "a") as file:
        del file["senet"]
        file.create_dataset("senet", (2**33,), "u1", chunks=(2**20,), compression="gzip")
    with pytest.raises(InputError, match="does not lie in the file in one piece, as Keras writes"):
        weights.read(keras_file)


def test_note_in_another_file_is_not_read(keras_file: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(json.dumps({"senet": "1"}))
    with h5py.File(keras_file, "a") as file:
        del file["senet"]
        file.create_dataset("senet", (14,), "u1", external=[(str(tmp_path / "secret"), 0, 14)])
    with pytest.raises(InputError, match="/senet has its values in another file"):
        weights.read(keras_file)


@pytest.mark.parametrize("link", [h5py.ExternalLink("other.h5", "/data"), h5py.SoftLink("/elsewhere")])
def test_blobs_of_caffe_are_in_the_file_itself(link: object, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data/conv1/0"] = np.ones(3, np.float32)
    with h5py.File(tmp_path / "x.caffemodel.h5", "w") as file:
        file["elsewhere/conv1/0"] = np.ones(3, np.float32)
        file["data"] = link
    with pytest.raises(InputError, match="has a link to elsewhere as /data; a checkpoint is one file"):
        weights.read(tmp_path / "x.caffemodel.h5")


def test_declared_but_absent_blob_is_not_allocated(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.caffemodel.h5", "w") as file:
        file.create_dataset("data/conv1/0", (2**33,), "f4")
    with pytest.raises(InputError, match=r"layer 'conv1', blob 0: has 34,359,738,368 bytes of values, of which"):
        weights.read(tmp_path / "x.caffemodel.h5")
