"""Every network, and every network that differs from one in a field, has words."""

import pytest

from conformance.report.describe import _network
from weights import MODELS
from weights.networks import recognition


@pytest.mark.parametrize("name", MODELS)
def test_every_field_of_every_network_has_words(name: str) -> None:
    for spec in (MODELS[name], *(other for _, other in recognition._alternatives(MODELS[name]))):
        for said, value in _network(spec):
            assert said
            assert value
            assert "(" not in value or said.strip() in ("network", "BatchNorm epsilon"), (said, value)
            assert len(value) < 400, (said, value)
