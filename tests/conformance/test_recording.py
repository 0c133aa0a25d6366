"""What a recorded run says of its own input."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conformance import cases
from conformance.judge.compare import Conditions
from conformance.recording import Asked, Checkpoint, record
from weights import CAFFE, Info, Params

SPEC = cases.TINY["tiny-se-resnet"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 70, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("stated", [True, False])
def test_preprocessing_that_the_checkpoint_does_not_state_is_said_to_be_assumed(stated: bool, photo: Path) -> None:
    params = Params(cases.seeded(SPEC, 1), Info(preprocessing=CAFFE if stated else None))
    source = Checkpoint(file=photo, spec=SPEC, params=params, photo=photo, size=(64, 64))
    run = record(source, Asked(adapters=("numpy",), conditions=Conditions(isolated=False)))
    assert run.input.preprocessing == str(CAFFE) + ("" if stated else " (assumed: the checkpoint does not state it)")
