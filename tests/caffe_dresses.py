"""One network in every dress that Caffe knows: lists of layers, changed in ways that leave the network what it is."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from conftest import golden_params, golden_spec

from weights import Params, Spec
from weights.caffe.as_written import as_written
from weights.caffe.blobs import blobs
from weights.caffe.layers import layers
from weights.caffe.net import Layer

Layers = list[Layer]


def with_blobs(spec: Spec, params: Params, size: tuple[int, int] = (64, 64)) -> Layers:
    """A network as Caffe layers with blobs."""
    held = blobs(spec, params, params.info)
    return [
        replace(d.layer, blobs=held.get((d.node.module, d.layer.type), ())) if d.node else d.layer
        for d in layers(spec, size)
    ]


def dressed(name: str) -> Layers:
    """A golden network as Caffe layers with blobs."""
    return with_blobs(golden_spec(name), golden_params(name))


def with_param(layer: Layer, param: str, **values: Any) -> Layer:
    return replace(layer, settings={**layer.settings, param: {**layer.settings.get(param, {}), **values}})


def renamed(found: Layers) -> Layers:
    def odd(name: str) -> str:
        return f'Größe {name[::-1]}\n"/é%s'

    return [
        replace(x, name=f"{odd(x.name)} {i}", bottoms=tuple(map(odd, x.bottoms)), tops=tuple(map(odd, x.tops)))
        for i, x in enumerate(found)
    ]


def nowhere_in_place(found: Layers) -> Layers:
    now: dict[str, str] = {}
    out = []
    for i, layer in enumerate(found):
        bottoms = tuple(now[blob] for blob in layer.bottoms)
        now |= {blob: f"{blob} {i}" for blob in layer.tops}
        out.append(replace(layer, bottoms=bottoms, tops=tuple(now[blob] for blob in layer.tops)))
    return out


def projection_first(found: Layers) -> Layers:
    """Each projection with its BatchNorm right before the first 1x1 of the unit."""
    out: Layers = []
    for layer in found:
        where = len(out)
        if "_proj" in layer.name and "conv" in layer.name.split("/")[0]:
            block = layer.name.partition("_1x1_proj")[0]
            where = next(i for i, other in enumerate(out) if other.name == f"{block}_1x1_reduce")
        out.insert(where, layer)
    return out


def training(found: Layers) -> Layers:
    data = Layer("d", "Data", (), ("data", "label"), {"transform_param": {"crop_size": 64}})
    loss = Layer("loss", "SoftmaxWithLoss", ("classifier", "label"), ("loss",))
    top5 = Layer("top5", "Accuracy", ("classifier", "label"), ("top5",), {"accuracy_param": {"top_k": 5}})
    scores = Layer("scores", "ArgMax", ("classifier",), ("scores",))
    other = Layer("weights", "Slice", ("label",), ("w1", "w2"))
    quiet = Layer("silence", "Silence", ("w1",), ())
    return [data, other, *found[1:-1], loss, top5, scores, quiet]


def without_input(found: Layers) -> Layers:
    return found[1:]


def without_softmax(found: Layers) -> Layers:
    return found[:-1]


def pooled_by_window(found: Layers) -> Layers:
    size = 4 if any(x.type == "Concat" for x in found) else 2  # of the last map, the input being 64x64
    return [
        replace(x, settings={"pooling_param": {"pool": "AVE", "kernel_h": size, "kernel_w": size}})
        if x.name == "pool5/7x7_s1"
        else x
        for x in found
    ]


def geometry_by_axis(found: Layers) -> Layers:
    def stated(layer: Layer) -> Layer:
        if layer.type == "Convolution":
            p = dict(layer.settings["convolution_param"])
            (k,), (s,), (pad,) = p.pop("kernel_size"), p.pop("stride", [1]), p.pop("pad", [0])
            both = {"kernel_h": k, "kernel_w": k, "stride_h": s, "stride_w": s, "pad_h": pad, "pad_w": pad}
            return replace(layer, settings={"convolution_param": p | both | {"dilation": [1, 1], "engine": "CUDNN"}})
        return layer

    return [stated(layer) for layer in found]


def convolutional_classifier(found: Layers) -> Layers:
    out = []
    for x in found:
        if x.type == "InnerProduct":
            settings = {"convolution_param": {"num_output": x.blobs[0].shape[0], "kernel_size": [1]}}
            weight = x.blobs[0][:, :, None, None]
            out.append(replace(x, type="Convolution", settings=settings, blobs=(weight, x.blobs[1])))
            out.append(Layer("flat", "Flatten", ("classifier",), ("classifier",)))
        else:
            out.append(x)
    return out


def transposed_classifier(found: Layers) -> Layers:
    def turned(x: Layer) -> Layer:
        return with_param(replace(x, blobs=(x.blobs[0].T, x.blobs[1])), "inner_product_param", transpose=True)

    return [turned(x) if x.type == "InnerProduct" else x for x in found]


def flattened_features(found: Layers) -> Layers:
    return [*found[:-2], Layer("flat", "Flatten", ("pool5/7x7_s1",), ("pool5/7x7_s1",)), *found[-2:]]


def inner_products(found: Layers) -> Layers:
    """The SE blocks by InnerProduct, joined by a two-bottom Scale and, in residual networks, an Eltwise."""
    out: Layers = []
    for i, x in enumerate(found):
        if x.name.endswith(("_1x1_down", "_1x1_up")):
            settings = {"inner_product_param": {"num_output": x.blobs[0].shape[0]}}
            weight = x.blobs[0][:, :, 0, 0]
            out.append(replace(x, type="InnerProduct", settings=settings, blobs=(weight, x.blobs[1])))
        elif x.type == "Axpy":
            gate, y, shortcut = x.bottoms
            scale = Layer(f"{x.name}_scale", "Scale", (y, gate), ("scaled",), {"scale_param": {"axis": 0}})
            bottoms = ("scaled", shortcut) if i % 2 else (shortcut, "scaled")
            out += [scale, Layer(x.name, "Eltwise", bottoms, x.tops)]
        else:
            out.append(x)
    return out


def scaled_by_convolutions(dims: Sequence[int] | None) -> Callable[[Layers], Layers]:
    """The gate of four axes brought to two by a Reshape, or by a Flatten."""

    def change(found: Layers) -> Layers:
        out: Layers = []
        for x in found:
            if x.type == "Reshape":
                flat = {"reshape_param": {"shape": {"dim": dims}}} if dims else {}
                out.append(replace(x, type="Reshape" if dims else "Flatten", settings=flat))
            elif x.type == "Axpy":
                gate, y, shortcut = x.bottoms
                flat = {"reshape_param": {"shape": {"dim": dims}}} if dims else {}
                out.append(Layer(f"{x.name}_flat", "Reshape" if dims else "Flatten", (gate,), ("gate",), flat))
                out.append(Layer(f"{x.name}_scale", "Scale", (y, "gate"), ("scaled",), {"scale_param": {"axis": 0}}))
                out.append(Layer(x.name, "Eltwise", ("scaled", shortcut), x.tops))
            else:
                out.append(x)
        return out

    return change


def twice_in_the_file(found: Layers) -> Layers:
    wrong = [replace(x, blobs=tuple(np.zeros_like(blob) for blob in x.blobs)) for x in found]
    return [x for pair in zip(wrong, found, strict=True) for x in pair]


def unstated_statistics(found: Layers) -> Layers:
    return [replace(x, settings={}) if x.type == "BatchNorm" else x for x in found]


def batch_statistics(found: Layers) -> Layers:
    return [with_param(x, "batch_norm_param", use_global_stats=False) if x.type == "BatchNorm" else x for x in found]


DRESSES: dict[str, Callable[[Layers], Layers]] = {
    "Split layers": as_written,
    "odd names": renamed,
    "nowhere in place": nowhere_in_place,
    "projection first": projection_first,
    "training net": training,
    "no input layer": without_input,
    "no softmax": without_softmax,
    "7x7-like window": pooled_by_window,
    "geometry by axis": geometry_by_axis,
    "convolutional classifier": convolutional_classifier,
    "transposed classifier": transposed_classifier,
    "flattened features": flattened_features,
    "InnerProduct, Scale, Eltwise": inner_products,
    "Reshape 0,0": scaled_by_convolutions([0, 0]),
    "Reshape 0,-1": scaled_by_convolutions([0, -1]),
    "Flatten": scaled_by_convolutions(None),
    "use_global_stats absent": unstated_statistics,
    "use_global_stats false": batch_statistics,
    "many at once": lambda x: as_written(renamed(nowhere_in_place(inner_products(projection_first(training(x)))))),
}
