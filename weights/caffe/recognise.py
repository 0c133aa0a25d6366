"""Which network a list of Caffe layers is: its record, and which layers hold its parameters; names do not matter.

The layers are followed from the data to the classifier. Whatever a network of the two families may look like in Caffe
(in-place layers, Split layers, Axpy or a two-bottom Scale, 1x1 convolutions or InnerProduct, folded BatchNorm, ...)
comes out as the same record; the first layer that cannot be part of such a network is named.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from weights.caffe.net import Layer, Net
from weights.caffe.walk import Conv, Normalised, Op, Walk
from weights.networks.inception import Branches, InceptionSpec
from weights.networks.models import MODELS
from weights.networks.resnet import ResNetSpec
from weights.networks.se import SE
from weights.networks.spec import EPS, Spec


@dataclass(frozen=True, slots=True)
class Match:
    """A recognised network."""

    spec: Spec
    units: dict[str, Normalised]  # conv module -> its layers, those of its BatchNorm module included
    linears: dict[str, Layer]  # linear module -> Convolution or InnerProduct
    notes: tuple[str, ...]  # what was taken for something else than it says
    size: tuple[int, int] | None  # height and width of the input, where stated


def has_definitions(net: Net) -> bool:
    """Whether a file says what its layers are; HDF5 files and old weights files do not."""
    return any(layer.tops for layer in net.layers) and all(layer.type for layer in net.layers if layer.blobs)


def recognise(net: Net, source: str = "network") -> Match:
    """The network that a list of layers is.

    Args:
        net: layers with definitions; their blobs are not looked at.
        source: what error messages begin with.

    Raises:
        InputError: it is none of the family; the message names the first layer that does not fit and says what was
            expected there.
    """
    return _Networks(net, source).network()


def bn_of(conv: str) -> str:
    """The BatchNorm module that belongs to a convolution module: conv2 -> bn2, shortcut.conv -> shortcut.bn."""
    head, _, leaf = conv.rpartition(".")
    return f"{head}.{leaf.replace('conv', 'bn', 1)}"


@dataclass(slots=True)
class _Block:
    """What one residual unit or one Inception module was found to be."""

    first: Layer
    convs: dict[str, tuple[Normalised, Conv]] = field(default_factory=dict)  # by the module's path in the block
    se: tuple[Layer, Layer] | None = None
    squeeze: tuple[int, int] = (0, 0)  # channels, and channels after the first SE layer
    pool: Literal["avg", "max"] = "avg"
    name: str = ""


class _Networks(Walk):
    """Walks along the two families; a value in, the value after what was recognised out."""

    def se(self, y: int, pool: Op, block: _Block) -> tuple[int, bool]:
        """The SE block up to the gate: its value, and whether that has two axes."""
        value = self.squeeze(self.use(pool), "the average pooling of an SE block")
        fc1, middle, value = self.linear(value, "the first fully connected layer of an SE block")
        value = self.relu(value)
        fc2, out, value = self.linear(value, "the second fully connected layer of an SE block")
        if out != self.channels[y]:
            self.fail(fc2, f"{self.channels[y]} outputs, one for each channel of {self._made(y)}", f"{out}")
        op = self.only(value, "the Sigmoid of an SE block", "Sigmoid")
        value, flat = self.reshape(self.same(op, value))
        block.se, block.squeeze = (fc1, fc2), (self.channels[y], middle)
        if not 0 < middle <= self.channels[y]:
            self.fail(fc1, f"1 to {self.channels[y]} outputs", f"{middle}")
        return value, flat or (fc2.type == "InnerProduct" and value == op.output)

    def gated(self, y: int, gate: int, flat: bool) -> int:
        """The output of the two-bottom Scale that applies the gate."""
        op = self.only(gate, "the Scale of an SE block", "Scale")
        self.check(op, "the Scale of an SE block", op.param("scale_param"), {"axis": 0, "bias_term": False})
        if op.inputs != (y, gate):
            self.fail(
                op.layer,
                f"the bottoms {self._made(y)} and, second, the gate",
                " and ".join(map(repr, op.layer.bottoms)),
            )
        if not flat:
            self.fail(op.layer, "a gate of two axes (a Reshape or Flatten before)", "a gate of four axes")
        return self.same(op, y)

    def network(self) -> Match:
        stem: list[tuple[int, int]] = []
        value = self.stem_unit(self.only(self.data, "the first convolution", "Convolution"), stem)
        while op := self.only(value, "a convolution of the stem or its max pooling", "Convolution", "Pooling"):
            if op.layer.type == "Pooling":
                break
            value = self.stem_unit(op, stem)
        value = self.max_pool(op)
        return self.residual(stem, value) if self._branches(value) else self.inception(stem, value)

    def _branches(self, value: int) -> bool:
        """Whether residual units begin here; an Inception network has one more convolution."""
        after = self.readers[value]
        return not (len(after) == 1 and after[0].layer.type == "Convolution")

    def stem_unit(self, op: Op, stem: list[tuple[int, int]]) -> int:
        unit, conv, value = self.unit(op, "a convolution of the stem", stride=1 if stem else 2, group=1)
        stem.append((conv.out, conv.kernel))
        self.units[f"stem.conv{len(stem)}"] = unit
        return self.relu(value)

    def max_pool(self, op: Op) -> int:
        return self.pool(op, "the max pooling of the stem", pool="MAX", kernel=3, stride=2, pad=0)

    # --- residual networks

    def residual(self, stem: list[tuple[int, int]], value: int) -> Match:
        stages: list[list[_Block]] = []
        while not self._last(value):
            block, value = self.bottleneck(value, not stages)
            if "shortcut.conv" in block.convs:
                stages.append([])
            elif not stages:
                self.fail(block.first, "a projection of the shortcut in the first residual unit", "none")
            block.name = f"stage{len(stages)}.{len(stages[-1])}"
            stages[-1].append(block)
        if not stages:
            self.fail(self.readers[value][0].layer, "residual units before it", "none")
        heads = [stage[0] for stage in stages]
        blocks = [block for stage in stages for block in stage]
        self._alike(stages)
        later = [head.convs for head in heads[1:]]
        spec = ResNetSpec(
            name="se-resnet" if blocks[0].se else "resnet",
            depths=tuple(map(len, stages)),
            stem=tuple(stem),
            reduce=tuple(head.convs["conv1"][1].out for head in heads),
            width=tuple(head.convs["conv2"][1].out for head in heads),
            out_channels=tuple(head.convs["conv3"][1].out for head in heads),
            groups=blocks[0].convs["conv2"][1].groups,
            stride_on_3x3=bool(later) and later[0]["conv2"][1].stride == 2,
            shortcut=later[0]["shortcut.conv"][1].kernel if later else 1,
            se=self.reduction(blocks),
        )
        return self.finish(spec, blocks, value)

    def _alike(self, stages: list[list[_Block]]) -> None:
        """Widths within a stage, and groups and the place of the stride everywhere, must be the same."""
        groups = stages[0][0].convs["conv2"][1].groups
        for s, stage in enumerate(stages):
            for block in stage:
                for leaf in ("conv1", "conv2", "conv3"):
                    conv, model = block.convs[leaf][1], stage[0].convs[leaf][1]
                    self._same(conv, "num_output", conv.out, model.out, model)
                self._same(block.convs["conv2"][1], "group", block.convs["conv2"][1].groups, groups)
            convs, model = stage[0].convs, stages[min(s, 1)][0].convs
            for leaf in ("conv1", "conv2"):
                self._same(convs[leaf][1], "stride", convs[leaf][1].stride, model[leaf][1].stride, model[leaf][1])
            projection, model = convs["shortcut.conv"][1], model["shortcut.conv"][1]
            self._same(projection, "kernel", projection.kernel, model.kernel, model)

    def _same(self, conv: Conv, what: str, found: int, wanted: int, model: Conv | None = None) -> None:
        if found != wanted:
            as_in = f" as in layer {model.layer.name!r}" if model else " as in the first residual unit"
            self.fail(conv.layer, f"{what} {wanted}{as_in}", f"{found}")

    def bottleneck(self, x: int, first_stage: bool) -> tuple[_Block, int]:
        readers = self.readers[x]
        if len(readers) != 2:
            expected = f"two readers of {self._made(x)} (a residual unit and its shortcut) or the last pooling"
            if not readers:
                self.fail(self.maker[x], expected, "the end of the network")
            self.fail(readers[-1].layer, expected, f"{len(readers)}")
        main, other = sorted(readers, key=lambda op: not self._has_relu(op))
        if not self._has_relu(main) or self._has_relu(other):
            self.fail(readers[1].layer, "a residual unit's first convolution and its shortcut, without ReLU", "neither")
        block = _Block(main.layer)
        downsample = 1 if first_stage or other.layer.type != "Convolution" else 2
        y = self.block_conv(block, "conv1", main, "a 1x1 convolution", kernel=1, group=1)
        y = self.relu(y)
        rest = downsample // block.convs["conv1"][1].stride
        if not rest:
            self._same(block.convs["conv1"][1], "stride", 2, 1)
        y = self.block_conv(
            block, "conv2", self.only(y, "a 3x3 convolution", "Convolution"), "a 3x3 convolution", kernel=3, stride=rest
        )
        y = self.relu(y)
        op = self.only(y, "a 1x1 convolution", "Convolution")
        y = self.block_conv(block, "conv3", op, "a 1x1 convolution", kernel=1, stride=1, group=1)
        gate, flat = None, False
        if pools := [op for op in self.readers[y] if op.layer.type == "Pooling"]:
            gate, flat = self.se(y, pools[0], block)
        shortcut = x
        if other.layer.type == "Convolution":
            wanted = {"kernel": 1} if first_stage else {}
            shortcut = self.block_conv(
                block, "shortcut.conv", other, "the projection of a shortcut", stride=downsample, group=1, **wanted
            )
        if self.channels[shortcut] != self.channels[y]:
            self.fail(other.layer, f"a shortcut of {self.channels[y]} channels", f"{self.channels[shortcut]}")
        return block, self.relu(self.add(y, gate, flat, shortcut))

    def _last(self, value: int) -> bool:
        readers = self.readers[value]
        return len(readers) == 1 and readers[0].layer.type == "Pooling"

    def _has_relu(self, op: Op) -> bool:
        while op.layer.type in ("Convolution", "BatchNorm", "Scale") and len(op.inputs) == 1:
            if len(self.readers[op.output]) != 1:
                return False
            op = self.readers[op.output][0]
            if op.layer.type == "ReLU":
                return True
        return False

    def block_conv(self, block: _Block, leaf: str, op: Op, expected: str, **wanted: Any) -> int:
        unit, conv, value = self.unit(op, expected, **wanted)
        block.convs[leaf] = unit, conv
        return value

    def add(self, y: int, gate: int | None, flat: bool, shortcut: int) -> int:
        """The sum of a residual unit: Axpy, Eltwise, or a Scale by the gate and Eltwise."""
        if gate is not None and any(op.layer.type == "Axpy" for op in self.readers[gate]):
            op = self.only(gate, "the Axpy of an SE block", "Axpy")
            if op.inputs != (gate, y, shortcut):
                wanted = f"the gate, {self._made(y)} and the shortcut {self._made(shortcut)}, in this order"
                self.fail(op.layer, f"the bottoms {wanted}", ", ".join(map(repr, op.layer.bottoms)))
            self._readers_done(y, shortcut)
            return self.same(op, y)
        if gate is not None:
            scaled = self.gated(y, gate, flat)
            self._readers_done(y)
            y = scaled
        op = self.only(y, "the sum with the shortcut", "Eltwise")
        p = op.param("eltwise_param")
        self.check(op, "the sum with the shortcut", p, {"operation": "SUM"})
        if set(p.get("coeff", [1.0])) - {1.0}:
            self.fail(op.layer, "a sum without coefficients", f"coeff {p['coeff']}")
        if sorted(op.inputs) != sorted((y, shortcut)):
            wanted = f"the bottoms {self._made(y)} and {self._made(shortcut)}"
            self.fail(op.layer, wanted, " and ".join(map(repr, op.layer.bottoms)))
        self._readers_done(shortcut)
        return self.same(op, y)

    def _readers_done(self, *values: int) -> None:
        for value in values:
            for op in self.readers[value]:
                if not op.used:
                    self.fail(op.layer, f"no further layer that reads {self._made(value)}", "this one")

    def reduction(self, blocks: list[_Block]) -> SE | None:
        """The reduction of every SE block, or None where there are none."""
        for block in blocks:
            if bool(block.se) != bool(blocks[0].se):
                found = ("an SE block", "none") if blocks[0].se else ("no SE block", "one")
                last = list(block.convs.values())[-1][0].conv
                self.fail(block.se[0] if block.se else last, f"{found[0]} here as in the first unit", found[1])
        if not blocks[0].se:
            return None
        ratio = min(block.squeeze[0] // block.squeeze[1] for block in blocks)
        for block in blocks:
            channels, middle = block.squeeze
            if channels // ratio != middle and block.se:
                expected = f"{channels // ratio} outputs (reduction {ratio} as elsewhere)"
                self.fail(block.se[0], expected, f"{middle}")
        return SE(reduction=ratio)

    # --- Inception networks

    def inception(self, stem: list[tuple[int, int]], value: int) -> Match:
        if len(stem) != 1:
            self.fail(self.readers[value][0].layer, "the first residual unit and its shortcut", "one convolution")
        for _ in range(2):
            op = self.only(value, "a convolution of the stem", "Convolution")
            value = self.stem_unit(op, stem)
        value = self.max_pool(self.only(value, "the second max pooling of the stem", "Pooling"))
        modules: list[_Block] = []
        while not self._last(value):
            block, value = self.module(value)
            modules.append(block)
        if not modules:
            self.fail(self.readers[value][0].layer, "Inception modules before it", "none")
        for block, name in zip(modules, _module_names(modules), strict=True):
            block.name = f"inception{name}"
        spec = InceptionSpec(
            name="se-inception" if modules[0].se else "inception",
            modules=tuple(self._widths(block) for block in modules),
            stem=tuple(stem),
            se=self.reduction(modules),
        )
        return self.finish(spec, modules, value)

    def module(self, x: int) -> tuple[_Block, int]:
        if not (readers := self.readers[x]):
            self.fail(self.maker[x], "an Inception module or the last pooling after it", "the end of the network")
        branches = {}
        for op in readers:
            key = self._branch(op)
            if key is None or key in branches:
                self.fail(
                    op.layer, f"the first layer of {_BRANCHES}", "none of these" if key is None else "a second one"
                )
            branches[key] = op
        block = _Block(readers[0].layer)
        stride = 1 if branches.get("pool") and self._chain(branches["pool"]) else 2
        missing = [key for key in ("conv3x3", "double", "pool") if key not in branches]
        if missing or (stride == 2 and "conv1x1" in branches):
            self.fail(readers[-1].layer, f"an Inception module of {_BRANCHES}", f"one of {', '.join(branches)}")
        outputs = []
        if "conv1x1" in branches:
            outputs.append(self._path(block, branches["conv1x1"], [("conv1x1", 1, 1)]))
        outputs.append(self._path(block, branches["conv3x3"], [("reduce3x3", 1, 1), ("conv3x3", 3, stride)]))
        path = [("reduce_double", 1, 1), ("double1", 3, 1), ("double2", 3, stride)]
        outputs.append(self._path(block, branches["double"], path))
        pool = self.use(branches["pool"])
        method = pool.param("pooling_param")["pool"]
        if method not in ("MAX", "AVE"):
            self.fail(pool.layer, "a max or average pooling", str(method))
        block.pool = "max" if method == "MAX" else "avg"
        value = self.pool(pool, "the pooling of a branch", kernel=3, stride=stride, pad=0 if stride == 2 else 1)
        if stride == 1:
            value = self._path(block, self.only(value, "a 1x1 convolution", "Convolution"), [("project", 1, 1)])
        outputs.append(value)
        value = self.concat(outputs, block)
        scales = [op for op in self.readers[value] if op.layer.type == "Scale" and len(op.inputs) == 2]
        if scales and (pools := [op for op in self.readers[value] if op.layer.type == "Pooling"]):
            gate, flat = self.se(value, pools[0], block)
            y, value = value, self.gated(value, gate, flat)
            self._readers_done(y)
        return block, value

    def _chain(self, op: Op) -> int:
        """How many convolutions there are from a layer on to the Concat, itself included."""
        count = 0
        while op.layer.type in ("Convolution", "BatchNorm", "Scale", "ReLU", "Pooling"):
            count += op.layer.type == "Convolution"
            if len(self.readers[op.output]) != 1:
                break
            op = self.readers[op.output][0]
        return count

    def _branch(self, op: Op) -> str | None:
        if op.layer.type == "Pooling":
            return "pool"
        return (
            {1: "conv1x1", 2: "conv3x3", 3: "double"}.get(self._chain(op)) if op.layer.type == "Convolution" else None
        )

    def _path(self, block: _Block, op: Op, convs: Iterable[tuple[str, int, int]]) -> int:
        value = None
        for leaf, kernel, stride in convs:
            expected = f"a {kernel}x{kernel} convolution"
            op = op if value is None else self.only(value, expected, "Convolution")
            value = self.block_conv(block, f"{leaf}.conv", op, expected, kernel=kernel, stride=stride, group=1)
            value = self.relu(value)
        return cast(int, value)

    def concat(self, outputs: list[int], block: _Block) -> int:
        for value in outputs:
            op = self.only(value, "the Concat of the branches", "Concat")
        self.check(op, "the Concat of the branches", op.param("concat_param"), {"axis": 1, "concat_dim": 1})
        if op.inputs != tuple(outputs):
            wanted = ", ".join(self._made(value) for value in outputs)
            self.fail(op.layer, f"the branches in the order {wanted}", ", ".join(map(repr, op.layer.bottoms)))
        self.channels[op.output] = sum(self.channels[value] for value in outputs)
        self.sizes[op.output] = self.sizes[outputs[0]]
        block.name = op.layer.name
        return op.output

    def _widths(self, block: _Block) -> Branches:
        out = {leaf.removesuffix(".conv"): conv.out for leaf, (_, conv) in block.convs.items()}
        return Branches(
            name=block.name.removeprefix("inception"),
            conv1x1=out.get("conv1x1"),
            conv3x3=(out["reduce3x3"], out["conv3x3"]),
            double3x3=(out["reduce_double"], out["double1"], out["double2"]),
            pool=block.pool,
            project=out.get("project"),
        )

    # --- the end

    def finish(self, spec: Spec, blocks: list[_Block], value: int) -> Match:
        for block in blocks:
            self.units |= {f"{block.name}.{leaf}": unit for leaf, (unit, _) in block.convs.items()}
            if block.se:
                self.linears |= {f"{block.name}.se.fc{i}": layer for i, layer in enumerate(block.se, 1)}
        tail = {value}
        value = self.squeeze(self.use(self.readers[value][0]), "the average pooling at the end")
        tail.add(value)
        value, _ = self.reshape(value)
        tail.add(value)
        classes = 0
        if self.readers[value]:
            layer, classes, value = self.linear(value, "the classifier")
            self.linears["fc"] = layer
            if classes < 1:
                self.fail(layer, "at least one class", f"{classes}")
            value, _ = self.reshape(value)
        self._readers_done(value)
        dropout = 0.0
        for i, (at, layer) in enumerate(self.dropouts):
            if at not in tail or i:
                self.fail(layer, "one Dropout at most, next to the last pooling", "this one")
            dropout = layer.settings.get("dropout_param", {}).get("dropout_ratio", 0.5)
        self._nothing_left()
        eps = self.eps[0] if self.eps else EPS
        spec = replace(spec, classes=classes, dropout=dropout, eps=eps)
        notes = []
        if self.batch_statistics:
            notes.append(f"{self.batch_statistics} BatchNorm layers say use_global_stats: false; read for inference")
        return Match(_named(spec, self.net.name), self.units, self.linears, tuple(notes), self.size)

    def _nothing_left(self) -> None:
        reached = {self.data}
        for op in self.ops:
            if reached.intersection(op.inputs):
                reached.add(op.output)
                if not op.used:
                    self.fail(op.layer, "no further layer", "this one")


_BRANCHES = "the branches 1x1; 1x1 and 3x3; 1x1, 3x3 and 3x3; pooling and 1x1 (with stride 2: no first, pooling alone)"


def _named(spec: Spec, net: str) -> Spec:
    """The spec under the name it has in MODELS, whatever its classes and dropout; else under that of the net."""
    for model in MODELS.values():
        if replace(spec, name=model.name, classes=model.classes, dropout=model.dropout) == model:
            return replace(spec, name=model.name)
    return replace(spec, name=net or spec.name)


def _module_names(blocks: list[_Block]) -> list[str]:
    """The published names ("3a") where the Concat layers carry them, else by position."""
    found = [re.fullmatch(r"inception_(\d\w*)/concat", block.name) for block in blocks]
    names = [match[1] for match in found if match]
    if len(set(names)) == len(blocks):
        return names
    names, stage, i = [], 3, 0
    for block in blocks:
        names.append(f"{stage}{chr(97 + i)}" if i < 26 else f"{stage}_{i}")
        stage, i = (stage, i + 1) if "project.conv" in block.convs else (stage + 1, 0)
    return names
