"""PyTorch, ``torch.export``: the graph that other runtimes are given, saved, loaded and run; logits alone."""

import io
from typing import Any

import numpy as np
import torch

from conformance.adapters import ADAPTERS
from conformance.adapters import torch as eager
from conformance.adapters.torch import build, on, version
from weights.networks.network import graph

__all__ = ["NAME", "build", "on", "taps", "version"]

NAME = ADAPTERS["torch_exported"].title


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    images = eager.tensor(model, x)
    file = io.BytesIO()
    torch.export.save(torch.export.export(model, (images,)), file)
    file.seek(0)
    with torch.inference_mode():
        return {graph(model.spec)[-1].name: eager.array(torch.export.load(file).module()(images))}
