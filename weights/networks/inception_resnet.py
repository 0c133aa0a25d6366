"""Inception-ResNet-v2 (Szegedy et al., https://arxiv.org/abs/1602.07261) as TF-slim has it, plain or with SE blocks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, takewhile
from typing import ClassVar, Literal

from weights.networks.check import check_fields
from weights.networks.guess import FoundBlock, block_at, common, convolutions, se_record, trail
from weights.networks.network import Builder, Network, Node
from weights.networks.operations import Act, Add, BatchNorm, Concat, Conv, Pool, Scale, Times
from weights.networks.recognition import consecutive, excitation
from weights.networks.se import Excitation, excite
from weights.networks.spec import ShapeOf, Spec, check_stages, misfit

Chain = tuple[tuple[int, int, int], ...]
"""Convolutions one after the other: out channels, height and width of the kernel of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StemLayer:
    """A convolution of the stem, and the pooling after it if there is one."""

    out: int
    kernel: int
    stride: int = 1
    padded: bool = True  # by half the kernel
    pooled: bool = False  # maxima of 3x3 with stride 2

    def __post_init__(self) -> None:
        check_fields(self, "stem")


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """Branches side by side, joined, without a sum: what changes the channels."""

    branches: tuple[Chain, ...]
    pool: Literal["avg", "max"]  # of the branch behind the others
    project: int | None  # out channels of the 1x1 after the pooling; None: everything has stride 2 and no padding

    def __post_init__(self) -> None:
        check_fields(self, "module")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Residual units, after the module that gives them their channels."""

    module: Module | None  # None: the units follow what is before them
    units: int
    branches: tuple[Chain, ...]  # of each unit
    scale: float  # of each residual before the sum

    def __post_init__(self) -> None:
        check_fields(self, "stage")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvSpec:
    """Convolution, BatchNorm, ReLU; every width is resolved in this record and those below, which frameworks read."""

    name: str
    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    stride: int
    pad: tuple[int, int]
    eps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """The largest in windows of 3x3 with stride 2, without padding."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleSpec:
    """Branches and a pooling side by side, joined."""

    name: str
    branches: tuple[tuple[ConvSpec, ...], ...]
    pool: Literal["avg", "max"]
    project: ConvSpec | None
    stride: int
    counted: bool  # whether the pooling's means count the padding
    se: Excitation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSpec:
    """A residual unit."""

    name: str
    channels: int  # of its input and of its output
    branches: tuple[tuple[ConvSpec, ...], ...]
    scale: float | None  # None: the residual is not scaled
    relu: bool  # after the sum
    se: Excitation | None
    se_after_scaling: bool

    @property
    def joined(self) -> int:
        """Channels of all branches together."""
        return sum(branch[-1].out_channels for branch in self.branches)


@dataclass(frozen=True, slots=True, kw_only=True)
class InceptionResNetSpec(Spec):
    """Hyper-parameters of an Inception-ResNet.

    The paper puts SE blocks on the residual branch, before the sum. It does not say whether before or after the
    residual is scaled, nor whether the modules without a residual have one: here before, and none, unless the fields
    say otherwise.
    """

    family: ClassVar[str] = "inception-resnet"
    side: ClassVar[int] = 299
    stem: tuple[StemLayer, ...]
    stages: tuple[Stage, ...]
    end: int | None = 1536  # out channels of the 1x1 convolution after the stages; None: there is none
    linear_end: bool = True  # whether the very last unit neither scales its residual nor rectifies its sum
    counted: bool = False  # whether average pooling counts its padding, as Caffe does and TensorFlow does not
    se_after_scaling: bool = False
    se_on_modules: bool = False
    dropout: float = 0.2  # TF-slim keeps 0.8; Keras and timm have none
    eps: float = 1e-3

    @property
    def title(self) -> str:
        """The name that its paper gives it."""
        return "Inception-ResNet"

    def check(self) -> None:
        """Kernels, strides and stages, and that every SE block stands on its branch."""
        chains = [c for s in self.stages for c in (*s.branches, *(s.module.branches if s.module else ()))]
        kernels = [layer.kernel for layer in self.stem] + [k for chain in chains for _, *hw in chain for k in hw]
        if any(kernel % 2 == 0 for kernel in kernels):
            raise misfit(self, "kernels are of odd size")
        if any(stage.module and not stage.module.project and stage.module.pool == "avg" for stage in self.stages):
            raise misfit(self, "a module of stride 2 has a max pooling")
        if sum(stage.units for stage in self.stages) > 1000:
            raise misfit(self, f"{sum(stage.units for stage in self.stages)} units, expected 1000 at most")
        if self.se and self.se.position != "standard":
            raise misfit(self, f"SE blocks stand on the residuals: no other position, found {self.se.position}")
        check_stages(self, len(self.stages))
        if not self.se and (self.se_after_scaling or self.se_on_modules):
            raise misfit(self, "says where SE blocks stand, and has none")

    def blocks(self) -> Iterator[ConvSpec | PoolSpec | ModuleSpec | UnitSpec]:
        """Everything from the image to the last map, in order: stem, modules, units, the last convolution."""
        channels, pools = self.in_channels, count(1)
        for i, layer in enumerate(self.stem, 1):
            pad = layer.kernel // 2 if layer.padded else 0
            yield self._conv(f"stem{i}", channels, (layer.out, layer.kernel, layer.kernel), layer.stride, (pad, pad))
            channels = layer.out
            if layer.pooled:
                yield PoolSpec(name=f"pool{next(pools)}")
        for number, stage in enumerate(self.stages, 1):
            if stage.module:
                module = self._module(number, stage.module, channels)
                yield module
                passed = module.project.out_channels if module.project else channels
                channels = sum(branch[-1].out_channels for branch in module.branches) + passed
            for i in range(stage.units):
                last = self.linear_end and (number, i) == (len(self.stages), stage.units - 1)
                name = f"stage{number}.{i}"
                yield UnitSpec(
                    name=name,
                    channels=channels,
                    branches=self._branches(name, channels, stage.branches, 1),
                    scale=None if last else stage.scale,
                    relu=not last,
                    se=self.se.of(channels, number) if self.se else None,
                    se_after_scaling=self.se_after_scaling,
                )
        if self.end:
            yield self._conv("end", channels, (self.end, 1, 1))

    def _module(self, number: int, module: Module, channels: int) -> ModuleSpec:
        name, stride = f"module{number}", 1 if module.project else 2
        branches = self._branches(name, channels, module.branches, stride)
        passed = module.project or channels
        out = sum(branch[-1].out_channels for branch in branches) + passed
        return ModuleSpec(
            name=name,
            branches=branches,
            pool=module.pool,
            project=self._conv(f"{name}.project", channels, (module.project, 1, 1)) if module.project else None,
            stride=stride,
            counted=self.counted,
            se=self.se.of(out, number) if self.se and self.se_on_modules else None,
        )

    def _branches(
        self, name: str, channels: int, chains: tuple[Chain, ...], stride: int
    ) -> tuple[tuple[ConvSpec, ...], ...]:
        """Branches; the last convolution of each has the stride, and with stride 2 no padding."""
        found: list[tuple[ConvSpec, ...]] = []
        for b, chain in enumerate(chains):
            branch: list[ConvSpec] = []
            width = channels
            for i, layer in enumerate(chain):
                step = stride if i == len(chain) - 1 else 1
                pad = (0, 0) if step > 1 else None
                branch.append(self._conv(f"{name}.branch{b}.{i}", width, layer, step, pad))
                width = layer[0]
            found.append(tuple(branch))
        return tuple(found)

    def _conv(
        self,
        name: str,
        channels: int,
        layer: tuple[int, int, int],
        stride: int = 1,
        pad: tuple[int, int] | None = None,
    ) -> ConvSpec:
        out, h, w = layer
        return ConvSpec(
            name=name,
            in_channels=channels,
            out_channels=out,
            kernel=(h, w),
            stride=stride,
            pad=(h // 2, w // 2) if pad is None else pad,
            eps=self.eps,
        )

    @property
    def ends(self) -> tuple[str, ...]:
        """The blocks whose outputs are the feature maps: the last ones of each stride, from 4 on."""
        blocks = list(self.blocks())
        found: list[str] = []
        for before, block in zip([None, *blocks], blocks, strict=False):
            halves = isinstance(block, PoolSpec) or (isinstance(block, ConvSpec | ModuleSpec) and block.stride > 1)
            if halves:
                found.append(before.name if before else "data")
        return *found[2:], blocks[-1].name

    def body(self, g: Builder) -> tuple[str, ...]:
        """All blocks; the feature maps are the last ones of each stride, from 4 on."""
        x = "data"
        for block in self.blocks():
            match block:
                case ConvSpec():
                    x = conv(g, x, block)
                case PoolSpec(name=name):
                    # Rounding down, as the convolutions beside it in the modules do.
                    x = g(name, Pool("max", 3, 2, rounding="down"), x)
                case ModuleSpec():
                    x = module(g, x, block)
                case UnitSpec():
                    x = unit(g, x, block)
        return self.ends

    @classmethod
    def from_shapes(cls, shape: ShapeOf) -> "InceptionResNetSpec | None":
        """Stem, modules and units by counting and measuring; strides, paddings and factors as in the published one."""
        stem = tuple(consecutive(shape, "stem{}.conv", 1))
        stages = tuple(takewhile(bool, (_stage(shape, number) for number in count(1))))
        if not stem or not stages:
            return None
        fc, end = shape("fc", "linear"), shape("end.conv", "conv")
        usual = _STEM if len(stem) == len(_STEM) else ()
        plain = cls(
            name=cls.family,
            stem=tuple(
                replace(usual[i] if usual else StemLayer(out=1, kernel=1, stride=1 + (i == 0)), out=w[0], kernel=w[2])
                for i, w in enumerate(stem)
            ),
            stages=tuple(stage for stage in stages if stage),
            end=end[0] if end else None,
            se=None,
            classes=fc[0] if fc else 0,
            in_channels=stem[0][1],
        )
        units = [b for b in plain.blocks() if isinstance(b, UnitSpec)]
        found = [(int(b.name[5 : b.name.index(".")]), e) for b in units if (e := excitation(shape, f"{b.name}.se"))]
        if not found:
            return plain
        within = tuple(dict.fromkeys(number for number, _ in found))
        on_modules = any(shape(f"module{number}.se.fc1", "linear") for number in within)
        se = se_record([e for _, e in found], "standard", within if len(within) < len(stages) else None)
        return replace(plain, name=f"se-{cls.family}", se=se, se_on_modules=on_modules)

    @classmethod
    def from_network(cls, network: Network) -> "InceptionResNetSpec | None":
        """Modules and units from the joined branches; None where no joined branches are summed."""
        return guess(network)


def _stage(shape: ShapeOf, number: int) -> Stage | None:
    """The stage of that number, as far as its shapes tell; None where there is none."""
    units = sum(1 for _ in consecutive(shape, f"stage{number}.{{}}.conv", 0))
    branches, joined = _chains(shape, f"stage{number}.0"), _chains(shape, f"module{number}")
    project = shape(f"module{number}.project.conv", "conv")
    if not units or not branches:
        return None
    module = None
    if joined:
        module = Module(branches=joined, pool="avg" if project else "max", project=project[0] if project else None)
    scale = _STAGES[min(number, len(_STAGES)) - 1].scale
    return Stage(module=module, units=units, branches=branches, scale=scale)


def _chains(shape: ShapeOf, name: str) -> tuple[Chain, ...]:
    def chain(b: int) -> Chain:
        found = consecutive(shape, f"{name}.branch{b}.{{}}.conv", 0)
        return tuple((weight[0], weight[2], weight[3]) for weight in found)

    return tuple(takewhile(bool, map(chain, count())))


def conv(g: Builder, x: str, b: ConvSpec) -> str:
    """Convolution, BatchNorm, ReLU; the last has the block's name."""
    square = b.kernel[0] == b.kernel[1]
    kernel, pad = (b.kernel[0], b.pad[0]) if square else (b.kernel, b.pad)
    return g.conv_bn(x, f"{b.name}.conv", Conv(b.out_channels, kernel, b.stride, pad), b.eps, "relu", output=b.name)


def branch(g: Builder, x: str, layers: tuple[ConvSpec, ...]) -> str:
    """One after the other."""
    for layer in layers:
        x = conv(g, x, layer)
    return x


def module(g: Builder, x: str, m: ModuleSpec) -> str:
    """se(concat(branches(x), project(pool(x))))."""
    branches = [branch(g, x, layers) for layers in m.branches]
    if m.stride == 1:
        y = g(f"{m.name}.pool", Pool(m.pool, 3, 1, 1, counted=m.counted or m.pool == "max"), x)
    else:
        y = g(f"{m.name}.pool", Pool(m.pool, 3, m.stride, rounding="down"), x)
    branches.append(conv(g, y, m.project) if m.project else y)
    if not m.se:
        return g(m.name, Concat(), *branches)
    y = g(f"{m.name}.concat", Concat(), *branches)
    return excite(g, y, f"{m.name}.se", m.se, output=m.name)


def unit(g: Builder, x: str, u: UnitSpec) -> str:
    """relu(scale * se(conv(concat(branches(x)))) + x), or with the SE block after the scaling."""
    y = g(f"{u.name}.concat", Concat(), *(branch(g, x, layers) for layers in u.branches))
    y = g(f"{u.name}.conv", Conv(u.channels, 1, bias=True), y)
    if u.se and not u.se_after_scaling:
        y = excite(g, y, f"{u.name}.se", u.se)
    if u.scale is not None:
        y = g(f"{u.name}.times", Times(u.scale), y)
    if u.se and u.se_after_scaling:
        y = excite(g, y, f"{u.name}.se", u.se)
    y = g(f"{u.name}.add" if u.relu else u.name, Add(), y, x)
    return g(u.name, Act("relu"), y) if u.relu else y


def guess(network: Network) -> InceptionResNetSpec | None:
    """The record that a network may have been made from; None where no joined branches are summed."""
    found = _Walk(network)
    found.walk()
    if not any(stage.units for stage in found.stages):
        return None
    blocks = [block for stage in found.stages for block in stage.blocks]
    having = tuple(i for i, stage in enumerate(found.stages, 1) if stage.blocks)
    within = having if len(having) < len(found.stages) else None
    return InceptionResNetSpec(
        name="se-inception-resnet" if blocks else "inception-resnet",
        stem=tuple(found.stem) or (StemLayer(out=1, kernel=1),),
        stages=tuple(
            Stage(
                module=stage.module,
                units=max(len(stage.units), 1),
                branches=stage.units[0].chains if stage.units else (((1, 1, 1),),),
                scale=next((u.scale for u in stage.units if u.scale is not None and 0 < u.scale < 1), 0.5),
            )
            for stage in found.stages
        ),
        end=found.end,
        linear_end=bool(found.stages[-1].units) and found.stages[-1].units[-1].linear,
        counted=any(isinstance(n.op, Pool) and n.op.what == "avg" and n.op.counted for n in network.nodes),
        se_after_scaling=any(unit.scaled_first for stage in found.stages for unit in stage.units),
        se_on_modules=found.on_modules,
        se=se_record([block.excitation for block in blocks], "standard", within) if blocks else None,
        **common(network),
    )


@dataclass(frozen=True, slots=True)
class _FoundUnit:
    """A residual unit that was read."""

    chains: tuple[Chain, ...]
    scale: float | None
    scaled_first: bool  # before its SE block
    linear: bool


@dataclass(slots=True)
class _FoundStage:
    module: Module | None
    units: list[_FoundUnit]
    blocks: list[FoundBlock]


class _Walk:
    """From the image to the last pooling, block by block, as far as what is met is a block of this family."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.place = {node.name: i for i, node in enumerate(network.nodes)}
        self.stem: list[StemLayer] = []
        self.stages: list[_FoundStage] = []
        self.end: int | None = None
        self.on_modules = False

    def walk(self) -> None:
        x: str | None = "data"
        while x is not None:
            x = self._past(x)

    def _past(self, x: str) -> str | None:
        """The output of the block that reads a value; None where there is none."""
        readers = self.network.readers[x]
        if not readers:
            return None
        if len(readers) == 1 and isinstance(readers[0].op, Conv | Pool):
            return self._single(readers[0])
        add = next((node for node in readers if self._sums(node)), None)
        if add:
            return self._unit(x, add)
        at = self.place[readers[0].name]
        concat = next((node for node in self.network.nodes[at:] if isinstance(node.op, Concat)), None)
        return self._module(x, concat) if concat and len(readers) > 1 else None

    def _sums(self, node: Node) -> bool:
        """Whether a unit ends in a node: a sum, or a product in its place, so that the product is the misfit."""
        return isinstance(node.op, Add) or (isinstance(node.op, Scale) and not block_at(self.network, node))

    def _single(self, node: Node) -> str:
        match node.op:
            case Conv() as op if self.stages:
                self.end = op.out
            case Conv() as op:
                pads = op.pad not in (0, (0, 0))
                self.stem.append(StemLayer(out=op.out, kernel=max(op.window) | 1, stride=op.stride, padded=pads))
                if max(op.window) == 1:  # there is nothing to pad
                    self.stem[-1] = replace(self.stem[-1], padded=True)
            case _ if self.stem:
                self.stem[-1] = replace(self.stem[-1], pooled=True)
            case _:
                pass
        name = node.name
        while len(after := self.network.readers[name]) == 1 and isinstance(after[0].op, BatchNorm | Act):
            name = after[0].name
        return name

    def _unit(self, x: str, add: Node) -> str | None:
        branch = next((name for name in add.inputs if name != x), x)
        after = trail(self.network, branch, lambda node: isinstance(node.op, Concat) or node.name == x)
        concat = self.network.by_name.get(after[0].inputs[0]) if after else None
        if concat is None or not isinstance(concat.op, Concat):
            return None
        times = next((i for i, node in enumerate(after) if isinstance(node.op, Times)), None)
        scales = [i for i, node in enumerate(after) if isinstance(node.op, Scale)]
        factor = after[times].op if times is not None else None
        relu = next((node for node in self.network.readers[add.name] if isinstance(node.op, Act)), None)
        chains = tuple(self._chain(x, name) for name in concat.inputs)
        unit = _FoundUnit(
            chains=chains,
            scale=factor.factor if isinstance(factor, Times) else None,
            scaled_first=times is not None and bool(scales) and times < scales[0],
            linear=relu is None,
        )
        stage = self.stages[-1] if self.stages else None
        if stage is None or (stage.units and stage.units[0].chains != chains):
            stage = _FoundStage(None, [], [])
            self.stages.append(stage)
        stage.units.append(unit)
        if scales and (block := block_at(self.network, after[scales[0]])):
            stage.blocks.append(block)
        return relu.name if relu else add.name

    def _module(self, x: str, concat: Node) -> str:
        chains: list[Chain] = []
        pool, project = "max", None
        for name in concat.inputs:
            nodes = trail(self.network, name, lambda node: node.name == x)
            pools = [node.op for node in nodes if isinstance(node.op, Pool)]
            if pools:
                pool, project = pools[0].what, next((conv.out for conv in convolutions(nodes)), None)
            else:
                chains.append(self._chain(x, name))
        pool = "max" if project is None else pool
        module = Module(branches=tuple(chains) or (((1, 1, 1),),), pool=pool, project=project)
        self.stages.append(_FoundStage(module, [], []))
        scale = next((node for node in self.network.readers[concat.name] if isinstance(node.op, Scale)), None)
        if scale and block_at(self.network, scale):
            self.on_modules = True
            return scale.name
        return concat.name

    def _chain(self, x: str, name: str) -> Chain:
        nodes = trail(self.network, name, lambda node: node.name == x)
        found = tuple((conv.out, conv.window[0] | 1, conv.window[-1] | 1) for conv in convolutions(nodes))
        return found or ((1, 1, 1),)


_STEM = (
    StemLayer(out=32, kernel=3, stride=2, padded=False),
    StemLayer(out=32, kernel=3, padded=False),
    StemLayer(out=64, kernel=3, pooled=True),
    StemLayer(out=80, kernel=1),
    StemLayer(out=192, kernel=3, padded=False, pooled=True),
)

_STAGES = (
    Stage(
        module=Module(
            branches=(((96, 1, 1),), ((48, 1, 1), (64, 5, 5)), ((64, 1, 1), (96, 3, 3), (96, 3, 3))),
            pool="avg",
            project=64,
        ),
        units=10,
        branches=(((32, 1, 1),), ((32, 1, 1), (32, 3, 3)), ((32, 1, 1), (48, 3, 3), (64, 3, 3))),
        scale=0.17,
    ),
    Stage(
        module=Module(
            branches=(((384, 3, 3),), ((256, 1, 1), (256, 3, 3), (384, 3, 3))),
            pool="max",
            project=None,
        ),
        units=20,
        branches=(((192, 1, 1),), ((128, 1, 1), (160, 1, 7), (192, 7, 1))),
        scale=0.1,
    ),
    Stage(
        module=Module(
            branches=(
                ((256, 1, 1), (384, 3, 3)),
                ((256, 1, 1), (288, 3, 3)),
                ((256, 1, 1), (288, 3, 3), (320, 3, 3)),
            ),
            pool="max",
            project=None,
        ),
        units=10,
        branches=(((192, 1, 1),), ((192, 1, 1), (224, 1, 3), (256, 3, 1))),
        scale=0.2,
    ),
)
"""mixed_5b, mixed_6a and mixed_7a of TF-slim, and their units: block35, block17 and block8."""

PUBLISHED = (
    InceptionResNetSpec(name="se-inception-resnet-v2", stem=_STEM, stages=_STAGES),
    InceptionResNetSpec(name="inception-resnet-v2", stem=_STEM, stages=_STAGES, se=None),
)
