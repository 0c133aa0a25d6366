"""Photographs are prepared beside computing, in order, and no more of them ahead than there is room for."""

import time
from pathlib import Path
from threading import Event, Lock

import numpy as np
import pytest

from conformance.evaluate import decoding
from weights import CAFFE, InputError


class Preparing:
    """Stands for ``prepare``: counts what it has begun, and waits where it is told to."""

    def __init__(self) -> None:
        self.begun, self.go, self._lock = 0, Event(), Lock()
        self.go.set()

    def __call__(self, photo: bytes, preprocessing: object, max_pixels: int | None = None) -> np.ndarray:
        del preprocessing, max_pixels
        with self._lock:
            self.begun += 1
        self.go.wait(30)
        if photo == b"7":
            raise InputError("the image: no")
        return np.full((1, 3, 2, 2), float(photo))


@pytest.fixture
def preparing(monkeypatch):
    found = Preparing()
    monkeypatch.setattr(decoding, "prepare", found)
    return found


BATCHES = [[str(4 * batch + i).encode() for i in range(4)] for batch in range(10)]


def until(condition) -> None:
    last = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < last
        time.sleep(0.005)


@pytest.mark.usefixtures("preparing")
def test_batches_come_in_order_with_the_errors_at_their_places():
    found = list(decoding.decoded(BATCHES, CAFFE))
    flat = [x for batch in found for x in batch]
    assert [len(batch) for batch in found] == [4] * 10
    assert [str(x) if isinstance(x, InputError) else float(x[0, 0, 0]) for x in flat] == [
        "the image: no" if i == 7 else i for i in range(40)
    ]
    assert {x.dtype for x in flat if not isinstance(x, InputError)} == {np.dtype(np.float32)}


def test_next_batches_are_made_while_one_is_computed_and_no_more(preparing):
    found = decoding.decoded(iter(BATCHES), CAFFE)
    next(found)
    until(lambda: preparing.begun == 12)  # this batch and two more
    time.sleep(0.05)
    assert preparing.begun == 12
    next(found)
    until(lambda: preparing.begun == 16)
    found.close()


def test_what_is_ahead_is_dropped_when_nobody_wants_it(preparing, monkeypatch):
    monkeypatch.setattr(decoding, "_cores", lambda: 1)
    found = decoding.decoded(iter(BATCHES), CAFFE)
    next(found)
    preparing.go.clear()
    until(lambda: preparing.begun >= 4)
    preparing.go.set()
    found.close()
    begun = preparing.begun
    time.sleep(0.05)
    assert preparing.begun == begun < 40


def test_photographs_are_files_or_bytes(tmp_path: Path):
    from PIL import Image

    Image.new("RGB", (4, 4), "red").save(tmp_path / "x.png")
    ((a, b, c),) = decoding.decoded([[tmp_path / "x.png", (tmp_path / "x.png").read_bytes(), b""]], CAFFE)
    assert not isinstance(a, InputError)
    np.testing.assert_array_equal(a, b)
    assert isinstance(c, InputError)
