"""Files made to hurt whoever reads them, by reader: each is small to make, and asks for much.

``CRAFTED[reader][name](path)`` writes one. They stand for kinds: what is declared and not there, what unpacks to more
than it is, what repeats or contains itself, what takes longer than it is long, what lies elsewhere.
"""

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from PIL import Image

import weights
from conformance.cases import TINY, seeded
from conformance.golden import file as golden_file
from weights.caffe import checkpoint, text
from weights.files import metadata
from weights.files.safetensors import save_tensors
from weights.images import prepare
from weights.networks import models
from weights.params import CAFFE, Info
from weights.protobuf import tag, to_varint

SPEC = TINY["tiny-se-resnet"]
MB = 2**20

Maker = Callable[[Path], object]


class Reader(NamedTuple):
    """One way into the package."""

    suffix: str
    read: Callable[[Path], object]
    sound: Maker  # writes a file that is read


def _checkpoint(path: Path) -> None:
    weights.write(path, SPEC, weights.Params(seeded(SPEC, 1), Info(preprocessing=CAFFE)))


def _sound_hdf5_caffe(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for i in range(20):
            file[f"data/conv{i}/0"] = np.ones((4, 3, 3, 3), np.float32)
            file[f"data/conv{i}/1"] = np.ones(4, np.float32)


def _sound_definition(path: Path) -> None:
    weights.write(path.with_name("sound.caffemodel"), SPEC, weights.Params(seeded(SPEC, 1), Info()))
    path.write_bytes(path.with_name("sound.prototxt").read_bytes())


READERS = {
    "caffemodel": Reader(".caffemodel", weights.read, _checkpoint),
    "caffe-hdf5": Reader(".caffemodel.h5", lambda path: checkpoint.describe(path), _sound_hdf5_caffe),
    "definition": Reader(".prototxt", text.read, _sound_definition),
    "safetensors": Reader(".safetensors", weights.read, _checkpoint),
    "pytorch": Reader(".pth", weights.read, _checkpoint),
    "keras": Reader(".keras", weights.read, _checkpoint),
    "keras-hdf5": Reader(".weights.h5", weights.read, _checkpoint),
    "onnx": Reader(".onnx", weights.read, _checkpoint),
    "orbax": Reader(".orbax", weights.read, _checkpoint),
    "golden": Reader(".golden", golden_file.read, lambda path: golden_file.freeze(SPEC.name, path, size=(32, 32))),
    "record": Reader(
        ".json", lambda path: models.parse(str(path)), lambda path: path.write_text(json.dumps(models.to_dict(SPEC)))
    ),
    "photograph": Reader(
        ".jpg", lambda path: prepare(path, CAFFE), lambda path: Image.new("RGB", (300, 280)).save(path, "JPEG")
    ),
}

CRAFTED: dict[str, dict[str, Maker]] = {reader: {} for reader in READERS}


def crafted(*readers: str) -> Callable[[Maker], Maker]:
    """Registers a file for some readers."""

    def register(maker: Maker) -> Maker:
        for reader in readers:
            CRAFTED[reader][maker.__name__] = maker
        return maker

    return register


# Any file.


@crafted("caffemodel", "safetensors", "pytorch", "keras", "keras-hdf5", "onnx", "photograph", "golden")
def zeros(path: Path) -> None:
    path.write_bytes(bytes(64 * MB))


@crafted("caffemodel", "safetensors", "pytorch", "keras", "onnx", "photograph", "golden", "record", "definition")
def ones(path: Path) -> None:
    path.write_bytes(b"\xff" * (64 * MB))


# JSON, where it stands in a file of its own.


@crafted("record")
def nested_lists(path: Path) -> None:
    path.write_bytes(b'{"a":' + b"[" * (10 * MB))


@crafted("record")
def nested_half_megabyte_of_everything(path: Path) -> None:
    path.write_bytes(b'{"a":[' * 100_000)


@crafted("record")
def empty_lists(path: Path) -> None:
    path.write_bytes(b"[" + b"[]," * (5 * MB) + b"[]]")


@crafted("record")
def many_keys(path: Path) -> None:
    path.write_text("{" + ",".join(f'"{i}":1' for i in range(900_000)) + "}")


@crafted("record")
def one_key_many_times(path: Path) -> None:
    path.write_text("{" + ",".join(['"a":1'] * 400_000) + "}")


@crafted("record")
def endless_number(path: Path) -> None:
    path.write_text('{"classes":' + "9" * (15 * MB) + "}")


@crafted("record")
def endless_fraction(path: Path) -> None:
    path.write_text('{"eps":0.' + "1" * 1_000_000 + "}")


@crafted("record")
def not_a_number(path: Path) -> None:
    path.write_text('{"eps":NaN}')


@crafted("record")
def quotes_without_end(path: Path) -> None:
    path.write_bytes(b'"' + rb"\"" * (7 * MB))


@crafted("record")
def one_wide_character(path: Path) -> None:
    path.write_text('{"name":"' + "a" * (15 * MB) + '\U0001f600"}')


@crafted("record")
def half_a_gigabyte(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(512 * MB)


# Safetensors.


def safetensors(path: Path, header: bytes, data: bytes = b"") -> None:
    """A file with that header."""
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def _entries(path: Path, count: int, entry: str, extra: str = "") -> None:
    safetensors(path, ("{" + extra + ",".join(f'"{i}":{entry}' for i in range(count)) + "}").encode())


_EMPTY = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'


@crafted("safetensors", "golden")
def header_beyond_the_end(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**63) + b"{}")


@crafted("safetensors", "golden")
def header_of_a_hundred_megabytes(path: Path) -> None:
    safetensors(path, b"{" + b" " * (100 * MB) + b"}")


@crafted("safetensors")
def header_of_empty_lists(path: Path) -> None:
    safetensors(path, b'{"a":[' + b"[]," * (5 * MB) + b"[]]}")


@crafted("safetensors")
def nested_header(path: Path) -> None:
    safetensors(path, b'{"a":' * (3 * MB))


@crafted("safetensors")
def hundred_thousand_tensors(path: Path) -> None:
    _entries(path, 70_000, _EMPTY)


@crafted("safetensors")
def as_many_tensors_as_are_read(path: Path) -> None:
    _entries(path, 10_000, _EMPTY)


@crafted("safetensors")
def tensor_without_numbers_of_endless_shape(path: Path) -> None:
    safetensors(path, json.dumps({"a": {"dtype": "F32", "shape": [2**62, 0], "data_offsets": [0, 0]}}).encode())


@crafted("safetensors")
def offsets_of_every_kind(path: Path) -> None:
    shape = {"dtype": "F32", "shape": [2]}
    header = {"a": shape | {"data_offsets": [0, 8]}, "b": shape | {"data_offsets": [4, 12]}}
    safetensors(path, json.dumps(header).encode(), bytes(12))


@crafted("safetensors")
def bfloat16_of_no_network(path: Path) -> None:
    size = 100 * MB
    header = {"a": {"dtype": "BF16", "shape": [size // 2], "data_offsets": [0, size]}}
    safetensors(path, json.dumps(header).encode(), bytes(size))


def _stating(**fields: Any) -> dict[str, str]:
    strings = metadata.encode(SPEC, Info())
    return strings | {
        f"senet.{key}": value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()
    }


def _tiny(path: Path, **fields: Any) -> None:
    save_tensors(path, seeded(SPEC, 1), _stating(**fields))


@crafted("safetensors")
def hundred_thousand_class_names(path: Path) -> None:
    _tiny(path, class_names=[f"class {i}" for i in range(100_000)])


@crafted("safetensors")
def as_many_blocks_as_a_record_may_have(path: Path) -> None:
    _tiny(path, spec=models.to_dict(SPEC) | {"depths": [1_990, 2, 1, 1]})


@crafted("safetensors")
def record_of_largest_numbers(path: Path) -> None:
    largest = [2**20 - 1] * 4
    _tiny(path, spec=models.to_dict(SPEC) | {"width": largest, "out_channels": largest, "reduce": largest})


@crafted("safetensors")
def nested_metadata(path: Path) -> None:
    _tiny(path, history="[" * 1_000_000)


@crafted("golden")
def record_of_a_hundred_thousand_rows(path: Path) -> None:
    rows = {f"tap{i}": [1] for i in range(100_000)}
    save_tensors(
        path, {"input": np.zeros(1, np.float32)}, {"senet.golden": "1", "senet.record": json.dumps({"taps": rows})}
    )


# Zip archives.


@crafted("pytorch", "keras")
def directory_of_a_million_members(path: Path) -> None:
    entry = (
        struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0) + b"name"
    )
    count = 1_000_000
    with path.open("wb") as file:
        file.write(b"PK\x03\x04" + bytes(60))
        start = file.tell()
        file.write(entry * count)
        size = file.tell() - start
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, size, start, 0))


@crafted("pytorch", "keras")
def packed_members(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("x/data.pkl", "config.json", "model.weights.h5"):
            archive.writestr(name, bytes(50 * MB))


@crafted("pytorch", "keras")
def members_within_each_other(path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", bytes(8 * MB))
        first = archive.infolist()[0]
        for i in range(1_000):
            info = zipfile.ZipInfo(f"x/data/{i}")
            info.header_offset, info.CRC = first.header_offset, first.CRC
            info.file_size = info.compress_size = first.file_size
            archive.filelist.append(info)
            archive.NameToInfo[info.filename] = info
        archive.comment = b"changed"  # so that the directory is written again
    path.write_bytes(buffer.getvalue())


@crafted("pytorch", "keras")
def two_members_of_one_name(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive, _quiet():
        for name in ("x/data.pkl", "config.json", "x/data.pkl", "config.json"):
            archive.writestr(name, b"{}")


@contextmanager
def _quiet() -> Generator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@crafted("keras")
def nested_configuration(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", b'{"a":' * (20 * MB))
        archive.writestr("model.weights.h5", b"")


@crafted("keras")
def statement_that_is_a_list(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"senet": [1]}))
        archive.writestr("config.json", json.dumps({"registered_name": "senet>ResNet"}))
        archive.writestr("model.weights.h5", b"")


# Pickles.

_OLD = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")


def _pickled(path: Path, program: bytes, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", program)
        for name, data in members.items():
            archive.writestr(f"x/data/{name}", data)


def _tensor(
    key: str, count: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], kind: str = "Float"
) -> bytes:
    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"\x8a\x08" + value.to_bytes(8, "little", signed=True) for value in values) + b"t"

    def word(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    storage = b"(" + word("storage") + f"ctorch\n{kind}Storage\n".encode() + word(key) + word("cpu")
    storage += numbers((count,))[1:-1] + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + numbers((offset,))[1:-1]
    return tensor + numbers(shape) + numbers(stride) + b"\x89ccollections\nOrderedDict\n)RtR"


def _state(path: Path, tensors: dict[str, bytes], **members: bytes) -> None:
    words = {name: b"X" + struct.pack("<I", len(name)) + name.encode() for name in tensors}
    _pickled(path, b"\x80\x02}(" + b"".join(words[name] + tensors[name] for name in tensors) + b"u.", **members)


@crafted("pytorch")
def fifty_million_instructions(path: Path) -> None:
    _pickled(path, b"\x80\x02" + b"N0" * (25 * MB) + b".")


@crafted("pytorch")
def million_lists(path: Path) -> None:
    _pickled(path, b"\x80\x02(" + b"]" * 999_000 + b"t.")


@crafted("pytorch")
def million_classes_of_others(path: Path) -> None:
    _pickled(path, b"\x80\x02(" + b"".join(b"ca%d\nb\n" % i for i in range(990_000)) + b"t.")


@crafted("pytorch")
def million_memos(path: Path) -> None:
    _pickled(path, b"\x80\x02}" + b"".join(b"r" + struct.pack("<I", i) for i in range(990_000)) + b".")


@crafted("pytorch")
def tuples_within_each_other(path: Path) -> None:
    _pickled(path, b"\x80\x02)" + b"\x85" * 990_000 + b".")


@crafted("pytorch")
def list_that_doubles(path: Path) -> None:
    """Sixty lists, each twice in the next: two instructions for each, and a text of 10**18 characters."""
    steps = b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60))
    _pickled(path, b"\x80\x02]q\x00" + steps + b"X\x00\x00\x00\x00ctorch\nFloatStorage\n" + b"(h\x3chctQ.")


@crafted("pytorch")
def reference_of_a_kind_that_doubles(path: Path) -> None:
    steps = b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60))
    _pickled(
        path, b"\x80\x02]q\x00" + steps + b"(h\x3cctorch\nFloatStorage\nX\x01\x00\x00\x000X\x01\x00\x00\x000K\x01tQ."
    )


@crafted("pytorch")
def key_that_doubles(path: Path) -> None:
    steps = b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60))
    parts = [pickle.dumps(value, 2) for value in (1001, {"little_endian": True}, {})]
    path.write_bytes(_OLD + b"".join(parts) + b"\x80\x02]q\x00" + steps + b"](h\x3ce.")


@crafted("pytorch")
def endless_name(path: Path) -> None:
    _pickled(path, b"\x80\x02c" + b"a" * (64 * MB))


@crafted("pytorch")
def endless_texts(path: Path) -> None:
    one = b"X" + struct.pack("<I", 15 * MB) + b"a" * (15 * MB - 4) + "\U0001f600".encode()
    _pickled(path, b"\x80\x02(" + one * 4 + b"t.")


@crafted("pytorch")
def endless_integer(path: Path) -> None:
    _pickled(path, b"\x80\x02}\x8b" + struct.pack("<i", 50 * MB) + b"\x7f" * (50 * MB) + b"Ns.")


@crafted("pytorch")
def byte_that_is_a_terabyte(path: Path) -> None:
    _state(path, {"conv1.weight": _tensor("0", 1, 0, (2**40,), (0,))}, **{"0": bytes(4)})


@crafted("pytorch")
def strides_that_leave_the_storage(path: Path) -> None:
    _state(path, {"conv1.weight": _tensor("0", 4, 0, (2, 2), (2**61, 2**61))}, **{"0": bytes(16)})


@crafted("pytorch")
def negative_stride(path: Path) -> None:
    _state(path, {"conv1.weight": _tensor("0", 4, 3, (4,), (-1,))}, **{"0": bytes(16)})


@crafted("pytorch")
def storage_larger_than_its_member(path: Path) -> None:
    _state(path, {"conv1.weight": _tensor("0", 2**40, 0, (2**40,), (1,))}, **{"0": bytes(16)})


@crafted("pytorch")
def tensors_in_the_same_numbers(path: Path) -> None:
    size = 4 * MB
    tensors = {f"layer{i}.weight": _tensor("0", size, 0, (size,), (1,), "BFloat16") for i in range(5_000)}
    _state(path, tensors, **{"0": bytes(2 * size)})


@crafted("pytorch")
def dictionaries_under_long_keys(path: Path) -> None:
    key = b"X" + struct.pack("<I", MB) + b"k" * MB
    inner = b"}(" + b"".join(b"X\x05\x00\x00\x00%05d}" % i for i in range(90_000)) + b"u"
    _pickled(path, b"\x80\x02}(" + key + inner + b"u.")


@crafted("pytorch")
def hundred_thousand_sets(path: Path) -> None:
    tensor = _tensor("0", 1, 0, (1,), (1,))
    _state(path, {f"{i}.conv1.weight": tensor for i in range(25_000)}, **{"0": bytes(4)})


@crafted("pytorch")
def old_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("storages")
        info.size = 64 * MB
        archive.addfile(info, io.BytesIO(bytes(64 * MB)))


@crafted("pytorch")
def numbers_announced_and_absent(path: Path) -> None:
    parts = [pickle.dumps(value, 2) for value in (1001, {"little_endian": True})]
    tensor = b"\x80\x02}X\x01\x00\x00\x00w" + _tensor("0", 2**50, 0, (4,), (1,)) + b"s."
    path.write_bytes(_OLD + b"".join(parts) + tensor + pickle.dumps(["0"], 2) + struct.pack("<q", 2**50))


# HDF5.

HDF5 = ("caffe-hdf5", "keras-hdf5")


def _root(path: Path) -> str:
    return "data/conv1" if path.name.startswith("caffe") else "layers/conv1/vars"


@contextmanager
def _hdf5(path: Path, **options: Any) -> Generator[h5py.Group]:
    """The group in which a reader looks for the values of a layer."""
    caffe = path.name.endswith(".caffemodel.h5")
    with h5py.File(path, "w", **options) as file:
        group = file.create_group("data/conv1" if caffe else "layers/conv1/vars")
        if not caffe:
            group.attrs["name"] = "conv1"
        yield group


@crafted(*HDF5)
def external_link(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["data"] = np.ones(3, np.float32)
    with _hdf5(path) as group:
        group["0"] = h5py.ExternalLink("other.h5", "/data")


@crafted(*HDF5)
def soft_links_in_a_circle(path: Path) -> None:
    with _hdf5(path) as group:
        group["0"] = h5py.SoftLink(f"{group.name}/1")
        group["1"] = h5py.SoftLink(f"{group.name}/0")


@crafted(*HDF5)
def link_of_a_user(path: Path) -> None:
    """An external link whose class is made one of those that users define."""
    external_link(path)
    data = bytearray(path.read_bytes())
    place = data.find(b"other.h5\0/data\0")
    at = data.rfind(b"\x40", 0, place)
    data[at] = 0x41
    path.write_bytes(data)


@crafted(*HDF5)
def raw_values_elsewhere(path: Path) -> None:
    path.with_name("secret").write_bytes(bytes(400))
    with _hdf5(path) as group:
        group.create_dataset("0", (100,), "f4", external=[("secret", 0, 400)])


@crafted(*HDF5)
def virtual_dataset(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["data"] = np.ones(3, np.float32)
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "data", (3,))
    with _hdf5(path, libver="latest") as group:
        group.create_virtual_dataset("0", layout)


@crafted(*HDF5)
def groups_in_a_circle(path: Path) -> None:
    with _hdf5(path) as group:
        for name in ("a", "b", "c"):
            group[name] = group
        group.file.require_group("layers" if "layers" in group.file else "data")["again"] = group.file["/"]


@crafted(*HDF5)
def thirty_thousand_groups(path: Path) -> None:
    with _hdf5(path, libver="latest") as group:
        for i in range(30_000):
            group.file[f"{group.parent.name}/layer{i}"] = group


@crafted(*HDF5)
def groups_within_each_other(path: Path) -> None:
    with _hdf5(path, libver="latest") as group:
        for _ in range(5_000):
            group = group.create_group("a")


@crafted(*HDF5)
def ten_thousand_attributes(path: Path) -> None:
    with _hdf5(path, libver="latest") as group:
        for i in range(10_000):
            group.attrs[f"a{i}"] = "x"
        group["0"] = np.ones(3, np.float32)


@crafted(*HDF5)
def attribute_of_many_megabytes(path: Path) -> None:
    with _hdf5(path, libver="latest") as group:
        group.attrs["name"] = np.bytes_(b"x" * (48 * MB))
        group["0"] = np.ones(3, np.float32)


@crafted(*HDF5)
def attribute_of_one_text_many_times(path: Path) -> None:
    with _hdf5(path, libver="latest") as group:
        group.attrs.create("name", ["x" * MB] * 64, dtype=h5py.string_dtype())
        group["0"] = np.ones(3, np.float32)


@crafted(*HDF5)
def declared_and_absent(path: Path) -> None:
    with _hdf5(path) as group:
        group.create_dataset("0", (2**40,), "f4")


@crafted(*HDF5)
def chunks_larger_than_the_file(path: Path) -> None:
    with _hdf5(path) as group:
        group.create_dataset("0", (2**40,), "f4", chunks=(2**29,))


@crafted(*HDF5)
def gzip_bomb(path: Path) -> None:
    """A chunk that says it has 4 KB and unpacks to 128 MB."""
    with _hdf5(path) as group:
        dataset = group.create_dataset("0", (1024,), "f4", chunks=(1024,), compression="gzip")
        pack = zlib.compressobj(1)
        bomb = b"".join(pack.compress(bytes(64 * MB)) for _ in range(2)) + pack.flush()
        dataset.id.write_direct_chunk((0,), bomb)


@crafted(*HDF5)
def packed_zeros(path: Path) -> None:
    with _hdf5(path) as group:
        group.create_dataset(
            "0", data=np.zeros(75 * MB, np.float32), chunks=(4 * MB,), compression="gzip", shuffle=True
        )


@crafted(*HDF5)
def filter_of_others(path: Path) -> None:
    with _hdf5(path) as group:
        group.create_dataset("0", data=np.ones(10_000, np.float32), compression="lzf")


@crafted(*HDF5)
def scaled_values(path: Path) -> None:
    with _hdf5(path) as group:
        group.create_dataset("0", data=np.ones(10_000, np.float32), chunks=(1000,), scaleoffset=3)


@crafted(*HDF5)
def million_chunks(path: Path) -> None:
    with _hdf5(path) as group:
        dataset = group.create_dataset("0", (2**30,), "f4", chunks=(16,))
        dataset[:64] = 1


@crafted(*HDF5)
def values_of_no_numbers(path: Path) -> None:
    with _hdf5(path) as group:
        group["0"] = np.zeros(3, [("a", "f4"), ("b", "i8", (100,))])


@crafted(*HDF5)
def texts_of_any_length(path: Path) -> None:
    with _hdf5(path) as group:
        group.create_dataset("0", data=["x" * MB] * 64, dtype=h5py.string_dtype())


@crafted(*HDF5)
def references(path: Path) -> None:
    with _hdf5(path) as group:
        group.create_dataset("0", data=[group.ref] * 10, dtype=h5py.ref_dtype)


@crafted(*HDF5)
def opaque_values(path: Path) -> None:
    with _hdf5(path) as group:
        group["0"] = np.zeros(3, "V1000")


@crafted(*HDF5)
def text_of_two_gigabytes(path: Path) -> None:
    with _hdf5(path) as group:
        kind = h5py.h5t.C_S1.copy()
        kind.set_size(2**31 - 1)
        h5py.h5d.create(group.id, b"0", kind, h5py.h5s.create_simple((3,)))


@crafted(*HDF5)
def integers_to_be_widened(path: Path) -> None:
    with _hdf5(path) as group:
        group["0"] = np.ones(80 * MB, np.int8)


@crafted(*HDF5)
def behind_a_block_of_the_user(path: Path) -> None:
    with _hdf5(path, userblock_size=512) as group:
        group["0"] = np.ones(3, np.float32)


@crafted(*HDF5)
def cut_off(path: Path) -> None:
    with _hdf5(path) as group:
        group["0"] = np.ones(MB, np.float32)
    os.truncate(path, path.stat().st_size // 2)


# Protocol Buffers.


def _field(number: int, value: bytes) -> bytes:
    return tag(number, 2) + to_varint(len(value)) + value


@crafted("caffemodel")
def million_layers(path: Path) -> None:
    path.write_bytes(_field(100, b"") * 1_000_000)


@crafted("caffemodel")
def as_many_layers_as_are_read(path: Path) -> None:
    body = b"".join(
        _field(100, _field(1, b"%d" % i) + _field(2, b"ReLU") + _field(3, b"%d" % (i - 1)) + _field(4, b"%d" % i))
        for i in range(1, 11_800)
    )
    data = _field(3, b"0") + b"".join(tag(4, 0) + to_varint(n) for n in (1, 3, 8, 8))
    blob = _field(100, _field(1, b"c") + _field(2, b"Convolution") + _field(7, _field(5, bytes(4))))
    path.write_bytes(data + blob + body)


@crafted("caffemodel")
def one_layer_name_many_times(path: Path) -> None:
    blob = _field(7, _field(7, _field(1, b"\1")) + _field(5, bytes(4)))
    path.write_bytes(_field(100, _field(1, b"a") + _field(2, b"ReLU") + blob) * 15_000)


@crafted("caffemodel")
def values_in_million_pieces(path: Path) -> None:
    pieces = (tag(5, 5) + bytes(4)) * (6 * MB)
    path.write_bytes(_field(100, _field(1, b"a") + _field(7, pieces)))


@crafted("caffemodel")
def values_in_two_large_pieces(path: Path) -> None:
    half = _field(5, bytes(60 * MB))
    path.write_bytes(_field(100, _field(1, b"a") + _field(7, half + half)))


@crafted("caffemodel")
def packed_shape_of_millions(path: Path) -> None:
    path.write_bytes(_field(100, _field(1, b"a") + _field(7, _field(7, _field(1, b"\1" * (30 * MB))))))


@crafted("caffemodel")
def packed_numbers_of_a_setting(path: Path) -> None:
    path.write_bytes(_field(100, _field(1, b"a") + _field(106, _field(4, b"\1" * (30 * MB)))))


@crafted("caffemodel")
def shape_of_more_than_there_is(path: Path) -> None:
    shape = _field(7, _field(1, to_varint(2**31 - 1) * 2))
    path.write_bytes(_field(100, _field(1, b"a") + _field(7, shape + _field(5, bytes(8)))))


@crafted("caffemodel")
def length_that_lies(path: Path) -> None:
    path.write_bytes(tag(100, 2) + to_varint(2**62) + bytes(64))


@crafted("caffemodel")
def number_without_end(path: Path) -> None:
    path.write_bytes(tag(100, 0) + b"\xff" * 100)


@crafted("caffemodel", "onnx")
def groups_without_end(path: Path) -> None:
    path.write_bytes(tag(99, 3) * (8 * MB))


@crafted("caffemodel", "onnx")
def unknown_fields(path: Path) -> None:
    path.write_bytes((tag(2000, 0) + b"\1") * (8 * MB))


@crafted("caffemodel")
def messages_within_each_other(path: Path) -> None:
    body = b""
    for _ in range(3_000):
        body = _field(100, _field(7, body))
    path.write_bytes(body)


@crafted("caffemodel")
def wide_name(path: Path) -> None:
    path.write_bytes(_field(1, b"a" * (60 * MB) + "\U0001f600".encode()))


# Definitions.


@crafted("definition")
def million_layers_of_text(path: Path) -> None:
    path.write_bytes(b"layer{}" * (2 * MB))


@crafted("definition")
def as_many_fields_as_are_read(path: Path) -> None:
    layers = (f'layer {{ name: "{i}" type: "ReLU" bottom: "{i - 1}" top: "{i}" }}\n' for i in range(11_900))
    path.write_text("".join(layers))


@crafted("definition")
def text_without_end(path: Path) -> None:
    path.write_bytes(b'name: "' + b"a" * (15 * MB))


@crafted("definition")
def texts_without_end(path: Path) -> None:
    path.write_bytes(b'name: "a\n' * MB)


@crafted("definition")
def escapes_without_end(path: Path) -> None:
    path.write_bytes(b'name: "' + rb"\"" * (7 * MB))


@crafted("definition")
def text_of_escapes(path: Path) -> None:
    path.write_bytes(b'name: "' + rb"\n" * (7 * MB) + b'"')


@crafted("definition")
def text_in_pieces(path: Path) -> None:
    path.write_bytes(b"name:" + b' "a"' * (3 * MB))


@crafted("definition")
def comments(path: Path) -> None:
    path.write_bytes(b"#\n" * (7 * MB))


@crafted("definition")
def whitespace(path: Path) -> None:
    path.write_bytes(b" \n" * (7 * MB))


@crafted("definition")
def number_of_a_megabyte(path: Path) -> None:
    path.write_bytes(b"layer { loss_weight: " + b"9" * (15 * MB) + b" }")


@crafted("definition")
def list_of_a_million(path: Path) -> None:
    path.write_bytes(b"input_dim: [" + b"1," * (7 * MB) + b"1]")


@crafted("definition")
def brackets(path: Path) -> None:
    path.write_bytes(b"layer {" * (2 * MB))


# ONNX.


def _entry(key: str, value: str) -> bytes:
    return _field(14, _field(1, key.encode()) + _field(2, value.encode()))


def _onnx(path: Path, graph: bytes, **fields: Any) -> None:
    entries = b"".join(_entry(key, value) for key, value in _stating(**fields).items())
    path.write_bytes(entries + _field(7, graph))


@crafted("onnx")
def million_nodes(path: Path) -> None:
    _onnx(path, _field(1, b"") * 1_000_000)


@crafted("onnx")
def million_attributes(path: Path) -> None:
    _onnx(path, _field(1, _field(5, b"") * 1_000_000))


@crafted("onnx")
def packed_numbers_of_an_attribute(path: Path) -> None:
    _onnx(path, _field(1, _field(5, _field(8, b"\1" * (2 * MB - 100)))))


@crafted("onnx")
def graphs_within_nodes(path: Path) -> None:
    graph = b""
    for _ in range(3_000):
        graph = _field(1, _field(5, _field(6, graph)))
    _onnx(path, graph)


@crafted("onnx")
def words_beside_the_values(path: Path) -> None:
    _onnx(path, _field(10, b"x" * (60 * MB)))


@crafted("onnx")
def metadata_of_megabytes(path: Path) -> None:
    path.write_bytes(_entry("a", "a" * (60 * MB) + "\U0001f600"))


def _initializer(*fields: bytes) -> bytes:
    return _field(5, b"".join(fields))


@crafted("onnx")
def values_in_another_file(path: Path) -> None:
    path.with_name("secret.bin").write_bytes(bytes(64))
    place = _field(13, _field(1, b"location") + _field(2, b"../secret.bin"))
    _onnx(path, _initializer(_field(8, b"fc.bias"), tag(2, 0) + b"\1", tag(14, 0) + b"\1", place))


@crafted("onnx")
def dimensions_that_lie(path: Path) -> None:
    dims = _field(1, to_varint(2**62) * 3)
    _onnx(path, _initializer(dims, tag(2, 0) + b"\1", _field(8, b"fc.bias"), _field(9, bytes(16))))


@crafted("onnx")
def texts_as_values(path: Path) -> None:
    _onnx(path, _initializer(tag(2, 0) + b"\10", _field(8, b"fc.bias"), _field(6, b"x") * 90_000))


@crafted("onnx")
def numbers_as_values(path: Path) -> None:
    _onnx(path, _initializer(tag(2, 0) + b"\7", _field(8, b"fc.bias"), _field(7, b"\1" * (30 * MB))))


# Orbax.


def _folder(path: Path) -> None:
    _checkpoint(path)


@crafted("orbax")
def link_out_of_the_folder(path: Path) -> None:
    _folder(path)
    path.with_name("secret").write_bytes(b"{}")
    (path / "_sharding").unlink(missing_ok=True)
    (path / "_sharding").symlink_to(path.with_name("secret"))


@crafted("orbax")
def fifo_in_the_folder(path: Path) -> None:
    _folder(path)
    (path / "manifest.ocdbt").unlink()
    os.mkfifo(path / "manifest.ocdbt")


@crafted("orbax")
def nested_tree(path: Path) -> None:
    _folder(path)
    (path / "_METADATA").write_bytes(b'{"tree_metadata":' * 500_000)


@crafted("orbax")
def large_tree(path: Path) -> None:
    _folder(path)
    with (path / "_METADATA").open("wb") as file:
        file.truncate(500 * MB)


@crafted("orbax")
def absent_tree(path: Path) -> None:
    _folder(path)
    (path / "_METADATA").unlink()


@crafted("orbax")
def arrays_of_terabytes(path: Path) -> None:
    import tensorstore

    _folder(path)
    for name in list(path.iterdir()):
        if name.name.startswith(("manifest", "d", "ocdbt")):
            import shutil

            shutil.rmtree(name) if name.is_dir() else name.unlink()
    tree = json.loads((path / "_METADATA").read_text())
    for key in tree["tree_metadata"]:
        array = ".".join(part["key"] for part in tree["tree_metadata"][key]["key_metadata"])
        store = {"driver": "ocdbt", "base": f"file://{path}/", "path": f"{array}/"}
        spec = {"driver": "zarr", "kvstore": store, "metadata": {"shape": [2**40], "chunks": [2**20], "dtype": "<f4"}}
        tensorstore.open(spec, create=True).result()


# Photographs.


def _png(width: int, height: int, kind: int, rows: bytes) -> bytes:
    def part(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">2I5B", width, height, 8, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b"")


@crafted("photograph")
def billions_of_pixels(path: Path) -> None:
    path.write_bytes(_png(2**31 - 1, 2**31 - 1, 2, zlib.compress(bytes(100))))


@crafted("photograph")
def just_too_many_pixels(path: Path) -> None:
    path.write_bytes(_png(20_000, 5_000, 2, b""))


@crafted("photograph")
def as_many_pixels_as_are_read_with_alpha(path: Path) -> None:
    Image.new("RGBA", (5_600, 5_000)).save(path, "PNG", compress_level=1)


@crafted("photograph")
def as_many_pixels_as_are_read_with_alpha_lying(path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGBA", (5_600, 5_000)).save(path, "PNG", compress_level=1, exif=exif)


@crafted("photograph")
def as_many_pixels_as_are_read_of_grey_with_alpha(path: Path) -> None:
    Image.new("LA", (3_700, 3_780)).save(path, "PNG", compress_level=1)


@crafted("photograph")
def as_many_pixels_as_are_read_progressive(path: Path) -> None:
    Image.new("RGB", (5_600, 5_000)).save(path, "JPEG", progressive=True, subsampling=0)


@crafted("photograph")
def as_many_pixels_as_are_read_of_cmyk(path: Path) -> None:
    Image.new("CMYK", (3_700, 3_780)).save(path, "JPEG", progressive=True)


@crafted("photograph")
def as_many_pixels_as_are_read_of_webp(path: Path) -> None:
    Image.new("RGBA", (3_700, 3_780)).save(path, "WEBP", lossless=True, method=0)


@crafted("photograph")
def passes_without_end(path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (5_000, 5_000)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rfind(b"\xff\xda")
    path.write_bytes(data[:-2] + data[last:-2] * 1_000 + b"\xff\xd9")


@crafted("photograph")
def text_that_unpacks(path: Path) -> None:
    image = Image.new("RGB", (64, 64))
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for i in range(50):
        info.add_text(f"k{i}", "x" * MB, zip=True)
    image.save(path, "PNG", pnginfo=info)


@crafted("photograph")
def strip(path: Path) -> None:
    Image.new("L", (1, 60_000)).save(path, "PNG")


@crafted("photograph")
def format_of_others(path: Path) -> None:
    Image.new("RGB", (64, 64)).save(path, "ICO")


@crafted("photograph")
def cut_photograph(path: Path) -> None:
    Image.effect_noise((640, 640), 50).convert("RGB").save(path, "JPEG")
    os.truncate(path, path.stat().st_size // 2)


def _saved(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (300, 280)).save(file, kind)
    return file.getvalue()


@crafted("photograph")
def million_segments(path: Path) -> None:
    """JPEG: parts of no bytes, each of which is kept."""
    jpeg = _saved("JPEG")
    path.write_bytes(jpeg[:2] + b"\xff\xe2\x00\x02" * 2_000_000 + jpeg[2:])


@crafted("photograph")
def fill_bytes(path: Path) -> None:
    """JPEG: what may stand before a part any number of times, looked at one by one."""
    jpeg = _saved("JPEG")
    path.write_bytes(jpeg[:2] + b"\xff" * 10_000_000 + jpeg[2:])


@crafted("photograph")
def million_png_chunks(path: Path) -> None:
    png, part = _saved("PNG"), b"abCd"
    path.write_bytes(png[:33] + (bytes(4) + part + struct.pack(">I", zlib.crc32(part))) * 1_000_000 + png[33:])


@crafted("photograph")
def million_gif_extensions(path: Path) -> None:
    gif = _saved("GIF")
    start = 13 + 3 * (2 << (gif[10] & 7))
    path.write_bytes(gif[:start] + b"\x21\xfe\x01a\x00" * 2_000_000 + gif[start:])


def _bitmap(width: int, height: int, rows: bytes) -> bytes:
    """BMP of 256 colours, with run lengths."""
    start = 14 + 40 + 1024
    head = struct.pack("<IHHI", start + len(rows), 0, 0, start)
    return (
        b"BM"
        + head
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0)
        + bytes(1024)
        + rows
    )


@crafted("photograph")
def runs_of_one_pixel(path: Path) -> None:
    path.write_bytes(_bitmap(5000, 1600, b"\x01\x00" * 8_000_000))


@crafted("photograph")
def runs_of_none(path: Path) -> None:
    path.write_bytes(_bitmap(5000, 4000, b"\x00\x02\x00\x00" * 4_000_000))


@crafted("photograph")
def levels_that_are_no_bytes(path: Path) -> None:
    """PPM: scaled to bytes one by one."""
    path.write_bytes(b"P6 2000 2000 100\n" + bytes(12_000_000))


@crafted("photograph")
def header_of_spaces(path: Path) -> None:
    path.write_bytes(b"P6 " + b" " * 10_000_000)


@crafted("photograph")
def pixels_as_words(path: Path) -> None:
    path.write_bytes(b"P3 4000 3000 255\n" + b"0 " * 36_000_000)


@crafted("photograph")
def comments_between_pixels(path: Path) -> None:
    path.write_bytes(b"P3 20 15 255\n" + b"#\n" * 2_000_000)


def _tiff(rows: int, offsets: int, more: bytes) -> bytes:
    """TIFF of ten grey pixels in a row, with so many strips, whose places and lengths stand behind."""
    behind = 8 + 2 + 10 * 12 + 4
    fields = (
        *((256, 4, 1, 10), (257, 4, 1, rows), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)),
        *((273, 4, offsets, behind), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, offsets, behind), (284, 3, 1, 1)),
    )
    return b"II*\0" + struct.pack("<IH", 8, 10) + b"".join(struct.pack("<HHII", *f) for f in fields) + bytes(4) + more


@crafted("photograph")
def million_strips(path: Path) -> None:
    path.write_bytes(_tiff(1_000_000, 1_000_000, bytes(4_000_000)))


@crafted("photograph")
def exif_of_million_numbers(path: Path) -> None:
    """PNG: EXIF data whose orientation is five million numbers."""
    png, count = _saved("PNG"), 5_000_000
    exif = b"eXIf" + b"II*\0" + struct.pack("<IHHHII", 8, 1, 274, 12, count, 26) + bytes(4 + 8 * count)
    path.write_bytes(
        png[:33] + struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif)) + png[33:]
    )
