"""Shows the functions to the suite: ``senet compare FILE --framework functional_jax.adapter``."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from functional_jax.se_resnet import Params, se_resnet
from weights import InputError, ResNetSpec, Spec

NAME = "functional JAX"


def version() -> str:
    return f"jax {jax.__version__}"


def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Params:
    if not isinstance(spec, ResNetSpec) or spec.groups > 1 or len(spec.stem) > 1 or not spec.se:
        raise InputError(f"functional_jax: {spec.name} is no SE-ResNet")
    with jax.enable_x64(dtype == "float64"):
        return {name: jnp.asarray(array, dtype) for name, array in params.items()}


def taps(model: Params, x: np.ndarray) -> dict[str, np.ndarray]:
    with jax.enable_x64(x.dtype == np.float64), jax.default_matmul_precision("highest"):
        return {name: np.asarray(value) for name, value in jax.jit(se_resnet)(model, x).items()}


def gradients(model: Params, x: np.ndarray, cotangent: np.ndarray) -> dict[str, np.ndarray]:
    def functional(params: Params, x: jax.Array) -> jax.Array:
        return (se_resnet(params, x)["logits"] * cotangent.astype(x.dtype)).sum()

    with jax.enable_x64(x.dtype == np.float64), jax.default_matmul_precision("highest"):
        of_params, of_data = jax.jit(jax.grad(functional, (0, 1)))(model, x)
    learnable = {name: g for name, g in of_params.items() if ".running_" not in name}
    return {name: np.asarray(g) for name, g in {"data": of_data, **learnable}.items()}
