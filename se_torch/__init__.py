"""Squeeze-and-Excitation networks in PyTorch. Images are (N, 3, H, W), in the channel order of the weights."""

from importlib import import_module

try:
    import_module("torch")
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError("se_torch needs PyTorch: pip install 'senet[torch]'") from error

try:
    vars(import_module("weights"))["MODELS"]
except KeyError:
    raise ImportError(
        f"se_torch needs the package weights of senet, but Python found {import_module('weights').__file__} before it: "
        "rename that file or folder, or start Python elsewhere"
    ) from None

from se_torch.excitations import gates
from se_torch.inception import Inception
from se_torch.models import (
    bn_inception,
    build,
    resnet50,
    resnet101,
    resnet152,
    resnext50,
    resnext101,
    se_bn_inception,
    se_resnet50,
    se_resnet101,
    se_resnet152,
    se_resnext50,
    se_resnext101,
    se_shufflenet_v1,
    senet154,
    shufflenet_v1,
)
from se_torch.params import checkpoint, dump, from_pretrained, load, restore, save
from se_torch.resnet import ResNet
from se_torch.running_statistics import set_statistics_rule
from se_torch.se_block import SEBlock
from se_torch.shufflenet import ShuffleNet

__all__ = [
    "Inception",
    "ResNet",
    "SEBlock",
    "ShuffleNet",
    "bn_inception",
    "build",
    "checkpoint",
    "dump",
    "from_pretrained",
    "gates",
    "load",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50",
    "resnext101",
    "restore",
    "save",
    "se_bn_inception",
    "se_resnet50",
    "se_resnet101",
    "se_resnet152",
    "se_resnext50",
    "se_resnext101",
    "se_shufflenet_v1",
    "senet154",
    "set_statistics_rule",
    "shufflenet_v1",
]
