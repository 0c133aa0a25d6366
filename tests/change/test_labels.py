"""Label orders: the table, the permutation between them, and classifiers that follow it."""

from dataclasses import replace

import numpy as np
import pytest

from weights import MODELS, Info, InputError, Params
from weights.change import reorder
from weights.images.labels import classes, names, permutation

SPEC = MODELS["se-resnet-50"]


def test_each_index_and_each_wnid_occurs_once():
    table = classes()
    assert [c.devkit for c in table] == list(range(1000))
    assert sorted(c.sorted for c in table) == list(range(1000))
    assert len({c.wnid for c in table}) == 1000
    assert sorted(table, key=lambda c: c.wnid) == sorted(table, key=lambda c: c.sorted)


def test_the_orders_have_no_class_in_common():
    # Computed from the devkit; it is why the usual list gives the released files an accuracy of exactly zero.
    indices, cycles, seen = permutation("devkit", "sorted"), [], set()
    for start in range(1000):
        length, i = 0, start
        while i not in seen:
            seen.add(i)
            i, length = indices[i], length + 1
        cycles += [length] if length else []
    assert sorted(cycles, reverse=True) == [452, 358, 79, 57, 24, 18, 12]


def test_names_stand_where_the_order_says():
    assert names("devkit")[0] == "kit fox, Vulpes macrotis"
    assert names("sorted")[0] == "tench, Tinca tinca"
    assert names("sorted")[278] == "kit fox, Vulpes macrotis"


def test_reordered_logits_name_the_same_classes():
    by_devkit = np.arange(1000)
    by_sorted = by_devkit[permutation("devkit", "sorted")]
    assert [names("devkit")[i] for i in by_sorted] == list(names("sorted"))


def head(labels) -> Params:
    rng = np.random.default_rng(0)
    arrays = {"fc.weight": rng.standard_normal((1000, 8)).astype("f4"), "fc.bias": np.arange(1000.0), "x": np.ones(1)}
    return Params(arrays, Info(labels=labels))


def test_reordering_permutes_the_classifier_and_says_so():
    moved = reorder(SPEC, head("devkit"), "sorted")
    np.testing.assert_array_equal(moved["fc.bias"], [c.devkit for c in sorted(classes(), key=lambda c: c.wnid)])
    assert moved.info.labels == "sorted"
    assert moved.info.history == ("classifier reordered from devkit to sorted label order",)


@pytest.mark.parametrize(("order", "other"), [("devkit", "sorted"), ("sorted", "devkit")])
def test_there_and_back_is_the_same(order, other):
    back = reorder(SPEC, reorder(SPEC, head(order), other), order)
    assert {k: a.tobytes() for k, a in back.items()} == {k: a.tobytes() for k, a in head(order).items()}


def test_the_order_it_has_already_changes_nothing():
    assert reorder(SPEC, head("sorted"), "sorted").info.history == ()


@pytest.mark.parametrize("order", [None, "alphabetical"])
def test_an_unknown_order_is_not_guessed(order):
    with pytest.raises(InputError, match=r"the label order is (not known|alphabetical): state it"):
        reorder(SPEC, head(order), "sorted")


@pytest.mark.parametrize("arrays", [{}, {"fc.weight": np.ones((10, 4)), "fc.bias": np.ones(10)}])
def test_other_classifiers_have_no_such_order(arrays):
    with pytest.raises(InputError, match=f"the classifier has {10 if arrays else 0} classes"):
        reorder(replace(SPEC, classes=10 if arrays else 0), Params(arrays, Info(labels="devkit")), "sorted")
