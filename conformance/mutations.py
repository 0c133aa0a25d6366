"""Known porting bugs, put into every framework on purpose: the suite must catch each, and name the tap where it sits.

python -m conformance.mutations > docs/mutations.md     # the table, with a line for each bug
python -m conformance.mutations --json torch            # one framework, for the tests
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec, spec_from_file_location
from typing import Any

import numpy as np

from conformance import cases
from conformance.adapters import STANDARD as FRAMEWORKS
from conformance.judge.bounds import TAPS
from conformance.judge.compare import relative_error
from conformance.reference import forward as reference
from weights.networks.network import Node, graph
from weights.networks.operations import MaxPool, Op
from weights.networks.spec import Spec

PORTS = ("torch", "jax", "tf")

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Edit:
    """A change in the source of a module: every match of the pattern is replaced; there must be one."""

    module: str
    pattern: str
    replacement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One bug. Parameters and spec are changed for every framework, sources for those that are listed."""

    name: str
    what: str  # the mistake that it stands for
    at: str  # the node that it sits in
    network: str = "se-resnet"
    params: Callable[[Arrays], Arrays] | None = None
    spec: Callable[[Any], Spec] | None = None
    nodes: Callable[[tuple[Node, ...]], tuple[Node, ...]] | None = None  # of the reference
    edits: Mapping[str, tuple[Edit, ...]] = field(default_factory=dict)
    impossible: tuple[str, ...] = ()  # frameworks that cannot have it

    @property
    def frameworks(self) -> tuple[str, ...]:
        """Where it can be put in."""
        if self.params or self.spec:
            return tuple(f for f in FRAMEWORKS if f not in self.impossible)
        return tuple(f for f in FRAMEWORKS if f in self.edits or (f == "numpy" and self.nodes))


@dataclass(frozen=True, slots=True)
class Finding:
    """What a framework with a bug in it looks like to the suite."""

    mutation: str
    framework: str
    expected: str  # the first tap, in the order of the graph, that depends on the node with the bug
    found: str | None  # the first divergent tap; None: not caught
    error: float  # there; inf: another shape


def _shortened(spec: Any) -> Any:
    """The first two stages of a small network."""
    cut = {name: getattr(spec, name)[:2] for name in ("reduce", "width", "out_channels")}
    return replace(spec, depths=(1, 2), **cut)


NETWORKS: dict[str, Spec] = {
    "se-resnet": _shortened(cases.TINY["tiny-se-resnet"]),
    "se-resnext": _shortened(cases.TINY["tiny-se-resnext"]),
    "senet": _shortened(cases.TINY["tiny-senet"]),
    "se-bn-inception": cases.TINY["tiny-se-bn-inception"],
}
"""What the bugs are put into: two stages, or three modules, because they come in kinds and not in depths."""


def params_of(spec: Spec) -> Arrays:
    """Seeded weights with variances near 1/16, where a wrong eps shows 16 times as much as near 1."""
    params = dict(cases.seeded(spec, 31))
    for name in params:
        if name.endswith(".running_var"):
            params[name] = params[name] / 16
            params[name.replace("running_var", "weight")] = params[name.replace("running_var", "weight")] / 4
    return params


# ---------------------------------------------------------------- changes of parameters


def _each(pattern: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], Arrays]:
    def changed(params: Arrays) -> Arrays:
        return {k: np.ascontiguousarray(change(a)) if re.fullmatch(pattern, k) else a for k, a in params.items()}

    return changed


def _swap(a: str, b: str) -> Callable[[Arrays], Arrays]:
    """Exchanges what two patterns of names match, by replacing the one text by the other in the name."""

    def swapped(params: Arrays) -> Arrays:
        other = {k: k.replace(a, b) if a in k else k.replace(b, a) for k in params}
        return {k: params.get(other[k], v) for k, v in params.items()}

    return swapped


def _between_groups(w: np.ndarray) -> np.ndarray:
    return w.reshape(4, -1, *w.shape[1:]).swapaxes(0, 1).reshape(w.shape)


# ---------------------------------------------------------------- changes of the reference's graph


def _op(pattern: str, change: Callable[[Any], Op]) -> Callable[[tuple[Node, ...]], tuple[Node, ...]]:
    return lambda nodes: tuple(replace(n, op=change(n.op)) if re.fullmatch(pattern, n.name) else n for n in nodes)


def _without(pattern: str) -> Callable[[tuple[Node, ...]], tuple[Node, ...]]:
    """Drops the nodes; their readers read what they read."""

    def dropped(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        gone = {n.name: n.inputs[0] for n in nodes if re.fullmatch(pattern, n.name)}
        return tuple(replace(n, inputs=tuple(gone.get(i, i) for i in n.inputs)) for n in nodes if n.name not in gone)

    return dropped


def _gate_on_the_shortcut(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Each gate scales the other operand of the sum, so it has to wait for it."""
    by_name = {n.name: n for n in nodes}
    out: list[Node] = []
    for n in nodes:
        if n.name.endswith(".add"):
            scale = by_name[n.inputs[0]]
            out.append(replace(scale, inputs=(n.inputs[1], scale.inputs[1])))
            out.append(replace(n, inputs=(scale.name, scale.inputs[0])))
        elif not n.name.endswith(".se"):
            out.append(n)
    return tuple(out)


# ---------------------------------------------------------------- changes of sources


def _edits(*edits: tuple[str, str, str], **more: tuple[tuple[str, str, str], ...]) -> dict[str, tuple[Edit, ...]]:
    """The same edits of (file, pattern, replacement) in the three ports, or other ones where a port is named."""
    by_framework = dict.fromkeys(PORTS, edits) if edits else {}
    return {
        f: tuple(Edit(_module(f, file), p, r) for file, p, r in found) for f, found in (by_framework | more).items()
    }


def _module(framework: str, file: str) -> str:
    if file == "adapter":
        return f"conformance.adapters.{framework}"
    return "conformance.reference.forward" if framework == "numpy" else f"se_{framework}.{file}"


def _reference(pattern: str, replacement: str) -> tuple[tuple[str, str, str], ...]:
    return (("reference", pattern, replacement),)


_SE_LINE = r"    if b\.reduction:\n        y = (SEBlock\(.*\))\(y\)\n"
_ADD_LINE = r"    y = (layers\.Add\(.*\))\(\[y, x\]\)\n"
_RESIDUAL = r"y = self\.se\((self\.bn3\(self\.conv3\(y\)\))\)"
_SUM = r"y \+ self\.shortcut\(x\)"

MUTATIONS: dict[str, Mutation] = {
    m.name: m
    for m in (
        # Geometry
        Mutation(
            name="stride-on-3x3",
            what="the stride sits on the 3x3, as in torchvision's ResNet",
            at="stage2.0.conv1",
            spec=lambda spec: replace(spec, stride_on_3x3=True),
        ),
        Mutation(
            name="stride-on-1x1",
            what="the stride sits on the first 1x1 of a ResNeXt",
            at="stage2.0.conv1",
            network="se-resnext",
            spec=lambda spec: replace(spec, stride_on_3x3=False),
        ),
        Mutation(
            name="pool-padded",
            what="the first pooling is padded by 1, as in torchvision's ResNet",
            at="stem.pool",
            nodes=_op(r"stem\.pool", lambda op: replace(op, pad=1)),
            edits=_edits(("resnet", r"stride=2, pad=0", "stride=2, pad=1")),
        ),
        Mutation(
            name="pool-floor",
            what="the first pooling rounds its size down",
            at="stem.pool",
            edits=_edits(
                ("layers", r"self\.pad \+ self\.stride - 1", "self.pad"),
                torch=(("layers", r"ceil_mode=True", "ceil_mode=False"),),
                numpy=_reference(r"-\(-\(size - kernel\) // stride\)", "(size - kernel) // stride"),
            ),
        ),
        Mutation(
            name="pool-average",
            what="the first pooling takes means",
            at="stem.pool",
            edits=_edits(
                torch=(
                    (
                        "layers",
                        r"nn\.MaxPool2d\(3, stride, pad, ceil_mode=True\)",
                        "nn.AvgPool2d(3, stride, pad, True)",
                    ),
                ),
                jax=(("layers", r"nnx\.max_pool", "nnx.avg_pool"),),
                tf=(("layers", r"ops\.max_pool", "ops.average_pool"),),
                numpy=_reference(r"_pool\(a, (.*), np\.maximum, -np\.inf, .*\)", r"avg_pool(a, \1)"),
            ),
        ),
        Mutation(
            name="pool-window-2",
            what="the windows of the first pooling are 2x2",
            at="stem.pool",
            nodes=_op(r"stem\.pool", lambda op: MaxPool(2, op.stride, op.pad)),
            edits=_edits(
                torch=(("layers", r"MaxPool2d\(3", "MaxPool2d(2"),),
                jax=(("layers", r"window_shape=\(3, 3\)", "window_shape=(2, 2)"),),
                tf=(("layers", r"ops\.max_pool\(x, 3", "ops.max_pool(x, 2"),),
            ),
        ),
        Mutation(
            name="same-padding",
            what='padding is "SAME", which pads convolutions of stride 2 on one side more',
            at="stem.conv1",
            edits=_edits(
                jax=(("layers", r"padding=\(\(kernel // 2, kernel // 2\),\) \* 2", 'padding="SAME"'),),
                tf=(
                    ("layers", r"if kernel > 1:", "if kernel > 99:"),
                    ("layers", r'stride,\n        "valid"', 'stride,\n        "same"'),
                ),
            ),
        ),
        Mutation(
            name="padding-shifted",
            what="padding is one less on one side and one more on the other",
            at="stem.conv1",
            edits=_edits(
                jax=(
                    (
                        "layers",
                        r"\(kernel // 2, kernel // 2\)",
                        "(kernel // 2 - (kernel > 1), kernel // 2 + (kernel > 1))",
                    ),
                ),
                tf=(
                    (
                        "layers",
                        r"ZeroPadding2D\(kernel // 2",
                        "ZeroPadding2D(((kernel // 2 - 1, kernel // 2 + 1),) * 2",
                    ),
                ),
            ),
        ),
        Mutation(
            name="stem-padding-less",
            what="the 7x7 convolution is padded by 2",
            at="stem.conv1",
            nodes=_op(r"stem\.conv1", lambda op: replace(op, pad=2)),
            edits=_edits(("layers", r"kernel // 2(?=[,)])", "kernel // 2 - (kernel == 7)")),
        ),
        Mutation(
            name="projection-1x1",
            what="the 3x3 projections of SENet-154 are taken to be 1x1",
            at="stage2.0.shortcut.conv",
            network="senet",
            params=_each(r"stage2\.0\.shortcut\.conv\.weight", lambda w: w * np.diag([0, 1, 0])),
        ),
        # Constants
        Mutation(
            name="eps-1e-3",
            what="Keras' default eps, 1e-3",
            at="stem.bn1",
            spec=lambda spec: replace(spec, eps=1e-3),
        ),
        Mutation(
            name="eps-1.001e-5",
            what="the eps of Keras' own applications, 1.001e-5",
            at="stem.bn1",
            spec=lambda spec: replace(spec, eps=1.001e-5),
        ),
        Mutation(
            name="eps-double",
            what="eps is 1e-5 in double precision, not Caffe's float",
            at="stem.bn1",
            spec=lambda spec: replace(spec, eps=1e-5),
            impossible=("onnx",),  # its epsilon is a float
        ),
        Mutation(
            name="eps-beside-the-root",
            what="eps is added to the deviation, not to the variance",
            at="stem.bn1",
            edits=_edits(numpy=_reference(r"np\.sqrt\(var \+ eps\)", "(np.sqrt(var) + eps)")),
        ),
        # Order and layout of values
        Mutation(
            name="rgb",
            what="the image's channels are in the other order",
            at="stem.conv1",
            params=_each(r"stem\.conv1\.weight", lambda w: w[:, ::-1]),
        ),
        Mutation(
            name="kernels-transposed",
            what="height and width of kernels are exchanged",
            at="stem.conv1",
            params=_each(r".*conv\d?\.weight", lambda w: w.swapaxes(2, 3)),
        ),
        Mutation(
            name="kernels-flipped",
            what="convolution instead of cross-correlation",
            at="stem.conv1",
            params=_each(r".*conv\d?\.weight", lambda w: w[:, :, ::-1, ::-1]),
        ),
        Mutation(
            name="kernel-in-out",
            what="input and output channels of a square kernel are exchanged",
            at="stage1.0.conv2",
            params=_each(r"stage1\.0\.conv2\.weight", lambda w: w.swapaxes(0, 1)),
        ),
        Mutation(
            name="squeeze-transposed",
            what="the matrix of an SE block is read in the other order",
            at="stage1.0.se.fc1",
            params=_each(r"stage1\.0\.se\.fc1\.weight", lambda w: w.reshape(w.shape[::-1]).T),
        ),
        Mutation(
            name="classifier-transposed",
            what="the matrix of the classifier is read in the other order",
            at="logits",
            params=_each(r"fc\.weight", lambda w: w.reshape(w.shape[::-1]).T),
        ),
        Mutation(
            name="labels-permuted",
            what="the classes are in another order",
            at="logits",
            params=_each(r"fc\.\w+", lambda w: np.roll(w, 1, 0)),
        ),
        Mutation(
            name="groups-interleaved",
            what="the outputs of a grouped convolution are dealt out to the groups in turn",
            at="stage1.0.conv2",
            network="se-resnext",
            params=_each(r"stage1\.0\.conv2\.weight", _between_groups),
        ),
        Mutation(
            name="blocks-exchanged",
            what="values of one layer are loaded into another of the same shape",
            at="stage1.0.bn1",
            params=_swap("stage1.0.bn1", "stage1.0.bn2"),
        ),
        Mutation(
            name="branches-exchanged",
            what="residual and projection have each other's BatchNorm",
            at="stage1.0.bn3",
            params=_swap("stage1.0.bn3", "stage1.0.shortcut.bn"),
        ),
        Mutation(
            name="concat-reversed",
            what="the branches of an Inception module are joined in the other order",
            at="inception3a.concat",
            network="se-bn-inception",
            edits=_edits(
                ("inception", r"self\.concat\(branches\)", "self.concat(branches[::-1])"),
                tf=(("inception", r"\)\(branches\)", ")(branches[::-1])"),),
                numpy=_reference(r"\[a, \*rest\]", "[*rest, a]"),
            ),
        ),
        # Lost and stale values
        Mutation(
            name="se-biases-dropped",
            what="the SE block has no biases, as in the paper's equations",
            at="stage1.0.se.fc1",
            params=_each(r".*\.se\.fc\d\.bias", np.zeros_like),
        ),
        Mutation(
            name="excitation-bias-dropped",
            what="one bias of an SE block is lost",
            at="stage2.0.se.fc2",
            params=_each(r"stage2\.0\.se\.fc2\.bias", np.zeros_like),
        ),
        Mutation(
            name="classifier-bias-dropped",
            what="the bias of the classifier is lost",
            at="logits",
            params=_each(r"fc\.bias", np.zeros_like),
        ),
        Mutation(
            name="scale-lost",
            what="a Scale layer keeps its initial gamma and beta",
            at="stage1.0.bn3",
            params=lambda p: _each(r"stage1\.0\.bn3\.weight", np.ones_like)(
                _each(r"stage1\.0\.bn3\.bias", np.zeros_like)(p)
            ),
        ),
        Mutation(
            name="statistics-stale",
            what="a BatchNorm keeps its initial mean and variance",
            at="stage2.0.bn2",
            params=lambda p: _each(r"stage2\.0\.bn2\.running_var", np.ones_like)(
                _each(r"stage2\.0\.bn2\.running_mean", np.zeros_like)(p)
            ),
        ),
        Mutation(
            name="statistics-exchanged",
            what="mean and variance are exchanged",
            at="stem.bn1",
            params=lambda p: _each(r".*running_var", np.abs)(_swap("running_mean", "running_var")(p)),
        ),
        Mutation(
            name="gamma-and-beta-exchanged",
            what="gamma and beta are exchanged",
            at="stem.bn1",
            params=lambda p: p | {"stem.bn1.weight": p["stem.bn1.bias"], "stem.bn1.bias": p["stem.bn1.weight"]},
        ),
        Mutation(
            name="factor-not-divided",
            what="the statistics still carry Caffe's factor",
            at="stem.bn1",
            params=_each(r".*running_\w+", lambda v: v * 999.98236),
        ),
        Mutation(
            name="factor-rounded",
            what="the factor is taken to be 1000",
            at="stem.bn1",
            params=_each(r".*running_\w+", lambda v: v * (999.98236 / 1000)),
        ),
        Mutation(
            name="batch-statistics",
            what="BatchNorm is left in training mode",
            at="stem.bn1",
            edits=_edits(
                ("adapter", r"model\.eval\(\)", "model.train()"),
                tf=(("adapter", r"training=False", "training=True"),),
            ),
        ),
        Mutation(
            name="dropout-on",
            what="dropout is on in inference",
            at="dropout",
            network="senet",
            edits=_edits(
                torch=(("resnet", r"self\.dropout\(x\)", "nn.functional.dropout(x, 0.2)"),),
                jax=(("resnet", r"self\.dropout\(x\)", "self.dropout(x, deterministic=False)"),),
                tf=(
                    (
                        "resnet",
                        r"layers\.Dropout\(spec\.dropout",
                        "layers.Lambda(lambda x: keras.random.dropout(x, 0.2)",
                    ),
                ),
            ),
        ),
        # Wrong function or place
        Mutation(
            name="axpy-exchanged",
            what="the gate scales the shortcut, as in OpenCV's Axpy",
            at="stage1.0.se",
            nodes=_gate_on_the_shortcut,
            edits=_edits(
                ("se_block", r"return x \* s\[", "return s["),
                ("resnet", _RESIDUAL, r"y = \1"),
                ("resnet", _SUM, "self.se(y) * self.shortcut(x) + y"),
                tf=(
                    ("se_block", r"return x \* s\[", "return s["),
                    ("resnet", _SE_LINE, r"    if b.reduction:\n        gate = \1(y)\n"),
                    ("resnet", _ADD_LINE, r"    y = \1([gate * x, y])\n"),
                ),
            ),
        ),
        Mutation(
            name="se-after-the-sum",
            what="the SE block stands behind the sum",
            at="stage1.0.se.pool",
            edits=_edits(
                ("resnet", _RESIDUAL, r"y = \1"),
                ("resnet", _SUM, "self.se(y + self.shortcut(x))"),
                tf=(
                    ("resnet", _SE_LINE, ""),
                    (
                        "resnet",
                        _ADD_LINE,
                        r"    y = \1([y, x])\n"
                        r"    y = SEBlock(b.out_channels, b.reduction, name=f'{b.name}.se', dtype=dtype)(y)\n",
                    ),
                ),
            ),
        ),
        Mutation(
            name="gate-tanh",
            what="the gate is a tanh",
            at="stage1.0.se.gate",
            edits=_edits(
                torch=(("se_block", r"nn\.Sigmoid", "nn.Tanh"),),
                jax=(("layers", r"nnx\.sigmoid", "nnx.tanh"),),
                tf=(("se_block", r'"sigmoid"', '"tanh"'),),
                numpy=_reference(r"y = sigmoid\(a\)", "y = np.tanh(a)"),
            ),
        ),
        Mutation(
            name="gate-hard",
            what="the gate is a hard sigmoid",
            at="stage1.0.se.gate",
            edits=_edits(
                torch=(("se_block", r"nn\.Sigmoid", "nn.Hardsigmoid"),),
                jax=(("layers", r"nnx\.sigmoid", "nnx.hard_sigmoid"),),
                tf=(("se_block", r'"sigmoid"', '"hard_sigmoid"'),),
                numpy=_reference(r"y = sigmoid\(a\)", "y = np.clip(a / 6 + 0.5, 0, 1)"),
            ),
        ),
        Mutation(
            name="gate-twice",
            what="the gate is applied twice",
            at="stage1.0.se",
            edits=_edits(
                ("se_block", r"return x \* (s\[.*\])", r"return x * \1 * \1"),
                numpy=_reference(r"y = a \* (rest\[0\]\[.*\])", r"y = a * \1 * \1"),
            ),
        ),
        Mutation(
            name="squeeze-maximum",
            what="the squeeze takes the maximum",
            at="stage1.0.se.pool",
            edits=_edits(
                torch=(("layers", r"x\.mean\(\(2, 3\)\)", "x.amax((2, 3))"),),
                jax=(("layers", r"x\.mean\(\(1, 2\)\)", "x.max((1, 2))"),),
                tf=(("se_block", r"self\.pool\(x\)", "self.pool(keras.ops.max(x, (1, 2), keepdims=True))"),),
                numpy=_reference(r"a\.mean\(\(2, 3\)\)", "a.max((2, 3))"),
            ),
        ),
        Mutation(
            name="relu-missing",
            what="a ReLU inside the unit is missing",
            at="stage1.0.relu1",
            nodes=_without(r"stage\d\.\d\.relu1"),
            edits=_edits(
                ("resnet", r"self\.relu1\((self\.bn1\(self\.conv1\(x\)\))\)", r"\1"),
                tf=(("resnet", r"    y = relu\(y, name=f\"\{b\.name\}\.relu1\", dtype=dtype\)\n", ""),),
            ),
        ),
        Mutation(
            name="squeeze-relu-missing",
            what="the ReLU of the SE block is missing",
            at="stage1.0.se.relu",
            nodes=_without(r".*\.se\.relu"),
            edits=_edits(("se_block", r"self\.relu\(self\.fc1\(s\)\)", "self.fc1(s)")),
        ),
        Mutation(
            name="relu-before-the-sum",
            what="the last ReLU of a unit stands before the sum",
            at="stage1.0.add",
            edits=_edits(
                torch=(("resnet", rf"torch\.relu\({_SUM}\)", "torch.relu(y) + self.shortcut(x)"),),
                jax=(("resnet", rf"nnx\.relu\({_SUM}\)", "nnx.relu(y) + self.shortcut(x)"),),
                tf=(("resnet", _ADD_LINE, r"    y = \1([keras.ops.relu(y), x])\n"),),
            ),
        ),
        Mutation(
            name="sum-minus",
            what="the shortcut is subtracted",
            at="stage1.0.add",
            edits=_edits(
                ("resnet", _SUM, "y - self.shortcut(x)"),
                tf=(("resnet", r"layers\.Add\(", "layers.Subtract("),),
                numpy=_reference(r"y = a \+ rest\[0\]", "y = a - rest[0]"),
            ),
        ),
        Mutation(
            name="projection-unnormalised",
            what="the projection has no BatchNorm",
            at="stage1.0.shortcut.bn",
            nodes=_without(r".*\.shortcut\.bn"),
            edits=_edits(
                torch=(("resnet", r"return self\.bn\(self\.conv\(x\)\)", "return self.conv(x)"),),
                jax=(("resnet", r"return self\.bn\(self\.conv\(x\)\)", "return self.conv(x)"),),
            ),
        ),
        Mutation(
            name="padding-not-counted",
            what="the average pooling does not count the padding",
            at="inception3a.pool",
            network="se-bn-inception",
            edits=_edits(
                torch=(("layers", r"count_include_pad=True", "count_include_pad=False"),),
                jax=(
                    (
                        "layers",
                        r"jnp\.ones_like\(x\)",
                        "jnp.pad(jnp.ones_like(x[:, 1:-1, 1:-1]), ((0, 0), (1, 1), (1, 1), (0, 0)))",
                    ),
                ),
                tf=(
                    (
                        "layers",
                        r"ops\.ones_like\(x\)",
                        "ops.pad(ops.ones_like(x[:, 1:-1, 1:-1]), ((0, 0), (1, 1), (1, 1), (0, 0)))",
                    ),
                ),
                numpy=_reference("constant_values=1", "constant_values=0"),
            ),
        ),
        Mutation(
            name="pool-of-the-wrong-kind",
            what="an Inception module takes maxima for means",
            at="inception3a.pool",
            network="se-bn-inception",
            spec=lambda spec: replace(spec, modules=(replace(spec.modules[0], pool="max"), *spec.modules[1:])),
        ),
        Mutation(
            name="branch-reads-another",
            what="a branch of an Inception module goes on from its neighbour's reduction",
            at="inception3a.double1.conv",
            network="se-bn-inception",
            nodes=lambda nodes: tuple(
                replace(n, inputs=(n.inputs[0].replace("reduce_double", "reduce3x3"),))
                if n.name.endswith("double1.conv")
                else n
                for n in nodes
            ),
            edits=_edits(
                torch=(("inception", r"self\.double1\(self\.reduce_double\(x\)\)", "self.double1(self.reduce3x3(x))"),),
                jax=(("inception", r"self\.double1\(self\.reduce_double\(x\)\)", "self.double1(self.reduce3x3(x))"),),
            ),
        ),
        # Precision
        Mutation(
            name="statistics-in-float32",
            what="the statistics are rounded to float32",
            at="stem.bn1",
            params=_each(r".*running_\w+", lambda v: v.astype(np.float32)),
        ),
        Mutation(
            name="weights-in-float16",
            what="one kernel has passed through float16",
            at="stage2.0.conv1",
            params=_each(r"stage2\.0\.conv1\.weight", lambda w: w.astype(np.float16).astype(np.float32)),
        ),
        Mutation(
            name="squeeze-in-float32",
            what="the squeeze is computed in float32",
            at="stage1.0.se.pool",
            edits=_edits(
                torch=(("se_block", r"self\.pool\(x\)", "self.pool(x.float()).to(x.dtype)"),),
                jax=(("se_block", r"self\.pool\(x\)", 'self.pool(x.astype("float32")).astype(x.dtype)'),),
                tf=(
                    (
                        "se_block",
                        r"self\.pool\(x\)",
                        'self.pool(keras.ops.cast(keras.ops.cast(x, "float32"), x.dtype))',
                    ),
                ),
                numpy=_reference(r"a\.mean\(\(2, 3\)\)", "a.astype(np.float32).mean((2, 3)).astype(a.dtype)"),
            ),
        ),
    )
}
"""All of them, by name."""


def inject(mutation: Mutation, framework: str) -> Finding:
    """Puts a bug into a framework and compares it, in float64, with the reference.

    Raises:
        LookupError: the bug cannot be put there any more: the source has changed.
    """
    spec = NETWORKS[mutation.network]
    params = params_of(spec)
    x = cases.image(32, 2, 64, 64).astype(np.float64)
    truth = reference.run(spec, params, x)
    mutant_spec = mutation.spec(spec) if mutation.spec else spec
    mutant_params = mutation.params(params) if mutation.params else params
    with _mutated(framework, mutation.edits.get(framework, ())) as adapter:
        if framework == "numpy" and mutation.nodes:
            taps = reference.execute(mutation.nodes(graph(spec)), params, x)
        else:
            taps = adapter.taps(adapter.build(mutant_spec, mutant_params, "float64"), x)
    errors = {tap: relative_error(taps[tap], b) for tap, b in truth.items() if tap in taps}
    found = next((tap for tap, error in errors.items() if not error <= TAPS["float64"]), None)
    touched = _downstream(graph(spec), mutation.at)
    return Finding(
        mutation=mutation.name,
        framework=framework,
        expected=next(tap for tap in errors if tap in touched),
        found=found,
        error=errors[found] if found else max(errors.values()),
    )


def _downstream(nodes: tuple[Node, ...], start: str) -> set[str]:
    """A node and all that depend on it."""
    touched = {start}
    for node in nodes:
        if touched.intersection(node.inputs):
            touched.add(node.name)
    return touched


class _Loader(SourceFileLoader):
    """Compiles a module from its edited source."""

    def __init__(self, name: str, path: str, edits: list[Edit]):
        super().__init__(name, path)
        self._edits = edits

    def get_code(self, fullname: str) -> Any:
        source = self.get_source(fullname) or ""
        for edit in self._edits:
            source, count = re.subn(edit.pattern, edit.replacement, source)
            if not count:
                raise LookupError(f"{fullname} has nothing like {edit.pattern!r} to change")
        return compile(source, self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def __init__(self, edits: tuple[Edit, ...]):
        self._edits: dict[str, list[Edit]] = {}
        for edit in edits:
            self._edits.setdefault(edit.module, []).append(edit)
        self._paths = {name: found.origin for name in self._edits if (found := find_spec(name))}

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        del path, target
        if fullname not in self._edits:
            return None
        loader = _Loader(fullname, self._paths[fullname] or "", self._edits[fullname])
        return spec_from_file_location(fullname, loader=loader)


@contextmanager
def _mutated(framework: str, edits: tuple[Edit, ...]) -> Iterator[Any]:
    """The adapter of a framework whose sources are changed; afterwards everything is as it was."""
    adapter = f"conformance.adapters.{framework}"
    import_module(adapter)
    roots = (adapter, "conformance.reference.forward", f"se_{framework}")
    own = {n: m for n, m in sys.modules.items() if any(n == r or n.startswith(f"{r}.") for r in roots)}
    finder = _Finder(edits)
    sys.meta_path.insert(0, finder)
    try:
        _forget(own)
        yield import_module(adapter)
    finally:
        sys.meta_path.remove(finder)
        _forget([n for n in sys.modules if any(n == r or n.startswith(f"{r}.") for r in roots)])
        sys.modules |= own
        for name, module in own.items():
            parent, _, leaf = name.rpartition(".")
            if parent in sys.modules:
                setattr(sys.modules[parent], leaf, module)


def _forget(names: Any) -> None:
    for name in names:
        del sys.modules[name]
        parent, _, leaf = name.rpartition(".")
        if parent in sys.modules and hasattr(sys.modules[parent], leaf):
            delattr(sys.modules[parent], leaf)


def findings(framework: str) -> list[Finding]:
    """Every bug that can be put into a framework."""
    return [inject(m, framework) for m in MUTATIONS.values() if framework in m.frameworks]


def isolated(framework: str) -> list[Finding]:
    """The same, from a process of its own, which the changed classes do not outlive."""
    command = [sys.executable, "-m", "conformance.mutations", "--json", framework]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"mutations of {framework}: {done.stderr[-2000:]}")
    return [Finding(**found) for found in json.loads(done.stdout)]


def table(found: list[Finding]) -> str:
    """All bugs in Markdown: a line for each, and a column for each framework."""
    cells = {(f.mutation, f.framework): f for f in found}
    header = ("bug", "what it is", "sits in", *FRAMEWORKS)
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    for m in MUTATIONS.values():
        row = (m.name, m.what, f"`{m.at}`", *(_cell(cells.get((m.name, name))) for name in FRAMEWORKS))
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def _cell(found: Finding | None) -> str:
    if found is None:
        return ""
    if found.found is None:
        return "**not caught**"
    error = "shape" if found.error == float("inf") else f"{found.error:.0e}"
    return f"`{found.found}` {error}" if found.found == found.expected else f"**`{found.found}`** {error}"


def main(arguments: list[str]) -> int:
    """Prints the table; 1 where a bug was not caught at its tap."""
    if arguments[:1] == ["--json"]:
        print(json.dumps([asdict(found) for found in findings(arguments[1])]))
        return 0
    with ThreadPoolExecutor(2) as pool:
        found = [f for each in pool.map(isolated, FRAMEWORKS) for f in each]
    print(INTRODUCTION.format(bugs=len(MUTATIONS), injections=len(found)))
    print(table(found))
    return int(any(f.found != f.expected for f in found))


INTRODUCTION = """# Bugs that the suite catches

{bugs} bugs that ports of these networks have had or could have, put into the frameworks on purpose ({injections} times)
by changing parameters, the spec, or the source of a port, and compared in float64. A cell names the first divergent tap
and its error relative to the largest value there ("shape": the tap has another one, or is not finite). An empty cell:
the bug cannot occur in that framework, or not in the same way. Where a framework does not have the tap that a bug sits
in, the first one that depends on it is named.

Made by `python -m conformance.mutations > docs/mutations.md`.
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
