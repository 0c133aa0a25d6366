"""The canonical store: what it holds comes back bit for bit, other programs read it, and damage is one clear error."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import weights
from conformance import cases
from weights import CAFFE, MODELS, SE, Info, InputError, Params, ResNetSpec, schema
from weights.caffe import file as caffe_file
from weights.files.metadata import decode, encode
from weights.files.safetensors import load_tensors, read, save_tensors, write
from weights.networks.network import graph
from weights.networks.operations import BatchNorm
from weights.networks.spec import Spec

TINY = ResNetSpec(
    name="tiny",
    depths=(1, 2, 1, 1),
    stem=((8, 7),),
    reduce=(4, 8, 16, 32),
    width=(4, 8, 16, 32),
    out_channels=(16, 32, 64, 128),
    se=SE(reduction=16),  # one float32 in the first bias, so that nothing after it is aligned by luck
    classes=9,
)
INFO = Info(
    preprocessing=CAFFE,
    labels="devkit",
    assumed=("preprocessing", "labels"),
    source="tiny\udc80.caffemodel",  # a file name need not be UTF-8
    format="caffemodel",
    sha256="ab" * 32,
    factors={"stem.bn1": 999.982421875, "stage1.0.bn1": -0.1},
    blobs={"stem.bn2/2": np.zeros(1, np.float32), "empty": np.zeros((0, 3), np.float64)},
    history=("classifier reordered", "second — line"),
)


def seeded(spec: Spec, info: Info | None = None) -> Params:
    """Float32 values, float64 statistics."""
    rng = np.random.default_rng(0)
    dtype = {"running_mean": np.float64, "running_var": np.float64}
    arrays = {p.name: rng.standard_normal(p.shape).astype(dtype.get(p.leaf, np.float32)) for p in schema(spec)}
    return Params(arrays, info)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    write(path, TINY, seeded(TINY, INFO))
    return path


def test_everything_comes_back_as_it_was(file: Path):
    spec, params = read(file)
    wanted = seeded(TINY, INFO)
    assert spec == TINY
    assert params.info == INFO
    assert list(params) == [p.name for p in schema(TINY)]
    assert {k: (a.dtype, a.tobytes()) for k, a in params.items()} == {
        k: (a.dtype, a.tobytes()) for k, a in wanted.items()
    }
    assert {k: (a.dtype, a.shape, a.tobytes()) for k, a in params.info.blobs.items()} == {
        k: (a.dtype, a.shape, a.tobytes()) for k, a in INFO.blobs.items()
    }


def test_the_same_values_give_the_same_bytes(file: Path, tmp_path: Path):
    write(tmp_path / "again.safetensors", *read(file))
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("name", MODELS)
def test_every_published_spec_survives_the_metadata(name: str):
    assert decode(encode(MODELS[name], Info()), "") == (MODELS[name], Info())


def test_the_safetensors_library_reads_ours(file: Path):
    theirs = safetensors.numpy.load_file(file)
    tensors, metadata = load_tensors(file)
    with safetensors.safe_open(file, framework="numpy") as opened:
        assert opened.metadata() == metadata
    assert {k: (a.dtype, a.shape, a.tobytes()) for k, a in theirs.items()} == {
        k: (a.dtype, a.shape, a.tobytes()) for k, a in tensors.items()
    }


def test_every_tensor_is_aligned(file: Path):
    tensors, _ = load_tensors(file)
    assert [name for name, array in tensors.items() if not array.flags.aligned] == []


def test_torch_maps_ours(file: Path):
    load_file = pytest.importorskip("safetensors.torch", exc_type=ImportError).load_file
    theirs = load_file(file)
    assert all(np.array_equal(theirs[name].numpy(), array) for name, array in read(file)[1].items())


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"])
def test_we_read_what_the_safetensors_library_writes(tmp_path: Path, dtype: str):
    wanted = {
        "b": np.arange(6).reshape(1, 2, 3).astype(dtype),
        "a": np.array(1).astype(dtype),
        "e": np.zeros((2, 0), dtype),
    }
    safetensors.numpy.save_file(wanted, tmp_path / "x.safetensors", metadata={"by": "them"})
    found, metadata = load_tensors(tmp_path / "x.safetensors")
    assert metadata == {"by": "them"}
    assert {k: (a.dtype, a.shape, a.tobytes()) for k, a in found.items()} == {
        k: (a.dtype, a.shape, a.tobytes()) for k, a in wanted.items()
    }


def test_bfloat16_reads_exactly_as_float32(tmp_path: Path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    values = torch.tensor([1.0, -3.140625, 1e38, float("inf"), 1e-40], dtype=torch.bfloat16)
    save_file({"x": values}, tmp_path / "x.safetensors")
    found = load_tensors(tmp_path / "x.safetensors")[0]["x"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values.float().numpy())


def test_layout_and_byte_order_of_the_arrays_do_not_matter(tmp_path: Path):
    plain = seeded(TINY)
    odd = {k: np.asfortranarray(a).astype(a.dtype.newbyteorder(">")) for k, a in plain.items()}
    write(tmp_path / "plain.safetensors", TINY, plain)
    write(tmp_path / "odd.safetensors", TINY, odd)
    assert (tmp_path / "odd.safetensors").read_bytes() == (tmp_path / "plain.safetensors").read_bytes()


def test_parameters_of_another_network_are_not_written(tmp_path: Path):
    with pytest.raises(InputError, match=r"fc\.weight has shape \(9, 128\), expected \(10, 128\)"):
        write(tmp_path / "x.safetensors", replace(TINY, classes=10), seeded(TINY))
    assert os.listdir(tmp_path) == []


def test_a_dtype_the_format_has_not_is_not_written(tmp_path: Path):
    with pytest.raises(InputError, match="x is complex128"):
        save_tensors(tmp_path / "x.safetensors", {"x": np.zeros(1, complex)}, {})
    assert os.listdir(tmp_path) == []


def _with_header(change) -> bytes:
    """A small canonical-looking file whose header was changed."""
    header = {
        "__metadata__": {"k": "v"},
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "F64", "shape": [1], "data_offsets": [8, 16]},
    }
    text = change(header)
    text = (text if isinstance(text, str) else json.dumps(header)).encode()
    return len(text).to_bytes(8, "little") + text + bytes(16)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda h: h["a"].update(data_offsets=[0, 4]), "a, F32 of shape .2,., has 4 bytes"),
        (lambda h: h["a"].update(shape=[-2]), "a is described by"),
        (lambda h: h["a"].update(shape=[True, 2]), "a is described by"),
        (lambda h: h["a"].update(shape=[2.0]), "a is described by"),
        (lambda h: h["a"].update(shape=[0, 10**30], data_offsets=[0, 0]), "a has the shape"),
        (lambda h: h["a"].update(shape=[1] * 65 + [2]), "a has the shape"),
        (lambda h: h["a"].update(dtype="F8_E4M3"), "dtype 'F8_E4M3'"),
        (lambda h: h["a"].update(dtype=None), "a is described by"),
        (lambda h: h["b"].update(data_offsets=[0, 8]), "begins at byte 0 of the data, expected 8"),
        (lambda h: h.pop("b"), "the tensors end at byte"),
        (lambda h: h["b"].update(shape=[2], data_offsets=[8, 24]), "the tensors end at byte"),
        (lambda h: h.update(c=3), "c is described by 3"),
        (lambda h: h["__metadata__"].update(k=1), "does not map strings to strings"),
        (lambda h: h.update(__metadata__=[]), "does not map strings to strings"),
        (lambda h: json.dumps(h)[:-1] + ', "a": {}}', "a occurs twice"),
        (lambda _: "[" * 100_000, "not a JSON object"),
        (lambda _: '{"a":' * 100_000, "has more than 32 lists and objects inside each other"),
        (lambda _: "[1, 2]", "not a JSON object"),
        (lambda _: '{"a": \udc80}'.encode("utf-8", "replace").decode(), "its header is no JSON: Expecting value"),
    ],
)  # fmt: skip
def test_a_damaged_header_is_one_clear_error(tmp_path: Path, damage, said: str):
    (tmp_path / "x.safetensors").write_bytes(_with_header(damage))
    with pytest.raises(InputError, match=said):
        load_tensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100, 2000, -1, -100])
def test_a_cut_file_is_one_clear_error(file: Path, size: int):
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(InputError, match=r"tiny\.safetensors: (is no safetensors file|damaged)"):
        read(file)


def test_bytes_at_the_end_are_an_error(file: Path):
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(InputError, match="the tensors end at byte"):
        read(file)


def test_a_two_gigabyte_header_in_a_small_file_is_an_error(tmp_path: Path):
    (tmp_path / "x.safetensors").write_bytes((2**31).to_bytes(8, "little") + b"{" * 1000)
    with pytest.raises(InputError, match="its header ends at byte 2147483656, the file at byte 1008"):
        read(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"senet.format": "2"}, "format version '2', this program reads '1'"),
        ({"senet.spec": '{"family": "alexnet"}'}, "unknown family 'alexnet'"),
        ({"senet.spec": "{"}, "metadata is damaged"),
        ({"senet.labels": "alphabetical"}, "label order 'alphabetical'"),
        ({"senet.preprocessing": '{"channels": "bgr"}'}, "preprocessing: range, mean, std, resize, crop is missing"),
        ({"senet.preprocessing": "[]"}, "metadata is damaged: AttributeError|preprocessing: channels"),
        ({"senet.preprocessing": "[" * 100_000}, "metadata is damaged: senet.preprocessing has more than 32 lists"),
        ({"senet.factors": "3"}, "metadata is damaged"),
    ],
)
def test_metadata_that_cannot_be_used_is_one_clear_error(file: Path, change: dict[str, str], said: str):
    tensors, strings = load_tensors(file)
    save_tensors(file, tensors, strings | change)
    with pytest.raises(InputError, match=said):
        read(file)


def test_tensors_that_do_not_fit_the_spec_are_listed_together(file: Path):
    tensors, strings = load_tensors(file)
    del tensors["fc.bias"]
    save_tensors(file, {**tensors, "extra": np.zeros(3, "f4"), "fc.weight": np.zeros((9, 9), "f4")}, strings)
    with pytest.raises(InputError, match=r"(?s)- fc\.bias .* \+ extra .* ! fc\.weight"):
        read(file)


def test_options_for_foreign_files_are_refused_for_canonical_ones(file: Path):
    with pytest.raises(InputError, match=r"says itself what it is; leave out dialect timm"):
        read(file, dialect="timm")
    with pytest.raises(InputError, match=r"says itself what it is; leave out spec se-resnet-50"):
        read(file, spec=MODELS["se-resnet-50"])
    assert read(file, spec=TINY).spec == TINY


def test_duplicate_names_in_a_large_header_are_found_in_linear_time(tmp_path: Path):
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps({f"tensor{i}": entry for i in range(50_000)})[:-1] + ', "tensor7": {}}'
    (tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text.encode())
    start = time.thread_time()
    with pytest.raises(InputError, match=r"ambiguous: tensor7 occurs twice"):
        load_tensors(tmp_path / "x.safetensors")
    assert time.thread_time() - start < 10  # 0.3 s by itself; minutes where every pair of names is compared


def test_control_characters_in_names_are_shown_escaped(tmp_path: Path):
    name = "a\x1b[31m\ud800"
    header = json.dumps({name: {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(InputError) as error:
        load_tensors(tmp_path / "x.safetensors")
    assert str(error.value).isprintable()
    assert r"a\x1b[31m\ud800 begins at byte 4" in str(error.value)


@pytest.mark.parametrize("dialect", ["torch", "timm"])
def test_state_dicts_under_other_names_keep_what_travels_with_them(tmp_path: Path, dialect: str):
    path = tmp_path / "x.safetensors"
    spec = replace(MODELS["se-resnet-50"], classes=3)
    wanted = seeded(spec, replace(INFO, blobs={}))
    write(path, spec, wanted, dialect=dialect)
    found_spec, found = read(path, dialect=dialect)
    assert found_spec == spec
    assert found.info == wanted.info
    assert {k: (a.dtype, a.tobytes()) for k, a in found.items()} == {
        k: (a.dtype, a.tobytes()) for k, a in wanted.items()
    }


NETS = ("tiny-se-resnet", "tiny-se-resnext", "tiny-senet", "tiny-se-bn-inception", "tiny-resnet")


@pytest.mark.parametrize("name", NETS)
def test_a_file_that_caffe_wrote_comes_back_byte_for_byte(tmp_path: Path, golden: Path, name: str):
    source = golden / "tiny" / name / "net.caffemodel"
    weights.write(tmp_path / "x.safetensors", *weights.read(source))
    weights.write(tmp_path / "x.caffemodel", *weights.read(tmp_path / "x.safetensors"))
    assert (tmp_path / "x.caffemodel").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("factor", [999.98236, 1.0, 0.0, -3.5])
def test_caffe_to_canonical_to_caffe_keeps_every_byte(tmp_path: Path, name: str, factor: float):
    spec = cases.TINY[name]
    values = cases.seeded(spec, 7)
    norms = [node.module for node in graph(spec) if isinstance(node.op, BatchNorm)]
    rng = np.random.default_rng(8)
    blobs = {  # as a Caffe file may have them, whatever the factor makes of them
        f"{module}.{leaf}": rng.standard_normal(values[f"{module}.running_mean"].shape).astype(np.float32)
        for module in norms
        for leaf in ("running_mean", "running_var")
    } | {f"{module}.factor": np.array([factor], np.float32) for module in norms}
    reciprocal = 1 / float(np.float32(factor)) if factor else 0.0
    freed = {name: blob * np.float64(reciprocal) for name, blob in blobs.items() if not name.endswith(".factor")}
    weights.write(tmp_path / "a.caffemodel", spec, Params({**values, **freed}, replace(values.info, blobs=blobs)))
    weights.write(tmp_path / "b.safetensors", *weights.read(tmp_path / "a.caffemodel"))
    weights.write(tmp_path / "c.caffemodel", *weights.read(tmp_path / "b.safetensors"))
    stored = [blob for layer in caffe_file.load(tmp_path / "a.caffemodel").layers for blob in layer.blobs]
    assert sum(blob.tobytes() == np.array([factor], np.float32).tobytes() for blob in stored) >= len(norms)
    for suffix in ("caffemodel", "prototxt"):
        assert (tmp_path / f"c.{suffix}").read_bytes() == (tmp_path / f"a.{suffix}").read_bytes()
