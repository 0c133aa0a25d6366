"""The choices about an SE block, combinations in which every pair of them occurs, and a small network for each."""

from dataclasses import replace
from itertools import combinations, product
from typing import Any, get_args

from weights import SE, ResNetSpec
from weights.networks.se import Gate, Position, Squeeze

CHOICES: dict[str, tuple[Any, ...]] = {
    "position": get_args(Position),
    "squeeze": get_args(Squeeze),
    "gate": get_args(Gate),
    "bias": (True, False),
    "stages": (None, (1,), (2,)),
    "width": (None, 3),
    "groups": (1, 2),
}

Pairs = frozenset[frozenset[tuple[str, Any]]]


def pairs(choice: dict[str, Any]) -> Pairs:
    """All pairs of choices in a combination."""
    return frozenset(frozenset(pair) for pair in combinations(choice.items(), 2))


def covering(choices: dict[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Combinations in which every pair of values of two choices occurs: each the one with most pairs that are new."""
    everything = {
        pairs(c): c for values in product(*choices.values()) if (c := dict(zip(choices, values, strict=True)))
    }
    missing = set[frozenset[tuple[str, Any]]]().union(*everything)
    found = []
    while missing:
        best = max(everything, key=lambda covered: len(covered & missing))
        found.append(everything[best])
        missing -= best
    return found


def record(choice: dict[str, Any]) -> ResNetSpec:
    """Two stages, the second of two units, so that there are units with and without a projection."""
    values = dict(choice)
    groups = values.pop("groups")
    return ResNetSpec(
        name="variant",
        depths=(1, 2),
        stem=((4, 3),),
        reduce=(4, 6),
        width=(4, 8),
        out_channels=(8, 12),
        groups=groups,
        stride_on_3x3=groups > 1,
        se=SE(**values) if values["width"] else SE(**values, reduction=2),
        classes=3,
    )


def named(choice: dict[str, Any]) -> str:
    return "-".join(str(value).replace(" ", "") for value in choice.values())


def sufficient(candidates: dict[str, ResNetSpec], fields: tuple[str, ...]) -> list[str]:
    """Few of the records, by name, in which each value occurs that a field of their SE blocks has in any of them."""
    values = {name: {(field, getattr(spec.se, field)) for field in fields} for name, spec in candidates.items()}
    missing = set[tuple[str, Any]]().union(*values.values())
    found = []
    while missing:
        best = max(values, key=lambda name: len(values[name] & missing))
        found.append(best)
        missing -= values[best]
    return found


COVERING: dict[str, ResNetSpec] = {named(choice): record(choice) for choice in covering(CHOICES)}
"""Networks in which every pair of choices occurs, by the names of their choices."""


def with_three_stages(spec: ResNetSpec) -> ResNetSpec:
    """The same choices in a larger network; what concerned the second stage concerns the second and third."""
    assert spec.se
    later = (2, 3) if spec.se.stages == (2,) else spec.se.stages
    wide: dict[str, Any] = {"reduce": (8, 8, 16), "width": (8, 8, 16), "out_channels": (16, 16, 32)}
    reduction = spec.se.reduction if spec.se.width else 4
    se = replace(spec.se, stages=later, reduction=reduction)
    return replace(spec, depths=(1, 2, 1), stem=((8, 7),), **wide, se=se, classes=10)
