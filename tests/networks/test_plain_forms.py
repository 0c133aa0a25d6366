"""A network without SE blocks is the one with them, but for the nodes of the blocks: nothing else differs."""

from dataclasses import replace

import pytest

from weights import MODELS, Spec
from weights.networks.network import Network
from weights.networks.operations import Op, Scale

EXCITED = [name for name, spec in MODELS.items() if spec.se]
PLAIN = [name for name, spec in MODELS.items() if not spec.se]


def plain_form(spec: Spec) -> Spec:
    """The published one, or the record without SE blocks."""
    names = spec.name.removeprefix("se-"), f"{spec.name}-plain"
    published = [MODELS[name] for name in names if name in MODELS and not MODELS[name].se]
    return published[0] if published else replace(spec, se=None)


def without_blocks(network: Network) -> list[tuple[Op, str, tuple[int, ...]]]:
    """The nodes outside of SE blocks: the operation, its parameters' module, and which earlier ones it reads.

    What reads the product of a block reads what the block scales.
    """
    place = {"data": -1}
    kept: list[tuple[Op, str, tuple[int, ...]]] = []
    for node in network.nodes:
        if not node.block:
            place[node.name] = len(kept)
            module = node.module if node.op.kind else ""
            kept.append((node.op, module, tuple(place[source] for source in node.inputs)))
        elif isinstance(node.op, Scale):
            place[node.name] = place[node.inputs[0]]
    return kept


@pytest.mark.parametrize("name", EXCITED)
def test_the_plain_form_is_the_network_without_its_se_blocks(name: str) -> None:
    excited, plain = MODELS[name].network(), plain_form(MODELS[name]).network()
    assert not any(node.block for node in plain.nodes)
    assert any(node.block for node in excited.nodes)
    assert without_blocks(excited) == without_blocks(plain)
    assert plain.features
    assert len(excited.features) == len(plain.features)


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_network_has_no_se_block(name: str) -> None:
    assert not any(node.block or isinstance(node.op, Scale) for node in MODELS[name].network().nodes)
