"""PyTorch's checkpoint files: PyTorch loads what we write, we read what it saves, and no pickle runs anything."""

import pickle
import struct
import time
import zipfile
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_networks import INCEPTION, INFO, SENET, same, seeded

from weights import InputError, Params, read, write
from weights.files import torch as torch_file
from weights.files.state_dict import to_state

NETWORKS = pytest.mark.parametrize("spec", [SENET, INCEPTION], ids=lambda s: s.name)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.pth"
    write(path, SENET, seeded(SENET, INFO))
    return path


@NETWORKS
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_everything_comes_back_as_it_was(tmp_path, spec, suffix):
    path = tmp_path / f"tiny{suffix}"
    write(path, spec, seeded(spec, INFO))
    found, params = read(path)
    assert found == spec
    assert params.info == INFO
    assert same(params, seeded(spec))


@pytest.mark.parametrize("dialect", ["timm", "cadene"])
def test_other_names_come_back_as_they_were(tmp_path, dialect):
    path = tmp_path / "tiny.pth"
    write(path, SENET, seeded(SENET, INFO), dialect=dialect)
    found, params = read(path)
    assert (found, params.info) == (SENET, INFO)
    assert same(params, seeded(SENET))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_each_precision_is_kept(tmp_path, dtype):
    path = tmp_path / "tiny.pth"
    params = Params({name: array.astype(dtype) for name, array in seeded(SENET).items()})
    write(path, SENET, params)
    assert same(read(path)[1], params)


def test_the_same_values_give_the_same_bytes(file, tmp_path):
    write(tmp_path / "again.pth", SENET, seeded(SENET, INFO))
    assert file.read_bytes() == (tmp_path / "again.pth").read_bytes()


def test_pytorch_loads_the_state_dict_and_nothing_else(torch, file):
    loaded = torch.load(file, weights_only=True)
    assert isinstance(loaded, OrderedDict)
    wanted = to_state(SENET, seeded(SENET))
    assert list(loaded) == list(wanted)
    assert all(loaded[name].numpy().tobytes() == array.tobytes() for name, array in wanted.items())


def test_pytorch_maps_the_numbers_from_the_file(torch, file):
    loaded = torch.load(file, weights_only=True, mmap=True)
    assert loaded["fc.weight"].numpy().tobytes() == seeded(SENET)["fc.weight"].tobytes()


def _tensors(torch, spec=SENET):
    return {name: torch.from_numpy(np.array(array)) for name, array in to_state(spec, seeded(spec)).items()}


@NETWORKS
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_what_pytorch_saves_is_read(torch, tmp_path, spec, zipped):
    path = tmp_path / "saved.pt"
    torch.save(OrderedDict(_tensors(torch, spec)), path, _use_new_zipfile_serialization=zipped)
    found, params = torch_file.read(path, spec=spec)
    assert found == spec
    assert same(params, seeded(spec))
    assert params.info.source == "saved.pt"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_training_scripts_checkpoint_is_read(torch, tmp_path, zipped):
    path = tmp_path / "checkpoint.pth"
    state = {f"module.{name}": t for name, t in _tensors(torch).items()}
    state["module.fc.bias"] = torch.nn.Parameter(state["module.fc.bias"])
    momentum = {"state": {0: {"momentum_buffer": torch.zeros(3, dtype=torch.int32)}}, "param_groups": [{"lr": 0.1}]}
    checkpoint = {"epoch": 3, "arch": "senet", "state_dict": state, "best": None, "optimizer": momentum, "n": 2**40}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
    _, params = torch_file.read(path, spec=SENET)
    assert same(params, seeded(SENET))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_views_into_a_shared_storage_are_read(torch, tmp_path, zipped):
    path = tmp_path / "saved.pt"
    state = _tensors(torch)
    wide = torch.zeros(9, 2 * 64)
    wide[:, 1::2] = state["fc.weight"]
    state["fc.weight"] = wide[:, 1::2]
    state["fc.bias"] = torch.cat([torch.ones(5), state["fc.bias"]])[5:]
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    _, params = torch_file.read(path, spec=SENET)
    assert same(params, seeded(SENET))


def test_bfloat16_is_read_exactly_as_float32(torch, tmp_path):
    path = tmp_path / "saved.pt"
    state = {name: t.bfloat16() if t.is_floating_point() else t for name, t in _tensors(torch).items()}
    torch.save(state, path)
    _, params = torch_file.read(path, spec=SENET)
    assert np.array_equal(params["fc.weight"], state["fc.weight"].float().numpy())


def test_a_module_of_ours_loads_the_file_strictly(torch, file):
    se_torch = pytest.importorskip("se_torch")
    model = se_torch.build(SENET)
    model.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert model.fc.weight.detach().numpy().tobytes() == seeded(SENET)["fc.weight"].tobytes()


def test_the_saved_state_of_a_module_of_ours_is_read(torch, tmp_path):
    se_torch = pytest.importorskip("se_torch")
    model = se_torch.build(SENET)
    torch.save(model.state_dict(), tmp_path / "saved.pth")
    _, params = torch_file.read(tmp_path / "saved.pth", spec=SENET)
    assert np.array_equal(params["fc.weight"], model.fc.weight.detach().numpy())


class Hostile:
    """Runs a command when an ordinary unpickler loads it."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, protocol):
    path, victim = tmp_path / "hostile.pth", tmp_path / "victim"
    data = pickle.dumps({"state_dict": Hostile(victim)}, protocol)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3")
    with pytest.raises(InputError, match=r"hostile\.pth: "):
        read(path)
    assert not victim.exists()
    pickle.loads(data)  # noqa: S301, the guard is against something that works
    assert victim.exists()


def test_the_error_names_what_a_pickle_asks_for(torch, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(InputError, match=r"model\.pth: the pickle asks for torch\.nn\.modules\.linear\.Linear"):
        read(path)


def _archive(path: Path, pickled: bytes, **records: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, data in records.items():
            archive.writestr(f"archive/{name.replace('_', '/')}", data)
    return path


def _pickled(
    shape: bytes = b"K\x02\x85", stride: bytes = b"K\x01\x85", offset: bytes = b"K\x00", size: int = 2
) -> bytes:
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K" + bytes([size]) + b"tQ" + offset + shape + stride
    return b"\x80\x02}X\x01\x00\x00\x00w" + tensor + b"\x89}tRs."


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (_pickled(shape=b"K\x03\x85"), "does not lie within its 2 numbers"),
        (_pickled(offset=b"K\x01"), "does not lie within"),
        (_pickled(stride=b"K\x02\x85"), "does not lie within"),
        (_pickled(shape=b"J\xff\xff\xff\xff\x85"), "impossible"),
        (_pickled(offset=b"J\xff\xff\xff\xff"), "impossible"),
        (_pickled(stride=b"J\xff\xff\xff\xff\x85"), "impossible"),
        (_pickled(shape=b"\x8a\x09" + b"\xff" * 8 + b"\x00\x85"), "impossible"),
        (_pickled(shape=b"J\xff\xff\xff\x7f\x85", stride=b"K\x00\x85"), "does not lie within"),
        (_pickled(shape=b"K\x02K\x01\x86"), "impossible"),
        (_pickled(size=200), "cut off"),
        (b"\x80\x02", "cut off"),
        (b"\x80\x02}X\xff\xff\xff\x7fw", "cut off"),
        (b"R.", "damaged pickle"),
        (b"}h\x07.", "damaged pickle"),
        (b"\x80\x02K\x01.", "expected the dictionary"),
        (b"\x80\x02}.", "expected the dictionary"),
        (b"\x80\x02}K\x01K\x02s.", "is no state dict"),
        (b"\x80\x02}" + b"(" * 5 + b"t" * 5 + b"Ns.", "damaged pickle"),
    ],
)
def test_impossible_tensors_and_broken_pickles_are_refused(tmp_path, pickled, message):
    path = _archive(tmp_path / "bad.pth", pickled, data_0=bytes(8))
    with pytest.raises(InputError, match=rf"bad\.pth: .*{message}"):
        read(path)


def test_the_same_tensor_within_its_bounds_is_read(tmp_path):
    # The control of the test above: only the network is wrong.
    path = _archive(tmp_path / "good.pth", _pickled(), data_0=bytes(8))
    with pytest.raises(InputError, match=r"its 1 tensors \(w, \.\.\.\) are those of no network"):
        read(path)


def test_python_2s_form_of_a_dictionary_is_read(tmp_path):
    tensor = _pickled()[len(b"\x80\x02}X\x01\x00\x00\x00w") : -len(b"s.")]
    pickled = b"\x80\x02ccollections\nOrderedDict\n(](](U\x01w" + tensor + b"eetR."
    path = _archive(tmp_path / "old.pth", pickled, data_0=bytes(8))
    with pytest.raises(InputError, match=r"its 1 tensors \(w, \.\.\.\) are those of no network"):
        read(path)


def test_a_list_copied_without_end_is_not(tmp_path):
    # 300 KB that would be 900 million items, of which the first reading takes all there are.
    pairs = b"](" + b"](K\x01K\x01e" * 30_000 + b"eq\x01"
    copies = b"ccollections\nOrderedDict\nq\x02h\x01\x85R" + b"h\x02h\x01\x85R" * 30_000
    path = _archive(tmp_path / "bomb.pth", b"\x80\x02" + pairs + copies + b".")
    start = time.thread_time()
    with pytest.raises(InputError, match=r"bomb\.pth"):
        read(path)
    assert time.thread_time() - start < 10  # half a second by itself; minutes if the list were copied each time


def test_numbers_begin_at_multiples_of_64_bytes(file):
    data = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            lengths = struct.unpack_from("<HH", data, entry.header_offset + 26)
            assert (entry.header_offset + 30 + sum(lengths)) % 64 == 0


def test_a_compressed_archive_is_refused(file, tmp_path):
    path = tmp_path / "compressed.pth"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(InputError, match=r"compressed\.pth: 'archive/\S+' is compressed or encrypted"):
        read(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "is empty"), (b"<html>", "is no checkpoint of PyTorch"), (b"PK\x03\x04", "zip archive")],
)
def test_other_files_are_refused(tmp_path, data, message):
    path = tmp_path / "other.pth"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"other\.pth: .*{message}"):
        read(path)


def test_a_torchscript_program_is_refused_by_name(tmp_path):
    path = _archive(tmp_path / "program.pt", b"N.", **{"constants.pkl": b"N."})
    with pytest.raises(InputError, match="TorchScript"):
        read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.pth: cannot be read: there is no"):
        read(tmp_path / "absent.pth")


def _legacy(tmp_path_factory) -> bytes:
    torch = pytest.importorskip("torch")
    path = tmp_path_factory.mktemp("legacy") / "tiny.pth"
    torch.save(_tensors(torch), path, _use_new_zipfile_serialization=False)
    return path.read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("whole") / "tiny.pth"
    write(path, SENET, seeded(SENET))
    return {"zip": path.read_bytes(), "legacy": _legacy(tmp_path_factory)}


@pytest.mark.parametrize("form", ["zip", "legacy"])
@settings(max_examples=60, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused(whole, tmp_path_factory, form, where):
    path = tmp_path_factory.getbasetemp() / f"cut-{form}.pth"
    path.write_bytes(whole[form][: int(where * len(whole[form]))])
    with pytest.raises(InputError, match="cut-"):
        torch_file.read(path, spec=SENET)


@settings(max_examples=150, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_changes_nothing(whole, tmp_path_factory, where, flip):
    data = bytearray(whole["zip"])
    data[int(where * len(data))] ^= flip
    path = tmp_path_factory.getbasetemp() / "flipped.pth"
    path.write_bytes(data)
    with suppress(InputError):
        spec, params = torch_file.read(path)
        assert spec == SENET
        assert same(params, seeded(SENET))


@settings(max_examples=150, deadline=None)
@given(where=st.floats(0, 0.2), flip=st.integers(1, 255))
def test_a_flipped_byte_in_a_legacy_file_never_crashes(whole, tmp_path_factory, where, flip):
    data = bytearray(whole["legacy"])
    data[int(where * len(data))] ^= flip  # this form has no checksums: a changed number is not seen
    path = tmp_path_factory.getbasetemp() / "flipped.pth"
    path.write_bytes(data)
    with suppress(InputError):
        torch_file.read(path, spec=SENET)


def test_a_dtype_that_pytorch_has_not_is_refused(tmp_path):
    params = Params(seeded(SENET))
    params["fc.bias"] = params["fc.bias"].astype(np.longdouble)
    with pytest.raises(InputError, match=r"fc\.bias is of dtype"):
        write(tmp_path / "tiny.pth", SENET, params)
    assert not list(tmp_path.iterdir())


def test_parameters_of_another_network_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"fc\.bias has shape \(9,\), expected \(8,\)"):
        write(tmp_path / "tiny.pth", replace(SENET, classes=8), seeded(SENET))
    assert not list(tmp_path.iterdir())
