"""Squeeze-and-Excitation networks in Flax (nnx). Images are (N, H, W, 3), in the channel order of the weights."""

from importlib import import_module

try:
    import_module("flax")
    import_module("jax")
except ModuleNotFoundError as error:
    if error.name not in ("flax", "jax", "jaxlib"):
        raise
    raise ImportError("se_jax needs JAX and Flax: pip install 'senet[jax]'") from error

try:
    vars(import_module("weights"))["MODELS"]
except KeyError:
    raise ImportError(
        f"se_jax needs the package weights of senet, but Python found {import_module('weights').__file__} before it: "
        "rename that file or folder, or start Python elsewhere"
    ) from None

from se_jax.excitations import gates
from se_jax.fast_path import Fast, fast
from se_jax.inception import Inception
from se_jax.inception_resnet import InceptionResNet
from se_jax.mobile import Mobile
from se_jax.models import (
    bn_inception,
    build,
    efficientnet_b0,
    efficientnet_b0_plain,
    inception_resnet_v2,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3_large,
    mobilenet_v3_small,
    resnet18,
    resnet18_torchvision,
    resnet34,
    resnet34_torchvision,
    resnet50,
    resnet50_torchvision,
    resnet101,
    resnet101_torchvision,
    resnet110_cifar10,
    resnet110_cifar100,
    resnet152,
    resnet152_torchvision,
    resnet164_cifar10,
    resnet164_cifar100,
    resnext50,
    resnext50_torchvision,
    resnext101,
    resnext101_torchvision,
    se_bn_inception,
    se_inception_resnet_v2,
    se_mobilenet_v1,
    se_resnet18,
    se_resnet18_legacy,
    se_resnet18_torchvision,
    se_resnet34,
    se_resnet34_legacy,
    se_resnet34_torchvision,
    se_resnet50,
    se_resnet50_torchvision,
    se_resnet101,
    se_resnet101_torchvision,
    se_resnet110_cifar10,
    se_resnet110_cifar100,
    se_resnet152,
    se_resnet152_torchvision,
    se_resnet164_cifar10,
    se_resnet164_cifar100,
    se_resnext50,
    se_resnext50_torchvision,
    se_resnext101,
    se_resnext101_torchvision,
    se_shake_even29_2x4x64d_cifar100,
    se_shake_shake26_2x96d_cifar10,
    se_shufflenet_v1,
    se_vgg16_bn,
    se_wrn16_8_cifar10,
    se_wrn16_8_cifar100,
    senet154,
    shake_even29_2x4x64d_cifar100,
    shake_shake26_2x96d_cifar10,
    shufflenet_v1,
    tf_efficientnet_b0,
    tf_mobilenet_v1,
    tf_mobilenet_v2,
    tf_mobilenet_v3_large,
    tf_mobilenet_v3_small,
    vgg16,
    vgg16_bn,
    wrn16_8_cifar10,
    wrn16_8_cifar100,
)
from se_jax.params import checkpoint, dump, from_pretrained, load, restore, save
from se_jax.preact import PreAct
from se_jax.resnet import ResNet
from se_jax.running_statistics import set_statistics_rule
from se_jax.se_block import SEBlock
from se_jax.shake import Shake
from se_jax.shufflenet import ShuffleNet
from se_jax.vgg import VGG
from weights import __version__

__all__ = [
    "VGG",
    "Fast",
    "Inception",
    "InceptionResNet",
    "Mobile",
    "PreAct",
    "ResNet",
    "SEBlock",
    "Shake",
    "ShuffleNet",
    "__version__",
    "bn_inception",
    "build",
    "checkpoint",
    "dump",
    "efficientnet_b0",
    "efficientnet_b0_plain",
    "fast",
    "from_pretrained",
    "gates",
    "inception_resnet_v2",
    "load",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "resnet18",
    "resnet18_torchvision",
    "resnet34",
    "resnet34_torchvision",
    "resnet50",
    "resnet50_torchvision",
    "resnet101",
    "resnet101_torchvision",
    "resnet110_cifar10",
    "resnet110_cifar100",
    "resnet152",
    "resnet152_torchvision",
    "resnet164_cifar10",
    "resnet164_cifar100",
    "resnext50",
    "resnext50_torchvision",
    "resnext101",
    "resnext101_torchvision",
    "restore",
    "save",
    "se_bn_inception",
    "se_inception_resnet_v2",
    "se_mobilenet_v1",
    "se_resnet18",
    "se_resnet18_legacy",
    "se_resnet18_torchvision",
    "se_resnet34",
    "se_resnet34_legacy",
    "se_resnet34_torchvision",
    "se_resnet50",
    "se_resnet50_torchvision",
    "se_resnet101",
    "se_resnet101_torchvision",
    "se_resnet110_cifar10",
    "se_resnet110_cifar100",
    "se_resnet152",
    "se_resnet152_torchvision",
    "se_resnet164_cifar10",
    "se_resnet164_cifar100",
    "se_resnext50",
    "se_resnext50_torchvision",
    "se_resnext101",
    "se_resnext101_torchvision",
    "se_shake_even29_2x4x64d_cifar100",
    "se_shake_shake26_2x96d_cifar10",
    "se_shufflenet_v1",
    "se_vgg16_bn",
    "se_wrn16_8_cifar10",
    "se_wrn16_8_cifar100",
    "senet154",
    "set_statistics_rule",
    "shake_even29_2x4x64d_cifar100",
    "shake_shake26_2x96d_cifar10",
    "shufflenet_v1",
    "tf_efficientnet_b0",
    "tf_mobilenet_v1",
    "tf_mobilenet_v2",
    "tf_mobilenet_v3_large",
    "tf_mobilenet_v3_small",
    "vgg16",
    "vgg16_bn",
    "wrn16_8_cifar10",
    "wrn16_8_cifar100",
]
