"""Caffe networks that no family has: read as bare operations, computed, exported and written again."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from conformance.cli import main
from conformance.reference import forward as reference
from weights import InputError, Network, Params
from weights.caffe import checkpoint as caffe
from weights.caffe import file as caffe_file
from weights.caffe import text as prototxt
from weights.caffe.blobs import blob_count
from weights.caffe.net import Layer, Net
from weights.networks.operations import Act, Add, BatchNorm, Concat, Conv, Dropout, GlobalPool, Linear, Pool

DEFINITION = """
name: "small"
layer { name: "in" type: "Input" top: "in" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "c1" type: "Convolution" bottom: "in" top: "c1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "p1" type: "Pooling" bottom: "c1" top: "p1" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "a" type: "Convolution" bottom: "p1" top: "a"
  convolution_param { num_output: 4 kernel_size: 1 group: 2 } }
layer { name: "a/bn" type: "BatchNorm" bottom: "a" top: "a" }
layer { name: "a/scale" type: "Scale" bottom: "a" top: "a" scale_param { bias_term: true } }
layer { name: "b" type: "TanH" bottom: "p1" top: "b" }
layer { name: "gate" type: "Sigmoid" bottom: "a" top: "gate" }
layer { name: "product" type: "Eltwise" bottom: "a" bottom: "gate" top: "product" eltwise_param { operation: PROD } }
layer { name: "sum" type: "Eltwise" bottom: "product" bottom: "b" top: "sum" }
layer { name: "both" type: "Concat" bottom: "sum" bottom: "p1" top: "both" }
layer { name: "pool" type: "Pooling" bottom: "both" top: "pool" pooling_param { pool: AVE kernel_size: 4 } }
layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
SHAPES = {"c1": (4, 3, 3, 3), "a": (4, 2, 1, 1), "fc": (5, 8)}


def filled(definition: str, seed: int = 0) -> Net:
    """The network of a definition, with drawn blobs."""
    rng = np.random.default_rng(seed)

    def blobs(layer: Layer) -> tuple[np.ndarray, ...]:
        if layer.type == "BatchNorm":
            mean, variance = rng.standard_normal(4), rng.uniform(0.5, 1.5, 4)
            return mean.astype(np.float32), variance.astype(np.float32), np.ones(1, np.float32)
        shapes = [SHAPES[layer.name], SHAPES[layer.name][:1]] if layer.name in SHAPES else [(4,), (4,)]
        return tuple(rng.standard_normal(shape).astype(np.float32) for shape in shapes[: blob_count(layer)])

    net = caffe_file.upgraded(prototxt.parse(definition), "small")
    layers = (Layer(x.name, x.type, x.bottoms, x.tops, x.settings, blobs(x)) for x in net.layers)
    return Net(net.name, tuple(layers))


def read(net: Net, folder: Path) -> tuple[Network, Params]:
    caffe_file.save(folder / "net.caffemodel", net)
    return caffe.network(folder / "net.caffemodel")


def test_operations_have_the_names_of_their_layers(tmp_path: Path) -> None:
    network, params = read(filled(DEFINITION), tmp_path)
    assert network.spec is None
    assert [(node.name, node.op, node.inputs) for node in network.nodes] == [
        ("c1", Conv(4, 3, 1, 1, bias=True), ("data",)),
        ("r1", Act("relu"), ("c1",)),
        ("p1", Pool("max", 2, 2), ("r1",)),
        ("a", Conv(4, 1, groups=2), ("p1",)),
        ("a/bn", BatchNorm(float(np.float32(1e-5))), ("a",)),
        ("b", Act("tanh"), ("p1",)),
        ("product", Act("swish"), ("a/bn",)),
        ("sum", Add(), ("product", "b")),
        ("both", Concat(), ("sum", "p1")),
        ("pool", GlobalPool("avg"), ("both",)),
        ("drop", Dropout(0.5), ("pool",)),
        ("fc", Linear(5), ("drop",)),
    ]
    assert params.info.history == ("1 convolution biases went into the means of the BatchNorm after them",)
    assert (params.info.format, params.info.preprocessing) == ("caffemodel", None)


def test_values_are_those_of_the_layers(tmp_path: Path) -> None:
    net = filled(DEFINITION)
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8))
    blobs = {layer.name: [blob.astype(np.float64) for blob in layer.blobs] for layer in net.layers}

    def channels(v: np.ndarray) -> np.ndarray:
        return v[:, None, None]

    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    c1 = np.maximum(np.einsum("nchwij,ocij->nohw", windows, blobs["c1"][0]) + channels(blobs["c1"][1]), 0)
    p1 = c1.reshape(2, 4, 4, 2, 4, 2).max((3, 5))
    weight = blobs["a"][0][:, :, 0, 0]
    a = np.concatenate([np.einsum("nchw,oc->nohw", p1[:, i : i + 2], weight[i : i + 2]) for i in (0, 2)], 1)
    mean, variance, _ = blobs["a/bn"]
    a = (a + channels(blobs["a"][1] - mean)) / np.sqrt(channels(variance) + float(np.float32(1e-5)))
    a = a * channels(blobs["a/scale"][0]) + channels(blobs["a/scale"][1])
    both = np.concatenate([a / (1 + np.exp(-a)) + np.tanh(p1), p1], 1)
    wanted = both.mean((2, 3)) @ blobs["fc"][0].T + blobs["fc"][1]
    found = reference.run(*read(net, tmp_path), x)["fc"]
    assert np.abs(found - wanted).max() <= 1e-13 * np.abs(wanted).max()  # another order of summation


def test_bare_network_becomes_an_onnx_model(tmp_path: Path) -> None:
    onnx = pytest.importorskip("weights.files.onnx")
    pytest.importorskip("onnx_ir")
    network, params = read(filled(DEFINITION), tmp_path)
    model = onnx.build(network, params)
    assert [value.name for value in model.graph.outputs] == ["fc"]


def senet(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_inspect_says_what_a_bare_network_computes(tmp_path: Path) -> None:
    read(filled(DEFINITION), tmp_path)
    done = senet("inspect", tmp_path / "net.caffemodel")
    shown = " ".join(done.stdout.split())
    assert "network small: none of this family" in shown
    assert "operations 12, all known: 2 Conv, 3 Act, 1 Pool, 1 BatchNorm, 1 Add" in shown
    assert f"parameters {4 * 27 + 4 + 8 + 8 + 45} learnable" in shown
    assert "cost 0.000 GMACs at 8x8 input 3 channels of 8x8 output fc, 5 classes" in shown
    assert done.exit_code == 2  # why no family fits, in one line


def test_convert_writes_a_bare_network_as_onnx(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    network, params = read(filled(DEFINITION), tmp_path)
    done = senet("convert", tmp_path / "net.caffemodel", tmp_path / "net.onnx")
    assert (done.exit_code, done.stderr.count("\n")) == (0, 1)
    assert "net.onnx: 1 statistics rounded to float32 (at most " in done.stderr
    assert "small, of no known family" in done.stdout
    session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8))
    (found,) = session.run(None, {"data": x.astype(np.float32)})
    wanted = reference.run(network, params, x)["fc"]
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()  # float32
    assert senet("convert", tmp_path / "net.onnx", tmp_path / "x.pth").exit_code == 2


def test_convert_of_a_bare_network_takes_no_changes(tmp_path: Path) -> None:
    read(filled(DEFINITION), tmp_path)
    done = senet("convert", tmp_path / "net.caffemodel", tmp_path / "net.onnx", "--input", "rgb01")
    assert done.exit_code == 2
    assert "is of no known family: leave out --labels and --input" in done.stderr
    assert not (tmp_path / "net.onnx").exists()


@pytest.mark.parametrize(("name", "layer"), [("det1", "PReLU1"), ("det2", "prelu1"), ("det3", "prelu1")])
def test_genuine_file_with_an_unknown_operation_names_its_layer(
    name: str, layer: str, golden: Path, tmp_path: Path
) -> None:
    path = golden / "real" / f"{name}.caffemodel"
    said = rf"layer '{layer}' \(PReLU\) is no operation that is known here"
    assert re.search(said, caffe.describe(path).unknown)
    assert re.search(said, " ".join(senet("inspect", path).stdout.split()))
    assert re.search(said, senet("convert", path, tmp_path / "x.onnx").stderr)


def test_bare_network_comes_back_from_a_written_pair(tmp_path: Path) -> None:
    network, params = read(filled(DEFINITION), tmp_path)
    caffe.write(tmp_path / "again.caffemodel", network, params)
    again, found = caffe.network(tmp_path / "again.caffemodel")
    assert again.nodes == network.nodes
    assert all(np.array_equal(found[name], params[name]) for name in params)
    types = [layer.type for layer in prototxt.read(tmp_path / "again.prototxt").layers]
    assert types.count("Eltwise") == 2
    assert types[-1] == "Softmax"


def test_network_of_a_family_keeps_its_record(golden: Path) -> None:
    network, params = caffe.network(golden / "tiny" / "tiny-resnet" / "net.caffemodel")
    assert network.spec
    assert (params.info.preprocessing, params.info.assumed) == (None, ())


def test_every_golden_network_is_of_a_family_and_computes_what_caffe_computed(golden: Path) -> None:
    folders = sorted((golden / "variants").iterdir())
    assert len(folders) == 48
    for folder in folders:
        network, params = caffe.network(folder / "net.caffemodel")
        assert network.spec, folder.name
        with np.load(folder / "golden.npz") as data:
            for tag in (key.removeprefix("data_") for key in data if key.startswith("data_")):
                taps = reference.run(network, params, data[f"data_{tag}"].astype(np.float64))
                wanted = data[f"{tag}/logits"]
                error = np.abs(taps[network.output.name] - wanted).max() / np.abs(wanted).max()
                assert error <= 1e-13, (folder.name, tag)


def replaced(before: str, after: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert before in text
        return text.replace(before, after)

    return change


REFUSED: dict[str, tuple[Callable[[str], str], str]] = {
    "unknown type": (replaced("TanH", "PReLU"), r"layer 'b' \(PReLU\) is no operation .* found a layer of type PReLU"),
    "dilation": (replaced("pad: 1", "pad: 1 dilation: 2"), r"layer 'c1' .* dilation 1, found dilation 2"),
    "window that Caffe leaves out": (
        replaced("kernel_size: 2 stride: 2", "kernel_size: 2 stride: 2 pad: 1"),
        r"layer 'p1' .* at least stride and pad together, found kernel 2, stride 2, pad 1",
    ),
    "weighted sum": (
        replaced('top: "sum"', 'top: "sum" eltwise_param { coeff: 0.5 }'),
        r"layer 'sum' .* without coefficients, found coeff \[0.5\]",
    ),
    "product of pooled features": (
        replaced(
            'layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" }',
            'layer { name: "square" type: "Eltwise" bottom: "pool" bottom: "pool" top: "pool" '
            "eltwise_param { operation: PROD } }",
        ),
        r"layer 'square' .* a product of maps, found one of pooled features",
    ),
    "BatchNorm of pooled features": (replaced("Dropout", "BatchNorm"), r"layer 'drop' .* expected a map before it"),
    "two outputs": (
        replaced(
            'layer { name: "prob"',
            'layer { name: "aux" type: "Sigmoid" bottom: "sum" top: "aux" }\nlayer { name: "prob"',
        ),
        r"layer 'aux' .* one output of the network, found also 'fc'|layer 'fc' .* found also 'aux'",
    ),
    "maps of two sizes": (
        replaced("kernel_size: 1 group: 2", "kernel_size: 1 stride: 2 group: 2"),
        r"layer 'sum' .* inputs that fit together, found a sum of the shapes \(4, 2, 2\) and \(4, 4, 4\)",
    ),
    "map that is too small": (replaced("kernel_size: 4", "kernel_size: 5"), "layer 'pool' .* none left after it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_layer_that_is_no_operation_is_one_error_that_names_it(case: str, tmp_path: Path) -> None:
    change, why = REFUSED[case]
    with pytest.raises(InputError, match=why) as error:
        read(filled(change(DEFINITION)), tmp_path)
    assert str(error.value).startswith(str(tmp_path))
    assert "\n" not in str(error.value)
