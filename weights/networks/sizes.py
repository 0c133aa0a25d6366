"""The shapes of all outputs of a network, for an image of any size."""

from weights.errors import InputError
from weights.networks.network import Network, as_network
from weights.networks.operations import Shape
from weights.networks.spec import Spec


def shapes(of: Network | Spec, height: int = 224, width: int = 224) -> dict[str, Shape]:
    """The shape of every node's output, and of "data", without the batch: (C, H, W) or (C,).

    The smallest image is 3x3, for Inception networks 7x7; of torchvision's geometry it is a pixel.

    Raises:
        InputError: the image is too small, or its size does not fit (an Inception module of stride 2 with average
            pooling meets an odd size: convolution and pooling round differently).
    """
    network = as_network(of)
    sizes: dict[str, Shape] = {"data": (network.in_channels, height, width)}
    for node in network.nodes:
        try:
            sizes[node.name] = node.op.shape(*(sizes[name] for name in node.inputs))
        except ValueError as error:
            raise InputError(
                f"{network.name} cannot take {height}x{width}: {node.name} would be {error}; "
                "take sizes that are even at the stride-2 modules, such as multiples of 32"
            ) from None
        if min(sizes[node.name][1:], default=1) < 1:
            raise InputError(f"{network.name} cannot take {height}x{width}: nothing is left at {node.name}")
    return sizes
