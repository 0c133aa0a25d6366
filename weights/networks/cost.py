"""What a network costs: parameters and multiply-adds, computed from its nodes."""

from dataclasses import dataclass

from weights.networks.network import Network, as_network
from weights.networks.parameters import schema
from weights.networks.sizes import shapes
from weights.networks.spec import Spec


@dataclass(frozen=True, slots=True)
class Cost:
    """Counts for one network."""

    learnable: int  # scalars: conv and fc weights and biases, BatchNorm's gamma and beta
    stored: int  # scalars in a Caffe file: with BatchNorm's mean, variance and factor
    macs: int  # multiply-adds of convolutions and fully connected layers, one image
    blobs: int  # in a Caffe file


def cost(of: Network | Spec, height: int | None = None, width: int | None = None) -> Cost:
    """Costs of one forward pass over one image of the given size, by default of the ``usual_size``."""
    network = as_network(of)
    params, sizes = schema(network), shapes(network, height, width)
    norms = sum(p.leaf == "running_mean" for p in params)
    return Cost(
        learnable=sum(p.size for p in params if p.learnable),
        stored=sum(p.size for p in params) + norms,
        macs=sum(node.op.macs(sizes[node.inputs[0]], sizes[node.name]) for node in network.nodes),
        blobs=len(params) + norms,
    )
