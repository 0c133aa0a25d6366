"""Caffe's weights files: every form that Caffe reads is read, damage is refused, what is written is Caffe's."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from weights import InputError
from weights.caffe.file import load, save, upgraded
from weights.caffe.net import Layer, Net, fits
from weights.errors import InputWarning
from weights.protobuf import tag, to_varint

LEGACY = Path(__file__).parents[1] / "data/legacy"
GOOD = sorted(p.name.removesuffix(".expected.npz") for p in LEGACY.glob("*.expected.npz"))
BINARY = [name for name in GOOD if not name.endswith(".h5")]
WRITTEN_BY_CAFFE = ["v2_float.caffemodel", "double_data.caffemodel"]

# What the message says of each damaged file. Those whose damage only shows against a network are in SHAPES below.
BAD = {
    "33_axes.caffemodel": "layer 'conv', blob 0: has a shape of more than 32 axes",
    "data_not_multiple_of_4.caffemodel": "layer 'conv', blob 0: is damaged: values of 4 bytes each cannot fill 218",
    "data_past_blob.caffemodel": "layer 'conv', blob 0: is damaged or cut off: at byte 23 it declares 216 more bytes",
    "deep_groups.caffemodel": "more than 100 groups inside each other",
    "dim_plus_2_32.caffemodel": "layer 'conv', blob 0: has the shape 4294967302x1x3x3; a dimension beyond 32 bits",
    "empty.caffemodel": "is empty",
    "empty_blob.caffemodel": "number of values expected 1, found 0",
    "end_group_in_layer.caffemodel": "a group ends at byte 1621 that never began",
    "end_group_in_the_middle.caffemodel": "Caffe would silently drop the 1,231 bytes from there on",
    "field_0.caffemodel": "no field can begin as byte 1612 does",
    "group_wrong_end.caffemodel": "group 61 ends at byte 1614 inside another one",
    "h5_no_data_group.caffemodel.h5": 'has no group "/data"',
    "h5_signature_only.caffemodel.h5": "is not readable as HDF5",
    "h5_truncated.caffemodel.h5": "is not readable as HDF5",
    "html.caffemodel": "this is an HTML page, probably a failed download",
    "leading_zero.caffemodel": "Caffe would stop at its first byte and silently load nothing",
    "legacy_only_num.caffemodel": "has the shape 6x0x0x0 (num, channels, height, width; an absent one is 0)",
    "length_2g.caffemodel": "at byte 5 it declares 2,147,483,653 more bytes, 3 follow",
    "length_huge.caffemodel": "at byte 5 it declares 9,223,372,036,854,775,809 more bytes, 3 follow",
    "length_past_end.caffemodel": "at byte 5 it declares 1,000 more bytes, 3 follow",
    "mixed_layer_layers.caffemodel": "layers of the old form (`layers`) and of the new one (`layer`)",
    "negative_dim.caffemodel": "has the shape 6x-1x3x3; every dimension must be at least 1",
    "negative_dims_product.caffemodel": "has the shape -6x-1x3x3; every dimension must be at least 1",
    "no_shape.caffemodel": "has the shape () of one value; number of values expected 1, found 54",
    "no_values.caffemodel": "has the shape 6x1x3x3; number of values expected 54, found 0",
    "overflow_int64.caffemodel": "a dimension beyond 32 bits",
    "overflow_wraps.caffemodel": "a dimension beyond 32 bits",
    "overflow_wraps_to_count.caffemodel": "a dimension beyond 32 bits",
    "random.caffemodel": "Caffe would stop at its first byte and silently load nothing",
    "random2.caffemodel": "no field can begin as byte 0 does",
    "text.caffemodel": "this is text, a prototxt and not the weights that belong to it",
    "too_few_values.caffemodel": "has the shape 6x1x3x3; number of values expected 54, found 53",
    "too_many_values.caffemodel": "has the shape 6x1x3x3; number of values expected 54, found 55",
    "truncated_end.caffemodel": "at byte 471 it declares 1,139 more bytes, 1,132 follow",
    "truncated_half.caffemodel": "at byte 471 it declares 1,139 more bytes, 333 follow",
    "truncated_tag.caffemodel": "a value ends at byte 1613, before all of it was there",
    "unbalanced_group.caffemodel": "group 60 never ends",
    "v0_unknown_type.caffemodel": "layer 'conv' is of type 'nonsense', which V0 of Caffe does not have",
    "varint_11_bytes.caffemodel": "the number at byte 1614 has more than 10 bytes",
    "wire_type_6.caffemodel": "no field can begin as byte 1612 does",
    "zero_dim.caffemodel": "has the shape 6x0x3x3; every dimension must be at least 1",
    "zeros.caffemodel": "this is a run of zero bytes",
}

# Damage that the reader hands on as it is, for the check against the network: layer -> shapes of its blobs.
SHAPES = {
    "extra_blob.caffemodel": ("scale", [(6,), (6,), (6,)]),
    "h5_missing_blob.caffemodel.h5": ("scale", [(6,)]),
    "h5_wrong_shape.caffemodel.h5": ("conv", [(6, 1, 3, 3), (1, 1, 1, 6)]),
    "legacy_from_front.caffemodel": ("ip", [(5, 54, 1, 1), (5,)]),
    "missing_blob.caffemodel": ("scale", [(6,)]),
    "missing_layer.caffemodel": ("bn", None),
    "wrong_order.caffemodel": ("ip", [(54, 5), (5,)]),
    "wrong_shape.caffemodel": ("conv", [(6, 9), (6,)]),
}


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return tag(number, 0) + to_varint(value)
    return tag(number, 2) + to_varint(len(value)) + value


def one_blob(blob: bytes, layer: bytes = field(1, b"conv")) -> bytes:
    """A file of one layer with one blob."""
    return field(100, layer + field(7, blob))


@pytest.fixture
def read(tmp_path):
    """Loads what the bytes given say."""

    def read(data: bytes) -> Net:
        (tmp_path / "x.caffemodel").write_bytes(data)
        return load(tmp_path / "x.caffemodel")

    return read


def blobs(net: Net) -> dict[str, np.ndarray]:
    return {f"{layer.name}|{i}": blob for layer in net.layers for i, blob in enumerate(layer.blobs)}


@pytest.mark.filterwarnings("ignore:.*several layers of the name:weights.errors.InputWarning")
@pytest.mark.parametrize("name", GOOD)
def test_every_form_gives_the_blobs_that_caffe_loads(name):
    net = load(LEGACY / name)
    found = blobs(net)
    layers = {layer.name: layer for layer in net.layers}
    with np.load(LEGACY / f"{name}.expected.npz") as expected:
        keys = [key for key in expected if "|" in key and "/" not in key]
        assert keys
        for key in keys:
            layer, index = key.split("|")
            assert found[key].shape == tuple(expected[f"stored_shape/{key}"])
            assert layers[layer].fits(int(index), expected[key].shape)
            # Caffe casts to the type of its net, this reader keeps the file's
            np.testing.assert_array_equal(
                found[key].reshape(expected[key].shape).astype(expected[key].dtype), expected[key]
            )


def test_doubles_stay_doubles():
    assert {blob.dtype for blob in blobs(load(LEGACY / "double_data.caffemodel")).values()} == {np.dtype("f8")}


@pytest.mark.parametrize("name", sorted(BAD))
def test_damage_is_refused_with_the_file_and_what_is_wrong(name):
    with pytest.raises(InputError, match=f"^{re.escape(str(LEGACY / 'bad' / name))}: .*{re.escape(BAD[name])}"):
        load(LEGACY / "bad" / name)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_what_only_a_network_can_judge_is_handed_on_as_stored(name):
    layer, shapes = SHAPES[name]
    found = {layer.name: [blob.shape for blob in layer.blobs] for layer in load(LEGACY / "bad" / name).layers}
    assert found.get(layer) == shapes


def test_every_damaged_file_is_covered():
    present = {path.name for path in (LEGACY / "bad").iterdir()}
    assert present == {*BAD, *SHAPES, "trailing_zeros.caffemodel", "nan.caffemodel"}


def test_zeros_after_the_end_are_named_in_a_warning():
    with pytest.warns(InputWarning, match=r"trailing_zeros.caffemodel: 16 zero bytes follow"):
        net = load(LEGACY / "bad/trailing_zeros.caffemodel")
    good = blobs(load(LEGACY / "field_order.caffemodel"))
    assert {key: blob.tolist() for key, blob in blobs(net).items()} == {k: b.tolist() for k, b in good.items()}


def test_not_a_number_is_read_as_it_is():
    assert sum(np.isnan(blob).sum() for blob in blobs(load(LEGACY / "bad/nan.caffemodel")).values()) == 1


def test_of_layers_with_the_same_name_the_last_counts_and_a_warning_says_so():
    with pytest.warns(InputWarning, match="duplicate_name.caffemodel: several layers of the name bn, conv, ip, scale"):
        assert [layer.name for layer in load(LEGACY / "duplicate_name.caffemodel").layers] == [
            "conv",
            "bn",
            "scale",
            "ip",
        ]


def test_v0_comes_out_in_the_form_of_today():
    net = load(LEGACY / "v0_padding_layer.caffemodel")
    layers = {layer.name: layer for layer in net.layers}
    assert (net.form, [layer.type for layer in net.layers]) == ("V0", ["Input", "Convolution", "InnerProduct"])
    assert layers["conv"].bottoms == ("data",)
    assert layers["conv"].settings["convolution_param"]["pad"] == [1]


def test_v1_comes_out_in_the_form_of_today():
    net = load(LEGACY / "v1_unknown_enum.caffemodel")
    assert net.form == "V1"
    assert [layer.type for layer in net.layers] == ["Input", "Convolution", "InnerProduct", "Softmax", ""]


def test_v1_learning_rates_become_param_messages():
    layers = [{"name": "c", "type": "CONVOLUTION", "blobs_lr": [1.0, 2.0], "weight_decay": [1.0], "param": ["w"]}]
    (layer,) = upgraded({"layers": layers}, "x").layers
    assert layer.settings["param"] == [{"name": "w", "lr_mult": 1.0, "decay_mult": 1.0}, {"lr_mult": 2.0}]


@pytest.mark.parametrize(
    ("v0", "v2"),
    [
        (
            {"type": "conv", "num_output": 3, "kernelsize": 5, "stride": 2, "group": 1, "biasterm": False},
            {"convolution_param": {"num_output": 3, "kernel_size": [5], "stride": [2], "group": 1, "bias_term": False}},
        ),
        (
            {"type": "pool", "pool": "AVE", "kernelsize": 3, "stride": 2, "pad": 1},
            {"pooling_param": {"pool": "AVE", "kernel_size": 3, "stride": 2, "pad": 1}},
        ),
        ({"type": "innerproduct", "num_output": 3, "kernelsize": 5}, {"inner_product_param": {"num_output": 3}}),
        ({"type": "dropout", "dropout_ratio": 0.25}, {"dropout_param": {"dropout_ratio": 0.25}}),
        (
            {"type": "data", "source": "x", "scale": 2.0},
            {"data_param": {"source": "x"}, "transform_param": {"scale": 2.0}},
        ),
    ],
)
def test_v0_settings_move_to_the_message_of_their_type(v0, v2):
    (layer,) = upgraded({"layers": [{"layer": {"name": "x", **v0}}]}, "x").layers
    assert layer.settings == v2


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [{"layer": {"name": "c", "type": "conv"}, "bottom": ["a"]}],
            "layer 'c' reads 'a', which no layer before it makes",
        ),
        (
            [
                {"layer": {"name": "p", "type": "padding"}, "bottom": ["data"], "top": ["p"]},
                {"layer": {"name": "r", "type": "relu"}, "bottom": ["p"]},
            ],
            "layer 'r' reads the padding layer 'p'; only a convolution or pooling",
        ),
    ],
)
def test_v0_padding_that_caffe_refuses_is_refused(layers, message):
    with pytest.raises(InputError, match=f"^net.prototxt: {message}"):
        upgraded({"input": ["data"], "layers": layers}, "net.prototxt")


@pytest.mark.parametrize(
    ("legacy", "wanted", "expected"),
    [
        ((1, 1, 1, 7), (7,), True),
        ((1, 1, 5, 54), (5, 54), True),
        ((6, 1, 3, 3), (6, 1, 3, 3), True),
        ((1, 1, 1, 1), (), True),
        ((5, 54, 1, 1), (5, 54), False),
        ((1, 1, 7, 1), (7,), False),
        ((7, 1, 1, 1), (7,), False),
        ((1, 2, 3, 4), (1, 1, 2, 3, 4), False),
    ],
)
def test_legacy_dimensions_fit_from_the_end(legacy, wanted, expected):
    assert fits(legacy, wanted) is expected


def test_only_legacy_dimensions_fit_from_the_end():
    layer = Layer("x", "", (), (), {}, (np.zeros((1, 1, 1, 2), "f4"),))
    assert not layer.fits(0, (2,))
    assert replace(layer, legacy=frozenset({0})).fits(0, (2,))


@pytest.mark.filterwarnings("ignore:.*several layers of the name:weights.errors.InputWarning")
@pytest.mark.parametrize("name", BINARY)
def test_what_is_written_reads_back_the_same(name, tmp_path):
    net = load(LEGACY / name)
    save(tmp_path / "again.caffemodel", net)
    again = load(tmp_path / "again.caffemodel")
    assert (again.name, again.layers, again.settings) == (net.name, net.layers, net.settings)
    for one, other in zip(net.layers, again.layers, strict=True):
        assert one.legacy == other.legacy
        assert [(b.dtype, b.shape, b.tobytes()) for b in one.blobs] == [
            (b.dtype, b.shape, b.tobytes()) for b in other.blobs
        ]


@pytest.mark.parametrize("name", WRITTEN_BY_CAFFE)
def test_what_caffe_wrote_is_written_byte_for_byte(name, tmp_path):
    save(tmp_path / name, load(LEGACY / name))
    assert (tmp_path / name).read_bytes() == (LEGACY / name).read_bytes()


def test_arrays_of_any_layout_are_written_in_c_order(tmp_path):
    plain = np.arange(24, dtype="f4").reshape(2, 3, 4)
    others = (np.asfortranarray(plain), plain.astype(">f4"), np.repeat(plain, 2, axis=2)[:, :, ::2])
    save(tmp_path / "x.caffemodel", Net("", (Layer("x", "", (), (), {}, others),)))
    for blob in load(tmp_path / "x.caffemodel").layers[0].blobs:
        np.testing.assert_array_equal(blob, plain)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Layer("x", "ReLU", (), (), {"relu": {}}), "layer 'x': LayerParameter of Caffe 1.0 has no relu"),
        (Layer("x", "ReLU", (), (), {"phase": "NEVER"}), "layer 'x': phase cannot be 'NEVER'; it is of type Phase"),
        (
            Layer("x", "", (), (), {}, (np.zeros(3, "f2"),)),
            "layer 'x': a blob of float16; Caffe's are float32 or float64",
        ),
        (
            Layer("x", "", (), (), {}, (np.zeros(0, "f4"),)),
            r"layer 'x': a blob of shape \(0,\), which Caffe cannot hold",
        ),
        (
            Layer("x", "", (), (), {}, (np.broadcast_to(np.float32(0), (1 << 29,)),)),
            "2,147,483,6.. bytes are more than",
        ),
    ],
)
def test_what_the_format_cannot_hold_is_not_written(layer, message, tmp_path):
    path = tmp_path / "x.caffemodel"
    path.write_bytes(b"before")
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: cannot be written: {message}"):
        save(path, Net("", (layer,)))
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"before"]


def test_values_in_one_piece_are_views_of_the_file():
    blob = blobs(load(LEGACY / "v2_float.caffemodel"))["ip|0"]
    assert (blob.flags.owndata, blob.flags.writeable) == (False, False)


@pytest.mark.parametrize(("kind", "dtype", "expected"), [(0, "<f8", "f8"), (1, "<f4", "f4"), (2, "<f2", "f4")])
def test_raw_values_of_forks_are_decoded_by_their_type(kind, dtype, expected, read):
    values = np.array([1.5, -2.25, 65504.0], dtype)
    net = read(one_blob(field(7, field(1, 3)) + field(10, kind) + field(12, values.tobytes())))
    (blob,) = net.layers[0].blobs
    assert blob.dtype == expected
    np.testing.assert_array_equal(blob, values)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (field(12, bytes(6)), r"a Caffe fork \(field 12, 6 bytes, no type\)"),
        (field(10, 3) + field(12, bytes(12)), r"a Caffe fork \(field 12, 12 bytes, type 3\)"),
        (field(10, 2) + field(12, bytes(5)), "float16 values cannot fill 5 bytes"),
        (field(10, 2) + field(12, bytes(4)), "number of values expected 3, found 2"),
    ],
)
def test_other_raw_values_are_refused_and_never_read_as_zeros(fields, message, read):
    with pytest.raises(InputError, match=f"layer 'conv', blob 0: .*{message}"):
        read(one_blob(field(7, field(1, 3)) + fields))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"PK\x03\x04" + bytes(30), "a zip archive"),
        (b"\x80\x02}q\x00.", "a Python pickle"),
        (b"\x10\0\0\0\0\0\0\0" + b'{"x":{"dtype":1}', "a safetensors file"),
        (b"\x1f\x8b\x08\0", "compressed with gzip"),
        (b"<?xml version='1.0'?><Error/>", "an XML document, probably a failed download"),
        (b"Not found", "text;"),
    ],
)
def test_other_files_under_the_name_are_told(head, message, read):
    with pytest.raises(InputError, match=f"x.caffemodel: this is {message}"):
        read(head)


def test_a_file_without_weights_is_refused(read):
    with pytest.raises(InputError, match=r"x.caffemodel: is no usable weights file: it holds 1 layers, but no weights"):
        read(field(100, field(1, b"conv")))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing.caffemodel: cannot be read"):
        load(tmp_path / "nothing.caffemodel")


class TestHdf5:
    """What only HDF5 can do."""

    @pytest.fixture
    def write(self, tmp_path):
        h5py = pytest.importorskip("h5py")
        return lambda: h5py.File(tmp_path / "x.h5", "w")

    def test_names_with_slashes_are_groups_inside_groups(self, write, tmp_path):
        with write() as file:
            file["data/a/b/0"] = np.ones(2, "f4")
            file["data/a/0"] = np.zeros(2, "f4")
        assert {layer.name: len(layer.blobs) for layer in load(tmp_path / "x.h5").layers} == {"a": 1, "a/b": 1}

    def test_values_that_were_never_written_are_not_read_as_zeros(self, write, tmp_path):
        with write() as file:
            file.create_dataset("data/a/0", (1 << 20, 1 << 12), "f4", chunks=(1, 1 << 12))
        with pytest.raises(
            InputError, match="layer 'a', blob 0: has 17,179,869,184 bytes of values, of which the file holds 0"
        ):
            load(tmp_path / "x.h5")

    def test_values_in_another_file_are_refused(self, write, tmp_path):
        with write() as file:
            file.create_dataset("data/a/0", (4,), "f4", external=[(str(tmp_path / "y"), 0, 16)])
        with pytest.raises(InputError, match="/data/a/0 has its values in another file"):
            load(tmp_path / "x.h5")

    def test_gaps_between_the_blobs_are_refused(self, write, tmp_path):
        with write() as file:
            file["data/a/1"] = np.ones(2, "f4")
        with pytest.raises(InputError, match=r"layer 'a' has the datasets 1; Caffe names them 0, 1, \.\.\."):
            load(tmp_path / "x.h5")

    def test_what_is_no_number_is_refused(self, write, tmp_path):
        with write() as file:
            file["data/a/0"] = "text"
        with pytest.raises(InputError, match="layer 'a', blob 0: holds object, no numbers"):
            load(tmp_path / "x.h5")

    def test_integers_keep_their_values(self, write, tmp_path):
        with write() as file:
            file["data/a/0"] = np.array([2**31 - 1, -5], "i4")
        assert blobs(load(tmp_path / "x.h5"))["a|0"].tolist() == [2**31 - 1, -5]


REAL = {
    "det1": ("d6085e7f48ba7e6b6f1b58964595f6bce5b97bcc4866751f7b4bdc98f920c096", 18, 6632, "PReLU1", (10,)),
    "det2": ("39b20f7a57bb8176cc9466cea4dfd52da6a6f876de60c7ab222a309f2d0ca08c", 22, 101468, "prelu2", (48,)),
    "det3": ("9d6098829a4d6d318f37cec42142465637fafe4c673f2e93b69495bf7ca23d2d", 25, 389040, "prelu2", (64,)),
    "upresnet10_scale2.0x": (
        *("f141c34d8c18d76969cf4956363c60e0e8e47f34cdd5454f3168531dc8f662b5", 73, 421712, "/res1/fc1", (16, 64)),
    ),
}


@pytest.mark.parametrize("name", sorted(REAL))
def test_trained_files_are_read(name, golden):
    path = golden / "real" / f"{name}.caffemodel"
    sha256, layers, scalars, layer, shape = REAL[name]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    net = load(path)
    found = {layer.name: layer for layer in net.layers}
    assert (len(net.layers), sum(blob.size for blob in blobs(net).values())) == (layers, scalars)
    assert found[layer].blobs[0].shape == shape
    assert all(np.isfinite(blob).all() and blob.any() for blob in blobs(net).values())
