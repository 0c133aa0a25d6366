"""PyTorch, eager: every module's output, by forward hooks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

import se_torch
from weights.graph import graph
from weights.spec import Spec

NAME = "PyTorch"


def version() -> str:
    return f"torch {torch.__version__}"


def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    model = se_torch.build(spec, dtype)
    se_torch.load(model, params)
    return model.eval()


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    node_of = {node.module: node.name for node in graph(model.spec)}

    def keep(node: str) -> Any:
        # A copy: a later module may work in place.
        return lambda _module, _inputs, output: found.__setitem__(node, output.detach().numpy().copy())

    hooks = [
        module.register_forward_hook(keep(node_of[path])) for path, module in model.named_modules() if path in node_of
    ]
    try:
        with torch.inference_mode():
            model(torch.from_numpy(x))
    finally:
        for hook in hooks:
            hook.remove()
    return found
