"""The networks of the further families themselves, not small ones, in the three frameworks: every tap.

Images are small and not square: what size changes is in the families' own tests.
"""

import pytest
from published import PUBLISHED

import conformance
from conformance import cases
from conformance.judge.bounds import TAPS
from weights import MODELS

pytestmark = pytest.mark.slow

NEEDED = {"torch": ["torch"], "jax_eager": ["jax", "flax"], "tf": ["tensorflow", "keras"]}
NAMES = [name for name, spec in MODELS.items() if name not in PUBLISHED and (spec.se or f"se-{name}" not in MODELS)]
"""Of a network with and without SE blocks the one with them; of 10 and 100 classes both."""
SIZES = {"preact": (32, 29), "shake": (32, 29), "inception-resnet": (107, 91), "vgg": (224, 224)}


@pytest.mark.parametrize("name", NAMES)
def test_every_tap_agrees(name: str) -> None:
    spec = MODELS[name]
    params = cases.seeded(spec, 1)
    x = cases.image(2, 1, *SIZES.get(spec.family, (64, 53)))
    for framework, modules in NEEDED.items():
        for module in modules:
            pytest.importorskip(module)
        found = conformance.compare(spec, params, x, [framework], isolated=False).results[framework]
        assert found.status == "agreed", (framework, found.first_divergent, found.worst, found.message)
        assert found.worst is not None
        assert found.worst[1] <= TAPS["float64"]
