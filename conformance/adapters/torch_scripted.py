"""PyTorch, TorchScript, traced, saved, loaded and run; logits alone.

``torch.jit.script`` does not know ``super()``, which the networks' BatchNorm calls; tracing does not see it.
"""

import io
import warnings
from typing import Any

import numpy as np
import torch

from conformance.adapters import ADAPTERS
from conformance.adapters import torch as eager
from conformance.adapters.torch import build, on, version
from weights.networks.network import graph

__all__ = ["NAME", "build", "on", "taps", "version"]

NAME = ADAPTERS["torch_scripted"].title


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    images = eager.tensor(model, x)
    file = io.BytesIO()
    with torch.inference_mode(), warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        # PyTorch asks everybody to export instead; files that were scripted are still about.
        torch.jit.save(torch.jit.trace(model, images), file)
        file.seek(0)
        return {graph(model.spec)[-1].name: eager.array(torch.jit.load(file)(images))}
