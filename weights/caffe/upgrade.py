"""Definitions of old Caffe versions (V0, V1, ``input`` fields) brought to the form of Caffe 1.0.

Works on a NetParameter as a dict (see ``schema``), be it from a binary file or from text; blobs are passed on as
they are. The rules are those of Caffe's ``upgrade_proto.cpp``.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from weights.caffe.schema import MESSAGES
from weights.errors import InputError

_V0_TYPES = {
    "conv": "CONVOLUTION",
    "images": "IMAGE_DATA",
    "innerproduct": "INNER_PRODUCT",
    "pool": "POOLING",
    **{
        name: name.upper()
        for name in (
            *("accuracy", "bnll", "concat", "data", "dropout", "euclidean_loss", "flatten", "hdf5_data"),
            *("hdf5_output", "im2col", "infogain_loss", "lrn", "multinomial_logistic_loss", "relu", "sigmoid"),
            *("softmax", "softmax_loss", "split", "tanh", "window_data"),
        )
    },
}

_TYPES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "IM2COL": "Im2col",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}  # the others: INNER_PRODUCT is InnerProduct

_LEARNED = {"conv": "convolution_param", "innerproduct": "inner_product_param"}
_WINDOW = {"conv": "convolution_param", "pool": "pooling_param"}
_DATA = {"data": "data_param", "images": "image_data_param"}
_SOURCE = {**_DATA, "hdf5_data": "hdf5_data_param", "window_data": "window_data_param"}
_ANY = ""  # in place of a type: all types

_V0_FIELDS: dict[str, tuple[str, dict[str, str]]] = {
    "num_output": ("num_output", _LEARNED),
    "biasterm": ("bias_term", _LEARNED),
    "weight_filler": ("weight_filler", _LEARNED),
    "bias_filler": ("bias_filler", _LEARNED),
    "pad": ("pad", _WINDOW),
    "kernelsize": ("kernel_size", _WINDOW),
    "stride": ("stride", _WINDOW),
    "group": ("group", {"conv": "convolution_param"}),
    "pool": ("pool", {"pool": "pooling_param"}),
    "dropout_ratio": ("dropout_ratio", {"dropout": "dropout_param"}),
    **{field: (field, {"lrn": "lrn_param"}) for field in ("local_size", "alpha", "beta", "k")},
    "source": ("source", {**_SOURCE, "infogain_loss": "infogain_loss_param"}),
    "batchsize": ("batch_size", _SOURCE),
    "rand_skip": ("rand_skip", _DATA),
    "shuffle_images": ("shuffle", {"images": "image_data_param"}),
    "new_height": ("new_height", {"images": "image_data_param"}),
    "new_width": ("new_width", {"images": "image_data_param"}),
    "concat_dim": ("concat_dim", {"concat": "concat_param"}),
    "scale": ("scale", {_ANY: "transform_param"}),
    "meanfile": ("mean_file", {_ANY: "transform_param"}),
    "cropsize": ("crop_size", {_ANY: "transform_param"}),
    "mirror": ("mirror", {_ANY: "transform_param"}),
    **{
        f"det_{field}": (field, {"window_data": "window_data_param"})
        for field in ("fg_threshold", "bg_threshold", "fg_fraction", "context_pad", "crop_mode")
    },
}
"""V0 keeps all settings in one flat message: the field's name since, and by layer type the message that has it."""


def upgrade(net: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """A NetParameter in the form of Caffe 1.0, and the form it had: "V0", "V1" or "V2".

    Raises:
        InputError: old and new layers together, an unknown V0 layer type, a padding layer that cannot be merged.
    """
    net, form = dict(net), "V2"
    old = net.pop("layers", [])
    if old:
        form = "V1"
        if any("layer" in layer for layer in old):
            form = "V0"
            old = [_from_v0(layer) for layer in _without_padding(net.get("input", []), old)]
        if net.get("layer"):
            raise InputError("has layers of the old form (`layers`) and of the new one (`layer`); Caffe refuses both")
        net["layer"] = [_from_v1(layer) for layer in old]
    inputs = net.pop("input", [])
    shapes, dims = net.pop("input_shape", []), net.pop("input_dim", [])
    if inputs and (shapes or dims):
        net["layer"] = [_input_layer(inputs, shapes, dims), *net.get("layer", [])]
    return net, form


def _input_layer(inputs: list[str], shapes: list[dict[str, Any]], dims: list[int]) -> dict[str, Any]:
    shapes = shapes or [{"dim": dims[i : i + 4]} for i in range(0, len(dims), 4)]
    if len(shapes) != len(inputs) or any(len(shape.get("dim", [])) != 4 for shape in shapes if dims):
        raise InputError(f"names {len(inputs)} inputs, but the shapes given beside them are not as many")
    return {"name": "input", "type": "Input", "top": inputs, "input_param": {"shape": shapes}}


def _without_padding(inputs: list[str], layers: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The V0 layers, those of type "padding" merged into the convolutions and poolings that read them."""
    makers: dict[str, dict[str, Any] | None] = dict.fromkeys(inputs)
    for layer in layers:
        bottoms, settings = list(layer.get("bottom", [])), dict(layer.get("layer", {}))
        for i, bottom in enumerate(bottoms):
            if bottom not in makers:
                raise InputError(f"layer {settings.get('name', '')!r} reads {bottom!r}, which no layer before it makes")
            maker = makers[bottom]
            if maker is None or maker.get("layer", {}).get("type") != "padding":
                continue
            if settings.get("type") not in _WINDOW or not (
                len(bottoms) == len(maker.get("bottom", [])) == len(maker.get("top", [])) == 1
            ):
                raise InputError(
                    f"layer {settings.get('name', '')!r} reads the padding layer {maker['layer'].get('name', '')!r}; "
                    "only a convolution or pooling with one bottom can, from a padding layer with one bottom and top"
                )
            settings["pad"] = maker["layer"].get("pad", 0)
            bottoms[i] = maker["bottom"][0]
        makers |= dict.fromkeys(layer.get("top", []), layer)
        if settings.get("type") != "padding":
            yield {**layer, "bottom": bottoms, **({"layer": settings} if settings else {})}


def _from_v0(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A V1 layer; an entry without a V0 layer in it keeps its bottoms and tops alone, as in Caffe."""
    old = layer.get("layer", {})
    found = {key: layer[key] for key in ("bottom", "top") if layer.get(key)}
    found |= {key: old[key] for key in ("name", "blobs", "blobs_lr", "weight_decay") if key in old}
    kind = old.get("type", _ANY)
    if "type" in old:
        if kind not in _V0_TYPES:
            raise InputError(f"layer {old.get('name', '')!r} is of type {kind!r}, which V0 of Caffe does not have")
        found["type"] = _V0_TYPES[kind]
    if kind == "hdf5_output" and "hdf5_output_param" in old:
        found["hdf5_output_param"] = old["hdf5_output_param"]
    for key, value in old.items():
        name, places = _V0_FIELDS.get(key, ("", {}))
        place = places.get(kind) or places.get(_ANY)
        if place is None:
            continue  # a field foreign to its type is passed over
        message = MESSAGES["V1LayerParameter"][place].message or ""
        found.setdefault(place, {})[name] = [value] if MESSAGES[message][name].repeated else value
    return found


def _from_v1(layer: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in layer.items() if key in MESSAGES["LayerParameter"] and key != "param"}
    if "layer" in layer:
        raise InputError(f"layer {layer.get('name', '')!r} holds a V0 layer inside an upgraded one")
    kind = layer.get("type", "NONE")
    found["type"] = _TYPES.get(kind, kind.title().replace("_", ""))
    columns = {"name": "param", "share_mode": "blob_share_mode", "lr_mult": "blobs_lr", "decay_mult": "weight_decay"}
    count = max(len(layer.get(old, [])) for old in columns.values())
    if count:
        found["param"] = [
            {new: layer[old][i] for new, old in columns.items() if i < len(layer.get(old, []))} for i in range(count)
        ]
    return found
