"""What several test files share: the golden data of the original Caffe; and a limit to what frameworks keep."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from conformance import cases
from weights import MODELS, Params, Spec

GOLDEN = Path(__file__).parent / "data" / "golden"
SEEDS = {
    "tiny-se-resnet": 5001,
    "tiny-se-resnext": 5002,
    "tiny-senet": 5003,
    "tiny-se-bn-inception": 5004,
    "tiny-resnet": 5005,
    "se-resnet-50": 1001,
    "se-resnext-50": 1004,
}
"""Networks with golden data, and what their weights were drawn with."""


MOST = 3e9
"""Bytes that a process of tests keeps: two of them, and what they start, are to fit a machine of 24 GB."""


@pytest.fixture(autouse=True)
def forgetful_frameworks() -> Iterator[None]:
    """After a test, what frameworks keep of compiled networks, large ones with all their weights, is given back."""
    yield
    if psutil.Process().memory_info().rss < MOST:
        return
    if jax := sys.modules.get("jax"):
        jax.clear_caches()
    if dynamo := sys.modules.get("torch._dynamo"):
        dynamo.reset()
    gc.collect()
    with suppress(AttributeError, OSError):  # what is free goes back to the system, where the C library can do that
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of published definitions and real checkpoints, which lies beside a clone where it is at hand."""
    folder = Path(__file__).parents[2] / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip("the published definitions and real checkpoints are not beside this clone")
    return folder


def golden_spec(name: str) -> Spec:
    """The network of a golden file."""
    return cases.TINY[name] if name in cases.TINY else MODELS[name]


def golden_params(name: str) -> Params:
    """The weights behind a golden file."""
    params = cases.seeded(golden_spec(name), SEEDS[name])
    if name == "tiny-resnet":
        params["fc.weight"] /= 16  # its features are that much larger
    return params


def golden_data(name: str) -> dict[str, np.ndarray]:
    """What the original Caffe computed, by the keys that data/golden/make.py describes."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def golden_image(data: dict[str, np.ndarray], tag: str) -> np.ndarray:
    """The input (N, 3, H, W) in float64 behind the values under a tag such as "67x59"."""
    if f"data_{tag}" in data:
        return data[f"data_{tag}"].astype(np.float64)
    n, _, h, w = data[f"{tag}/input_size"]
    return cases.image(int(data[f"{tag}/input_seed"]), n, h, w).astype(np.float64)
