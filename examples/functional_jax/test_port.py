"""The port agrees: with the pytest plugin of senet, three lines."""

import pytest

from functional_jax import adapter
from pytest_senet import Conformance


@pytest.mark.senet("tiny-se-resnet")
def test_small_network(senet: Conformance):
    senet.assert_agrees(adapter)


@pytest.mark.senet("tiny-se-resnet", dtype="float32", size=(64, 64))
def test_small_network_in_single_precision(senet: Conformance):
    senet.assert_agrees(adapter)


@pytest.mark.slow
@pytest.mark.senet("se-resnet-50", size=(224, 224))
def test_se_resnet_50(senet: Conformance):
    senet.assert_agrees(adapter)
