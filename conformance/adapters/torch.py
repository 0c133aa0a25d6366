"""PyTorch, eager: every module's output, by forward hooks; gradients; training with ``torch.optim.SGD``."""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
import torch

import se_torch
from conformance.adapters import ADAPTERS
from conformance.adapters.devices import chosen
from conformance.adapters.places import places
from conformance.reference.training import Batch, Recipe
from weights.networks.spec import Spec
from weights.params import Params

NAME = ADAPTERS["torch"].title


def version() -> str:
    return f"torch {torch.__version__}"


@contextmanager
def alone() -> Generator[None]:
    """Whatever the user has switched on around is off: autocast, ``no_grad``, ``inference_mode``."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        yield


@contextmanager
def on(device: str, tf32: bool) -> Generator[None]:
    """Models are built on that device, and given images there."""
    place = chosen(device, _devices(), NAME, tf32)
    # Entered only where it is asked for: inside, every function that makes a tensor is Python.
    with _float32(tf32), place if device else nullcontext(), torch.autocast(place.type, enabled=False):
        yield


def _devices() -> dict[str, torch.device]:
    """The CPU first, which PyTorch takes by itself."""
    other = torch.accelerator.current_accelerator(check_available=True)
    kinds = [] if other is None else [torch.device(other.type, i) for i in range(torch.accelerator.device_count())]
    return {str(place): place for place in (torch.device("cpu"), *kinds)}


@contextmanager
def _float32(tf32: bool) -> Generator[None]:
    """float32 with TF32 on GPUs or without, in matrix products and in convolutions; then as before."""
    backends: Any = torch.backends  # whose newer attributes have no types
    kinds = (backends.cuda.matmul, backends.mkldnn.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    before, product = [kind.fp32_precision for kind in kinds], None
    # PyTorch has an older and a newer way to say this, and raises an error where it reads that they contradict each
    # other; the older one sets both.
    with suppress(RuntimeError):
        product = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        if product is not None:
            torch.set_float32_matmul_precision(product)
        backends.cudnn.allow_tf32 = before[2] == "tf32"
        for kind, value in zip(kinds, before, strict=True):
            kind.fp32_precision = value


@alone()
def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    return se_torch.restore(spec, params, dtype).to(torch.get_default_device())


@alone()
def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    with recording(model) as found, torch.inference_mode():
        model(tensor(model, x))
    return found


@alone()
def logits(model: Any, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return array(model(tensor(model, x)))


@contextmanager
def recording(model: Any) -> Generator[dict[str, np.ndarray]]:
    """Keeps every module's output, by its node, while the block runs."""
    found: dict[str, np.ndarray] = {}
    modules = dict(model.named_modules())

    def keep(node: str) -> Any:
        # A copy: a later module may work in place.
        return lambda _module, _inputs, output: found.__setitem__(node, array(output).copy())

    hooks = [
        modules[path].register_forward_hook(keep(node.name))
        for path, node in places(model.spec.network(), modules).items()
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


@alone()
def gradients(
    model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False, *, shows: bool = True
) -> dict[str, np.ndarray]:
    leaves = {"data": tensor(model, x).requires_grad_(), **dict(model.named_parameters())}
    model.train(training)
    with recording(model) if shows and x.dtype != np.float64 else nullcontext({}) as shown:
        output = model(leaves["data"])
    model.eval()
    found = torch.autograd.grad(output, list(leaves.values()), tensor(model, cotangent))
    return shown | {name: array(gradient) for name, gradient in zip(leaves, found, strict=True)}


@alone()
def train(model: Any, batches: Iterable[Batch], recipe: Recipe) -> Params:
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
    )
    model.train()
    for step, (x, classes) in enumerate(batches):
        se_torch.set_statistics_rule(model, recipe.rule(step))
        loss = torch.nn.functional.cross_entropy(
            logits := model(tensor(model, x)), torch.from_numpy(classes).to(logits.device)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    return se_torch.dump(model)


def tensor(model: Any, array: np.ndarray) -> torch.Tensor:
    """The array in the model's dtype, on its device."""
    return torch.from_numpy(array).to(next(model.parameters()))


def array(tensor: torch.Tensor) -> np.ndarray:
    """The tensor as an array, at least in float32."""
    tensor = tensor.detach()
    return tensor.to("cpu", torch.promote_types(tensor.dtype, torch.float32)).numpy()
