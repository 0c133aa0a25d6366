"""Whether this machine has room for what is asked, before it is filled."""

import os
from collections.abc import Sequence
from math import prod

from weights.errors import InputError
from weights.networks.network import Network, as_network
from weights.networks.sizes import shapes
from weights.networks.spec import Spec


def check_memory(of: Network | Spec, shape: Sequence[int]) -> None:
    """Whether the outputs of all nodes in float64, which the reference keeps, fit into this machine's memory.

    Args:
        of: the network.
        shape: of the images, (N, C, H, W).

    Raises:
        InputError: they do not, or there are no images, or the network cannot take their size.
    """
    network = as_network(of)
    if len(shape) != 4 or shape[0] < 1 or shape[1] != network.in_channels:
        wanted = f"(N, {network.in_channels}, H, W), N at least 1"
        raise InputError(f"the input has shape {tuple(shape)}, expected {wanted}")
    needed = shape[0] * 8 * sum(map(prod, shapes(network, *shape[2:]).values()))
    if needed > _memory():
        images = "" if shape[0] == 1 else f" of {shape[0]} images"
        raise InputError(
            f"{network.name} at {shape[2]}x{shape[3]}: the outputs of all its layers{images} are {needed / 1e9:,.0f} "
            f"GB, and this machine has {_memory() / 1e9:,.0f} GB of memory; take a smaller size"
        )


def _memory() -> float:
    """Bytes of memory, where the system says how many."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float("inf")
