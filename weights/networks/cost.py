"""What a network costs: parameters, multiply-adds, activation sizes; computed from its graph."""

from dataclasses import dataclass
from math import prod

from weights.networks.graph import Conv, Linear, graph, shapes
from weights.networks.parameters import schema
from weights.networks.spec import Spec


@dataclass(frozen=True, slots=True)
class Cost:
    learnable: int  # scalars: conv and fc weights and biases, BatchNorm's gamma and beta
    stored: int  # scalars in a Caffe file: with BatchNorm's mean, variance and factor
    macs: int  # multiply-adds of convolutions and fully connected layers, one image
    activations: int  # scalars in the outputs of all nodes, one image
    blobs: int  # in a Caffe file


def cost(spec: Spec, height: int = 224, width: int = 224) -> Cost:
    """Costs of one forward pass over one image of the given size."""
    params, sizes = schema(spec), shapes(spec, height, width)
    norms = sum(p.leaf == "running_mean" for p in params)
    macs = 0
    for node in graph(spec):
        c = sizes[node.inputs[0]][0]
        match node.op:
            case Conv(_, kernel, groups=groups):
                macs += prod(sizes[node.name]) * c // groups * kernel**2
            case Linear(out):
                macs += out * c
            case _:
                pass
    return Cost(
        learnable=sum(p.size for p in params if p.learnable),
        stored=sum(p.size for p in params) + norms,
        macs=macs,
        activations=sum(prod(sizes[node.name]) for node in graph(spec)),
        blobs=len(params) + norms,
    )
