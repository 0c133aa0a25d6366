"""What Squeeze-and-Excitation networks are, what their parameters are called, and their files. No framework needed."""

from weights.checkpoint import CAFFE, Info, Params, Preprocessing
from weights.cost import Cost, cost
from weights.errors import InputError
from weights.files import read, write
from weights.graph import feature_nodes, graph, shapes
from weights.schema import Param, schema
from weights.spec import EPS, MODELS, Inception, ResNet, Spec

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
