"""All networks by name or by record, in Flax. Compare se_torch/models.py and se_tf/models.py."""

import re
from collections.abc import Callable
from typing import Protocol, TypeVar

import jax
from flax import nnx

from se_jax.inception import Inception
from se_jax.network import Network
from se_jax.resnet import ResNet
from se_jax.shufflenet import ShuffleNet
from weights import InceptionSpec, InputError, ResNetSpec, ShuffleNetSpec, Spec
from weights.networks.models import as_spec, find

N = TypeVar("N", bound=Network)
N_co = TypeVar("N_co", bound=Network, covariant=True)

DTYPES = ("float64", "float32", "bfloat16", "float16")

NETWORKS: dict[str, Callable[..., Network]] = {
    ResNetSpec.family: ResNet,
    InceptionSpec.family: Inception,
    ShuffleNetSpec.family: ShuffleNet,
}
"""The network of each family by the family's name."""


def build(spec: Spec | str, dtype: str = "float32", *, rngs: nnx.Rngs | None = None, **changes: object) -> Network:
    """The network of a record or of a name, in training mode, randomly initialised.

    Args:
        spec: the name of a published network ("se-resnet-50"), or a record.
        dtype: of parameters and computation: "float64", "float32", "bfloat16" or "float16" (statistics: at least
            float32).
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
    return _made(NETWORKS[spec.family], spec, dtype, rngs)


def _made(network: Callable[..., N], spec: Spec, dtype: str, rngs: nnx.Rngs | None) -> N:
    if dtype not in DTYPES:
        raise InputError(f"{spec.name} in {dtype!r:.100}: expected one of {', '.join(DTYPES)}")
    if dtype == "float64" and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise InputError(
            f"{spec.name} in float64: JAX has 64-bit numbers switched off; "
            'call jax.config.update("jax_enable_x64", True) first, or set JAX_ENABLE_X64=1'
        )
    return network(spec, dtype=dtype, rngs=rngs)


class Constructor(Protocol[N_co]):
    """Builds one published network, randomly initialised; trained parameters come by ``from_pretrained``."""

    def __call__(
        self, classes: int = 1000, *, dtype: str = "float32", rngs: nnx.Rngs | None = None, **changes: object
    ) -> N_co:
        """As ``build``, with its arguments."""
        ...


def _constructor(network: Callable[..., N], name: str, title: str) -> Constructor[N]:
    def construct(classes: int = 1000, *, dtype: str = "float32", rngs: nnx.Rngs | None = None, **changes: object) -> N:
        return _made(network, find(name, classes=classes, **changes), dtype, rngs)

    construct.__doc__ = f"{title}: ``build({name!r}, classes=classes, ...)``."
    construct.__annotations__["return"] = network
    construct.__name__ = construct.__qualname__ = re.sub(r"-(\d)", r"\1", name).replace("-", "_")
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
se_bn_inception = _constructor(Inception, "se-bn-inception", "SE-BN-Inception")
bn_inception = _constructor(Inception, "bn-inception", "SE-BN-Inception without its SE blocks")
se_shufflenet_v1 = _constructor(ShuffleNet, "se-shufflenet-v1", "SE-ShuffleNet V1 (1x, 3 groups)")
shufflenet_v1 = _constructor(ShuffleNet, "shufflenet-v1", "ShuffleNet V1 (1x, 3 groups)")
