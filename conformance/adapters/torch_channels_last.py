"""PyTorch, eager, with maps that lie in memory as (N, H, W, C): other kernels, the same taps and gradients."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from conformance.adapters import ADAPTERS
from conformance.adapters import torch as eager
from conformance.adapters.torch import on, taps, train, version
from weights.networks.spec import Spec

__all__ = ["NAME", "build", "gradients", "on", "taps", "train", "version"]

NAME = ADAPTERS["torch_channels_last"].title


def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    model = eager.build(spec, params, dtype).to(memory_format=torch.channels_last)
    # The memory format of the weights decides that of the maps, and so does the input's.
    model.register_forward_pre_hook(lambda _model, args: (args[0].contiguous(memory_format=torch.channels_last),))
    return model


def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
    found = eager.gradients(model, x, cotangent, training)
    return {name: np.ascontiguousarray(gradient) for name, gradient in found.items()}
