"""Every network at full size, 224x224: every tap of every framework against the reference."""

import pytest
from published import PUBLISHED

from conformance import cases, compare
from weights import MODELS

pytestmark = pytest.mark.slow
ALREADY = {"se-resnet-50"}  # in test_conformance.py, with the quick tests


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in ALREADY])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_network_agrees_at_full_size(name, dtype):
    spec = MODELS[name]
    # ONNX Runtime's kernels are float32 only, and it is asked for nothing else here.
    frameworks = ("torch", "jax", "tf", "onnx") if dtype == "float32" else ("torch", "jax", "tf")
    found = compare(spec, cases.seeded(spec, 1), cases.image(2, 1, 224, 224), frameworks, dtype)
    told = {framework: (r.status, r.first_divergent, r.worst, r.message) for framework, r in found.results.items()}
    assert found.agreed, told
    assert all("logits" in r.errors and r.dtype == dtype for r in found.results.values()), told
