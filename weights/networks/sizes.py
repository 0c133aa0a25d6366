"""The shapes of all outputs of a network, for an image of any size."""

from weights.errors import InputError
from weights.networks.network import Network, as_network
from weights.networks.operations import Shape
from weights.networks.spec import Spec


def usual_size(of: Network | Spec) -> tuple[int, int]:
    """Height and width of the image where nobody states them: the one size that the network takes, or its family's."""
    network = as_network(of)
    side = network.spec.side if network.spec else 224
    return network.size or (side, side)


def check_size(of: Network | Spec, height: int, width: int) -> None:
    """Whether a network takes images of this height and width, as far as it is bound to one size.

    Raises:
        InputError: it takes others only.
    """
    network = as_network(of)
    if network.size and network.size != (height, width):
        only = "x".join(map(str, network.size))
        raise InputError(
            f"{network.name} takes images of {only} alone, for its first matrix reads every pixel of the last map; "
            f"found {height}x{width}"
        )


def smallest_side(of: Network | Spec) -> int | None:
    """The side of an image from which on every height and width fit; None where only some sizes do."""
    network = as_network(of)
    if network.size:
        return None
    fit = [side for side in range(1, _TRIED) if _fits(network, side)]
    return fit[0] if fit and fit == list(range(fit[0], _TRIED)) else None


_TRIED = 72  # twice the largest stride, and the smallest image of any family


def _fits(network: Network, side: int) -> bool:
    try:
        shapes(network, side, side)
    except InputError:
        return False
    return True


def shapes(of: Network | Spec, height: int | None = None, width: int | None = None) -> dict[str, Shape]:
    """The shape of every node's output, and of "data", without the batch: (C, H, W) or (C,).

    The smallest image is 3x3, for Inception networks 7x7; of torchvision's geometry it is a pixel. By default the size
    is ``usual_size``.

    Raises:
        InputError: the image is too small, or its size is not the one that the network takes, or does not fit (an
            Inception module of stride 2 with average pooling meets an odd size: convolution and pooling round
            differently).
    """
    network = as_network(of)
    usual = usual_size(network)
    height, width = usual[0] if height is None else height, usual[1] if width is None else width
    check_size(network, height, width)
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
