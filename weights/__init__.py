"""What Squeeze-and-Excitation networks are, what their parameters are called, and their files. No framework needed."""

from weights.errors import InputError
from weights.files import read, write
from weights.files.onnx_options import OnnxOptions
from weights.networks.cost import Cost, cost
from weights.networks.inception import InceptionSpec
from weights.networks.inception_resnet import InceptionResNetSpec
from weights.networks.mobile import MobileSpec
from weights.networks.models import FAMILIES, MODELS
from weights.networks.network import Network, Node, feature_nodes, graph
from weights.networks.parameters import Param, schema
from weights.networks.preact import PreActSpec
from weights.networks.resnet import ResNetSpec
from weights.networks.se import SE
from weights.networks.shake import ShakeSpec
from weights.networks.shufflenet import ShuffleNetSpec
from weights.networks.sizes import shapes
from weights.networks.spec import EPS, Spec
from weights.networks.vgg import VGGSpec
from weights.params import CAFFE, Checkpoint, Info, Params, Preprocessing

__version__ = "0.1.0"
"""Of the whole distribution; pyproject.toml takes it from here, and so do the other packages."""

__all__ = [
    "CAFFE",
    "EPS",
    "FAMILIES",
    "MODELS",
    "SE",
    "Checkpoint",
    "Cost",
    "InceptionResNetSpec",
    "InceptionSpec",
    "Info",
    "InputError",
    "MobileSpec",
    "Network",
    "Node",
    "OnnxOptions",
    "Param",
    "Params",
    "PreActSpec",
    "Preprocessing",
    "ResNetSpec",
    "ShakeSpec",
    "ShuffleNetSpec",
    "Spec",
    "VGGSpec",
    "__version__",
    "cost",
    "feature_nodes",
    "graph",
    "read",
    "schema",
    "shapes",
    "write",
]
