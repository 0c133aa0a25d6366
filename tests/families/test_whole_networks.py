"""The networks of the further families themselves, not small ones, in three frameworks: every tap, in two precisions.

Images are small and not square: what size changes is in the families' own tests.
"""

import numpy as np
import pytest
from published import PUBLISHED
from within import assert_within, errors

import conformance
from conformance import cases
from conformance.judge.bounds import TAPS
from conformance.reference import forward
from weights import MODELS

pytestmark = pytest.mark.slow

NEEDED = {"torch": ["torch"], "jax_eager": ["jax", "flax"], "tf": ["tensorflow", "keras"]}
NAMES = [name for name, spec in MODELS.items() if name not in PUBLISHED and (spec.se or f"se-{name}" not in MODELS)]
"""Of a network with and without SE blocks the one with them; of 10 and 100 classes both."""
SIZES = {"preact": (32, 29), "shake": (32, 29), "inception-resnet": (107, 91), "vgg": (224, 224)}


@pytest.mark.parametrize("name", NAMES)
def test_every_tap_agrees_in_float64_and_in_float32(name: str) -> None:
    spec = MODELS[name]
    params = cases.seeded(spec, 1)
    x = cases.image(2, 1, *SIZES.get(spec.family, (64, 53))).astype(np.float64)
    expected = forward.run(spec, params, x)
    for framework, modules in NEEDED.items():
        for module in modules:
            pytest.importorskip(module)
        for dtype in ("float64", "float32"):
            taps = conformance.run(framework, spec, params, x, dtype)
            assert {tap.dtype for tap in taps.values()} == {np.dtype(dtype)}
            assert taps.keys() <= expected.keys()
            assert list(taps)[-1] == list(expected)[-1]
            assert_within(errors(taps, expected), TAPS[dtype])
