"""One network in every dress that Caffe knows is recognised as itself; what is no such network is named."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from caffe_dresses import DRESSES, Layers, batch_statistics, dressed, twice_in_the_file, with_param
from conftest import golden_params, golden_spec
from published import PUBLISHED

from conformance.reference import forward as reference
from weights import EPS, MODELS, InceptionSpec, InputError, Params, graph
from weights.caffe import checkpoint as caffe
from weights.caffe import file as caffe_file
from weights.caffe.as_written import as_written
from weights.caffe.layers import layers
from weights.caffe.net import Layer, Net
from weights.caffe.recognise import recognise
from weights.networks.operations import BatchNorm

NETWORKS = ("tiny-se-resnet", "tiny-se-resnext", "tiny-senet", "tiny-se-bn-inception", "tiny-resnet")


def read_back(tmp_path, found: Sequence[Layer], name: str = "net"):
    path = tmp_path / "net.caffemodel"
    caffe_file.save(path, Net(name, tuple(found)))
    return caffe.read(path)


# --- the same network, parameters and all


def expected(name: str, dress: str):
    """Modules of Inception networks are named by position where the layers do not name them."""
    spec = replace(golden_spec(name), name="net")
    if not isinstance(spec, InceptionSpec) or dress not in ("odd names", "many at once"):
        return spec
    return replace(
        spec, modules=tuple(replace(m, name=n) for m, n in zip(spec.modules, ("3a", "3b", "4a"), strict=True))
    )


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_in_another_dress_is_the_same_network(name, dress, tmp_path):
    spec, params = read_back(tmp_path, DRESSES[dress](dressed(name)))
    assert spec == expected(name, dress)
    assert all(np.array_equal(a, b) for a, b in zip(params.values(), golden_params(name).values(), strict=True))


@pytest.mark.parametrize("end", ["concat", "output"])
@pytest.mark.parametrize("name", ["se-bn-inception", "bn-inception"])
def test_inception_modules_keep_their_names_where_layers_have_lost_the_slash(name, end):
    def flat(text: str) -> str:
        return text.replace("/", "_").replace("_concat", f"_{end}")

    found = [d.layer for d in layers(MODELS[name])]
    renamed = [
        replace(x, name=flat(x.name), bottoms=tuple(map(flat, x.bottoms)), tops=tuple(map(flat, x.tops))) for x in found
    ]
    assert {x.name for x in renamed} > {f"inception_3a_{end}", "inception_5b_1x1"}
    assert recognise(Net("net", tuple(renamed))).network.spec == MODELS[name]


def test_a_name_that_stands_twice_counts_the_last_time(tmp_path):
    with pytest.warns(UserWarning, match="the last of each counts"):
        spec, params = read_back(tmp_path, twice_in_the_file(dressed("tiny-se-resnet")))
    assert np.array_equal(params["fc.weight"], golden_params("tiny-se-resnet")["fc.weight"])
    assert spec.classes == 10


def test_batch_statistics_are_noted(tmp_path):
    history = read_back(tmp_path, batch_statistics(dressed("tiny-resnet")))[1].info.history
    assert history == ("20 BatchNorm layers say use_global_stats: false; read for inference",)


# --- the same function, other parameters


def biased(found: Layers) -> Layers:
    """Convolutions with a bias that the mean of the BatchNorm after them takes off again."""
    rng = np.random.default_rng(1)
    out = list(found)
    for i, x in enumerate(found):
        if x.type == "BatchNorm":
            bias = rng.standard_normal(x.blobs[0].shape).astype(np.float32)
            conv = with_param(out[i - 1], "convolution_param", bias_term=True)
            out[i - 1] = replace(conv, blobs=(*conv.blobs, bias))
            mean = x.blobs[0].astype(np.float64) + bias.astype(np.float64) * x.blobs[2].astype(np.float64)
            out[i] = replace(x, blobs=(mean, *(blob.astype(np.float64) for blob in x.blobs[1:])))
    return out


def folded(found: Layers) -> Layers:
    """BatchNorm and Scale folded away into biased convolutions, in float64."""
    out: Layers = []
    for i, x in enumerate(found):
        if x.type == "BatchNorm":
            mean, variance = (blob.astype(np.float64) * (1 / float(x.blobs[2][0])) for blob in x.blobs[:2])
            gamma, beta = (blob.astype(np.float64) for blob in found[i + 1].blobs)
            factor = gamma / np.sqrt(variance + EPS)
            conv = with_param(out[-1], "convolution_param", bias_term=True)
            weight = conv.blobs[0].astype(np.float64) * factor[:, None, None, None]
            out[-1] = replace(conv, blobs=(weight, beta - mean * factor))
        elif not (x.type == "Scale" and len(x.bottoms) == 1):
            out.append(x)
    return out


def scale_folded(found: Layers) -> Layers:
    """Only BatchNorm's normalisation folded away: convolution without bias, BatchNorm's part in the Scale."""
    out: Layers = []
    for i, x in enumerate(found):
        if x.type == "BatchNorm":
            mean, variance = (blob.astype(np.float64) * (1 / float(x.blobs[2][0])) for blob in x.blobs[:2])
            gamma, beta = (blob.astype(np.float64) for blob in found[i + 1].blobs)
            factor = gamma / np.sqrt(variance + EPS)
            out.append(replace(found[i + 1], blobs=(factor, beta - mean * factor)))
        elif not (x.type == "Scale" and len(x.bottoms) == 1):
            out.append(x)
    return out


@pytest.mark.parametrize("fold", [biased, folded, scale_folded])
@pytest.mark.parametrize("name", ["tiny-se-resnet", "tiny-se-bn-inception"])
def test_folded_layers_are_the_same_function(name, fold, tmp_path):
    spec, params = read_back(tmp_path, fold(dressed(name)))
    assert spec == expected(name, "")
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)) * 60
    found, wanted = (reference.run(spec, p, x)["logits"] for p in (params, golden_params(name)))
    assert np.abs(found - wanted).max() <= 1e-12 * np.abs(wanted).max()  # rounding of the folding itself
    assert len(params.info.history) == 1


def test_what_a_layer_leaves_out_is_neutral(tmp_path):
    """No Scale after BatchNorm, a Scale without bias, fully connected layers without bias."""

    def less(found: Layers) -> Layers:
        out = []
        for x in found:
            if x.name == "conv1/7x7_s2/bn/scale":
                continue
            if x.name == "conv2_1_3x3/bn/scale":
                x = replace(with_param(x, "scale_param", bias_term=False), blobs=x.blobs[:1])
            if x.name == "conv2_1_1x1_down":
                x = replace(with_param(x, "convolution_param", bias_term=False), blobs=x.blobs[:1])
            if x.name == "classifier":
                x = replace(with_param(x, "inner_product_param", bias_term=False), blobs=x.blobs[:1])
            out.append(x)
        return out

    spec, params = read_back(tmp_path, less(dressed("tiny-se-resnet")))
    wanted = golden_params("tiny-se-resnet")
    neutral = {
        "stem.bn1.weight": 1,
        "stem.bn1.bias": 0,
        "stage1.0.bn2.bias": 0,
        "stage1.0.se.fc1.bias": 0,
        "fc.bias": 0,
    }
    for name, value in neutral.items():
        wanted[name] = np.full_like(wanted[name], value)
    assert spec == expected("tiny-se-resnet", "")
    assert all(np.array_equal(params[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("where", ["pool5/7x7_s1", "conv5_1"])
def test_dropout_is_found_around_the_last_pooling(where, tmp_path):
    found = dressed("tiny-se-resnet")
    i = max(i for i, x in enumerate(found) if where in x.tops) + 1
    found.insert(i, Layer("drop", "Dropout", (where,), (where,), {"dropout_param": {"dropout_ratio": 0.25}}))
    assert read_back(tmp_path, found)[0] == replace(golden_spec("tiny-se-resnet"), name="net", dropout=0.25)


def test_eps_and_class_count_are_read(tmp_path):
    eps = float(np.float32(1e-3))
    found = [with_param(x, "batch_norm_param", eps=eps) if x.type == "BatchNorm" else x for x in dressed("tiny-senet")]
    spec = replace(golden_spec("tiny-senet"), name="net", eps=eps)
    assert read_back(tmp_path, found)[0] == spec


def test_a_network_without_classifier_has_no_classes(tmp_path):
    spec, params = read_back(tmp_path, dressed("tiny-se-resnet")[:-2])
    assert spec.classes == 0
    assert "fc.weight" not in params


# --- networks by name


@pytest.mark.parametrize("model", PUBLISHED)
def test_published_networks_keep_their_names_whatever_the_net_is_called(model):
    found = tuple(as_written(definition.layer for definition in layers(MODELS[model])))
    assert recognise(Net("anything", found)).network.spec == MODELS[model]


def test_recognition_costs_milliseconds():
    net = Net("", tuple(as_written(definition.layer for definition in layers(MODELS["senet-154"]))))
    best = min(_seconds(lambda: recognise(net)) for _ in range(5))
    assert best < 0.1  # 0.05 s of the processor, of 930 layers, measured beside five other jobs on two cores


def _seconds(call: Callable[[], object]) -> float:
    start = time.thread_time()
    call()
    return time.thread_time() - start


# --- other networks


def at(name: str, change: Callable[[Layer], Layer]) -> Callable[[Layers], Layers]:
    return lambda found: [change(x) if x.name == name else x for x in found]


def param(name: str, message: str, **values) -> Callable[[Layers], Layers]:
    return at(name, lambda x: with_param(x, message, **values))


def bottoms(name: str, *order: int) -> Callable[[Layers], Layers]:
    return at(name, lambda x: replace(x, bottoms=tuple(x.bottoms[i] for i in order)))


def inserted(after: str, layer: Layer) -> Callable[[Layers], Layers]:
    return lambda found: [y for x in found for y in ((x, layer) if x.name == after else (x,))]


def left_out(*prefixes: str) -> Callable[[Layers], Layers]:
    return lambda found: [x for x in found if not x.name.startswith(prefixes)]


RESNET, RESNEXT, PLAIN, INCEPTION = "tiny-se-resnet", "tiny-se-resnext", "tiny-resnet", "tiny-se-bn-inception"
CONV, POOL = "convolution_param", "pooling_param"
MISFITS: dict[str, tuple[str, Callable[[Layers], Layers], str, str]] = {
    "stride in the stem": (RESNET, param("conv1/7x7_s2", CONV, stride=[4]), "conv1/7x7_s2", "stride 2, found stride 4"),
    "padding of the stem": (RESNET, param("conv1/7x7_s2", CONV, pad=[2]), "conv1/7x7_s2", "pad 3"),
    "even kernel": (RESNET, param("conv1/7x7_s2", CONV, kernel_size=[6]), "conv1/7x7_s2", "kernel 7, found kernel 6"),
    "oblong kernel": (
        RESNET,
        param("conv2_1_3x3", CONV, kernel_size=[3, 5]),
        "conv2_1_3x3",
        "kernel 3, found kernel (3, 5)",
    ),
    "padded pooling": (RESNET, param("pool1/3x3_s2", POOL, pad=1), "pool1/3x3_s2", "pad 0, found pad 1"),
    "pooling rounds down": (RESNET, param("pool1/3x3_s2", POOL, round_mode="FLOOR"), "pool1/3x3_s2", "round_mode CEIL"),
    "average pooling": (RESNET, param("pool1/3x3_s2", POOL, pool="AVE"), "pool1/3x3_s2", "pool MAX"),
    "dilation": (RESNET, param("conv5_1_3x3", CONV, pad=[2], dilation=[2]), "conv5_1_3x3", "dilation 1"),
    "two strides": (
        RESNET,
        param("conv3_1_3x3", CONV, stride=[2]),
        "conv3_1_3x3",
        "stride 1 as in layer 'conv2_1_3x3', found stride 2",
    ),
    "stride elsewhere": (
        RESNET,
        lambda x: param("conv4_1_3x3", CONV, stride=[2])(param("conv4_1_1x1_reduce", CONV, stride=[1])(x)),
        "conv4_1_1x1_reduce",
        "stride 2 as in layer 'conv3_1_1x1_reduce'",
    ),
    "stride of a projection": (RESNET, param("conv3_1_1x1_proj", CONV, stride=[1]), "conv3_1_1x1_proj", "stride 2"),
    "grouped 1x1": (RESNET, param("conv3_1_1x1_reduce", CONV, group=2), "conv3_1_1x1_reduce", "group 1"),
    "groups elsewhere": (RESNEXT, param("conv4_1_3x3", CONV, group=2), "conv4_1_3x3", "group 4"),
    "width in a stage": (RESNET, param("conv3_2_3x3", CONV, num_output=6), "conv3_2_3x3", "num_output 8"),
    "another width": (
        RESNET,
        param("conv3_2_1x1_increase", CONV, num_output=48),
        "conv3_2_1x1_increase",
        "num_output 32 as in layer 'conv3_1_1x1_increase', found num_output 48",
    ),
    "leaky ReLU": (RESNET, param("conv4_1/relu", "relu_param", negative_slope=0.1), "conv4_1/relu", "negative_slope 0"),
    "PReLU": (RESNET, at("conv4_1/relu", lambda x: replace(x, type="PReLU")), "conv4_1/relu", "a ReLU"),
    "eps": (RESNET, param("conv4_1_3x3/bn", "batch_norm_param", eps=1e-3), "conv4_1_3x3/bn", "eps 9.99999975e-06"),
    "axis of a Scale": (RESNET, param("conv4_1_3x3/bn/scale", "scale_param", axis=2), "conv4_1_3x3/bn/scale", "axis 1"),
    "Axpy swapped": (RESNET, bottoms("conv3_2", 0, 2, 1), "conv3_2", "in this order"),
    "max squeeze": (RESNET, param("conv3_2_global_pool", POOL, pool="MAX"), "conv3_2_global_pool", "pool AVE"),
    "squeeze of a part": (
        RESNET,
        at("conv3_2_global_pool", lambda x: replace(x, settings={POOL: {"pool": "AVE", "kernel_size": 3}})),
        "conv3_2_global_pool",
        "whole map, which is 8x8",
    ),
    "gate by TanH": (RESNET, at("conv3_2_prob", lambda x: replace(x, type="TanH")), "conv3_2_prob", "Sigmoid"),
    "another reduction": (
        RESNET,
        param("conv3_2_1x1_down", CONV, num_output=2),
        "conv3_2_1x1_down",
        "num_output 8 as in layer 'conv3_1_1x1_down', found num_output 2",
    ),
    "one block without SE": (
        RESNET,
        lambda found: [
            replace(x, type="Eltwise", bottoms=x.bottoms[1:]) if x.name == "conv3_2" else x
            for x in left_out("conv3_2_global_pool", "conv3_2_1x1_down", "conv3_2_1x1_up", "conv3_2_prob")(found)
        ],
        "conv3_2_1x1_increase",
        "an SE block here",
    ),
    "gate of four axes": (
        INCEPTION,
        lambda found: bottoms("inception_3c_scale", 0, 1)(
            [
                replace(x, bottoms=(x.bottoms[0], "inception_3c_1x1_up")) if x.name == "inception_3c_scale" else x
                for x in left_out("inception_3c_prob_reshape")(found)
            ]
        ),
        "inception_3c_scale",
        "a gate of two axes",
    ),
    "gate first": (INCEPTION, bottoms("inception_3c_scale", 1, 0), "inception_3c_scale", "second, the gate"),
    "gate along another axis": (
        INCEPTION,
        param("inception_3c_scale", "scale_param", axis=1),
        "inception_3c_scale",
        "axis 0",
    ),
    "product": (PLAIN, param("conv3_2", "eltwise_param", operation="PROD"), "conv3_2", "operation SUM"),
    "weighted sum": (PLAIN, param("conv3_2", "eltwise_param", coeff=[1.0, 0.5]), "conv3_2", "without coefficients"),
    "branches in another order": (
        INCEPTION,
        bottoms("inception_3a/concat", 1, 0, 2, 3),
        "inception_3a/concat",
        "in the order",
    ),
    "concat of rows": (
        INCEPTION,
        param("inception_3a/concat", "concat_param", axis=2),
        "inception_3a/concat",
        "axis 1",
    ),
    "unpadded branch pooling": (INCEPTION, param("inception_3a/pool", POOL, pad=0), "inception_3a/pool", "pad 1"),
    "LRN after the stem": (
        RESNET,
        inserted("pool1/3x3_s2", Layer("norm", "LRN", ("pool1/3x3_s2",), ("pool1/3x3_s2",))),
        "norm",
        "a 1x1 convolution (stage1.0.conv1), found a layer of type LRN",
    ),
    "a second head": (
        RESNET,
        inserted("pool5/7x7_s1", Layer("aux", "InnerProduct", ("pool5/7x7_s1",), ("aux",))),
        "classifier",
        "alone",
    ),
    "a layer too many": (
        RESNET,
        inserted("classifier", Layer("fc9", "InnerProduct", ("classifier",), ("fc9",))),
        "fc9",
        "no further layer",
    ),
    "a layer after the softmax": (
        RESNET,
        inserted("prob", Layer("log", "Log", ("prob",), ("log",))),
        "log",
        "no further layer",
    ),
    "dropout inside": (
        RESNET,
        inserted("conv3_2", Layer("drop", "Dropout", ("conv3_2",), ("conv3_2",))),
        "drop",
        "next to the last pooling",
    ),
    "no projection": (
        RESNET,
        lambda found: [
            replace(x, bottoms=(*x.bottoms[:2], "pool1/3x3_s2")) if x.name == "conv2_1" else x
            for x in left_out("conv2_1_1x1_proj")(found)
        ],
        "conv2_1",
        "a 1x1 convolution (stage1.0.shortcut.conv), found a sum",
    ),
    "a missing ReLU": (RESNET, left_out("conv3_2_1x1_reduce/relu"), "conv3_2_3x3", "a ReLU"),
    "a missing pooling": (
        RESNET,
        lambda found: [
            replace(x, bottoms=("conv5_1",)) if x.name == "classifier" else x for x in left_out("pool5")(found)
        ],
        "classifier",
        "an average pooling over the whole map",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_another_network_is_one_error_that_names_the_first_layer(case):
    name, change, layer, why = MISFITS[case]
    net = Net("net", tuple(change(dressed(name))))
    with pytest.raises(InputError, match=rf"^file: layer '{re.escape(layer)}' .* expected .*, found ") as error:
        recognise(net, "file")
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_every_batchnorm_has_its_factor(tmp_path):
    spec, params = read_back(tmp_path, dressed("tiny-senet"))
    assert isinstance(params, Params)
    norms = [node.module for node in graph(spec) if isinstance(node.op, BatchNorm)]
    assert params.info.factors == dict.fromkeys(norms, float(np.float32(999.98236)))
