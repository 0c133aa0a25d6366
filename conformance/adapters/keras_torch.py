"""The Keras file under the PyTorch backend: all taps, and gradients.

In a process of its own, or where KERAS_BACKEND is torch: Keras has one backend for all of a process.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
import torch

from conformance.adapters import ADAPTERS, keras_layers
from conformance.adapters import torch as eager
from conformance.adapters.keras_layers import nchw, recording
from conformance.adapters.torch import array
from weights.networks.spec import Spec

__all__ = ["NAME", "build", "gradients", "on", "taps", "version"]

NAME = ADAPTERS["keras_torch"].title


def version() -> str:
    return f"keras {keras.__version__}, torch {torch.__version__}"


@contextmanager
def on(device: str, tf32: bool) -> Generator[None]:
    """As of PyTorch; Keras has a default of its own."""
    with eager.on(device, tf32), keras.device(str(torch.get_default_device())) if device else nullcontext():
        yield


def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    # Keras puts everything on an accelerator where there is one; taps come back from there.
    return keras_layers.load(spec, params, dtype, "torch")


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    with torch.no_grad(), recording(model) as found:
        model(_images(x), training=False)
    return {name: nchw(array(value.cpu())) for name, value in found.items()}


def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
    images = _images(x).requires_grad_()
    with recording(model) if x.dtype != np.float64 else nullcontext({}) as shown:
        output = model(images, training=training)
    leaves = [images, *(variable.value for variable in model.trainable_variables)]
    of_data, *of_model = torch.autograd.grad(output, leaves, torch.from_numpy(cotangent).to(output))
    found = keras_layers.canonical(model, [array(value.cpu()) for value in of_model])
    taps = {name: nchw(array(value.cpu())) for name, value in shown.items()}
    return taps | {"data": nchw(array(of_data.cpu())), **found}


def _images(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
