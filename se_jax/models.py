"""All networks by name or by record, in Flax. Compare se_torch/models.py and se_tf/models.py."""

import re
from collections.abc import Callable
from typing import Protocol, TypeVar

import jax
from flax import nnx

from se_jax.inception import Inception
from se_jax.inception_resnet import InceptionResNet
from se_jax.layers import Mixed
from se_jax.mobile import Mobile
from se_jax.network import Network
from se_jax.preact import PreAct
from se_jax.resnet import ResNet
from se_jax.shake import Shake
from se_jax.shufflenet import ShuffleNet
from se_jax.vgg import VGG
from weights import (
    InceptionResNetSpec,
    InceptionSpec,
    InputError,
    MobileSpec,
    PreActSpec,
    ResNetSpec,
    ShakeSpec,
    ShuffleNetSpec,
    Spec,
    VGGSpec,
)
from weights.networks.models import MODELS, as_spec, find

N = TypeVar("N", bound=Network)
N_co = TypeVar("N_co", bound=Network, covariant=True)

DTYPES = ("float64", "float32", "bfloat16", "float16")

NETWORKS: dict[str, Callable[..., Network]] = {
    ResNetSpec.family: ResNet,
    InceptionSpec.family: Inception,
    ShuffleNetSpec.family: ShuffleNet,
    InceptionResNetSpec.family: InceptionResNet,
    VGGSpec.family: VGG,
    ShakeSpec.family: Shake,
    PreActSpec.family: PreAct,
    MobileSpec.family: Mobile,
}
"""The network of each family by the family's name."""


def build(
    spec: Spec | str,
    dtype: str = "float32",
    *,
    param_dtype: str | None = None,
    rngs: nnx.Rngs | None = None,
    **changes: object,
) -> Network:
    """The network of a record or of a name, in training mode, randomly initialised.

    Args:
        spec: the name of a published network ("se-resnet-50"), or a record.
        dtype: of parameters and computation: "float64", "float32", "bfloat16" or "float16" (statistics: at least
            float32).
        param_dtype: of parameters, if it is another, as of Flax's own layers: "float32" for a network that computes in
            "bfloat16" and is trained.
        rngs: for initialisation and dropout; by default ``nnx.Rngs(0)``.
        changes: any fields of the record: ``classes=10``, ``dropout=0.5``, ``se=SE(reduction=8)``. With ``classes=0``
            there is no classifier: the output is the pooled features (N, C).

    Raises:
        InputError: a name, a field, a value or a dtype that does not exist; or float64 where JAX has it
            switched off.
    """
    spec = as_spec(spec, **changes)
    if spec.family not in NETWORKS:
        raise InputError(f"se_jax has no networks of the family {spec.family!r}; it has {', '.join(NETWORKS)}")
    return _made(NETWORKS[spec.family], spec, dtype, param_dtype, rngs)


def _made(network: Callable[..., N], spec: Spec, dtype: str, param_dtype: str | None, rngs: nnx.Rngs | None) -> N:
    both = Mixed(dtype, param_dtype or dtype)
    for one in both:
        if one not in DTYPES:
            raise InputError(f"{spec.name} in {one!r:.100}: expected one of {', '.join(DTYPES)}")
    if "float64" in both and jax.dtypes.canonicalize_dtype("float64") != "float64":
        raise InputError(
            f"{spec.name} in float64: JAX has 64-bit numbers switched off; "
            'call jax.config.update("jax_enable_x64", True) first, or set JAX_ENABLE_X64=1'
        )
    return network(spec, dtype=both if param_dtype else dtype, rngs=rngs)


class Constructor(Protocol[N_co]):
    """Builds one published network, randomly initialised; trained parameters come by ``from_pretrained``."""

    def __call__(
        self,
        classes: int = 1000,
        *,
        dtype: str = "float32",
        param_dtype: str | None = None,
        rngs: nnx.Rngs | None = None,
        **changes: object,
    ) -> N_co:
        """As ``build``, with its arguments."""
        ...


def _constructor(network: Callable[..., N], name: str, title: str) -> Constructor[N]:
    def construct(
        classes: int = MODELS[name].classes,
        *,
        dtype: str = "float32",
        param_dtype: str | None = None,
        rngs: nnx.Rngs | None = None,
        **changes: object,
    ) -> N:
        return _made(network, find(name, classes=classes, **changes), dtype, param_dtype, rngs)

    construct.__doc__ = f"{title}: ``build({name!r}, classes=classes, ...)``."
    construct.__annotations__["return"] = network
    construct.__name__ = construct.__qualname__ = re.sub(r"(?<!\d)-(\d)", r"\1", name).replace("-", "_")
    return construct


se_resnet50 = _constructor(ResNet, "se-resnet-50", "SE-ResNet-50")
se_resnet101 = _constructor(ResNet, "se-resnet-101", "SE-ResNet-101")
se_resnet152 = _constructor(ResNet, "se-resnet-152", "SE-ResNet-152")
se_resnext50 = _constructor(ResNet, "se-resnext-50", "SE-ResNeXt-50 (32x4d)")
se_resnext101 = _constructor(ResNet, "se-resnext-101", "SE-ResNeXt-101 (32x4d)")
senet154 = _constructor(ResNet, "senet-154", "SENet-154")
resnet50 = _constructor(ResNet, "resnet-50", "SE-ResNet-50 without its SE blocks")
resnet101 = _constructor(ResNet, "resnet-101", "SE-ResNet-101 without its SE blocks")
resnet152 = _constructor(ResNet, "resnet-152", "SE-ResNet-152 without its SE blocks")
resnext50 = _constructor(ResNet, "resnext-50", "SE-ResNeXt-50 without its SE blocks")
resnext101 = _constructor(ResNet, "resnext-101", "SE-ResNeXt-101 without its SE blocks")
se_resnet18 = _constructor(ResNet, "se-resnet-18", "SE-ResNet-18")
resnet18 = _constructor(ResNet, "resnet-18", "SE-ResNet-18 without its SE blocks")
se_resnet18_legacy = _constructor(ResNet, "se-resnet-18-legacy", "timm's legacy_seresnet18")
se_resnet34 = _constructor(ResNet, "se-resnet-34", "SE-ResNet-34")
resnet34 = _constructor(ResNet, "resnet-34", "SE-ResNet-34 without its SE blocks")
se_resnet34_legacy = _constructor(ResNet, "se-resnet-34-legacy", "timm's legacy_seresnet34")
se_resnet18_torchvision = _constructor(ResNet, "se-resnet-18-torchvision", "torchvision's ResNet-18 with SE blocks")
resnet18_torchvision = _constructor(ResNet, "resnet-18-torchvision", "torchvision's ResNet-18")
se_resnet34_torchvision = _constructor(ResNet, "se-resnet-34-torchvision", "torchvision's ResNet-34 with SE blocks")
resnet34_torchvision = _constructor(ResNet, "resnet-34-torchvision", "torchvision's ResNet-34")
se_resnet50_torchvision = _constructor(ResNet, "se-resnet-50-torchvision", "torchvision's ResNet-50 with SE blocks")
resnet50_torchvision = _constructor(ResNet, "resnet-50-torchvision", "torchvision's ResNet-50")
se_resnet101_torchvision = _constructor(ResNet, "se-resnet-101-torchvision", "torchvision's ResNet-101 with SE blocks")
resnet101_torchvision = _constructor(ResNet, "resnet-101-torchvision", "torchvision's ResNet-101")
se_resnet152_torchvision = _constructor(ResNet, "se-resnet-152-torchvision", "torchvision's ResNet-152 with SE blocks")
resnet152_torchvision = _constructor(ResNet, "resnet-152-torchvision", "torchvision's ResNet-152")
se_resnext50_torchvision = _constructor(ResNet, "se-resnext-50-torchvision", "torchvision's ResNeXt-50 with SE blocks")
resnext50_torchvision = _constructor(ResNet, "resnext-50-torchvision", "torchvision's ResNeXt-50 (32x4d)")
se_resnext101_torchvision = _constructor(
    ResNet, "se-resnext-101-torchvision", "torchvision's ResNeXt-101 with SE blocks"
)
resnext101_torchvision = _constructor(ResNet, "resnext-101-torchvision", "torchvision's ResNeXt-101 (32x4d)")
se_bn_inception = _constructor(Inception, "se-bn-inception", "SE-BN-Inception")
bn_inception = _constructor(Inception, "bn-inception", "SE-BN-Inception without its SE blocks")
se_resnet110_cifar10 = _constructor(PreAct, "se-resnet-110-cifar-10", "SE-ResNet-110, pre-activation, for CIFAR-10")
se_resnet164_cifar10 = _constructor(PreAct, "se-resnet-164-cifar-10", "SE-ResNet-164, pre-activation, for CIFAR-10")
se_wrn16_8_cifar10 = _constructor(PreAct, "se-wrn-16-8-cifar-10", "SE-WRN-16-8, for CIFAR-10")
resnet110_cifar10 = _constructor(PreAct, "resnet-110-cifar-10", "ResNet-110, pre-activation, for CIFAR-10")
resnet164_cifar10 = _constructor(PreAct, "resnet-164-cifar-10", "ResNet-164, pre-activation, for CIFAR-10")
wrn16_8_cifar10 = _constructor(PreAct, "wrn-16-8-cifar-10", "WRN-16-8, for CIFAR-10")
se_resnet110_cifar100 = _constructor(PreAct, "se-resnet-110-cifar-100", "SE-ResNet-110, pre-activation, for CIFAR-100")
se_resnet164_cifar100 = _constructor(PreAct, "se-resnet-164-cifar-100", "SE-ResNet-164, pre-activation, for CIFAR-100")
se_wrn16_8_cifar100 = _constructor(PreAct, "se-wrn-16-8-cifar-100", "SE-WRN-16-8, for CIFAR-100")
resnet110_cifar100 = _constructor(PreAct, "resnet-110-cifar-100", "ResNet-110, pre-activation, for CIFAR-100")
resnet164_cifar100 = _constructor(PreAct, "resnet-164-cifar-100", "ResNet-164, pre-activation, for CIFAR-100")
wrn16_8_cifar100 = _constructor(PreAct, "wrn-16-8-cifar-100", "WRN-16-8, for CIFAR-100")
se_shake_shake26_2x96d_cifar10 = _constructor(
    Shake, "se-shake-shake-26-2x96d-cifar-10", "SE-Shake-Shake 26 2x96d, for CIFAR-10"
)
shake_shake26_2x96d_cifar10 = _constructor(Shake, "shake-shake-26-2x96d-cifar-10", "Shake-Shake 26 2x96d, for CIFAR-10")
se_shake_even29_2x4x64d_cifar100 = _constructor(
    Shake, "se-shake-even-29-2x4x64d-cifar-100", "SE-Shake-Even 29 2x4x64d, for CIFAR-100"
)
shake_even29_2x4x64d_cifar100 = _constructor(
    Shake, "shake-even-29-2x4x64d-cifar-100", "Shake-Even 29 2x4x64d, for CIFAR-100"
)
mobilenet_v1 = _constructor(Mobile, "mobilenet-v1", "MobileNet V1")
se_mobilenet_v1 = _constructor(Mobile, "se-mobilenet-v1", "SE-MobileNet V1")
mobilenet_v2 = _constructor(Mobile, "mobilenet-v2", "MobileNet V2")
mobilenet_v3_large = _constructor(Mobile, "mobilenet-v3-large", "MobileNet V3 Large")
mobilenet_v3_small = _constructor(Mobile, "mobilenet-v3-small", "MobileNet V3 Small")
efficientnet_b0 = _constructor(Mobile, "efficientnet-b0", "EfficientNet-B0")
efficientnet_b0_plain = _constructor(Mobile, "efficientnet-b0-plain", "EfficientNet-B0 without its SE blocks")
tf_mobilenet_v1 = _constructor(Mobile, "tf-mobilenet-v1", "MobileNet V1 as Keras pads it")
tf_mobilenet_v2 = _constructor(Mobile, "tf-mobilenet-v2", "MobileNet V2 as TensorFlow pads it")
tf_mobilenet_v3_large = _constructor(Mobile, "tf-mobilenet-v3-large", "MobileNet V3 Large as TensorFlow pads it")
tf_mobilenet_v3_small = _constructor(Mobile, "tf-mobilenet-v3-small", "MobileNet V3 Small as TensorFlow pads it")
tf_efficientnet_b0 = _constructor(Mobile, "tf-efficientnet-b0", "EfficientNet-B0 as TensorFlow pads it")
se_vgg16_bn = _constructor(VGG, "se-vgg-16-bn", "VGG-16 with BatchNorm and SE blocks")
vgg16_bn = _constructor(VGG, "vgg-16-bn", "VGG-16 with BatchNorm")
vgg16 = _constructor(VGG, "vgg-16", "VGG-16 as published, without BatchNorm")
se_inception_resnet_v2 = _constructor(InceptionResNet, "se-inception-resnet-v2", "SE-Inception-ResNet-v2")
inception_resnet_v2 = _constructor(
    InceptionResNet, "inception-resnet-v2", "SE-Inception-ResNet-v2 without its SE blocks"
)
se_shufflenet_v1 = _constructor(ShuffleNet, "se-shufflenet-v1", "SE-ShuffleNet V1 (1x, 3 groups)")
shufflenet_v1 = _constructor(ShuffleNet, "shufflenet-v1", "ShuffleNet V1 (1x, 3 groups)")
