"""What Squeeze-and-Excitation networks are, what their parameters are called, and their files. No framework needed."""

from weights.errors import InputError
from weights.files import read, write
from weights.networks.cost import Cost, cost
from weights.networks.graph import feature_nodes, graph, shapes
from weights.networks.parameters import Param, schema
from weights.networks.spec import EPS, MODELS, Inception, ResNet, Spec
from weights.params import CAFFE, Info, Params, Preprocessing

__all__ = [
    "CAFFE",
    "EPS",
    "MODELS",
    "Cost",
    "Inception",
    "Info",
    "InputError",
    "Param",
    "Params",
    "Preprocessing",
    "ResNet",
    "Spec",
    "cost",
    "feature_nodes",
    "graph",
    "read",
    "schema",
    "shapes",
    "write",
]
