"""Networks of which every field is drawn are read back as what they are, or what is taken for granted is said."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import fields, is_dataclass, replace
from random import Random
from typing import Any

import numpy as np
import pytest
from caffe_dresses import nowhere_in_place
from families.any_network import any_network, any_values

from weights import FAMILIES, InputError, Spec
from weights.caffe.layers import layers
from weights.caffe.net import Layer, Net
from weights.caffe.recognise import recognise
from weights.files.state_dict import from_state, to_state
from weights.networks.models import from_dict, to_dict
from weights.networks.network import Node

FEW, MANY = range(6), range(6, 36)

FAMILY = pytest.mark.parametrize("family", FAMILIES)


def test_every_family_is_drawn() -> None:
    assert all(any_network(family, 0).family == family for family in FAMILIES)
    drawn = [any_network("resnet", seed) for seed in range(40)]
    assert len({spec.se and (spec.se.position, spec.se.gate) for spec in drawn}) > 15


def corrected(record: Any, other: Any, paths: Collection[str]) -> Any:
    """A record with the values that another one has in some fields, and no other."""
    if isinstance(record, tuple):
        return tuple(corrected(a, b, paths) for a, b in zip(record, other, strict=True))
    if record is None or other is None:
        return record
    inner: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        field, _, rest = path.partition(".")
        inner[field].add(rest)
    changes = {}
    for field, rest in inner.items():
        value, wanted = getattr(record, field), getattr(other, field)
        changes[field] = wanted if "" in rest else corrected(value, wanted, rest)
    return replace(record, **changes)


def assert_what_is_not_assumed_is_right(spec: Spec) -> None:
    """Of bare tensors."""
    state = to_state(spec, any_values(spec))
    found = from_state("bare.pth", state)
    said = corrected(found.spec, spec, found.info.assumed)
    assert said.network().nodes == spec.network().nodes, found.info.assumed
    assert [getattr(said, field) for field in spec.unshown] == [getattr(spec, field) for field in spec.unshown]
    stated = from_state("bare.pth", state, spec=spec)
    assert (stated.spec, stated.info.assumed) == (spec, ())


@FAMILY
def test_what_bare_tensors_do_not_tell_of_a_network_is_assumed(family: str) -> None:
    for seed in FEW:
        assert_what_is_not_assumed_is_right(any_network(family, seed))


@pytest.mark.slow
@FAMILY
def test_what_bare_tensors_do_not_tell_of_many_networks_is_assumed(family: str) -> None:
    for seed in MANY:
        assert_what_is_not_assumed_is_right(any_network(family, seed))


def as_floats(value: Any) -> Any:
    """An operation as Caffe holds it."""
    changes = {f.name: getattr(value, f.name) for f in fields(value)}
    return replace(value, **{k: float(np.float32(v)) for k, v in changes.items() if isinstance(v, float)})


def operations(nodes: tuple[Node, ...]) -> list[tuple[Any, list[int]]]:
    """What is computed of what, without names."""
    place = {"data": -1, **{node.name: i for i, node in enumerate(nodes)}}
    assert all(is_dataclass(node.op) for node in nodes)
    return [(as_floats(node.op), [place[name] for name in node.inputs]) for node in nodes]


def in_another_order(found: Sequence[Layer], seed: int) -> list[Layer]:
    """The same layers, each somewhere behind those that it reads; none is in place."""
    r, rest = Random(seed), nowhere_in_place(list(found))
    made, out = set[str](), list[Layer]()
    while rest:
        out.append(r.choice([layer for layer in rest if made.issuperset(layer.bottoms)]))
        rest.remove(out[-1])
        made.update(out[-1].tops)
    return out


def recognised(spec: Spec) -> bool:
    """Whether Caffe's layers have such operations; then they are read as the same network, in whatever order."""
    try:
        found = [d.layer for d in layers(spec, spec.only_size or (224, 224))]
    except InputError:  # TensorFlow's paddings, means that do not count them
        return False
    for order in (found, in_another_order(found, 1)):
        match = recognise(Net("drawn", tuple(order)))
        assert operations(match.network.nodes) == operations(spec.network().nodes)
    return True


@FAMILY
def test_caffes_layers_are_read_as_the_network_that_they_were_made_of(family: str) -> None:
    assert sum(recognised(any_network(family, seed)) for seed in FEW) >= 3


@pytest.mark.slow
@FAMILY
def test_caffes_layers_of_many_networks_are_read_as_what_they_were_made_of(family: str) -> None:
    assert sum(recognised(any_network(family, seed)) for seed in MANY) > len(MANY) / 3


@FAMILY
def test_every_field_survives_as_plain_data(family: str) -> None:
    for seed in MANY:
        spec = any_network(family, seed)
        assert from_dict(to_dict(spec)) == spec
