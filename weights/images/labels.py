"""The 1000 ImageNet classes in both orders in use, and the way of a classifier from one to the other."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

import numpy as np

from weights.errors import InputError
from weights.params import Labels, Params, info_of


@dataclass(frozen=True, slots=True)
class Class:
    devkit: int  # ILSVRC devkit id - 1: the order of the released Caffe files
    sorted: int  # place in the alphabetical order of the WordNet ids: that of nearly everything else
    wnid: str  # WordNet id, the only unique name: there are two cranes and two maillots
    names: str  # "kit fox, Vulpes macrotis"


@cache
def classes() -> tuple[Class, ...]:
    """All classes, in devkit order."""
    rows = csv.DictReader(
        files("weights.images").joinpath("imagenet_classes.csv").read_text(encoding="utf-8").splitlines()
    )
    found = (Class(int(r["devkit_index"]), int(r["sorted_index"]), r["wnid"], r["wordnet_names"]) for r in rows)
    return tuple(sorted(found, key=lambda c: c.devkit))


def names(order: Labels | None) -> tuple[str, ...]:
    """The WordNet names, as a classifier of that order counts them.

    Raises:
        InputError: the order is not known. It is never guessed: read in the wrong order, no class is right.
    """
    return tuple(c.names for c in _in(order))


def permutation(source: Labels | None, target: Labels | None) -> np.ndarray:
    """Indices p (1000) such that ``logits_in_target_order = logits_in_source_order[p]``.

    Raises:
        InputError: one of the orders is not known.
    """
    place = {c.wnid: i for i, c in enumerate(_in(source))}
    return np.array([place[c.wnid] for c in _in(target)])


def reorder(params: Mapping[str, np.ndarray], target: Labels) -> Params:
    """Parameters with the classifier's rows in another order; the values themselves stay bit for bit.

    Raises:
        InputError: the present order is not known, or the classifier is not one of 1000 classes.
    """
    info = info_of(params)
    indices = permutation(info.labels, target)
    found = params["fc.weight"].shape[0] if "fc.weight" in params else 0
    if found != len(indices):
        raise InputError(f"--labels: the classifier has {found} classes; the label orders are those of 1000 classes")
    if info.labels == target:
        return Params(params, info)
    rows = {name: params[name][indices] for name in ("fc.weight", "fc.bias")}
    history = (*info.history, f"classifier reordered from {info.labels} to {target} label order")
    return Params({**params, **rows}, replace(info, labels=target, history=history))


def _in(order: Labels | None) -> tuple[Class, ...]:
    match order:
        case "devkit":
            return classes()
        case "sorted":
            return tuple(sorted(classes(), key=lambda c: c.sorted))
    raise InputError(
        f"the label order is {order or 'not known'}: state it, devkit (the released Caffe files) or sorted"
    )
