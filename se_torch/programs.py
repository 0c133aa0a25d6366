"""Networks as programs for other runtimes, in PyTorch. Compare se_jax/programs.py and se_tf/programs.py."""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim

from se_torch.network import Network
from weights import Checkpoint
from weights.files.programs import STATEMENT, check_package, statement
from weights.networks.sizes import smallest_side, usual_size
from weights.storage.whole import replacing


def write_program(path: Path, model: Network, found: Checkpoint) -> None:
    """Writes a ``.pt2``, which ``torch.export.load`` reads: images (N, 3, H, W) of any number and size to logits.

    What travels lies in it as the extra file ``senet.json``.

    Args:
        path: of the file.
        model: in inference mode, on the CPU; the program computes in its dtype.
        found: what it was made of.

    Raises:
        InputError: the suffix is another framework's, or the file cannot be written.
    """
    check_package(path, "se_torch")
    spec, side = model.spec, smallest_side(model.spec)
    height, width = usual_size(spec) if side is None else (64, 96)  # of which nothing is kept where any size fits
    images = torch.zeros(2, spec.in_channels, height, width, dtype=next(model.parameters()).dtype)
    free = {0: Dim.DYNAMIC(min=1), **({} if side is None else dict.fromkeys((2, 3), Dim.DYNAMIC(min=side)))}
    # Otherwise PyTorch has one program for maps of one pixel and another one for larger maps.
    tracing: Any = import_module("torch.fx.experimental._config")  # which has no types
    with tracing.patch(backed_size_oblivious=True):
        program = torch.export.export(model, (images,), dynamic_shapes=(free,))
    with replacing(path) as file:
        torch.export.save(program, file, extra_files={STATEMENT: statement(found)})
