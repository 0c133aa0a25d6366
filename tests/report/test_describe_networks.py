"""Every network, and every network that differs from one in a field, has words."""

import pytest

from conformance.report.describe import _network
from conformance.report.wording import assumed
from weights import MODELS, Info
from weights.networks import recognition


@pytest.mark.parametrize("name", MODELS)
def test_every_field_of_every_network_has_words(name: str) -> None:
    for spec in (MODELS[name], *(other for _, other in recognition._alternatives(MODELS[name]))):
        for said, value in _network(spec):
            assert said
            assert value
            assert "(" not in value or said.strip() in ("network", "BatchNorm epsilon"), (said, value)
            assert len(value) < 400, (said, value)


def test_assumed_values_of_records_within_the_record_are_said():
    said = assumed(MODELS["efficientnet-b0"], Info(assumed=("stages.stride", "stages.activation")))
    assert said == "strides of the stages (1, 2, 2, 2, 1, 2, 1), activations of the stages (as the network's)"
    said = assumed(MODELS["inception-resnet-v2"], Info(assumed=("stem.pooled", "stages.module.pool")))
    assert said == "whether the stem pools (no, no, yes, no, yes), poolings of the modules (avg, max, max)"
