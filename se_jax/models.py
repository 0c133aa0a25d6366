"""One constructor per published network, in Flax. Compare se_torch/models.py and se_tf/models.py.

``classes=0`` leaves out the classifier: the output is the pooled features (N, C). ``overrides`` are any other fields of
the spec (``reduction=8``, ``dropout=0.5``, ...). Published weights come by ``from_pretrained``.
"""

from dataclasses import replace
from typing import Any, cast

import jax
from flax import nnx

import weights
from se_jax.inception import Inception
from se_jax.resnet import ResNet
from weights import MODELS, InputError, Spec


def build(spec: Spec, dtype: str = "float32", *, rngs: nnx.Rngs | None = None) -> ResNet | Inception:
    """The network of a spec, in training mode, randomly initialised.

    Args:
        spec: ``weights.MODELS[name]``, or ``dataclasses.replace`` of one.
        dtype: of parameters and computation: "float64", "float32", "bfloat16" or "float16" (statistics: at least
            float32).
        rngs: for initialisation and dropout; by default ``nnx.Rngs(0)``.

    Raises:
        InputError: float64 is asked for where JAX has it switched off.
    """
    if dtype == "float64" and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise InputError(
            f"{spec.name} in float64: JAX has 64-bit numbers switched off; "
            'call jax.config.update("jax_enable_x64", True) first, or set JAX_ENABLE_X64=1'
        )
    if isinstance(spec, weights.ResNetSpec):
        return ResNet(spec, dtype=dtype, rngs=rngs)
    return Inception(spec, dtype=dtype, rngs=rngs)


def _resnet(name: str, classes: int, dtype: str, rngs: nnx.Rngs | None, overrides: dict[str, Any]) -> ResNet:
    return cast(ResNet, build(replace(MODELS[name], classes=classes, **overrides), dtype, rngs=rngs))


def _inception(name: str, classes: int, dtype: str, rngs: nnx.Rngs | None, overrides: dict[str, Any]) -> Inception:
    return cast(Inception, build(replace(MODELS[name], classes=classes, **overrides), dtype, rngs=rngs))


def se_resnet50(
    classes: int = 1000, *, dtype: str = "float32", rngs: nnx.Rngs | None = None, **overrides: Any
) -> ResNet:
    """SE-ResNet-50."""
    return _resnet("se-resnet-50", classes, dtype, rngs, overrides)


def se_resnet101(
    classes: int = 1000, *, dtype: str = "float32", rngs: nnx.Rngs | None = None, **overrides: Any
) -> ResNet:
    """SE-ResNet-101."""
    return _resnet("se-resnet-101", classes, dtype, rngs, overrides)


def se_resnet152(
    classes: int = 1000, *, dtype: str = "float32", rngs: nnx.Rngs | None = None, **overrides: Any
) -> ResNet:
    """SE-ResNet-152."""
    return _resnet("se-resnet-152", classes, dtype, rngs, overrides)


def se_resnext50(
    classes: int = 1000, *, dtype: str = "float32", rngs: nnx.Rngs | None = None, **overrides: Any
) -> ResNet:
    """SE-ResNeXt-50 (32x4d)."""
    return _resnet("se-resnext-50", classes, dtype, rngs, overrides)


def se_resnext101(
    classes: int = 1000, *, dtype: str = "float32", rngs: nnx.Rngs | None = None, **overrides: Any
) -> ResNet:
    """SE-ResNeXt-101 (32x4d)."""
    return _resnet("se-resnext-101", classes, dtype, rngs, overrides)


def senet154(classes: int = 1000, *, dtype: str = "float32", rngs: nnx.Rngs | None = None, **overrides: Any) -> ResNet:
    """SENet-154."""
    return _resnet("senet-154", classes, dtype, rngs, overrides)


def resnet50(classes: int = 1000, *, dtype: str = "float32", rngs: nnx.Rngs | None = None, **overrides: Any) -> ResNet:
    """SE-ResNet-50 without its SE blocks."""
    return _resnet("resnet-50", classes, dtype, rngs, overrides)


def resnet101(classes: int = 1000, *, dtype: str = "float32", rngs: nnx.Rngs | None = None, **overrides: Any) -> ResNet:
    """SE-ResNet-101 without its SE blocks."""
    return _resnet("resnet-101", classes, dtype, rngs, overrides)


def resnet152(classes: int = 1000, *, dtype: str = "float32", rngs: nnx.Rngs | None = None, **overrides: Any) -> ResNet:
    """SE-ResNet-152 without its SE blocks."""
    return _resnet("resnet-152", classes, dtype, rngs, overrides)


def resnext50(classes: int = 1000, *, dtype: str = "float32", rngs: nnx.Rngs | None = None, **overrides: Any) -> ResNet:
    """SE-ResNeXt-50 without its SE blocks."""
    return _resnet("resnext-50", classes, dtype, rngs, overrides)


def resnext101(
    classes: int = 1000, *, dtype: str = "float32", rngs: nnx.Rngs | None = None, **overrides: Any
) -> ResNet:
    """SE-ResNeXt-101 without its SE blocks."""
    return _resnet("resnext-101", classes, dtype, rngs, overrides)


def se_bn_inception(
    classes: int = 1000, *, dtype: str = "float32", rngs: nnx.Rngs | None = None, **overrides: Any
) -> Inception:
    """SE-BN-Inception."""
    return _inception("se-bn-inception", classes, dtype, rngs, overrides)


def bn_inception(
    classes: int = 1000, *, dtype: str = "float32", rngs: nnx.Rngs | None = None, **overrides: Any
) -> Inception:
    """SE-BN-Inception without its SE blocks."""
    return _inception("bn-inception", classes, dtype, rngs, overrides)
