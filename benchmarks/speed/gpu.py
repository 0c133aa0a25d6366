"""What a GPU makes of a network: images a second in training and inference, and the share of what it can multiply.

The ceiling is measured as well: a product of two large matrices in the same precision.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from weights import Spec
from weights.networks.cost import cost

BATCHES = (128, 256)
ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How PyTorch runs a network on a GPU: maps as (N, H, W, C), in a precision, compiled or not."""

    precision: Literal["float32", "tf32", "bfloat16"]
    compiled: bool

    @property
    def title(self) -> str:
        """In words."""
        return f"channels last, {self.precision}" + (", compiled" if self.compiled else "")


WAYS = tuple(Way(precision=p, compiled=c) for p in ("float32", "tf32", "bfloat16") for c in (False, True))


def measure(
    spec: Spec, device: str, batches: Sequence[int] = BATCHES, side: int = 224, ways: Sequence[Way] = WAYS
) -> Iterator[dict[str, Any]]:
    """A row for each way and number of images; rows that say "not measured" where there is no such device.

    Args:
        spec: the network.
        device: as PyTorch names it, "cuda".
        batches: images at a time.
        side: of the images.
        ways: how.
    """
    for what in ("inference", "training"):
        for way in ways:
            for batch in batches:
                row = {"part": "gpu", "what": what, "network": spec.name, "batch": batch, "way": way.title}
                yield row | _measured(what, spec, way, device, batch, side)


def _measured(what: str, spec: Spec, way: Way, device: str, batch: int, side: int) -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        return {"absent": "not measured: PyTorch is not installed"}
    if device.startswith("cuda") and not torch.cuda.is_available():
        return {"absent": "not measured: there is no GPU"}
    with torch.device(device):
        torch.set_float32_matmul_precision("high" if way.precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = way.precision == "tf32"
        try:
            seconds = _seconds(_step(what, spec, way, batch, side), device)
            ceiling = _ceiling(way, device)
        finally:
            torch.set_float32_matmul_precision("highest")
            torch.backends.cudnn.allow_tf32 = True
    # A step of training has the products of the pass forward, and twice as many backward.
    products = 2 * cost(spec, side, side).macs * batch * (3 if what == "training" else 1)
    return {"images": batch / seconds, "share": products / seconds / ceiling, "ceiling": ceiling}


def _step(what: str, spec: Spec, way: Way, batch: int, side: int) -> Callable[[], object]:
    import torch

    import se_torch

    place = torch.get_default_device()
    model = se_torch.build(spec).to(memory_format=torch.channels_last)
    x = torch.randn(batch, spec.in_channels, side, side).contiguous(memory_format=torch.channels_last)
    if way.compiled:
        model.compile()
    narrow = torch.autocast(place.type, torch.bfloat16) if way.precision == "bfloat16" else nullcontext()
    if what == "inference":
        model.eval()

        @torch.inference_mode()
        def run() -> object:
            with narrow:
                return model(x)

        return run
    classes = torch.randint(spec.classes, (batch,))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9)

    def step() -> object:
        optimizer.zero_grad()
        with narrow:
            loss = torch.nn.functional.cross_entropy(model(x), classes)
        loss.backward()
        return optimizer.step()

    return step


def _ceiling(way: Way, device: str) -> float:
    """Operations a second, a product and a sum being two, of square matrices."""
    import torch

    size = 8192 if device.startswith("cuda") else 512
    dtype = torch.bfloat16 if way.precision == "bfloat16" else torch.float32
    a, b = (torch.randn(size, size, dtype=dtype) for _ in range(2))
    return 2 * size**3 / _seconds(lambda: a @ b, device)


def _seconds(run: Callable[[], object], device: str) -> float:
    """Of the fastest of some runs: a GPU that nobody else uses is late, never early."""
    import torch

    def timed() -> float:
        begin = time.perf_counter()
        run()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    timed()  # compiles
    return min(timed() for _ in range(ROUNDS))
