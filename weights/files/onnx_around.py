"""What an ONNX file has around a network where asked for: from a photograph to its input, and probabilities."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from weights.errors import InputError
from weights.files.onnx_options import OnnxOptions
from weights.networks.network import Network
from weights.networks.sizes import shapes
from weights.params import Preprocessing

if TYPE_CHECKING:
    import onnx_ir as ir

IMAGE, PROBABILITIES = "image", "prob"
"""The names of the input and of the output."""


def around(made: "ir.Model", network: Network, preprocessing: Preprocessing | None, options: OnnxOptions) -> None:
    """Puts before a network's model and behind it what the options ask for; its own values keep their names.

    Raises:
        InputError: the preprocessing is not known, or makes what the network does not take; the probabilities are of
            what is no classifier; or a name is taken.
    """
    wanted = {IMAGE: options.preprocessing, PROBABILITIES: options.softmax}
    taken = [name for name, asked in wanted.items() if asked and name in network.by_name]
    if taken:
        raise InputError(f"{network.name} has a node {taken[0]} itself, so nothing around it can have the name")
    if options.preprocessing:
        if preprocessing is None:
            raise InputError(f"how images are prepared for {network.name} is not known; state it (--preprocessing)")
        if network.in_channels != 3:
            raise InputError(f"{network.name} takes {network.in_channels} channels, a photograph has 3")
        if options.preprocessing == "resize":
            shapes(network, preprocessing.crop, preprocessing.crop)
        _embed(made, preprocessing, options)
    if options.softmax:
        if not network.classes:
            raise InputError(f"{network.name} has no classifier, whose outputs a softmax could make probabilities of")
        _append_softmax(made)


class _Nodes:
    """Nodes in the making, each named after its output, in the order of what they compute."""

    def __init__(self) -> None:
        self.made: list[ir.Node] = []

    def __call__(
        self,
        operator: str,
        inputs: Sequence["ir.Value | None"],
        output: "str | ir.Value",
        **attributes: "int | str | list[int] | ir.TensorProtocol",
    ) -> "ir.Value":
        import onnx_ir as ir

        value = ir.val(output) if isinstance(output, str) else output
        self.made.append(ir.node(operator, inputs, attributes, outputs=[value], name=value.name))
        return value

    def constant(self, array: np.ndarray, name: str) -> "ir.Value":
        import onnx_ir as ir

        return self("Constant", [], name, value=ir.tensor(array))


def _embed(made: "ir.Model", preprocessing: Preprocessing, options: OnnxOptions) -> None:
    import onnx_ir as ir

    graph = made.graph
    data = graph.inputs[0]
    assert data.shape is not None
    kind = data.dtype
    assert kind is not None
    batch, _, *size = data.shape
    resized = options.preprocessing == "resize"
    if resized:
        size = ["height", "width"]
    graph.inputs[0] = image = ir.val(IMAGE, ir.DataType.UINT8, ir.Shape((batch, *size, 3)))
    node = _Nodes()
    values = node("Transpose", [image], "data.planes", perm=[0, 3, 1, 2])
    if resized:
        values = _resized(node, image, values, preprocessing)
        data.shape = ir.Shape((batch, 3, preprocessing.crop, preprocessing.crop))
    # Before the order of channels: OpenCV 5 takes a Gather of uint8 for one of float32.
    values = node("Cast", [values], "data.float", to=kind.value)
    if preprocessing.channels == "bgr":
        values = node("Gather", [values, node.constant(np.array([2, 1, 0]), "data.bgr_order")], "data.bgr", axis=1)
    steps: list[tuple[str, str, Any]] = []
    if preprocessing.range != 255:
        steps.append(("Mul", "data.scaled", preprocessing.range / 255))
    steps.append(("Sub", "data.centred", np.reshape(preprocessing.mean, (1, 3, 1, 1))))
    if preprocessing.std != (1.0, 1.0, 1.0):
        steps.append(("Div", "data.divided", np.reshape(preprocessing.std, (1, 3, 1, 1))))
    for at, (operator, name, by) in enumerate(steps):
        second = node.constant(np.array(by, kind.numpy()), f"{name}.by")
        values = node(operator, [values, second], data if at == len(steps) - 1 else name)
    graph.insert_before(graph[0], node.made)


def _resized(node: _Nodes, image: "ir.Value", planes: "ir.Value", preprocessing: Preprocessing) -> "ir.Value":
    """The short side resized, the long one in proportion and rounded down, then the centre, as ``images.prepare``."""

    def number(value: int, name: str) -> "ir.Value":
        return node.constant(np.array([value]), name)

    import onnx_ir as ir

    # Of a Shape with start and end, ONNX Runtime 1.32 takes the whole shape for known where it plans ahead.
    shape = node("Shape", [image], "data.shape")
    images = node("Gather", [shape, number(0, "data.first")], "data.images", axis=0)
    sides = node("Gather", [shape, node.constant(np.array([1, 2]), "data.inner")], "data.sides", axis=0)
    short = node("ReduceMin", [sides], "data.short", keepdims=1)
    longer = node("Mul", [sides, number(preprocessing.resize, "data.resize")], "data.longer")
    in_proportion = node("Div", [longer, short], "data.in_proportion")
    crop = number(preprocessing.crop, "data.crop")
    size = node("Max", [in_proportion, crop], "data.size")
    every = node("Concat", [images, number(3, "data.channels"), size], "data.resized_shape", axis=0)
    # Of uint8 it rounds as Pillow does, after each of the two passes.
    scaled = node(
        "Resize",
        [planes, None, None, every],
        "data.resized",
        mode="linear",
        antialias=1,
        coordinate_transformation_mode="half_pixel",
    )
    spare = node("Cast", [node("Sub", [size, crop], "data.spare")], "data.spare_float", to=ir.DataType.FLOAT.value)
    halved = node("Div", [spare, node.constant(np.array(2, np.float32), "data.two")], "data.half")
    begin = node("Cast", [node("Round", [halved], "data.even")], "data.begin", to=ir.DataType.INT64.value)
    end = node("Add", [begin, crop], "data.end")
    return node("Slice", [scaled, begin, end, node.constant(np.array([2, 3]), "data.axes")], "data.cropped")


def _append_softmax(made: "ir.Model") -> None:
    import onnx_ir as ir

    graph = made.graph
    logits = graph.outputs[-1]
    node = _Nodes()
    kind = logits.dtype
    graph.outputs[-1] = node("Softmax", [logits], ir.val(PROBABILITIES, kind), axis=-1)
    graph.extend(node.made)
