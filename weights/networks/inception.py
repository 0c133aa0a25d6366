"""BN-Inception (Ioffe and Szegedy, https://arxiv.org/abs/1502.03167) with an SE block after each module, or plain."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product
from string import ascii_lowercase
from typing import ClassVar, Literal

from weights.networks.check import check_fields
from weights.networks.guess import FoundBlock, block_at, common, convolutions, se_record, stem, trail
from weights.networks.network import Builder, Network, Node
from weights.networks.operations import Concat, Conv, Pool, Scale
from weights.networks.recognition import consecutive, excitation
from weights.networks.se import Excitation, excite
from weights.networks.spec import ShapeOf, Spec, misfit


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """Widths of one Inception module."""

    name: str  # "3a"
    conv1x1: int | None  # None in a module of stride 2
    conv3x3: tuple[int, int]  # 1x1 reduce, 3x3
    double3x3: tuple[int, int, int]  # 1x1 reduce, 3x3, 3x3
    pool: Literal["avg", "max"]
    project: int | None  # out channels of the 1x1 after the pooling; None: the pooling has stride 2 and passes through

    def __post_init__(self) -> None:
        check_fields(self, "module")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleSpec:
    """One Inception module with every width resolved; all frameworks read these, none computes them."""

    name: str
    in_channels: int
    conv1x1: int | None
    conv3x3: tuple[int, int]
    double3x3: tuple[int, int, int]
    pool: Literal["avg", "max"]
    project: int | None
    out_channels: int
    stride: int  # of the last convolution of each branch and of the pooling
    se: Excitation | None
    eps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InceptionSpec(Spec):
    """Hyper-parameters of a BN-Inception network. SE blocks stand after the modules: their one position."""

    family: ClassVar[str] = "inception"
    modules: tuple[Branches, ...]
    stem: tuple[tuple[int, int], ...] = ((64, 7), (64, 1), (192, 3))  # (out channels, kernel); pooled after 1 and 3

    @property
    def title(self) -> str:
        """The name that its paper gives it."""
        return "BN-Inception"

    def check(self) -> None:
        """The stem's length, names, and that every SE block stands after its module."""
        if len(self.stem) != 3:
            raise misfit(self, f"stem has {len(self.stem)} convolutions, expected 3")
        if any(kernel % 2 == 0 for _, kernel in self.stem):
            raise misfit(self, "kernels are of odd size")
        names = [m.name for m in self.modules]
        if len(set(names)) < len(names) or not all(re.fullmatch(r"\w+", name) for name in names):
            raise misfit(self, f"modules are named {', '.join(names)}: expected different names of letters and digits")
        if self.se and (self.se.position != "standard" or self.se.stages):
            raise misfit(self, "SE blocks stand after the modules, all of them: no other position, no stages")

    def blocks(self) -> Iterator[ModuleSpec]:
        """Every module, in order, with its widths resolved."""
        channels = self.stem[-1][0]
        for m in self.modules:
            out = (m.conv1x1 or 0) + m.conv3x3[-1] + m.double3x3[-1] + (channels if m.project is None else m.project)
            yield ModuleSpec(
                name=f"inception{m.name}",
                in_channels=channels,
                conv1x1=m.conv1x1,
                conv3x3=m.conv3x3,
                double3x3=m.double3x3,
                pool=m.pool,
                project=m.project,
                out_channels=out,
                stride=2 if m.project is None else 1,
                se=self.se.of(out) if self.se else None,
                eps=self.eps,
            )
            channels = out

    def body(self, g: Builder) -> tuple[str, ...]:
        """Stem and modules; the feature maps are the last ones before each pooling."""
        x = "data"
        for i, (out, kernel) in enumerate(self.stem, 1):
            conv = Conv(out, kernel, 2 if i == 1 else 1, kernel // 2)
            x = g.conv_bn(x, f"stem.conv{i}", conv, self.eps, "relu")
            if i in (1, 3):
                x = g("stem.pool1" if i == 1 else "stem.pool2", Pool("max", 3, 2), x)
        blocks = list(self.blocks())
        for block in blocks:
            x = inception_module(g, x, block)
        ends = [b.name for b, after in pairwise(blocks) if after.stride == 2]
        return "stem.relu3", *ends, x

    @classmethod
    def from_network(cls, network: Network) -> "InceptionSpec | None":
        """Modules from the concatenations and their branches."""
        return guess(network)

    @classmethod
    def from_shapes(cls, shape: ShapeOf) -> "InceptionSpec | None":
        """Modules of the names 3a, 3b, ... 9z, in this order; those without a projection have stride 2."""
        stem_weights = tuple(consecutive(shape, "stem.conv{}", 1))
        stem = tuple((weight[0], weight[2]) for weight in stem_weights)
        names = (f"{number}{letter}" for number, letter in product("3456789", ascii_lowercase))
        modules = tuple(module for name in names if (module := _module(shape, name)))
        if not modules or not stem:
            return None
        fc = shape("fc", "linear")
        plain = cls(
            name=cls.family,
            modules=modules,
            stem=stem,
            se=None,
            classes=fc[0] if fc else 0,
            in_channels=stem_weights[0][1],
        )
        found = [e for b in plain.blocks() if (e := excitation(shape, f"{b.name}.se"))]
        return replace(plain, name=f"se-{cls.family}", se=se_record(found, "standard")) if found else plain


def _module(shape: ShapeOf, name: str) -> Branches | None:
    """The module of that name, as far as its shapes tell; None where there is none, or not all of it."""

    def out(branch: str) -> int | None:
        weight = shape(f"inception{name}.{branch}.conv", "conv")
        return weight[0] if weight else None

    widths = [out(branch) for branch in ("reduce3x3", "conv3x3", "reduce_double", "double1", "double2")]
    reduce3x3, conv3x3, reduce_double, double1, double2 = (width or 0 for width in widths)
    if None in widths:
        return None
    project = out("project")
    return Branches(
        name=name,
        conv1x1=out("conv1x1"),
        conv3x3=(reduce3x3, conv3x3),
        double3x3=(reduce_double, double1, double2),
        pool="avg" if project else "max",
        project=project,
    )


def inception_module(g: Builder, x: str, m: ModuleSpec) -> str:
    """Up to four branches side by side: 1x1; 3x3; 3x3 twice; pooling."""
    branches = []
    if m.conv1x1:
        branches.append(unit(g, x, f"{m.name}.conv1x1", Conv(m.conv1x1, 1), m.eps))
    y = unit(g, x, f"{m.name}.reduce3x3", Conv(m.conv3x3[0], 1), m.eps)
    branches.append(unit(g, y, f"{m.name}.conv3x3", Conv(m.conv3x3[1], 3, m.stride, 1), m.eps))
    y = unit(g, x, f"{m.name}.reduce_double", Conv(m.double3x3[0], 1), m.eps)
    y = unit(g, y, f"{m.name}.double1", Conv(m.double3x3[1], 3, 1, 1), m.eps)
    branches.append(unit(g, y, f"{m.name}.double2", Conv(m.double3x3[2], 3, m.stride, 1), m.eps))
    pad = 0 if m.stride == 2 else 1
    # One more at the end, or odd sizes would come out smaller than those of the convolutions. There Caffe refuses;
    # sizes that Caffe takes come out the same.
    after = 1 if m.stride == 2 and m.pool == "max" else 0
    y = g(f"{m.name}.pool", Pool(m.pool, 3, m.stride, pad, after), x)
    branches.append(unit(g, y, f"{m.name}.project", Conv(m.project, 1), m.eps) if m.project else y)
    if not m.se:
        return g(m.name, Concat(), *branches)
    y = g(f"{m.name}.concat", Concat(), *branches)
    return excite(g, y, f"{m.name}.se", m.se, output=m.name)


def unit(g: Builder, x: str, name: str, conv: Conv, eps: float) -> str:
    """Convolution, BatchNorm, ReLU; the last has the unit's name."""
    return g.conv_bn(x, f"{name}.conv", conv, eps, "relu", output=name)


def guess(network: Network) -> InceptionSpec | None:
    """The record that a network may have been made from, read off its branches; None without any branches.

    Modules keep the names that their nodes carry ("inception_3a/concat"); otherwise their position names them.
    """
    first, x = stem(network, 2)
    found: list[Branches] = []
    blocks: list[FoundBlock | None] = []
    concats = [node for node in network.nodes if isinstance(node.op, Concat)]
    for node, name in zip(concats, _module_names(network, concats), strict=True):
        found.append(_found_branches(network, node, x, name))
        scales = [reader for reader in network.readers[node.name] if isinstance(reader.op, Scale)]
        scale = scales[0] if scales else node
        block = block_at(network, scale) if scales else None
        blocks.append(block)
        x = scale.name
    if not found:
        return None
    kept = [block for block in blocks if block]
    return InceptionSpec(
        name="se-inception" if blocks[0] else "inception",
        modules=tuple(found),
        stem=(first + ((1, 1),) * 3)[:3],
        se=se_record([block.excitation for block in kept], "standard") if blocks[0] else None,
        **common(network),
    )


def _found_branches(network: Network, concat: Node, x: str, name: str) -> Branches:
    """The widths of a module; branches are told apart by their pooling and by the number of their convolutions."""
    conv1x1, conv3x3, double3x3 = None, (1, 1), (1, 1, 1)
    pool, project = "max", None
    for branch in concat.inputs:
        nodes = trail(network, branch, lambda node: node.name == x)
        pools = [node.op for node in nodes if isinstance(node.op, Pool)]
        match [conv.out for conv in convolutions(nodes)]:
            case out if pools:
                pool, project = pools[0].what, out[0] if out else None
            case [out]:
                conv1x1 = out
            case [reduce, out]:
                conv3x3 = reduce, out
            case [reduce, first, second]:
                double3x3 = reduce, first, second
            case _:
                pass  # no branch of such a module: the comparison with the guess will say so
    conv1x1 = conv1x1 if project else None  # there is none in a module of stride 2
    return Branches(name=name, conv1x1=conv1x1, conv3x3=conv3x3, double3x3=double3x3, pool=pool, project=project)


_LAYER = re.compile(r"inception_?((?P<path>\d\w*)\W|(?P<flat>\d\w*?)(_concat|_output|_scale)?$)")
"""The layer at the end of a module: "inception_3a/output"; "inception_3a_output" in ports whose names have no "/"."""


def _module_names(network: Network, concats: list[Node]) -> list[str]:
    found = [_LAYER.search(node.name) for node in concats]
    names = [match["path"] or match["flat"] for match in found if match]
    if len(set(names)) == len(concats):
        return names
    names, stage, i = [], 3, 0
    for node in concats:
        names.append(f"{stage}{chr(97 + i)}" if i < 26 else f"{stage}_{i}")
        passes = any(isinstance(network.by_name[name].op, Pool) for name in node.inputs)  # a module of stride 2
        stage, i = (stage + 1, 0) if passes else (stage, i + 1)
    return names


def _branches(
    name: str,
    conv1x1: int | None,
    conv3x3: tuple[int, int],
    double3x3: tuple[int, int, int],
    pool: Literal["avg", "max"],
    project: int | None,
) -> Branches:
    return Branches(name=name, conv1x1=conv1x1, conv3x3=conv3x3, double3x3=double3x3, pool=pool, project=project)


_BN_INCEPTION = (
    _branches("3a", 64, (64, 64), (64, 96, 96), "avg", 32),
    _branches("3b", 64, (64, 96), (64, 96, 96), "avg", 64),
    _branches("3c", None, (128, 160), (64, 96, 96), "max", None),
    _branches("4a", 224, (64, 96), (96, 128, 128), "avg", 128),
    _branches("4b", 192, (96, 128), (96, 128, 128), "avg", 128),
    _branches("4c", 160, (128, 160), (128, 160, 160), "avg", 128),
    _branches("4d", 96, (128, 192), (160, 192, 192), "avg", 128),
    _branches("4e", None, (128, 192), (192, 256, 256), "max", None),
    _branches("5a", 352, (192, 320), (160, 224, 224), "avg", 128),
    _branches("5b", 352, (192, 320), (192, 224, 224), "max", 128),
)

PUBLISHED = (
    InceptionSpec(name="se-bn-inception", modules=_BN_INCEPTION),
    InceptionSpec(name="bn-inception", modules=_BN_INCEPTION, se=None),
)
