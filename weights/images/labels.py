"""The 1000 ImageNet classes in both orders in use."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from weights.errors import InputError
from weights.params import Labels


@dataclass(frozen=True, slots=True)
class Class:
    """One class of ImageNet and its place in both orders."""

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


def wnids(order: Labels | None) -> tuple[str, ...]:
    """The WordNet ids, as a classifier of that order counts them.

    Raises:
        InputError: as of ``names``.
    """
    return tuple(c.wnid for c in _in(order))


def permutation(source: Labels | None, target: Labels | None) -> np.ndarray:
    """Indices p (1000) such that ``logits_in_target_order = logits_in_source_order[p]``.

    Raises:
        InputError: one of the orders is not known.
    """
    place = {c.wnid: i for i, c in enumerate(_in(source))}
    return np.array([place[c.wnid] for c in _in(target)])


def _in(order: Labels | None) -> tuple[Class, ...]:
    match order:
        case "devkit":
            return classes()
        case "sorted":
            return tuple(sorted(classes(), key=lambda c: c.sorted))
        case _:
            raise InputError(
                f"the label order is {order or 'not known'}: state it, devkit (the released Caffe files) or sorted"
            )
