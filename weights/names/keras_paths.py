"""Keras' names of layers and variables: dotted where Keras allows it, else with "_", and "/" before a variable's leaf.

On TensorFlow and JAX a variable's path is "stage1.0.se/fc1/kernel", on PyTorch, whose modules may have no dots in their
names, "stage1_0_se/fc1/kernel". Written with one separator both are the same, and the tables here, made from a network,
lead back from there to the canonical names.
"""

from collections.abc import Iterable
from typing import TypeVar

from weights.errors import InputError
from weights.names.frameworks import KERAS_ON_TORCH
from weights.networks.network import Network, as_network
from weights.networks.parameters import Param, schema
from weights.networks.spec import Spec

T = TypeVar("T")


def flat(path: str) -> str:
    """A path with "_" for every separator: what Keras on PyTorch calls a layer."""
    return path.replace("/", "_").replace(".", "_")


def parameters_by_path(of: Network | Spec) -> dict[str, Param]:
    """Every parameter of a network by the flat path of its variable, "stage1_0_se_fc1_kernel".

    Raises:
        InputError: two parameters would have the same path.
    """
    return _one_to_one(as_network(of).name, ((KERAS_ON_TORCH.key(p), p) for p in schema(of)))


def nodes_by_path(of: Network | Spec) -> dict[str, str]:
    """The name of every node by the flat path of the layer that computes it: "fc" -> "logits".

    Raises:
        InputError: two layers would have the same path.
    """
    network = as_network(of)
    return _one_to_one(network.name, ((node.module, node.name) for node in network.nodes))


def _one_to_one(network: str, pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, value in pairs:
        if (path := flat(name)) in found:
            raise InputError(f"{network}: Keras would call two of its layers {path!r}; rename one of its modules")
        found[path] = value
    return found
