"""PyTorch, ``torch.compile``: the operations fused into C++ (which needs a compiler); logits, and gradients."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from conformance.adapters import ADAPTERS
from conformance.adapters import torch as eager
from conformance.adapters.torch import on, version
from weights.networks.network import graph
from weights.networks.spec import Spec

__all__ = ["NAME", "build", "gradients", "on", "taps", "version"]

NAME = ADAPTERS["torch_compiled"].title
gradients = partial(eager.gradients, shows=False)  # hooks would be Python in between


def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    model = eager.build(spec, params, dtype)
    model.compile(fullgraph=True)  # what Python would have to run in between is an error
    return model


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        return {graph(model.spec)[-1].name: eager.array(model(eager.tensor(model, x)))}
