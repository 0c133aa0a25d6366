"""The Caffe definitions that networks come out as: those of the published files, layer by layer."""

import hashlib
import json
from dataclasses import replace

import pytest
from published import PUBLISHED

from conformance import cases
from weights import MODELS, Network, cost, graph
from weights.caffe import text as prototxt
from weights.caffe.as_written import as_written
from weights.caffe.blobs import blob_count
from weights.caffe.layers import layer_of, layers, usual_pooling
from weights.caffe.net import Layer
from weights.caffe.schema import MESSAGES
from weights.names.caffe import NET_NAMES
from weights.networks.operations import Scale, Shift

PROTOTXTS = {
    "se-bn-inception": ("SE-BN-Inception.prototxt", "c8f698c3013a360069fb47c23649a5d995d365c58d19d3b2adaf791ac711d5c7"),
    "se-resnet-50": ("SE-ResNet-50.prototxt", "80446a12f88efad530de5a70438d7ee1fdccfb25e24c18181bbbe60d4b6055a2"),
    "se-resnet-101": ("SE-ResNet-101.prototxt", "d027f7140258ed44b44849a3d2a40680017df8ac7cb914d3104b787eddbc4a4f"),
    "se-resnet-152": ("SE-ResNet-152.prototxt", "4f105f7935bb6156734d6ca9f9bdccbb67d7dd6a3aea28f024137c93fb994495"),
    "se-resnext-50": ("SE-ResNeXt-50.prototxt", "ac7edbde0c6ee1b3acf151db0a194cd63870b89113a0f6ef9cd196d8b0f36b5b"),
    "se-resnext-101": ("SE-ResNeXt-101.prototxt", "02b44e6045c9bfa5db728c05c241980ba6937d6bd6e31aa3155f71a51dd9cb2b"),
    "senet-154": ("SENet-154.prototxt", "b031025d3ed77d3f315f9513d701d120c25ccd83d9d5cb80c77a051c3b63fde7"),
}
"""Network -> published file, and the digest of its layers (see ``digest``)."""


def filled(value, message):
    """A message with every default filled in: what Caffe reads."""
    fields = MESSAGES[message]
    defaults = {name: field.default for name, field in fields.items() if field.default is not None}
    nested = {
        name: [filled(item, fields[name].message) for item in found]
        if fields[name].repeated
        else filled(found, fields[name].message)
        for name, found in value.items()
        if fields[name].kind == "message"
    }
    return defaults | dict(value) | nested


def complete(layer: Layer):
    """A layer as plain data, every parameter of its settings filled in."""
    return [layer.name, layer.type, layer.bottoms, layer.tops, filled(layer.settings, "LayerParameter")]


def digest(name: str, found) -> str:
    """sha256 of a network's name and complete layers as JSON."""
    text = json.dumps([name, [complete(layer) for layer in found]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


RELEASED = [name for name, spec in MODELS.items() if spec.family in ("resnet", "inception")]
"""The released networks and their plain counterparts, whose layers have published names."""


def emitted(model: str):
    return [definition.layer for definition in layers(MODELS[model])]


@pytest.mark.parametrize("model", PROTOTXTS)
def test_layers_are_those_of_the_published_file(model):
    assert digest(NET_NAMES[model], emitted(model)) == PROTOTXTS[model][1]


@pytest.mark.parametrize("model", PROTOTXTS)
def test_the_published_file_has_the_layers_of_the_digest(model, golden):
    net = prototxt.read(golden / "published" / PROTOTXTS[model][0])
    assert digest(net.name, net.layers) == PROTOTXTS[model][1]
    assert [complete(layer) for layer in net.layers] == [complete(layer) for layer in emitted(model)]


@pytest.mark.parametrize("model", PUBLISHED)
def test_blobs_are_as_many_as_in_the_released_files(model):
    assert sum(map(blob_count, emitted(model))) == cost(MODELS[model]).blobs


@pytest.mark.parametrize("model", [name for name in PUBLISHED if MODELS[name].se is None])
def test_plain_networks_sum_and_concatenate_without_gates(model):
    types = {layer.type for layer in emitted(model)}
    assert types.isdisjoint({"Axpy", "Sigmoid", "Reshape"})
    assert types & {"Eltwise", "Concat"}


def test_last_pooling_is_the_published_window_only_where_that_covers_the_map():
    spec = MODELS["se-resnet-50"]
    windows = {
        size: next(d.layer for d in layers(spec, (size, size)) if d.layer.name == "pool5/7x7_s1").settings[
            "pooling_param"
        ]
        for size in (224, 256)
    }
    assert windows[224] == {"pool": "AVE", "kernel_size": 7, "stride": 1}
    assert windows[256] == {"pool": "AVE", "engine": "CAFFE", "global_pooling": True}


@pytest.mark.parametrize("name", ["se-resnet-50", "senet-154", "se-bn-inception", "resnet-50"])
def test_published_window_is_that_of_the_published_networks_under_any_name(name):
    assert usual_pooling(replace(MODELS[name], name="mine")) == "window"
    assert usual_pooling(replace(MODELS[name], classes=10)) == "global"
    assert usual_pooling(Network(name, MODELS[name].network().nodes)) == "global"


@pytest.mark.parametrize("spec", [*PUBLISHED.values(), *cases.TINY.values()], ids=lambda spec: spec.name)
def test_every_node_is_the_top_of_one_layer_except_scalings_in_an_axpy_and_moves_in_a_convolution(spec):
    names = layer_of(spec)
    found = {definition.layer.name for definition in layers(spec)}
    assert len(set(names.values())) == len(names)
    assert found.issuperset(names.values())
    inside = {node.name for node in graph(spec) if isinstance(node.op, Scale) and node.name.endswith(".se")}
    inside |= {node.name for node in graph(spec) if isinstance(node.op, Shift)}
    assert {node.name for node in graph(spec)} - names.keys() == inside


def test_a_backbone_ends_with_the_pooling():
    last = layers(replace(MODELS["senet-154"], classes=0))[-1].layer
    assert (last.name, last.type) == ("pool5/7x7_s1", "Pooling")


def test_blobs_with_several_readers_are_split_as_caffe_does():
    plain = [
        Layer("in", "Input", (), ("x", "label")),
        Layer("a", "ReLU", ("x",), ("x",)),
        Layer("b", "Eltwise", ("x", "x"), ("y",)),
        Layer("c", "Eltwise", ("y", "x"), ("z",)),
        Layer("l1", "SoftmaxWithLoss", ("z", "label"), ("l1",)),
        Layer("l2", "Accuracy", ("z", "label"), ("l2",)),
    ]
    found = [(layer.name, layer.bottoms, layer.tops) for layer in as_written(plain)]
    assert found == [
        ("in", (), ("x", "label")),
        ("label_in_1_split", ("label",), ("label_in_1_split_0", "label_in_1_split_1")),
        ("a", ("x",), ("x",)),
        ("x_a_0_split", ("x",), ("x_a_0_split_0", "x_a_0_split_1", "x_a_0_split_2")),
        ("b", ("x_a_0_split_0", "x_a_0_split_1"), ("y",)),
        ("c", ("y", "x_a_0_split_2"), ("z",)),
        ("z_c_0_split", ("z",), ("z_c_0_split_0", "z_c_0_split_1")),
        ("l1", ("z_c_0_split_0", "label_in_1_split_0"), ("l1",)),
        ("l2", ("z_c_0_split_1", "label_in_1_split_1"), ("l2",)),
    ]
