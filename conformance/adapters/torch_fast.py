"""PyTorch's fast path, ``se_torch.fast``: logits, in float32 or bfloat16."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

import se_torch
from conformance.adapters import ADAPTERS
from conformance.adapters.precision import fast as dtype
from conformance.adapters.torch import alone, array, version
from weights.networks.network import graph
from weights.networks.spec import Spec

__all__ = ["NAME", "build", "dtype", "taps", "version"]

NAME = ADAPTERS["torch_fast"].title


@alone()
def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    return se_torch.fast(se_torch.restore(spec, params), "bfloat16" if dtype == "bfloat16" else "float32")


@alone()
def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    return {graph(model.spec)[-1].name: array(model(torch.from_numpy(x)))}
