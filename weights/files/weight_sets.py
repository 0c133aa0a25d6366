"""The weights among everything else that a checkpoint holds: which dictionary, under which prefix of the names.

Training scripts keep several sets of weights side by side (those in training and their moving average), wrap networks
in modules whose names stand before every tensor's, and keep counters beside them.
"""

import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Generic, TypeVar

from weights.errors import InputError, InputWarning
from weights.names.dialect import Dialect
from weights.networks.models import MODELS
from weights.networks.spec import Spec

T = TypeVar("T", bound=Any)  # a tensor: anything with a shape

_WRAPPERS = {
    "module": "DataParallel",
    "_orig_mod": "torch.compile",
    "_forward_module": "Fabric",
    "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing",
}
"""Modules that hold another one: the name under which they do so, and whose they are."""

_MOST_SETS = 100  # of weights: models, their moving averages, their earlier states
_INSIDE = frozenset(_WRAPPERS) - {"module"}
"""Those that may also stand around a part of a network; no network has such a name itself."""


@dataclass(frozen=True, slots=True)
class Chosen(Generic[T]):
    """A set of weights."""

    tensors: Mapping[str, T]  # by their names without prefixes
    key: str  # of the dictionary and the prefix, "state_dict.model"; "" where there is neither
    where: str  # the dictionary alone, "state_dict"
    prefix: str  # of the names, as the file has them
    history: tuple[str, ...]  # what was done to the names, and what is not used, a line each


def first_convolutions(dialects: Iterable[Dialect], spec: Spec | None) -> frozenset[str]:
    """What the first convolution's weights, or a dialect's anchor, are called: by them a set of weights is known.

    Args:
        dialects: the names that are tried.
        spec: the network, where it is known; else those of all published ones.
    """
    modules = {s.network().first_convolution.module for s in ([spec] if spec else MODELS.values())}
    return frozenset(names.anchor or f"{names.module(module)}.weight" for names in dialects for module in modules)


def choose(
    path: object, sets: Mapping[str, Mapping[str, T]], first: Collection[str], key: str | None = None
) -> Chosen[T]:
    """The one set of weights of a network, without prefixes of wrapping modules; what is not used is said.

    Args:
        path: names the file in errors.
        sets: every dictionary of tensors in the file, by the dotted keys that lead to it; at least one.
        first: names of first convolutions, without prefixes.
        key: the set that is wanted, or the beginning of its key.

    Raises:
        InputError: there are several and none is asked for, or none of that key.
    """
    found: dict[str, tuple[str, str]] = {}
    for where, tensors in sets.items():
        for name in tensors:
            plain = _without_inner(name)
            for anchor in first:
                if plain == anchor or plain.endswith(f".{anchor}"):
                    prefix = plain[: -len(anchor)]
                    found.setdefault(".".join(filter(None, (where, prefix[:-1]))), (where, prefix))
    if len(found) > _MOST_SETS:
        raise InputError(f"{path}: holds {len(found):,} sets of weights ({_listed(list(found)[:5])}, ...), too many")
    if not found:  # no network of ours: the error says what there is
        largest = max(sets, key=lambda where: len(sets[where]))
        named = key if key is not None and key in sets else largest
        found[named] = (named, "")
    if key is None:
        wanted = dict(found)
    else:
        exact = {key: found[key]} if key in found else None
        wanted = exact or {k: place for k, place in found.items() if k.startswith(f"{key}.")}
    if not wanted:
        raise InputError(f"{path}: has no weights under the key {key!r}; it has {_listed(found)}")
    if len(wanted) > 1 and not _same(wanted, sets):
        raise InputError(
            f"{path}: holds several sets of weights: {_listed(wanted)}; "
            "say which one, with weights_key= (--weights-key on the command line)"
        )
    chosen, (where, prefix) = next(iter(wanted.items()))
    prefixes = [other for at, other in found.values() if at == where]
    history = [f"weights of the key {chosen!r}" + (", one of several" if len(found) > 1 else "")] if chosen else []
    return _taken(path, sets[where], chosen, where, prefix, prefixes, history if where or len(found) > 1 else [])


def _same(wanted: Mapping[str, tuple[str, str]], sets: Mapping[str, Mapping[str, T]]) -> bool:
    """Whether all are the same tensors, under several keys of the file."""
    (first, prefix), *others = wanted.values()
    return all(
        other == prefix and [*map(id, sets[where].values())] == [*map(id, sets[first].values())]
        for where, other in others
    )


def _taken(
    path: object,
    tensors: Mapping[str, T],
    key: str,
    where: str,
    prefix: str,
    prefixes: Collection[str],
    history: list[str],
) -> Chosen[T]:
    taken: dict[str, T] = {}
    unused: list[str] = []
    wrappers = {*_INSIDE, *prefix.split(".")[:-1]}
    removed: dict[str, None] = {}
    original = ""
    for name, tensor in tensors.items():
        plain = _without_inner(name)
        belongs = max((p for p in prefixes if plain.startswith(p)), key=len, default=None)
        if belongs == prefix:
            removed |= dict.fromkeys(part for part in name.split(".") if part in wrappers)
            plain = plain.removeprefix(prefix)
            original = original or name.removesuffix(plain)[:-1]
            if prod(tensor.shape) == 1 and "." not in plain:
                unused.append(name)  # a counter: no parameter stands outside of a module
            elif plain in taken:
                raise InputError(f"{path}: two tensors are called {plain}, without the names of wrapping modules")
            else:
                taken[plain] = tensor
        elif belongs is None:
            unused.append(name)
    for part in removed:
        whose = f" of {_WRAPPERS[part]}" if part in _WRAPPERS else ""
        history.append(f"names lost the prefix '{part}.'{whose}")
    if unused:
        history.append(f"not used: {_some(unused)}")
        if lost := [name for name in unused if prod(tensors[name].shape) != 1]:
            warnings.warn(InputWarning(f"{path}: not used: {_some(lost)}"), stacklevel=2)
    return Chosen(taken, key, where, original, tuple(history))


def _without_inner(name: str) -> str:
    """A name without the parts that stand for wrapping modules wherever they are."""
    return ".".join(part for part in name.split(".") if part not in _INSIDE)


def _listed(found: Iterable[str]) -> str:
    return ", ".join(repr(key[:80]) for key in found)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(name[:80] for name in names[:5]) + more
