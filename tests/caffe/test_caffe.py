"""Caffe checkpoints in both directions: the bytes that Caffe writes, every blob kept, and files that are refused."""

import hashlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import golden_params, golden_spec
from published import PUBLISHED

import weights
from conformance import cases
from weights import CAFFE, MODELS, Info, InputError, Params, Preprocessing, schema
from weights.caffe import checkpoint as caffe
from weights.caffe import file as caffe_file
from weights.caffe import text as prototxt
from weights.caffe.as_written import as_written
from weights.caffe.net import Layer, Net
from weights.errors import InputWarning
from weights.names.caffe import NET_NAMES

WRITTEN_BY_CAFFE = {
    "tiny-resnet": "a0516c648ce53372a172a279e91470c3bf168733cd6ca1665475b85f57478472",
    "tiny-se-bn-inception": "c7197b0ec78395930cd19749a349af7f5c6d685043afc4a63ca4eca53d570659",
    "tiny-se-resnet": "622d34990ff40409fac65e65adf555181ab1b8ac22f5b281f93607845687019e",
    "tiny-se-resnext": "a2e6b61e22e15beb6c1e3d9f4231b970a56db80721928621eeb55ae01aa88df2",
    "tiny-senet": "bf8b84c363f754ab2ea3cb6fb6832435a96a521ce4a412f05ad7f056976db321",
}
"""sha256 of the files that the original Caffe wrote with the golden weights (Net<float>::ToProto, input 64x64)."""
NAME = "tiny-se-resnet"


def golden_pair(folder: Path, name: str = NAME) -> Path:
    params = golden_params(name)
    params.info = replace(params.info, preprocessing=replace(CAFFE, crop=64, resize=73))
    path = folder / f"{name}.caffemodel"
    weights.write(path, golden_spec(name), params)
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    return golden_pair(tmp_path_factory.mktemp("pair"))


def changed(path: Path, name: str, blobs=None, **fields) -> Net:
    """The network of a file, one layer of it changed."""
    net = caffe_file.load(path)
    fields |= {} if blobs is None else {"blobs": tuple(blobs)}
    return replace(net, layers=tuple(replace(x, **fields) if x.name == name else x for x in net.layers))


def blobs_of_layer(path: Path, name: str):
    return next(layer.blobs for layer in caffe_file.load(path).layers if layer.name == name)


def blobs_of(path: Path):
    net = caffe_file.load(path)
    return {(layer.name, i): blob for layer in net.layers for i, blob in enumerate(layer.blobs)}


def same_blobs(a: Path, b: Path) -> bool:
    found, wanted = blobs_of(a), blobs_of(b)
    return found.keys() == wanted.keys() and all(
        found[key].dtype == wanted[key].dtype and found[key].tobytes() == wanted[key].tobytes() for key in wanted
    )


# --- there and back


@pytest.mark.parametrize("name", WRITTEN_BY_CAFFE)
def test_bytes_are_those_that_caffe_itself_writes(name, tmp_path):
    path = golden_pair(tmp_path, name)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == WRITTEN_BY_CAFFE[name]


@pytest.mark.parametrize("name", WRITTEN_BY_CAFFE)
def test_reading_and_writing_again_changes_no_byte(name, tmp_path):
    path, again = golden_pair(tmp_path, name), tmp_path / "again.caffemodel"
    spec, params = weights.read(path)
    weights.write(again, spec, params)
    assert again.read_bytes() == path.read_bytes()
    assert again.with_suffix(".prototxt").read_bytes() == path.with_suffix(".prototxt").read_bytes()


@pytest.mark.parametrize("name", WRITTEN_BY_CAFFE)
def test_what_is_read_is_what_was_written(name, tmp_path):
    spec, params = weights.read(golden_pair(tmp_path, name))
    wanted = golden_params(name)
    assert spec == golden_spec(name)
    assert list(params) == [p.name for p in schema(spec)]
    assert all(
        a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in zip(params.values(), wanted.values(), strict=True)
    )
    assert params.info.factors == wanted.info.factors


def test_the_genuine_files_of_caffe_read_the_same(golden):
    for name in WRITTEN_BY_CAFFE:
        spec, params = weights.read(golden / "tiny" / name / "net.caffemodel")
        wanted = golden_params(name)
        assert spec == golden_spec(name)
        assert all(np.array_equal(params[key], wanted[key]) for key in wanted)


def test_the_scale_net_of_caffe_has_the_parameters_of_its_twin(golden):
    params = weights.read(golden / "tiny" / "tiny-se-resnet-scale" / "net.caffemodel")[1]
    wanted = golden_params("tiny-se-resnet")
    assert list(params) == list(wanted)
    assert all(np.array_equal(params[key], wanted[key]) for key in wanted)


def test_info_says_where_the_values_come_from(pair, tmp_path):
    alone = tmp_path / "alone.caffemodel"  # without the .prototxt, whose comments say more
    alone.write_bytes(pair.read_bytes())
    info = weights.read(alone)[1].info
    assert (info.source, info.format) == ("alone.caffemodel", "caffemodel")
    assert info.sha256 == WRITTEN_BY_CAFFE[NAME]
    assert (info.preprocessing, info.labels, info.assumed) == (None, None, ())


def test_a_thousand_classes_alone_say_nothing_of_preprocessing_and_labels(tmp_path):
    spec = replace(golden_spec("tiny-resnet"), classes=1000)
    weights.write(tmp_path / "k.caffemodel", spec, Params(cases.seeded(spec, 1), Info()))
    info = weights.read(tmp_path / "k.caffemodel")[1].info
    assert (info.preprocessing, info.labels, info.assumed) == (None, None, ())


def test_what_a_caffe_file_cannot_state_stands_in_comments_of_its_prototxt(tmp_path):
    path, spec = tmp_path / "net.caffemodel", replace(golden_spec(NAME), classes=1000)
    stated = Preprocessing(channels="rgb", range=1, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2), crop=64, resize=73)
    info = Info(preprocessing=stated, labels="sorted", history=("labels: devkit to sorted",))
    weights.write(path, spec, Params(cases.seeded(spec, 3), info))
    found = weights.read(path)[1].info
    assert (found.preprocessing, found.labels, found.history) == (stated, "sorted", info.history)
    assert found.assumed == ()
    prototxt.read(path.with_suffix(".prototxt"))


@pytest.mark.parametrize("info", [Info(labels="sorted"), Info()], ids=["with comments", "without"])
def test_definition_that_was_written_with_other_weights_is_refused(info, tmp_path):
    path, spec = tmp_path / "net.caffemodel", replace(golden_spec(NAME), classes=1000)
    weights.write(path, spec, Params(cases.seeded(spec, 3), info))
    caffe_file.save(path, changed(path, "classifier", blobs=[b + 1 for b in blobs_of_layer(path, "classifier")]))
    with pytest.raises(InputError, match=r"net\.prototxt beside it belongs to other weights"):
        weights.read(path)
    (tmp_path / "link").symlink_to("net.prototxt")
    with pytest.raises(InputError, match=r"net\.prototxt beside it belongs to other weights"):
        weights.read(path, prototxt=tmp_path / "link")
    path.with_suffix(".prototxt").rename(tmp_path / "definition.prototxt")
    found = weights.read(path, prototxt=tmp_path / "definition.prototxt")[1].info
    assert (found.labels, found.assumed) == (None, ())  # nor do its comments count where it only defines the network


def test_definition_by_somebody_else_is_not_bound_to_weights(pair, tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(pair.read_bytes())
    lines = pair.with_suffix(".prototxt").read_text().splitlines(keepends=True)
    path.with_suffix(".prototxt").write_text("".join(line for line in lines if not line.startswith("#")))
    assert weights.read(path)[0] == golden_spec(NAME)


def test_weights_are_views_of_the_mapped_file(pair):
    params = weights.read(pair)[1]
    assert not any(
        params[p.name].flags.owndata or params[p.name].flags.writeable
        for p in schema(golden_spec(NAME))
        if p.kind == "conv"
    )


def test_the_prototxt_beside_defines_the_network_of_the_file(pair):
    net = prototxt.read(pair.with_suffix(".prototxt"))
    assert tuple(as_written(net.layers)) == caffe_file.load(pair).layers
    assert weights.read(pair, prototxt=pair.with_suffix(".prototxt"))[0] == golden_spec(NAME)


BN = "conv3_1_3x3/bn"
FACTORS = {
    "zero": (np.float32(0), 0.0),
    "negative": (np.float32(-3.7), 1 / float(np.float32(-3.7))),
    "tiny": (np.float32(1e-40), 1 / float(np.float32(1e-40))),
    "infinite": (np.float32(np.inf), 0.0),
    "not a number": (np.array([0x7FC12345], np.uint32).view(np.float32)[0], np.nan),
    "a double": (np.float64(999.98236), 1 / 999.98236),
}


@pytest.mark.parametrize("through", ["caffemodel", "safetensors"])
@pytest.mark.parametrize("case", FACTORS)
def test_every_factor_gets_caffes_meaning_and_comes_back_bit_for_bit(case, through, pair, tmp_path):
    factor, scale = FACTORS[case]
    old = blobs_of(pair)
    dtype = factor.dtype
    net = caffe_file.load(pair)
    if dtype == np.float64:
        net = replace(net, layers=tuple(replace(x, blobs=tuple(b.astype(dtype) for b in x.blobs)) for x in net.layers))
    statistics = [old[BN, i].astype(dtype) for i in (0, 1)]
    held = (*statistics, np.array([factor]))
    net = replace(net, layers=tuple(replace(x, blobs=held) if x.name == BN else x for x in net.layers))
    first, second = tmp_path / "first.caffemodel", tmp_path / "second.caffemodel"
    caffe_file.save(first, net)
    spec, params = weights.read(first)
    with np.errstate(invalid="ignore"):
        assert np.array_equal(params["stage2.0.bn2.running_mean"], statistics[0] * np.float64(scale), equal_nan=True)
    if through == "safetensors":
        weights.write(tmp_path / "between.safetensors", spec, params)
        spec, params = weights.read(tmp_path / "between.safetensors")
    weights.write(second, spec, params)
    assert same_blobs(second, first)


def test_a_nan_among_the_weights_keeps_its_bits(pair, tmp_path):
    weight = blobs_of(pair)["conv3_1_3x3", 0].copy()
    weight.view(np.uint32)[0, 0, 0, 0] = 0xFFC54321
    path, again = tmp_path / "nan.caffemodel", tmp_path / "again.caffemodel"
    caffe_file.save(path, changed(pair, "conv3_1_3x3", [weight]))
    weights.write(again, *weights.read(path))
    assert same_blobs(again, path)


def test_changed_statistics_are_written_exactly(tmp_path):
    """Those that float32 does not hold become doubles; Caffe reads such a blob as it reads any other."""
    params = golden_params(NAME)
    mean = params["stem.bn1.running_mean"] = params["stem.bn1.running_mean"] + np.pi
    variance = params["stage1.0.bn1.running_var"] = np.array([0.5, 1, 2, 3])  # held by float32: factor 1
    weights.write(tmp_path / "x.caffemodel", golden_spec(NAME), params)
    found = weights.read(tmp_path / "x.caffemodel")[1]
    assert np.array_equal(found["stem.bn1.running_mean"], mean)
    assert np.array_equal(found["stage1.0.bn1.running_var"], variance)
    dtypes = {key[0]: blob.dtype for key, blob in blobs_of(tmp_path / "x.caffemodel").items()}
    assert [name for name in dtypes if dtypes[name] == np.float64] == ["conv1/7x7_s2/bn", "conv2_1_1x1_reduce/bn"]


def test_statistics_of_other_frameworks_get_the_factor_one(tmp_path):
    params = Params({name: a.astype(np.float32) for name, a in golden_params(NAME).items()})
    weights.write(tmp_path / "x.caffemodel", golden_spec(NAME), params)
    blobs = blobs_of(tmp_path / "x.caffemodel")
    assert {blob.dtype.name for blob in blobs.values()} == {"float32"}
    assert all(blob == 1 for (name, i), blob in blobs.items() if name.endswith("/bn") and i == 2)
    found = weights.read(tmp_path / "x.caffemodel")[1]
    assert all(np.array_equal(found[name], params[name]) for name in params)


def test_double_parameters_make_a_double_net(tmp_path):
    params = Params({name: a.astype(np.float64) / 3 for name, a in golden_params(NAME).items()})
    weights.write(tmp_path / "x.caffemodel", golden_spec(NAME), params)
    assert {blob.dtype.name for blob in blobs_of(tmp_path / "x.caffemodel").values()} == {"float64"}
    found = weights.read(tmp_path / "x.caffemodel")[1]
    assert all(np.array_equal(found[name], params[name]) for name in params)


def test_half_precision_is_widened(tmp_path):
    params = Params({name: a.astype(np.float16) for name, a in golden_params(NAME).items()})
    weights.write(tmp_path / "x.caffemodel", golden_spec(NAME), params)
    found = weights.read(tmp_path / "x.caffemodel")[1]
    assert all(np.array_equal(found[name], params[name]) for name in params)


# --- settings that floats do not hold


@pytest.mark.parametrize(
    ("field", "value", "held"), [("eps", 1e-3, 0.0010000000474974513), ("dropout", 0.1, 0.10000000149011612)]
)
def test_setting_that_a_float_does_not_hold_is_said_and_read_back_as_the_float(field, value, held, tmp_path):
    spec = replace(golden_spec(NAME), **{field: value})
    line = f"{field}: {value} to {held}, the nearest that Caffe's float holds"
    with pytest.warns(InputWarning) as said:
        weights.write(tmp_path / "x.caffemodel", spec, Params(golden_params(NAME), Info()))
    assert [str(warning.message) for warning in said] == [f"{tmp_path / 'x.caffemodel'}: {line}"]
    found = weights.read(tmp_path / "x.caffemodel")
    assert found.spec == replace(spec, **{field: held})
    assert found.info.history == (line,)
    weights.write(tmp_path / "again.caffemodel", found)  # nothing is rounded any more
    assert (tmp_path / "again.caffemodel").read_bytes() == (tmp_path / "x.caffemodel").read_bytes()


@pytest.mark.parametrize(("field", "value"), [("eps", 1e-60), ("dropout", 1e-60), ("dropout", 1 - 1e-12)])
def test_setting_that_no_float_is_near_is_refused(field, value, tmp_path):
    spec = replace(golden_spec(NAME), **{field: value})
    with pytest.raises(InputError, match=f"{field} .* as a float of 32 bits"):
        weights.write(tmp_path / "x.caffemodel", spec, golden_params(NAME))
    assert list(tmp_path.iterdir()) == []


# --- the last pooling


def pooling_of(path: Path) -> dict:
    return [x for x in prototxt.read(path.with_suffix(".prototxt")).layers if x.type == "Pooling"][-1].settings[
        "pooling_param"
    ]


WINDOW = {"pool": "AVE", "kernel_size": 7, "stride": 1}
GLOBAL = {"pool": "AVE", "engine": "CAFFE", "global_pooling": True}


@pytest.fixture
def published(monkeypatch):
    """A tiny network that counts as a published one."""
    monkeypatch.setitem(MODELS, NAME, golden_spec(NAME))
    monkeypatch.setitem(NET_NAMES, NAME, NAME)


def test_other_networks_get_a_global_pooling_and_say_so(tmp_path):
    path = tmp_path / "x.caffemodel"
    weights.write(path, golden_spec(NAME), golden_params(NAME))
    assert pooling_of(path) == GLOBAL
    assert "# The last pooling is global: any size of the input fits." in path.with_suffix(".prototxt").read_text()
    assert weights.read(path).info.last_pooling is None


@pytest.mark.usefixtures("published")
def test_published_networks_keep_the_window(tmp_path):
    path = tmp_path / "x.caffemodel"
    weights.write(path, golden_spec(NAME), golden_params(NAME))
    assert pooling_of(path) == WINDOW
    assert "any size" not in path.with_suffix(".prototxt").read_text()
    assert weights.read(path).info.last_pooling is None


@pytest.mark.parametrize("through", ["caffemodel", "safetensors"])
@pytest.mark.parametrize("stated", ["window", "global"])
def test_pooling_stays_as_the_source_stated_it(stated, through, tmp_path, request):
    first, between, last = (tmp_path / name for name in ("a.caffemodel", f"b.{through}", "c.caffemodel"))
    if stated == "global":
        request.getfixturevalue("published")
    values = golden_params(NAME)
    weights.write(first, golden_spec(NAME), values, info=replace(values.info, last_pooling=stated))
    assert pooling_of(first) == {"window": WINDOW, "global": GLOBAL}[stated]
    found = weights.read(first)
    assert found.info.last_pooling == stated
    weights.write(between, found)
    weights.write(last, weights.read(between))
    assert pooling_of(last) == pooling_of(first)
    assert last.read_bytes() == first.read_bytes()


# --- a definition given beside the file


def as_hdf5(path: Path, net: Net) -> Path:
    with h5py.File(path, "w") as file:
        for layer in net.layers:
            group = file.create_group(f"data/{layer.name}")
            for i, blob in enumerate(layer.blobs):
                group[str(i)] = blob
    return path


def without_definitions(net: Net, legacy: bool = False) -> Net:
    def bare(layer: Layer) -> Layer:
        blobs = tuple(b.reshape((1,) * (4 - b.ndim) + b.shape) for b in layer.blobs) if legacy else layer.blobs
        return Layer(layer.name, "", (), (), {}, blobs, frozenset(range(len(blobs)) if legacy else ()))

    return replace(net, layers=tuple(bare(x) for x in net.layers if x.blobs))


@pytest.mark.parametrize("form", ["HDF5", "no definitions", "legacy shapes"])
def test_files_without_definitions_read_with_the_prototxt_given(form, pair, tmp_path):
    net = caffe_file.load(pair)
    path = tmp_path / ("bare.caffemodel.h5" if form == "HDF5" else "bare.caffemodel")
    if form == "HDF5":
        as_hdf5(path, net)
    else:
        caffe_file.save(path, without_definitions(net, legacy=form == "legacy shapes"))
    with pytest.raises(InputError, match=r"carries no layer definitions.*--prototxt"):
        weights.read(path)
    spec, params = weights.read(path, prototxt=pair.with_suffix(".prototxt"))
    assert spec == golden_spec(NAME)
    assert all(np.array_equal(params[key], value) for key, value in golden_params(NAME).items())


def test_layers_that_the_definition_does_not_have_are_named_in_a_warning(pair, tmp_path):
    net = caffe_file.load(pair)
    extra = Layer("loss3/fc", "", (), (), {}, (np.zeros((2, 2), np.float32),))
    path = tmp_path / "extra.caffemodel"
    caffe_file.save(path, replace(net, layers=(*net.layers, extra)))
    with pytest.warns(InputWarning, match="not used, as .* has no such layer: 'loss3/fc'"):
        weights.read(path, prototxt=pair.with_suffix(".prototxt"))


def test_layers_that_only_the_definition_has_are_an_error(pair, tmp_path):
    net = caffe_file.load(pair)
    path = tmp_path / "less.caffemodel"
    caffe_file.save(path, replace(net, layers=tuple(x for x in net.layers if not x.name.startswith("conv3_2_3x3/bn"))))
    with pytest.raises(InputError, match="has no layer 'conv3_2_3x3/bn', 'conv3_2_3x3/bn/scale', which "):
        weights.read(path, prototxt=pair.with_suffix(".prototxt"))


def test_a_definition_with_a_name_twice_is_refused(pair, tmp_path):
    text = pair.with_suffix(".prototxt").read_text()
    path = tmp_path / "twice.prototxt"
    path.write_text(text.replace('name: "conv3_2_3x3/bn"', 'name: "conv3_1_3x3/bn"'))
    with pytest.raises(InputError, match="defines 'conv3_1_3x3/bn' more than once"):
        weights.read(pair, prototxt=path)


# --- bad input


def damaged(pair: Path, case: str) -> Net:
    net = caffe_file.load(pair)
    layer = {x.name: x for x in net.layers}
    kept = [x for x in net.layers if x.name != "conv3_2_3x3"]
    weight, gamma = layer["conv3_2_3x3"].blobs[0], layer[f"{BN}/scale"].blobs[0]
    match case:
        case "layer missing":
            return replace(net, layers=tuple(kept))
        case "layer too many":
            extra = Layer("fc9", "InnerProduct", ("classifier",), ("fc9",), {}, (np.zeros((2, 10), np.float32),))
            return replace(net, layers=(*net.layers, extra))
        case "wrong shape":
            return changed(pair, "conv3_2_3x3", [weight[:, :, :2]])
        case "transposed":
            return changed(pair, "classifier", [layer["classifier"].blobs[0].T, layer["classifier"].blobs[1]])
        case "blob missing":
            return changed(pair, f"{BN}/scale", [gamma])
        case "blob too many":
            return changed(pair, f"{BN}/scale", [*layer[f"{BN}/scale"].blobs, gamma])
        case "blobs of a ReLU":
            return changed(pair, "conv3_2/relu", [gamma])
        case "grey images":
            return changed(pair, "conv1/7x7_s2", [layer["conv1/7x7_s2"].blobs[0][:, :1]])
        case _:
            return replace(net, layers=tuple(replace(x, type="LSTM") for x in net.layers))


BAD = {
    "layer missing": r"layer 'conv3_2_3x3/bn' \(BatchNorm\) does not fit .* a layer before it that makes 'conv3_2_3x3'",
    "layer too many": r"layer 'fc9' \(InnerProduct\) does not fit .* expected no further layer",
    "wrong shape": r"blob 0 of layer 'conv3_2_3x3' \(Convolution\) has shape \(8, 8, 2, 3\), expected \(8, 8, 3, 3\)",
    "transposed": r"blob 0 of layer 'classifier' \(InnerProduct\) has shape \(128, 10\), expected \(10, 128\)",
    "blob missing": r"layer 'conv3_1_3x3/bn/scale' \(Scale\) holds 1 blobs, expected 2",
    "blob too many": r"layer 'conv3_1_3x3/bn/scale' \(Scale\) holds 3 blobs, expected 2",
    "blobs of a ReLU": r"layer 'conv3_2/relu' \(ReLU\) holds 1 blobs, expected 0",
    "grey images": r"blob 0 of layer 'conv1/7x7_s2' \(Convolution\) has shape \(8, 1, 7, 7\), expected \(8, 3, 7, 7\)",
    "another network": r"layer 'conv1/7x7_s2' \(LSTM\) does not fit",
}


@pytest.mark.parametrize("case", BAD)
def test_a_damaged_file_is_one_error_that_names_the_layer(case, pair, tmp_path):
    path = tmp_path / "bad.caffemodel"
    caffe_file.save(path, damaged(pair, case))
    with pytest.raises(InputError, match=BAD[case]) as error:
        weights.read(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_the_definition_of_another_network_is_refused(pair, tmp_path):
    other = golden_pair(tmp_path, "tiny-se-resnext").with_suffix(".prototxt")
    with pytest.raises(
        InputError, match=r"blob 0 of layer 'conv2_1_1x1_reduce' .* has shape \(4, 8, 1, 1\), expected \(8, 8"
    ):
        weights.read(pair, prototxt=other)


def test_parameters_that_do_not_fit_leave_nothing_behind(tmp_path):
    params = golden_params(NAME)
    del params["fc.bias"]
    with pytest.raises(InputError, match=r"fc\.bias"):
        weights.write(tmp_path / "x.caffemodel", golden_spec(NAME), params)
    params["fc.bias"] = np.zeros(10, np.int64)
    with pytest.raises(InputError, match=r"fc.bias is int64; Caffe's blobs hold float32 or float64"):
        weights.write(tmp_path / "x.caffemodel", golden_spec(NAME), params)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        weights.write(tmp_path / "no" / "x.caffemodel", golden_spec(NAME), golden_params(NAME))
    (tmp_path / "x.caffemodel").mkdir()
    with pytest.raises(InputError, match=r"x.caffemodel: cannot be written"):
        weights.write(tmp_path / "x.caffemodel", golden_spec(NAME), golden_params(NAME))
    assert [path.name for path in tmp_path.iterdir()] == ["x.caffemodel"]


def test_hdf5_is_read_only(tmp_path):
    with pytest.raises(InputError, match=r"cannot hold names with '/'; use .caffemodel"):
        weights.write(tmp_path / "x.caffemodel.h5", golden_spec(NAME), golden_params(NAME))
    with pytest.raises(InputError, match=r"known are .caffemodel, .*, .onnx, .xml, and to read also .caffemodel.h5$"):
        weights.write(tmp_path / "x.unknown", golden_spec(NAME), golden_params(NAME))


# --- what a file is


def test_a_summary_of_one_of_our_networks(pair):
    found = caffe.describe(pair)
    assert (found.name, found.spec, found.misfit) == (NAME, golden_spec(NAME), "")
    assert (found.blobs, found.scalars, found.dtypes) == (142, 49210, ("float32",))
    assert (found.types["Axpy"], found.types["Split"], found.types["BatchNorm"]) == (5, 10, 20)


REAL = {
    "det1": ("12Net", 13, 6632, "conv1"),
    "det2": ("24Net", 18, 101468, "conv1"),
    "det3": ("48Net", 21, 389040, "conv1"),
    "upresnet10_scale2.0x": ("UpResNet10_3", 45, 421712, "/conv_pre"),
}


@pytest.mark.parametrize("name", REAL)
def test_genuine_files_of_other_networks_are_described_and_refused(name, golden):
    path = golden / "real" / f"{name}.caffemodel"
    net, blobs, scalars, layer = REAL[name]
    found = caffe.describe(path)
    assert (found.name, found.blobs, found.scalars, found.spec) == (net, blobs, scalars, None)
    assert f"layer '{layer}' (Convolution) does not fit" in found.misfit
    with pytest.raises(InputError, match=f"layer '{layer}'"):
        weights.read(path)


@pytest.mark.parametrize("name", ["det1", "det2", "det3", "upresnet10_scale2.0x"])
def test_genuine_prototxts_of_other_networks_are_refused_in_one_line(name, golden):
    path = golden / "real" / f"{name}.caffemodel"
    with pytest.raises(InputError, match=r"does not fit|has no field 'crop_center_param'"):
        weights.read(path, prototxt=path.with_suffix(".prototxt"))


@pytest.mark.slow
@pytest.mark.parametrize("model", PUBLISHED)
def test_full_size_networks_come_back_bit_for_bit(model, tmp_path):
    params = cases.seeded(MODELS[model], 1)
    weights.write(tmp_path / "x.caffemodel", MODELS[model], params)
    spec, found = weights.read(tmp_path / "x.caffemodel")
    assert spec == MODELS[model]
    assert all(np.array_equal(found[name], params[name]) for name in params)
    (tmp_path / "x.caffemodel").unlink()
