"""A new classifier on a trained network: the network stays, what was known of the labels goes."""

from dataclasses import replace

import numpy as np
import pytest
from odd_networks import INCEPTION, INFO, SENET, seeded

from weights import InputError, schema
from weights.change.classifier import with_classes


@pytest.mark.parametrize("classes", [0, 3, 2000])
@pytest.mark.parametrize("spec", [SENET, INCEPTION], ids=lambda spec: spec.name)
def test_new_classifier_changes_nothing_else(spec, classes):
    params = seeded(spec, INFO)
    found, changed = with_classes(spec, params, classes)
    assert found == replace(spec, classes=classes)
    assert {name: a.shape for name, a in changed.items()} == {p.name: p.shape for p in schema(found)}
    assert all(a is params[name] for name, a in changed.items() if not name.startswith("fc."))
    assert (changed.info.labels, changed.info.assumed) == (None, ("preprocessing",))
    assert changed.info.factors == INFO.factors


def test_new_matrix_is_drawn_for_training():
    w = with_classes(SENET, seeded(SENET, INFO), 2000)[1]["fc.weight"]
    assert w.dtype == np.float32
    assert abs(w.std() / np.sqrt(2 / w.shape[1]) - 1) < 0.01  # 128,000 numbers: the deviation is known to 0.2 %
    assert not with_classes(SENET, seeded(SENET, INFO), 2000)[1]["fc.bias"].any()


def test_seed_alone_decides_the_new_matrix():
    first, again, other = (with_classes(SENET, seeded(SENET), 3, seed)[1]["fc.weight"] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_same_class_count_changes_nothing():
    params = seeded(SENET, INFO)
    found, same = with_classes(SENET, params, SENET.classes)
    assert (found, same, same.info) == (SENET, params, INFO)


@pytest.mark.parametrize("classes", [-1, 2.5, True, "10"])
def test_invalid_class_count_is_refused(classes):
    with pytest.raises(InputError, match="expected a whole number"):
        with_classes(SENET, seeded(SENET), classes)  # type: ignore[arg-type]
