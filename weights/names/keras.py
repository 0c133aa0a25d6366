"""Keras' names of layers and variables, and ours: what separates the parts of a name depends on Keras' backend.

A variable's path is "stage1.0.se/fc1/kernel", with Keras on PyTorch "stage1_0_se/fc1/kernel". So names are matched by
their flat form, from a table of the names that the network has; no name is ever split.
"""

from collections.abc import Iterable

from weights.errors import InputError


def flat(name: str) -> str:
    """A name without separators: "stage1.0.se/fc1" and "stage1_0_se/fc1" are both "stage1_0_se_fc1"."""
    return name.replace("/", "_").replace(".", "_")


def by_flat(names: Iterable[str]) -> dict[str, str]:
    """The names by their flat form.

    Raises:
        InputError: two of the names have one flat form, so Keras on PyTorch could not tell them apart.
    """
    found: dict[str, str] = {}
    for name in names:
        if found.setdefault(flat(name), name) != name:
            raise InputError(f"{found[flat(name)]} and {name} have the same name in Keras on PyTorch")
    return found
