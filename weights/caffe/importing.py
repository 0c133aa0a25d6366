"""A Caffe network as operations, each of which remembers its layers; whose network it is, is not asked here."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from weights.caffe.net import Layer, Net
from weights.caffe.settings import TYPES, Reading, coefficients, param, read_layer, reshaped, sliced
from weights.caffe.steps import Step, steps_of
from weights.errors import InputError
from weights.networks.network import Network, Node
from weights.networks.operations import (
    Act,
    AppendZeros,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Op,
    Scale,
    Shape,
    Shift,
    Shuffle,
    Times,
)
from weights.networks.spec import EPS


@dataclass(frozen=True, slots=True)
class Found:
    """An operation that was found in a Caffe network.

    Attributes:
        name: of its layer, made unique; of a BatchNorm with its Scale the BatchNorm's.
        op: the operation, or the nearest one; None for a layer that is none.
        inputs: names of others, or "data".
        layers: the layers that it was made from; several operations can come from one layer (Axpy).
        expected, found: how the layer's settings differ from the operation; empty where they do not.
        biased: of a convolution, whether it has a bias that the BatchNorm after it may take in; the operation has none.
    """

    name: str
    op: Op | None
    inputs: tuple[str, ...]
    layers: tuple[Layer, ...]
    expected: str = ""
    found: str = ""
    biased: bool = False

    @property
    def layer(self) -> Layer:
        """The layer that messages name."""
        return self.layers[-1]


@dataclass(frozen=True)
class Imported:
    """The operations of a Caffe network, in the order of the file.

    Attributes:
        title: the network's own name.
        source: what messages begin with.
        nodes: the operations by name.
        sizes: the shape of each output, as operations count them.
        size: height and width of the input, where stated.
        notes: what was taken for something else than the file says.
    """

    title: str
    source: str
    nodes: dict[str, Found]
    sizes: dict[str, Shape]
    size: tuple[int, int] | None
    notes: tuple[str, ...]

    @cached_property
    def readers(self) -> dict[str, list[Found]]:
        """For every operation, and for "data", the operations that read its output."""
        found: dict[str, list[Found]] = {"data": [], **{name: [] for name in self.nodes}}
        for node in self.nodes.values():
            for name in dict.fromkeys(node.inputs):
                found[name].append(node)
        return found

    def outline(self, biases: bool = True) -> Network:
        """What a family guesses from: every layer as the nearest operation, without the layers that are none.

        Args:
            biases: whether convolutions keep the biases that a BatchNorm after them may take in.
        """
        made = {"data": "data"}
        nodes = []
        for node in self.nodes.values():
            inputs = tuple(made[name] for name in node.inputs)
            made[node.name] = node.name if node.op else inputs[0]
            if node.op:
                op = replace(node.op, bias=True) if biases and node.biased and isinstance(node.op, Conv) else node.op
                nodes.append(Node(node.name, op, inputs, node.name))
        channels, *size = self.sizes["data"]
        bound = any(isinstance(node.op, Flatten) for node in nodes)
        return Network(self.title, tuple(nodes), in_channels=channels, size=(size[0], size[1]) if bound else None)

    def network(self) -> Network:
        """The operations as a network without a record.

        Raises:
            InputError: a layer that is no known operation, shapes that do not fit, or several outputs; the layer is
                named.
        """
        for node in self.nodes.values():
            if node.op is None or node.expected:
                expected = node.expected or f"one of {', '.join(TYPES)}"
                raise self._unknown(node.layer, expected, node.found or f"a layer of type {node.layer.type}")
            try:
                shape = node.op.shape(*(self.sizes[name] for name in node.inputs))
            except ValueError as error:
                raise self._unknown(node.layer, "inputs that fit together", str(error)) from None
            if min(shape) < 1:
                raise self._unknown(node.layer, "a larger map before it", "none left after it")
        unread = [node for node in self.nodes.values() if not self.readers[node.name]]
        if len(unread) > 1:
            raise self._unknown(unread[0].layer, "one output of the network", f"also {unread[1].layer.name!r}")
        return self.outline(biases=False)

    def _unknown(self, layer: Layer, expected: str, found: str) -> InputError:
        return InputError(
            f"{self.source}: layer {layer.name!r} ({layer.type or 'of no type'}) is no operation that is known here: "
            f"expected {expected}, found {found}"
        )


def import_layers(net: Net, source: str) -> Imported:
    """The operations of a network's layers; a layer that is none is kept, and says why.

    Split layers are gone and nothing is in place. BatchNorm and Scale are one operation, Axpy is two; a convolution's
    bias belongs to the BatchNorm after it.

    Raises:
        InputError: the layers are not a network that reads an image, see ``steps_of``.
    """
    return _Import(net, source).imported()


class _Import:
    def __init__(self, net: Net, source: str) -> None:
        self.net, self.source = net, source
        self.steps = steps_of(net, source)
        self.nodes: dict[str, Found] = {}
        self.sizes: dict[str, Shape] = {"data": (self.steps.channels, *(self.steps.size or (224, 224)))}
        self.made: dict[int, str] = {self.steps.data: "data"}  # value -> the node that makes it
        self.axes: dict[int, int] = {self.steps.data: 4}  # of values in Caffe
        self.after_end: set[int] = set()
        self.alike: Counter[str] = Counter()  # names that were taken already
        self.slices: dict[str, Step] = {}  # by the node that stands for one until its Concat comes
        self.reads = Counter(v for step in self.steps.steps if not step.is_end for v in set(step.inputs))
        norms = [step.layer for step in self.steps.steps if step.layer.type == "BatchNorm"]
        self.eps = norms[0].settings.get("batch_norm_param", {}).get("eps", EPS) if norms else EPS
        self.batch_statistics = sum(
            layer.settings.get("batch_norm_param", {}).get("use_global_stats") is False for layer in norms
        )

    def imported(self) -> Imported:
        for step in self.steps.steps:
            if step.is_end:
                self._pass(step)
                self.after_end.update(step.outputs)
            else:
                self._take(step)
        notes = ()
        if self.batch_statistics:
            notes = (f"{self.batch_statistics} BatchNorm layers say use_global_stats: false; read for inference",)
        nodes = dict(_dropout_after_pooling(self.nodes))
        return Imported(self.net.name, self.source, nodes, self.sizes, self.steps.size, notes)

    def _pass(self, step: Step, axes: int | None = None) -> None:
        """The outputs are the first input."""
        value = next(value for value in step.inputs if value is not None)
        for output in step.outputs:
            self.made[output], self.axes[output] = self.made[value], axes or self.axes[value]

    def _take(self, step: Step) -> None:
        layer = step.layer
        values = [value for value in step.inputs if value is not None]
        names = tuple(self.made[value] for value in values)
        if self.after_end.intersection(values):
            self._add(step, Reading(None, "no further layer", "this one"), names)
        elif len(values) < len(step.inputs):
            self._add(step, Reading(None, "a layer that reads the image alone", "another input"), names)
        elif layer.type in ("Reshape", "Flatten") and len(values) == 1:
            axes = reshaped(layer, self.sizes[names[0]])
            if isinstance(axes, int):
                self._pass(step, axes)
            else:
                self._add(step, axes, names)
        elif layer.type == "Scale" and len(values) == 1 and self._is_bare_norm(values[0]):
            self.nodes[names[0]] = replace(self.nodes[names[0]], layers=(*self.nodes[names[0]].layers, layer))
            self._pass(step)
            self._refuse(names[0], read_layer(layer, (self.sizes[names[0]],), (4,)))
        elif layer.type == "Slice" and len(values) == 1 and step.outputs:
            self._cut(step, names)
        elif layer.type == "Concat" and (shuffle := self._shuffle(step, names)):
            act, x, layers = shuffle
            self._add(step, Reading(act), (x,), layers)
        elif layer.type == "Eltwise" and (found := self._composed(step, names)):
            act, x, layers = found
            self._add(step, Reading(act), (x,), layers)
        elif layer.type == "Concat" and (zeros := self._zeros(step, names)):
            self._add(step, Reading(AppendZeros(zeros[0])), names[:1], (*zeros[1], layer))
        elif layer.type == "Crop" and len(values) == 2 and self._moves(step, *names):
            self._move(step, names[0])
        elif layer.type == "Dropout" and param(layer, "dropout_param")["dropout_ratio"] == 0:
            self._pass(step)
        else:
            if layer.type == "InnerProduct" and len(self.sizes[names[0]]) > 1:
                names = (self._node(f"{layer.name}.flatten", Reading(Flatten()), names[:1], (layer,)), *names[1:])
            if layer.type == "Eltwise":
                names = self._weighted(layer, names)
            reading = read_layer(layer, tuple(self.sizes[n] for n in names), tuple(self.axes[v] for v in values))
            if layer.type == "Axpy" and len(names) == 3:
                scaled = self._node(f"{layer.name}.scale", Reading(Scale()), (names[1], names[0]), (layer,))
                names = scaled, names[2]
            if isinstance(reading.op, BatchNorm):
                self._absorb(values[0], names[0])
                reading = replace(reading, op=BatchNorm(self.eps)) if layer.type == "Scale" else reading
            self._add(step, reading, names)

    def _weighted(self, layer: Layer, names: tuple[str, ...]) -> tuple[str, ...]:
        """The inputs of a sum, each times its coefficient where that is not 1."""
        factors = coefficients(layer)
        return tuple(
            name if factor == 1 else self._node(f"{layer.name}.times", Reading(Times(factor)), (name,), (layer,))
            for name, factor in zip(names, factors or (1.0,) * len(names), strict=True)
        )

    def _is_bare_norm(self, value: int) -> bool:
        """Whether the value is made by a BatchNorm layer whose one reader is the Scale at hand."""
        node = self.nodes.get(self.made[value])
        return node is not None and [x.type for x in node.layers] == ["BatchNorm"] and self.reads[value] == 1

    def _refuse(self, name: str, reading: Reading) -> None:
        if reading.expected and not self.nodes[name].expected:
            self.nodes[name] = replace(self.nodes[name], expected=reading.expected, found=reading.found)

    def _absorb(self, value: int, name: str) -> None:
        """The bias of a convolution that only a BatchNorm reads is a part of that."""
        node = self.nodes.get(name)
        if node and isinstance(node.op, Conv) and self.reads[value] == 1:
            self.nodes[name] = replace(node, op=replace(node.op, bias=False), biased=node.op.bias)

    def _cut(self, step: Step, names: tuple[str, ...]) -> None:
        """A Slice, which is an operation only together with its Concat."""
        channels = sliced(step.layer, self.sizes[names[0]])
        if isinstance(channels, int):
            wanted = "a Concat after it that alone reads its tops, in the order of a shuffle"
            self._add(step, Reading(None, wanted, "another order"), names)
            self.slices[self.made[step.outputs[0]]] = step
        else:
            self._add(step, channels, names)

    def _shuffle(self, step: Step, names: tuple[str, ...]) -> tuple[Shuffle, str, tuple[Layer, ...]] | None:
        """A shuffle of channels, by Slice into single ones and Concat: what it is, what of, and its layers."""
        cut = self.slices.get(names[0])
        if cut is None or param(step.layer, "concat_param") != {"axis": 1, "concat_dim": 1}:
            return None
        node, channels = self.nodes[names[0]], self.sizes[names[0]][0]
        places = {output: i for i, output in enumerate(cut.outputs)}
        order = [places.get(value, -1) for value in step.inputs if value is not None]
        if sorted(order) != list(range(channels)) or any(self.reads[value] > 1 for value in places):
            return None
        # The channel behind the first one is the first one of the second group; in order, all are of one group.
        width = order[1] if channels > 1 and order[1] > 1 else channels
        groups = channels // width
        if order != [group * width + i for i in range(width) for group in range(groups)]:
            return None
        del self.nodes[node.name], self.slices[node.name]
        return Shuffle(groups), node.inputs[0], (node.layer, step.layer)

    def _composed(self, step: Step, names: tuple[str, ...]) -> tuple[Act, str, tuple[Layer, ...]] | None:
        """An activation that is a product: the activation, what it is of, and its layers."""
        if param(step.layer, "eltwise_param")["operation"] != "PROD":
            return None
        match names:
            case (x, y):
                return self._swish(step, x, y) or self._swish(step, y, x) or self._hard_sigmoid(step, names)
            case (x, *_) if len(names) == 3:
                found = self._hard_sigmoid(step, names[1:])
                return (Act("hard-swish"), *found[1:]) if found and found[1] == x else None
            case _:
                return None

    def _swish(self, step: Step, x: str, gate: str) -> tuple[Act, str, tuple[Layer, ...]] | None:
        """X sigmoid(x), by Sigmoid and Eltwise."""
        sigmoid = self.nodes.get(gate)
        value = next(v for v in step.inputs if v is not None and self.made[v] == gate)
        if sigmoid is None or sigmoid.op != Act("sigmoid") or sigmoid.inputs != (x,) or self.reads[value] > 1:
            return None
        del self.nodes[gate]
        return Act("swish"), x, (sigmoid.layer, step.layer)

    def _hard_sigmoid(self, step: Step, names: tuple[str, ...]) -> tuple[Act, str, tuple[Layer, ...]] | None:
        """min(max(x + 3, 0), 6) * 6^-1, by Power, Clip, Power and Eltwise."""
        read = {self.made[v]: self.reads[v] for v in step.inputs if v is not None}
        for clip, sixth in (names, names[::-1]):
            chain = [self.nodes.get(clip), None, self.nodes.get(sixth)]
            if chain[0] and len(chain[0].inputs) == 1:
                chain[1] = self.nodes.get(chain[0].inputs[0])
            if all(node and _says(node.layer, i) for i, node in enumerate(chain)):
                clipped, plus, power = (node for node in chain if node)
                if plus.inputs == power.inputs and read[clip] == read[sixth] == 1:
                    for node in (clipped, plus, power):
                        del self.nodes[node.name]
                    return Act("hard-sigmoid"), plus.inputs[0], (plus.layer, clipped.layer, power.layer, step.layer)
        return None

    def _zeros(self, step: Step, names: tuple[str, ...]) -> tuple[int, tuple[Layer, ...]] | None:
        """How many channels a Concat appends to its first bottom that Power made zeros of it, and the Power layers."""
        made = {self.made[v]: self.nodes.get(self.made[v]) for v in step.inputs[1:] if v is not None}
        read = {self.made[v]: self.reads[v] for v in step.inputs if v is not None}
        powers = [node for name, node in made.items() if node and read[name] == 1 and node.inputs == names[:1]]
        if not powers or len(powers) < len(made) or any(node.op != Times(0.0) for node in powers):
            return None
        for node in powers:
            del self.nodes[node.name]
        return len(names[1:]) * self.sizes[names[0]][0], tuple(node.layer for node in powers)

    def _moves(self, step: Step, name: str, of_size: str) -> bool:
        """Whether a Crop takes from a 1x1 convolution padded by 1 what the convolution makes of the map moved by 1."""
        p, node, value = param(step.layer, "crop_param"), self.nodes.get(name), step.inputs[0]
        if node is None or not isinstance(node.op, Conv) or value is None:
            return False
        plain = Conv(node.op.out, 1, node.op.stride)
        if node.op != replace(plain, pad=1):
            return False
        size = plain.shape(self.sizes[node.inputs[0]])[1:]
        at_start = p["axis"] == 2 and set(p.get("offset", [])) <= {0}
        return at_start and self.reads[value] == 1 and self.sizes[of_size][1:] == size

    def _move(self, step: Step, name: str) -> None:
        """The map moved, and then the convolution of it, in the place of the convolution padded and then cropped."""
        conv = self.nodes.pop(name)
        del self.sizes[name]
        moved = self._node(step.layer.name, Reading(Shift()), conv.inputs, (step.layer,))
        op = replace(conv.op, pad=0) if isinstance(conv.op, Conv) else conv.op
        made = self._node(name, Reading(op), (moved,), conv.layers)
        for output in step.outputs:
            self.made[output], self.axes[output] = made, 4

    def _add(self, step: Step, reading: Reading, inputs: tuple[str, ...], layers: tuple[Layer, ...] = ()) -> None:
        name = self._node(step.layer.name, reading, inputs, layers or (step.layer,))
        flat = isinstance(reading.op, GlobalPool) or step.layer.type != "InnerProduct"
        for output in step.outputs:
            self.made[output] = name
            self.axes[output] = 4 if flat and self._axes_of(step) == 4 else 2

    def _axes_of(self, step: Step) -> int:
        return next(self.axes[value] for value in step.inputs if value is not None)

    def _node(self, name: str, reading: Reading, inputs: tuple[str, ...], layers: tuple[Layer, ...]) -> str:
        unique = name or layers[-1].type
        while unique in self.sizes:
            self.alike[name] += 1
            unique = f"{name} {self.alike[name] + 1}"
        self.nodes[unique] = Found(unique, reading.op, inputs, layers, reading.expected, reading.found)
        self.sizes[unique] = self._shape(reading.op, inputs)
        return unique

    def _shape(self, op: Op | None, inputs: tuple[str, ...]) -> Shape:
        given = [self.sizes[name] for name in inputs]
        try:
            return op.shape(*given) if op else given[0]
        except ValueError:  # whose fault it is, the comparison with a family's network finds out
            return given[0]


_HARD_SIGMOID = (
    ("Clip", "clip_param", {"min": 0.0, "max": 6.0}),
    ("Power", "power_param", {"power": 1.0, "scale": 1.0, "shift": 3.0}),
    ("Power", "power_param", {"power": -1.0, "scale": 0.0, "shift": 6.0}),
)


def _says(layer: Layer, i: int) -> bool:
    kind, name, values = _HARD_SIGMOID[i]
    return layer.type == kind and param(layer, name) == values


def _dropout_after_pooling(nodes: dict[str, Found]) -> Iterator[tuple[str, Found]]:
    """The nodes, each Dropout that only a pooling of the whole map reads behind that: dropping is for vectors."""
    readers: dict[str, list[Found]] = {}
    for node in nodes.values():
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    moved = {
        node.name: after[0].name
        for node in nodes.values()
        if isinstance(node.op, Dropout)
        and len(after := readers.get(node.name, [])) == 1
        and isinstance(after[0].op, GlobalPool)
    }
    if not moved:
        yield from nodes.items()
        return
    before = {pool: dropout for dropout, pool in moved.items()}
    for node in nodes.values():
        if node.name in moved:
            continue
        if node.name in before:
            dropout = nodes[before[node.name]]
            yield node.name, replace(node, inputs=dropout.inputs)
            yield dropout.name, replace(dropout, inputs=(node.name,))
        else:
            yield node.name, replace(node, inputs=tuple(before.get(name, name) for name in node.inputs))
