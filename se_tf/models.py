"""One constructor per published network, in Keras. Compare se_torch/models.py and se_jax/models.py.

``classes=0`` leaves out the classifier: the output is the pooled features (N, C). ``overrides`` are any other fields of
the spec (``reduction=8``, ``dropout=0.5``, ...). Published weights come by ``from_pretrained``.
"""

from dataclasses import replace
from typing import Any, cast

import keras

import weights
from se_tf.inception import Inception
from se_tf.resnet import ResNet
from weights import MODELS, InputError, Spec


def build(spec: Spec, dtype: str = "float32") -> ResNet | Inception:
    """The network of a spec, randomly initialised; ``training=True`` or ``fit`` train it.

    Args:
        spec: ``weights.MODELS[name]``, or ``dataclasses.replace`` of one.
        dtype: of parameters, statistics and computation: "float64", "float32", "bfloat16" or "float16"; or any other
            Keras dtype policy ("mixed_bfloat16"). Note that ``fit`` and ``predict`` first round arrays to
            ``keras.config.floatx()``; calling the model does not.

    Raises:
        InputError: float64 is asked for where Keras runs on JAX, which has it switched off.
    """
    if dtype == "float64" and keras.backend.backend() == "jax":
        _needs_x64(spec)
    return ResNet(spec, dtype=dtype) if isinstance(spec, weights.ResNetSpec) else Inception(spec, dtype=dtype)


def _needs_x64(spec: Spec) -> None:
    import jax

    if jax.dtypes.canonicalize_dtype("float64") != "float64":
        raise InputError(
            f"{spec.name} in float64: JAX has 64-bit numbers switched off; "
            'call jax.config.update("jax_enable_x64", True) first, or set JAX_ENABLE_X64=1'
        )


def _resnet(name: str, classes: int, dtype: str, overrides: dict[str, Any]) -> ResNet:
    return cast(ResNet, build(replace(MODELS[name], classes=classes, **overrides), dtype))


def _inception(name: str, classes: int, dtype: str, overrides: dict[str, Any]) -> Inception:
    return cast(Inception, build(replace(MODELS[name], classes=classes, **overrides), dtype))


def se_resnet50(classes: int = 1000, *, dtype: str = "float32", **overrides: Any) -> ResNet:
    """SE-ResNet-50."""
    return _resnet("se-resnet-50", classes, dtype, overrides)


def se_resnet101(classes: int = 1000, *, dtype: str = "float32", **overrides: Any) -> ResNet:
    """SE-ResNet-101."""
    return _resnet("se-resnet-101", classes, dtype, overrides)


def se_resnet152(classes: int = 1000, *, dtype: str = "float32", **overrides: Any) -> ResNet:
    """SE-ResNet-152."""
    return _resnet("se-resnet-152", classes, dtype, overrides)


def se_resnext50(classes: int = 1000, *, dtype: str = "float32", **overrides: Any) -> ResNet:
    """SE-ResNeXt-50 (32x4d)."""
    return _resnet("se-resnext-50", classes, dtype, overrides)


def se_resnext101(classes: int = 1000, *, dtype: str = "float32", **overrides: Any) -> ResNet:
    """SE-ResNeXt-101 (32x4d)."""
    return _resnet("se-resnext-101", classes, dtype, overrides)


def senet154(classes: int = 1000, *, dtype: str = "float32", **overrides: Any) -> ResNet:
    """SENet-154."""
    return _resnet("senet-154", classes, dtype, overrides)


def resnet50(classes: int = 1000, *, dtype: str = "float32", **overrides: Any) -> ResNet:
    """SE-ResNet-50 without its SE blocks."""
    return _resnet("resnet-50", classes, dtype, overrides)


def resnet101(classes: int = 1000, *, dtype: str = "float32", **overrides: Any) -> ResNet:
    """SE-ResNet-101 without its SE blocks."""
    return _resnet("resnet-101", classes, dtype, overrides)


def resnet152(classes: int = 1000, *, dtype: str = "float32", **overrides: Any) -> ResNet:
    """SE-ResNet-152 without its SE blocks."""
    return _resnet("resnet-152", classes, dtype, overrides)


def resnext50(classes: int = 1000, *, dtype: str = "float32", **overrides: Any) -> ResNet:
    """SE-ResNeXt-50 without its SE blocks."""
    return _resnet("resnext-50", classes, dtype, overrides)


def resnext101(classes: int = 1000, *, dtype: str = "float32", **overrides: Any) -> ResNet:
    """SE-ResNeXt-101 without its SE blocks."""
    return _resnet("resnext-101", classes, dtype, overrides)


def se_bn_inception(classes: int = 1000, *, dtype: str = "float32", **overrides: Any) -> Inception:
    """SE-BN-Inception."""
    return _inception("se-bn-inception", classes, dtype, overrides)


def bn_inception(classes: int = 1000, *, dtype: str = "float32", **overrides: Any) -> Inception:
    """SE-BN-Inception without its SE blocks."""
    return _inception("bn-inception", classes, dtype, overrides)
