"""A list of Caffe layers as a graph of values, followed from reader to reader; a layer that does not fit is named.

Caffe names blobs, and layers may work in place; here every output is a value of its own. Split and Dropout layers are
the value that they copy.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn, cast

from weights.caffe.net import Layer, Net
from weights.caffe.schema import MESSAGES
from weights.errors import InputError
from weights.networks.spec import EPS

_ENDS = re.compile(r".*Loss|(Log)?Softmax|Accuracy|Silence|ArgMax|HDF5Output")
_FAMILIES = "the SE-ResNet, SE-ResNeXt, SENet and BN-Inception families"


@dataclass(frozen=True, slots=True)
class Normalised:
    """A convolution and what follows it, each of which may be folded into the one before."""

    conv: Layer
    norm: Layer | None  # BatchNorm
    scale: Layer | None


@dataclass(eq=False, slots=True)
class Op:
    """A layer that computes something."""

    layer: Layer
    inputs: tuple[int, ...]  # numbers of values; every layer's top is a new value, in place or not
    output: int
    used: bool = False

    def param(self, name: str) -> dict[str, Any]:
        """One of the layer's messages of settings, defaults filled in."""
        return _defaults(name) | self.layer.settings.get(name, {})


@dataclass(frozen=True, slots=True)
class Conv:
    """The geometry of a convolution with a square odd kernel, padded by half of it."""

    layer: Layer
    out: int
    kernel: int
    stride: int
    groups: int


class Walk:
    """The layers of a net as operations on values, with steps that check one kind of layer each and go past it.

    Attributes:
        data: the value that the first convolution reads.
        readers: value -> the operations that read it.
        channels, sizes: value -> its channels, and (height, width) at the stated input size (224 where none is).
        eps: BatchNorm's, with the layer that was the first to state it.
    """

    def __init__(self, net: Net, source: str):
        self.net, self.source = net, source
        self.ops: list[Op] = []
        self.readers: dict[int, list[Op]] = defaultdict(list)
        self.maker: dict[int, Layer] = {}
        self.dropouts: list[tuple[int, Layer]] = []
        self.channels: dict[int, int] = {}
        self.sizes: dict[int, tuple[int, int]] = {}
        self.eps: tuple[float, Layer] | None = None
        self.units: dict[str, Normalised] = {}
        self.linears: dict[str, Layer] = {}
        self.batch_statistics = 0
        self.size: tuple[int, int] | None = None
        self.data = self._connect()

    # --- the layers as a graph of values

    def _connect(self) -> int:
        values: dict[str, int] = {}
        inputs: dict[int, Layer | None] = {}
        count = 0
        done: dict[str, tuple[Layer, tuple[int, ...], tuple[int, ...]]] = {}
        for layer in self.net.layers:
            for blob in layer.bottoms:
                if blob not in values:  # the input, in a file that leaves it undefined
                    if inputs and not _ENDS.fullmatch(layer.type):
                        self.fail(layer, f"a layer before it that makes {blob!r}", "none")
                    values[blob] = count
                    inputs[count] = None
                    count += 1
            bottoms = tuple(values[blob] for blob in layer.bottoms)
            if layer.name in done and done[layer.name][0] == layer and bottoms in done[layer.name][1:]:
                continue  # the same layer stands twice
            if layer.type in ("Split", "Dropout") and len(bottoms) == 1:
                if layer.type == "Dropout":
                    self.dropouts.append((bottoms[0], layer))
                values |= dict.fromkeys(layer.tops, bottoms[0])
                continue
            tops = tuple(range(count, count + len(layer.tops)))
            count += len(tops)
            done[layer.name] = layer, bottoms, tops
            values |= dict(zip(layer.tops, tops, strict=True))
            self.maker |= dict.fromkeys(tops, layer)
            if not bottoms:
                inputs |= dict.fromkeys(tops, layer)
            else:
                op = Op(layer, bottoms, tops[0] if tops else -1, used=bool(_ENDS.fullmatch(layer.type)))
                self.ops.append(op)
                for value in [] if op.used else dict.fromkeys(bottoms):
                    self.readers[value].append(op)
        read = [value for value in inputs if any(op.layer.type == "Convolution" for op in self.readers[value])]
        if not read:
            for layer in self.net.layers:
                if layer.bottoms:
                    self.fail(layer, "a convolution that reads the input", "none in the whole network")
            raise InputError(f"{self.source}: no layer reads an input; expected a network of {_FAMILIES}")
        if len(read) > 1:
            self.fail(self.readers[read[1]][0].layer, "one input of the network", "a second one")
        self.channels[read[0]] = 3
        self.size = self._input_size(inputs[read[0]])
        self.sizes[read[0]] = self.size or (224, 224)
        return read[0]

    def _input_size(self, layer: Layer | None) -> tuple[int, int] | None:
        if layer is None:
            return None
        shapes = layer.settings.get("input_param", {}).get("shape", [])
        if shapes and len(shapes[0].get("dim", [])) == 4:
            return tuple(shapes[0]["dim"][2:])
        crop = layer.settings.get("transform_param", {}).get("crop_size", 0)
        return (crop, crop) if crop else None

    # --- errors and steps

    def fail(self, layer: Layer, expected: str, found: str) -> NoReturn:
        raise InputError(
            f"{self.source}: layer {layer.name!r} ({layer.type or 'of no type'}) does not fit {_FAMILIES}: "
            f"expected {expected}, found {found}"
        )

    def only(self, value: int, expected: str, *types: str) -> Op:
        """The one layer that reads a value; it must be of one of the types."""
        readers = self.readers[value]
        if not readers:
            self.fail(self.maker[value], f"{expected} after it", "the end of the network")
        for op in readers:
            if op.layer.type not in types:
                self.fail(op.layer, expected, f"a layer of type {op.layer.type or 'unknown'}")
        if len(readers) > 1:
            self.fail(
                readers[1].layer, f"{expected} alone to read the output of {self._made(value)}", "a second reader"
            )
        return self.use(readers[0])

    def use(self, op: Op) -> Op:
        op.used = True
        return op

    def _made(self, value: int) -> str:
        return repr(self.maker[value].name) if value in self.maker else "the input"

    def check(self, op: Op, expected: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        wrong = {key: found[key] for key in wanted if found[key] != wanted[key]}
        if wrong:
            self.fail(
                op.layer,
                expected + " with " + ", ".join(f"{key} {wanted[key]}" for key in wrong),
                ", ".join(f"{key} {value}" for key, value in wrong.items()),
            )

    # --- single layers

    def relu(self, value: int) -> int:
        op = self.only(value, "a ReLU", "ReLU")
        self.check(op, "a ReLU", op.param("relu_param"), {"negative_slope": 0.0})
        return self.same(op, value)

    def same(self, op: Op, value: int) -> int:
        """The output of a layer that changes neither channels nor size."""
        self.channels[op.output], self.sizes[op.output] = self.channels[value], self.sizes[value]
        return op.output

    def conv(self, op: Op, expected: str, **wanted: Any) -> tuple[Conv, int]:
        """A convolution's geometry and its output; padding is always half the kernel, unless in ``wanted``."""
        p = op.param("convolution_param")
        found = {
            "kernel": _pair(p, "kernel_size", "kernel", None),
            "stride": _pair(p, "stride", "stride", 1),
            "pad": _pair(p, "pad", "pad", 0),
            "dilation": _pair(p, "dilation", "dilation", 1),
            "group": p["group"],
            "axis": p["axis"],
        }
        kernel = found["kernel"]
        if not isinstance(kernel, int) or kernel % 2 == 0:
            self.fail(op.layer, f"{expected} with a square kernel of odd size", f"kernel {kernel}")
        if found["stride"] not in (1, 2):
            self.fail(op.layer, f"{expected} with stride 1 or 2", f"stride {found['stride']}")
        wanted = {"pad": kernel // 2, "dilation": 1, "axis": 1} | wanted
        self.check(op, expected, found, wanted)
        out, stride = p["num_output"], cast(int, found["stride"])
        if found["group"] < 1 or out % found["group"] or self.channels[op.inputs[0]] % found["group"]:
            self.fail(op.layer, f"{expected} whose group divides its channels", f"group {found['group']}")
        self.channels[op.output] = out
        h, w = self.sizes[op.inputs[0]]
        self.sizes[op.output] = ((h - 1) // stride + 1, (w - 1) // stride + 1)
        return Conv(op.layer, out, kernel, stride, found["group"]), op.output

    def unit(self, op: Op, expected: str, **wanted: Any) -> tuple[Normalised, Conv, int]:
        """A convolution with the BatchNorm and Scale after it, where there are such."""
        self.use(op)
        conv, value = self.conv(op, expected, **wanted)
        norm = scale = None
        if (after := self.readers[value]) and after[0].layer.type == "BatchNorm":
            norm_op = self.only(value, "a BatchNorm", "BatchNorm")
            norm, value = norm_op.layer, self.same(norm_op, value)
            self._norm(norm)
        if (after := self.readers[value]) and after[0].layer.type == "Scale" and len(after[0].inputs) == 1:
            scale_op = self.only(value, "a Scale", "Scale")
            p = scale_op.param("scale_param")
            self.check(scale_op, "a Scale of the channels", p, {"axis": 1, "num_axes": 1})
            scale, value = scale_op.layer, self.same(scale_op, value)
        return Normalised(op.layer, norm, scale), conv, value

    def _norm(self, layer: Layer) -> None:
        p = layer.settings.get("batch_norm_param", {})
        eps = p.get("eps", EPS)
        if self.eps is None:
            self.eps = eps, layer
        if eps != self.eps[0]:
            self.fail(layer, f"eps {self.eps[0]:.9g} as in layer {self.eps[1].name!r}", f"eps {eps:.9g}")
        self.batch_statistics += p.get("use_global_stats") is False

    def maxpool(self, op: Op, expected: str) -> int:
        return self.pool(op, expected, pool="MAX", kernel=3, stride=2, pad=0)

    def pool(self, op: Op, expected: str, **wanted: Any) -> int:
        p = op.param("pooling_param")
        found = {
            "pool": p["pool"],
            "kernel": _pair(p, "kernel_size", "kernel", None),
            "stride": _pair(p, "stride", "stride", 1),
            "pad": _pair(p, "pad", "pad", 0),
            "global_pooling": p["global_pooling"],
            "round_mode": p["round_mode"] if wanted["stride"] > 1 else "CEIL",
        }
        self.check(op, expected, found, {"global_pooling": False, "round_mode": "CEIL"} | wanted)
        kernel, stride, pad = wanted["kernel"], wanted["stride"], wanted["pad"]
        h, w = (-(-(n + 2 * pad - kernel) // stride) + 1 for n in self.sizes[op.inputs[0]])
        self.sizes[op.output], self.channels[op.output] = (h, w), self.channels[op.inputs[0]]
        return op.output

    def squeeze(self, op: Op, expected: str) -> int:
        """Average pooling over the whole map: global, or by a window of the map's size."""
        p = op.param("pooling_param")
        self.check(op, expected, p, {"pool": "AVE"})
        if not p["global_pooling"]:
            h, w = self.sizes[op.inputs[0]]
            kernel, pad = _pair(p, "kernel_size", "kernel", None), _pair(p, "pad", "pad", 0)
            if kernel not in ((h, w), h if h == w else None) or pad != 0:
                whole = f"{expected} over the whole map, which is {h}x{w}"
                self.fail(op.layer, whole, f"kernel {kernel}, pad {pad}")
        self.channels[op.output], self.sizes[op.output] = self.channels[op.inputs[0]], (1, 1)
        return op.output

    def reshape(self, value: int) -> tuple[int, bool]:
        """Past Reshape and Flatten layers on (N, C, 1, 1): the value, and whether it is (N, C) after them."""
        flat = False
        while len(self.readers[value]) == 1 and self.readers[value][0].layer.type in ("Flatten", "Reshape"):
            op = self.use(self.readers[value][0])
            c = self.channels[value]
            if op.layer.type == "Flatten":
                self.check(op, "a Flatten", op.param("flatten_param"), {"axis": 1, "end_axis": -1})
                flat = True
            else:
                p = op.param("reshape_param")
                self.check(op, "a Reshape", p, {"axis": 0, "num_axes": -1})
                dims = p.get("shape", {}).get("dim", [])
                keeps = dims[:1] in ([0], [-1]) and dims[1:2] in ([0], [-1], [c]) and set(dims[2:]) <= {0, 1}
                if not keeps or dims.count(-1) > 1 or len(dims) > 4:
                    self.fail(op.layer, f"a Reshape to (N, {c})", f"dims {', '.join(map(str, dims))}")
                flat = len(dims) == 2
            value = self.same(op, value)
        return value, flat

    def linear(self, value: int, expected: str) -> tuple[Layer, int, int]:
        """A fully connected layer on (N, C): an InnerProduct, or a 1x1 convolution."""
        value, _ = self.reshape(value)
        op = self.only(value, expected, "InnerProduct", "Convolution")
        if op.layer.type == "Convolution":
            conv, value = self.conv(op, expected, kernel=1, stride=1, group=1)
            return op.layer, conv.out, value
        p = op.param("inner_product_param")
        self.check(op, expected, p, {"axis": 1})
        self.channels[op.output], self.sizes[op.output] = p["num_output"], (1, 1)
        return op.layer, p["num_output"], op.output


@cache
def _defaults(param: str) -> dict[str, Any]:
    message = MESSAGES["LayerParameter"][param].message
    return {name: f.default for name, f in MESSAGES[str(message)].items() if f.default is not None}


def _pair(param: Mapping[str, Any], name: str, stem: str, default: int | None) -> int | tuple[int, ...] | None:
    """A geometry setting by Caffe's rules: one number where height and width agree, otherwise what there is."""
    stated = param.get(name)
    h, w = param.get(f"{stem}_h", 0), param.get(f"{stem}_w", 0)
    if h or w:
        return h if h == w else (h, w)
    values = tuple(stated) if isinstance(stated, list) else (stated,) if stated is not None else ()
    if not values:
        return default
    return values[0] if len(set(values)) == 1 else values
