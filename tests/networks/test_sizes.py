"""Sizes at the edges, in every framework: the smallest, long and odd, one image and several; and what is too small.

Ordinary sizes are in test_conformance.py.
"""

import numpy as np
import pytest

import conformance
from conformance import cases
from conformance.adapters import adapter
from weights import MODELS, InputError, shapes

# Inception networks have two poolings without padding in a row; torchvision's geometry takes a single pixel.
SMALLEST = {name: 7 if "inception" in name else 3 for name in cases.TINY | MODELS if not name.endswith("-torchvision")}


@pytest.mark.parametrize("framework", ["torch", "jax", "tf"])
@pytest.mark.parametrize("name", cases.TINY)
def test_the_smallest_and_the_longest_images_agree_at_every_tap(name, framework):
    spec, params, n = cases.TINY[name], cases.seeded(cases.TINY[name], 21), SMALLEST[name]
    for shape in ((1, n, n), (3, n, 67), (2, 33, 47)):
        x = cases.image(22, *shape)
        found = conformance.compare(spec, params, x, [framework], isolated=False).results[framework]
        assert (found.status, found.first_divergent, found.dtype) == ("agreed", None, "float64"), shape


@pytest.mark.parametrize("name", SMALLEST)
def test_below_the_smallest_size_there_is_one_clear_error(name):
    spec, n = (cases.TINY | MODELS)[name], SMALLEST[name]
    assert min(min(shape[1:], default=1) for shape in shapes(spec, n, n).values()) == 1
    for h, w in [(n - 1, n), (n, n - 1), (1, 1), (0, n)]:
        with pytest.raises(InputError, match=f"^{spec.name} cannot take {h}x{w}: "):
            shapes(spec, h, w)


@pytest.mark.parametrize("framework", ["torch", "jax", "tf", "onnx"])
@pytest.mark.parametrize("name", ["tiny-se-resnet", "tiny-se-bn-inception"])
def test_nothing_below_the_smallest_size_is_answered(name, framework):
    # By the frameworks alone, with errors of their own: what must not be is an answer of numbers, or of NaN.
    spec, n = cases.TINY[name], SMALLEST[name] - 1
    port = adapter(framework)
    model = port.build(spec, cases.seeded(spec, 1), "float32")
    with pytest.raises(Exception, match=r"(?s)."):
        port.taps(model, cases.image(1, 1, n, n))


def test_a_batch_is_its_images():
    spec, params = cases.TINY["tiny-senet"], cases.seeded(cases.TINY["tiny-senet"], 3)
    x = cases.image(4, 5, 33, 32).astype(np.float64)
    together = conformance.run("numpy", spec, params, x)["logits"]
    for i in range(len(x)):
        alone = conformance.run("numpy", spec, params, x[i : i + 1])["logits"]
        # The order of a sum may depend on the batch.
        np.testing.assert_allclose(alone[0], together[i], rtol=0, atol=1e-13 * np.abs(together).max())
