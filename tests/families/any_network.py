"""Networks of every family with every field drawn: narrow ones, so that widths are often equal by chance."""

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, get_args

import numpy as np

from weights import (
    EPS,
    SE,
    InceptionResNetSpec,
    InceptionSpec,
    Info,
    InputError,
    MobileSpec,
    Params,
    PreActSpec,
    ResNetSpec,
    ShakeSpec,
    ShuffleNetSpec,
    Spec,
    VGGSpec,
    schema,
)
from weights.networks import inception_resnet, mobile
from weights.networks.inception import Branches
from weights.networks.inception_resnet import Chain, Module, StemLayer
from weights.networks.se import Gate, Inner, Position, Rounding, Squeeze

Drawn = dict[str, Any]
_WIDTHS = (2, 3, 4, 6, 8, 8, 12, 16, 24, 32)


def any_network(family: str, seed: int) -> Spec:
    """The network of a seed; fields that do not fit together are drawn again."""
    r = Random(f"{family} {seed}")
    while True:
        try:
            spec = _FAMILIES[family](r)
            schema(spec)
        except InputError:
            continue
        return spec


def any_values(spec: Spec) -> Params:
    """Parameters whose values float32 holds."""
    rng = np.random.default_rng(1)
    return Params({p.name: (rng.random(p.shape) + 0.5).astype(np.float32) for p in schema(spec)}, Info())


def _width(r: Random) -> int:
    return r.choice(_WIDTHS)


def _some(r: Random, n: int, multiple: int = 1) -> tuple[int, ...]:
    return tuple(multiple * _width(r) for _ in range(n))


def _depths(r: Random, n: int) -> tuple[int, ...]:
    return tuple(r.randint(1, 3) for _ in range(n))


def _se(r: Random, positions: tuple[Position, ...], stages: int) -> SE | None:
    if r.random() < 0.2:
        return None
    some = tuple(sorted(r.sample(range(1, stages + 1), r.randint(1, stages)))) if stages else None
    return SE(
        reduction=r.choice((1, 2, 2, 3, 4, 8, 16)),
        width=r.choice((None, None, None, 1, 3, 8)),
        rounding=r.choice(get_args(Rounding)),
        squeeze=r.choice(get_args(Squeeze)),
        gate=r.choice(get_args(Gate)),
        inner=r.choice(get_args(Inner)),
        bias=r.random() < 0.7,
        position=r.choice(positions),
        stages=r.choice((None, some)),
    )


def _common(r: Random) -> Drawn:
    return {
        "name": "drawn",
        "dropout": r.choice((0.0, 0.2, 0.5)),
        "classes": r.choice((0, 1, 3, 10)),
        "eps": r.choice((EPS, 1e-5, 1e-3)),
        "in_channels": r.choice((3, 3, 1, 4)),
    }


def _resnet(r: Random) -> Spec:
    n, unit = r.randint(1, 4), r.choice(("bottleneck", "bottleneck", "basic", "basic-relu"))
    wide = unit == "bottleneck"
    groups = r.choice((1, 1, 2, 4)) if wide else 1
    return ResNetSpec(
        depths=_depths(r, n),
        unit=unit,
        stem=tuple((_width(r), r.choice((1, 3, 5, 7))) for _ in range(r.choice((1, 1, 2, 3)))),
        stem_pool=r.choice(("caffe", "torchvision")),
        reduce=_some(r, n, groups) if wide else None,
        width=_some(r, n, groups),
        out_channels=_some(r, n),
        groups=groups,
        stride_on_3x3=not wide or r.random() < 0.5,
        shortcut=r.choice((1, 1, 3)),
        se=_se(r, get_args(Position), n),
        **_common(r),
    )


def _inception(r: Random) -> Spec:
    def branches(name: str) -> Branches:
        passes = r.random() < 0.3
        return Branches(
            name=name,
            conv1x1=None if passes else _width(r),
            conv3x3=(_width(r), _width(r)),
            double3x3=(_width(r), _width(r), _width(r)),
            pool=r.choice(("avg", "max")),
            project=None if passes else _width(r),
        )

    names = sorted(r.sample(["3a", "3b", "3c", "4a", "4b", "4c", "5a", "5b"], r.randint(1, 4)))
    return InceptionSpec(
        modules=tuple(map(branches, names)),
        stem=tuple((_width(r), r.choice((1, 3, 5, 7))) for _ in range(3)),
        se=_se(r, ("standard",), 0),
        **_common(r),
    )


def _preact(r: Random) -> Spec:
    n, unit = r.randint(1, 4), r.choice(("basic", "bottleneck"))
    out = _some(r, n)
    return PreActSpec(
        depths=_depths(r, n),
        stem=_width(r),
        order=r.choice(("pre", "post")),
        unit=unit,
        width=_some(r, n),
        out_channels=r.choice((out, tuple(sorted(out)))),
        stride_on_3x3=unit == "bottleneck" and r.random() < 0.5,
        shortcut=r.choice(("projection", "zeros")),
        se=_se(r, ("standard",), n),
        **_common(r),
    )


def _shake(r: Random) -> Spec:
    n, unit = r.randint(1, 4), r.choice(("basic", "bottleneck"))
    groups = r.choice((1, 2, 4)) if unit == "bottleneck" else 1
    return ShakeSpec(
        depths=_depths(r, n),
        stem=_width(r),
        unit=unit,
        width=_some(r, n, groups),
        out_channels=_some(r, n, 2),
        groups=groups,
        place=r.choice(("mix", "branch")),
        shares=r.choice(("shake-shake", "shake-even", "even-even")),
        se=_se(r, ("standard",), n),
        **_common(r),
    )


def _mobile(r: Random) -> Spec:
    n, stem = r.randint(1, 5), _width(r)
    stages: list[mobile.Stage] = []
    channels = stem
    for _ in range(n):
        out, expanded = _width(r), list[int]()
        for _ in range(r.randint(1, 3)):
            expanded.append(r.choice((channels, 2 * channels, 6 * channels, _width(r))))
            channels = out
        stages.append(
            mobile.Stage(
                out=out,
                expanded=tuple(expanded),
                kernel=r.choice((3, 5, 7)),
                stride=r.choice((1, 2)),
                activation=r.choice((None, None, *get_args(mobile.Function))),
            )
        )
    return MobileSpec(
        stages=tuple(stages),
        stem=stem,
        top=r.choice((None, 8, 16)),
        hidden=r.choice((None, None, 10)),
        activation=r.choice(get_args(mobile.Function)),
        inverted=r.random() < 0.6,
        padding=r.choice(("symmetric", "symmetric", "same", "even")),
        reduced=r.choice(("map", "unit")),
        se=_se(r, ("standard", "3x3"), n),
        **_common(r),
    )


def _vgg(r: Random) -> Spec:
    n = r.randint(1, 4)
    return VGGSpec(
        size=2**n * r.choice((1, 2, 3)),
        depths=_depths(r, n),
        widths=_some(r, n),
        hidden=_some(r, r.randint(1, 3)),
        batch_norm=r.random() < 0.6,
        conv_bias=r.random() < 0.6,
        se=_se(r, ("standard",), n),
        **_common(r),
    )


def _inception_resnet(r: Random) -> Spec:
    def chains() -> tuple[Chain, ...]:
        kernels = ((1, 1), (3, 3), (1, 7), (7, 1), (5, 5))
        return tuple(
            tuple((_width(r), *r.choice(kernels)) for _ in range(r.randint(1, 3))) for _ in range(r.randint(1, 3))
        )

    def module() -> Module | None:
        halves = Module(branches=chains(), pool="max", project=None)
        joined = Module(branches=chains(), pool=r.choice(("avg", "max")), project=_width(r))
        return r.choice((None, halves, joined))

    n = r.randint(1, 3)
    se = _se(r, ("standard",), n)
    return InceptionResNetSpec(
        stem=tuple(
            StemLayer(
                out=_width(r),
                kernel=r.choice((1, 3, 5)),
                stride=r.choice((1, 2)),
                padded=r.random() < 0.5,
                pooled=r.random() < 0.3,
            )
            for _ in range(r.choice((1, 2, 3, 5)))
        ),
        stages=tuple(
            inception_resnet.Stage(
                module=module(), units=r.randint(1, 3), branches=chains(), scale=r.choice((0.1, 0.17, 0.2, 0.5))
            )
            for _ in range(n)
        ),
        end=r.choice((None, 8, 16)),
        linear_end=r.random() < 0.5,
        counted=r.random() < 0.5,
        se_after_scaling=bool(se) and r.random() < 0.4,
        se_on_modules=bool(se) and r.random() < 0.4,
        se=se,
        **_common(r),
    )


def _shufflenet(r: Random) -> Spec:
    n, groups = r.randint(1, 3), r.choice((1, 2, 3, 4))
    channels = groups * r.randint(1, 4)
    out = tuple(_growing(r, channels, 4 * groups, n))
    return ShuffleNetSpec(
        stem_channels=channels,
        depths=_depths(r, n),
        out_channels=out,
        groups=groups,
        stem_pool=r.choice(("torchvision", "caffe")),
        concatenation=r.choice(("branch-first", "pooled-first")),
        se=_se(r, ("standard", "post"), n),
        **_common(r),
    )


def _growing(r: Random, channels: int, multiple: int, n: int) -> Iterator[int]:
    for _ in range(n):
        channels = (channels // multiple + r.randint(1, 3)) * multiple
        yield channels


_FAMILIES: Mapping[str, Callable[[Random], Spec]] = {
    "resnet": _resnet,
    "inception": _inception,
    "preact": _preact,
    "shake": _shake,
    "mobile": _mobile,
    "vgg": _vgg,
    "inception-resnet": _inception_resnet,
    "shufflenet": _shufflenet,
}
