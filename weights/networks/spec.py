"""The networks, and nothing else: hyper-parameters, resolved to one record per block.

Two families, each a frozen record: ``ResNet`` (SE-ResNet, SE-ResNeXt, SENet-154 and their plain counterparts) and
``Inception`` (SE-BN-Inception and BN-Inception). A variant is ``dataclasses.replace(spec, classes=10)``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from weights.errors import InputError

EPS = float(np.float32(1e-5))
"""BatchNorm's epsilon. Caffe's is a protobuf float: 9.9999997473787516e-06, also in double precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """One residual unit with every width resolved; all frameworks read these, none computes them."""

    name: str
    in_channels: int
    reduce: int  # out channels of the first 1x1
    width: int  # out channels of the 3x3
    out_channels: int
    strides: tuple[int, int]  # of the first 1x1 and of the 3x3
    groups: int  # of the 3x3
    shortcut: int | None  # kernel size of the projection, or None for the identity
    reduction: int | None  # of the SE block, or None for a plain unit
    eps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNet:
    """Hyper-parameters of a residual network of bottlenecks. Stage 1 has stride 1, the later ones 2."""

    name: str
    depths: tuple[int, ...]  # blocks in each stage
    stem: tuple[tuple[int, int], ...] = ((64, 7),)  # (out channels, kernel) of each convolution; the first has stride 2
    reduce: tuple[int, ...] = (64, 128, 256, 512)  # per stage, as the two below
    width: tuple[int, ...] = (64, 128, 256, 512)
    out_channels: tuple[int, ...] = (256, 512, 1024, 2048)
    groups: int = 1
    stride_on_3x3: bool = False  # otherwise on the first 1x1, as in the original ResNet
    shortcut: int = 1  # projection kernel where the stride is 2; always 1 where it is 1
    reduction: int | None = 16  # None: no SE blocks
    dropout: float = 0.0
    classes: int = 1000  # 0: no classifier, the output is the pooled features (N, C)
    eps: float = EPS

    @property
    def stages(self) -> tuple[tuple[Bottleneck, ...], ...]:
        """The blocks of each stage."""
        blocks = iter(self.blocks())
        return tuple(tuple(next(blocks) for _ in range(depth)) for depth in self.depths)

    def blocks(self) -> Iterator[Bottleneck]:
        """Every residual unit, in order, with its widths resolved."""
        channels = self.stem[-1][0]
        for stage, depth in enumerate(self.depths):
            for i in range(depth):
                stride = 2 if stage > 0 and i == 0 else 1
                yield Bottleneck(
                    name=f"stage{stage + 1}.{i}",
                    in_channels=channels,
                    reduce=self.reduce[stage],
                    width=self.width[stage],
                    out_channels=self.out_channels[stage],
                    strides=(1, stride) if self.stride_on_3x3 else (stride, 1),
                    groups=self.groups,
                    shortcut=None if i else (self.shortcut if stride > 1 else 1),
                    reduction=self.reduction,
                    eps=self.eps,
                )
                channels = self.out_channels[stage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """Widths of one Inception module."""

    name: str  # "3a"
    conv1x1: int | None  # None in a module of stride 2
    conv3x3: tuple[int, int]  # 1x1 reduce, 3x3
    double3x3: tuple[int, int, int]  # 1x1 reduce, 3x3, 3x3
    pool: Literal["avg", "max"]
    project: int | None  # out channels of the 1x1 after the pooling; None: the pooling has stride 2 and passes through


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One Inception module with every width resolved."""

    name: str
    in_channels: int
    conv1x1: int | None
    conv3x3: tuple[int, int]
    double3x3: tuple[int, int, int]
    pool: Literal["avg", "max"]
    project: int | None
    out_channels: int
    stride: int  # of the last convolution of each branch and of the pooling
    reduction: int | None
    eps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inception:
    """Hyper-parameters of a BN-Inception network (Ioffe and Szegedy, https://arxiv.org/abs/1502.03167)."""

    name: str
    modules: tuple[Branches, ...]
    stem: tuple[tuple[int, int], ...] = ((64, 7), (64, 1), (192, 3))  # (out channels, kernel); pooled after 1 and 3
    reduction: int | None = 16
    dropout: float = 0.0
    classes: int = 1000
    eps: float = EPS

    def blocks(self) -> Iterator[Module]:
        """Every module, in order, with its widths resolved."""
        channels = self.stem[-1][0]
        for m in self.modules:
            out = (m.conv1x1 or 0) + m.conv3x3[-1] + m.double3x3[-1] + (channels if m.project is None else m.project)
            yield Module(
                name=f"inception{m.name}",
                in_channels=channels,
                conv1x1=m.conv1x1,
                conv3x3=m.conv3x3,
                double3x3=m.double3x3,
                pool=m.pool,
                project=m.project,
                out_channels=out,
                stride=2 if m.project is None else 1,
                reduction=self.reduction,
                eps=self.eps,
            )
            channels = out


Spec = ResNet | Inception


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


def _resnets() -> Iterator[ResNet]:
    depths = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}
    for prefix, reduction in (("se-", 16), ("", None)):
        for size in ("50", "101", "152"):
            yield ResNet(name=f"{prefix}resnet-{size}", depths=depths[size], reduction=reduction)
        for size in ("50", "101"):  # 32x4d
            yield ResNet(
                name=f"{prefix}resnext-{size}",
                depths=depths[size],
                reduce=(128, 256, 512, 1024),
                width=(128, 256, 512, 1024),
                groups=32,
                stride_on_3x3=True,
                reduction=reduction,
            )
    yield ResNet(
        name="senet-154",
        depths=depths["152"],
        stem=((64, 3), (64, 3), (128, 3)),
        reduce=(128, 256, 512, 1024),
        width=(256, 512, 1024, 2048),
        groups=64,
        stride_on_3x3=True,
        shortcut=3,
        dropout=float(np.float32(0.2)),  # a protobuf float, as EPS
    )


MODELS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        *_resnets(),
        Inception(name="se-bn-inception", modules=_BN_INCEPTION),
        Inception(name="bn-inception", modules=_BN_INCEPTION, reduction=None),
    )
}
"""The seven published networks and their plain counterparts, by name."""

_R = TypeVar("_R")
_FAMILIES: dict[str, type[ResNet] | type[Inception]] = {"resnet": ResNet, "inception": Inception}


def to_dict(spec: Spec) -> dict[str, Any]:
    """A spec as plain data (for JSON), with the family's name under "family"."""
    return {"family": type(spec).__name__.lower(), **asdict(spec)}


def from_dict(data: Mapping[str, Any]) -> Spec:
    """The inverse of ``to_dict``.

    Raises:
        InputError: an unknown family, or fields that are missing, unexpected or of the wrong kind.
    """
    values = {key: value for key, value in data.items() if key != "family"}
    family = _FAMILIES.get(str(data.get("family")))
    if family is None:
        raise InputError(f"spec of an unknown family {data.get('family')!r}: expected one of {', '.join(_FAMILIES)}")
    try:
        if family is Inception:
            values["modules"] = tuple(_record(Branches, m) for m in values["modules"])
        return _record(family, values)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        wanted = ", ".join(f.name for f in fields(family))
        raise InputError(f"spec of family {data['family']!r} does not fit: {error}; its fields are {wanted}") from None


def _record(kind: type[_R], data: Mapping[str, Any]) -> _R:
    """A record whose every field is of its annotated kind and has a size that a network can have."""
    record = kind(**{key: _tuples(value) for key, value in data.items()})
    for name, hint in get_type_hints(kind).items():
        value = getattr(record, name)
        if not _fits(value, hint) and (name, value) != ("classes", 0):
            raise ValueError(f"{name} is {str(value)[:100]}")
    if isinstance(record, ResNet):
        widths = (record.reduce, record.width, record.out_channels)
        if any(len(width) != len(record.depths) for width in widths) or sum(record.depths) > 10_000:
            raise ValueError(f"depths are {record.depths}, widths {widths}")
    return record


def _fits(value: Any, hint: Any) -> bool:
    kinds = get_args(hint)
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple) or not 0 < len(value) < 1000:
            return False
        kinds = kinds[:1] * len(value) if kinds[-1] is ... else kinds
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if get_origin(hint) is Literal:
        return value in kinds
    if kinds:  # a union
        return any(_fits(value, kind) for kind in kinds)
    if hint is int:  # bool is a subclass of it
        return type(value) is int and 0 < value < 2**20
    return isinstance(value, hint) and (hint is not float or 0 <= value < 1)  # eps, dropout


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value
