"""Every known difference between Caffe and the frameworks, shown in the frameworks themselves, with its effect."""

from pathlib import Path

import pytest

pytest.register_assert_rewrite("divergences")
for module in ("jax", "keras", "torch", "tensorflow", "onnxruntime"):
    pytest.importorskip(module)

from divergences import batch_norm, functions, optimizers, pooling  # noqa: E402
from divergences.entries import DIVERGENCES  # noqa: E402
from divergences.page import page  # noqa: E402

DEMONSTRATIONS = {
    **batch_norm.DEMONSTRATIONS,
    **optimizers.DEMONSTRATIONS,
    **pooling.DEMONSTRATIONS,
    **functions.DEMONSTRATIONS,
}
PAGE = Path(__file__).parents[2] / "docs" / "divergences.md"


def test_every_entry_has_a_demonstration_and_every_demonstration_an_entry():
    assert sorted(DEMONSTRATIONS) == sorted(d.name for d in DIVERGENCES)


@pytest.mark.filterwarnings("ignore:scatter inputs have incompatible types:FutureWarning")  # of a float32 statistic
@pytest.mark.parametrize("divergence", DIVERGENCES, ids=lambda d: d.name)
def test_demonstration_has_the_stated_effect(divergence):
    # To the digits that the page prints.
    assert DEMONSTRATIONS[divergence.name]() == pytest.approx(divergence.effect, rel=0.03)


def test_page_is_up_to_date():
    assert PAGE.read_text() == page(), "run make docs"
