"""The layers of a Caffe network as steps on values: nothing in place, no Split layers, only what the image reaches.

Caffe names blobs, and layers may work in place; here every output is a value of its own.
"""

import re
from dataclasses import dataclass
from typing import NoReturn

from weights.caffe.net import Layer, Net
from weights.errors import InputError

KNOWN = "any family of networks here"
_ENDS = re.compile(r".*Loss|(Log)?Softmax|Accuracy|Silence|ArgMax|HDF5Output")


@dataclass(frozen=True, slots=True)
class Step:
    """A layer that computes something from the image.

    Attributes:
        layer: the layer.
        inputs: numbers of values; None for one that the image does not reach (labels).
        outputs: every top is a new value, in place or not.
    """

    layer: Layer
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]

    @property
    def is_end(self) -> bool:
        """Whether the layer only judges or prints its input: losses, softmax, accuracy."""
        return bool(_ENDS.fullmatch(self.layer.type))


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps in the order of the file, the value that is the image, its channels and stated height and width."""

    steps: tuple[Step, ...]
    data: int
    channels: int
    size: tuple[int, int] | None


def misfit(source: str, layer: Layer, expected: str, found: str) -> InputError:
    """The error that names the first layer that cannot be part of a known network."""
    return InputError(
        f"{source}: layer {layer.name!r} ({layer.type or 'of no type'}) does not fit {KNOWN}: "
        f"expected {expected}, found {found}"
    )


def steps_of(net: Net, source: str) -> Steps:
    """Follows the blobs of a network from layer to layer.

    Raises:
        InputError: no input is read by a convolution, or several are; or a layer reads a blob that no layer makes.
    """
    found, inputs = _connected(net, source)
    read = [value for value in inputs if any(_convolves(step, value) for step in found)]
    if not read:
        for layer in net.layers:
            if layer.bottoms:
                raise misfit(source, layer, "a convolution that reads the input", "none in the whole network")
        raise InputError(f"{source}: no layer reads an input; expected a network of {KNOWN}")
    if len(read) > 1:
        second = next(step.layer for step in found if _convolves(step, read[1]))
        raise misfit(source, second, "one input of the network", "a second one")
    data = read[0]
    first = next(step.layer for step in found if _convolves(step, data))
    return Steps(tuple(_reached(found, data)), data, _channels(inputs[data], first), _size(inputs[data]))


def _convolves(step: Step, value: int) -> bool:
    return step.layer.type == "Convolution" and value in step.inputs


def _connected(net: Net, source: str) -> tuple[list[Step], dict[int, Layer | None]]:
    """All layers with inputs, and the values that are inputs of the network with the layers that state them."""
    values: dict[str, int] = {}
    inputs: dict[int, Layer | None] = {}
    steps: dict[str, Step] = {}  # by layer, the last one of a name
    found: list[Step] = []
    count = 0
    for layer in net.layers:
        for blob in layer.bottoms:
            if blob not in values:  # the input, in a file that leaves it undefined
                if inputs and not _ENDS.fullmatch(layer.type):
                    _missing(source, layer, blob)
                values[blob] = count
                inputs[count] = None
                count += 1
        bottoms = tuple(values[blob] for blob in layer.bottoms)
        before = steps.get(layer.name)
        if before and before.layer == layer and bottoms in (before.inputs, before.outputs):
            continue  # the same layer stands twice
        if layer.type == "Split" and len(bottoms) == 1:
            values |= dict.fromkeys(layer.tops, bottoms[0])
            continue
        tops = tuple(range(count, count + len(layer.tops)))
        count += len(tops)
        values |= dict(zip(layer.tops, tops, strict=True))
        steps[layer.name] = step = Step(layer, bottoms, tops)
        if bottoms:
            found.append(step)
        else:
            inputs |= dict.fromkeys(tops, layer)
    return found, inputs


def _missing(source: str, layer: Layer, blob: str) -> NoReturn:
    raise misfit(source, layer, f"a layer before it that makes {blob!r}", "none")


def _reached(steps: list[Step], data: int) -> list[Step]:
    reached = {data}
    found = []
    for step in steps:
        if reached.intersection(value for value in step.inputs if value is not None):
            inputs = tuple(value if value in reached else None for value in step.inputs)
            found.append(Step(step.layer, inputs, step.outputs))
            reached.update(step.outputs)
    return found


def _channels(layer: Layer | None, first: Layer) -> int:
    """Of the image: as stated, else as the blob of the first convolution has them, else 3."""
    shapes = layer.settings.get("input_param", {}).get("shape", []) if layer else []
    if shapes and len(shapes[0].get("dim", [])) == 4:
        return int(shapes[0]["dim"][1])
    blob = first.blobs[0] if first.blobs else None
    return blob.shape[1] if blob is not None and blob.ndim == 4 and 0 < blob.shape[1] <= 4 else 3


def _size(layer: Layer | None) -> tuple[int, int] | None:
    if layer is None:
        return None
    shapes = layer.settings.get("input_param", {}).get("shape", [])
    if shapes and len(shapes[0].get("dim", [])) == 4:
        return tuple(shapes[0]["dim"][2:])
    crop = layer.settings.get("transform_param", {}).get("crop_size", 0)
    return (crop, crop) if crop else None
