"""timm's ports of the published networks, in float64: the same taps, with weights drawn under timm's names."""

from dataclasses import replace

import pytest
from families.peers import Peer
from within import assert_within

import conformance
from conformance.judge.bounds import TAPS
from weights import MODELS
from weights.names.resnet import TIMM

# timm's eps is 1e-5 itself, Caffe's is the nearest of float32.
PEERS = {
    "legacy_seresnet50": Peer("legacy_seresnet50", replace(MODELS["se-resnet-50"], eps=1e-5), TIMM),
    "legacy_seresnext50_32x4d": Peer("legacy_seresnext50_32x4d", replace(MODELS["se-resnext-50"], eps=1e-5), TIMM),
}


@pytest.mark.parametrize("name", PEERS)
def test_every_tap_is_timms(name: str) -> None:
    pytest.importorskip("torch")
    peer = PEERS[name]
    for tag in peer.sizes:
        errors = peer.errors(conformance.run("torch", peer.spec, peer.params(), peer.image(tag)), tag)
        assert len(errors) > 100
        assert_within(errors, TAPS["float64"])
