"""The example in a short form: a dozen steps of two networks, the same losses in the three frameworks."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from ablation.__main__ import BOUND, FRAMEWORKS, draw
from ablation.digits import VARIANTS, initial

STEPS = 12


Losses = dict[str, dict[str, dict[str, list[float]]]]


@pytest.fixture(scope="module")
def losses() -> Losses:
    return {
        framework: {
            name: {"losses": import_module(f"ablation.train_{framework}").train(VARIANTS[name], STEPS)[0]}
            for name in ("plain", "SE")
        }
        for framework in FRAMEWORKS
    }


@pytest.mark.parametrize("name", ["plain", "SE"])
def test_losses_of_the_frameworks_agree(name: str, losses: Losses):
    curves = np.array([found[name]["losses"] for found in losses.values()])
    assert curves.shape == (3, STEPS)
    assert (np.ptp(curves, axis=0) / curves.mean(axis=0)).max() < BOUND
    assert curves[0, -1] < curves[0, 0]


def test_variants_start_from_the_same_values():
    plain, varied = initial(VARIANTS["plain"]), initial(VARIANTS["SE"])
    assert plain.keys() < varied.keys()
    assert all(np.array_equal(plain[name], varied[name]) for name in plain)


def test_curves_are_drawn(losses: Losses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ablation.__main__.VARIANTS", {name: VARIANTS[name] for name in ("plain", "SE")})
    draw(losses, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
