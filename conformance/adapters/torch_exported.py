"""PyTorch, ``torch.export``: the program for images of any size that ``save`` writes, loaded; logits alone."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import se_torch
from conformance.adapters import ADAPTERS
from conformance.adapters import torch as eager
from conformance.adapters.torch import build, on, version
from weights.networks.network import graph

__all__ = ["NAME", "build", "on", "taps", "version"]

NAME = ADAPTERS["torch_exported"].title


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    images = eager.tensor(model, x)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.pt2"
        se_torch.save(model, path)
        program = torch.export.load(path).module()
    with torch.inference_mode():
        return {graph(model.spec)[-1].name: eager.array(program(images))}
