"""Networks as programs for other runtimes, in Flax. Compare se_torch/programs.py and se_tf/programs.py."""

from pathlib import Path

import jax
from flax import nnx
from jax import Array, export

from se_jax.network import Network
from weights import Checkpoint
from weights.files.programs import append_statement, check_package
from weights.networks.sizes import smallest_side, usual_size
from weights.storage.whole import replacing

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
"""Where a program runs, wherever it was written."""


def write_program(path: Path, model: Network, found: Checkpoint) -> None:
    """Writes a ``.stablehlo``, which ``jax.export.deserialize`` reads: images (N, H, W, 3) of any number and size.

    What travels lies behind it as the file ``senet.json`` of a zip archive.

    Args:
        path: of the file.
        model: in inference mode; the program computes in its dtype.
        found: what it was made of.

    Raises:
        InputError: the suffix is another framework's, or the file cannot be written.
    """
    check_package(path, "se_jax")
    spec, side = model.spec, smallest_side(model.spec)
    height, width = usual_size(spec) if side is None else ("height", "width")
    least = ["batch >= 1", *(f"{name} >= {side}" for name in ("height", "width") if side is not None)]
    shape = export.symbolic_shape(f"batch, {height}, {width}, {spec.in_channels}", constraints=least)
    dtype = jax.tree.leaves(nnx.state(model, nnx.Param))[0].dtype
    graph, state = nnx.split(model)

    def forward(x: Array) -> Array:
        return nnx.merge(graph, state)(x)

    program = export.export(jax.jit(forward), platforms=PLATFORMS)(jax.ShapeDtypeStruct(shape, dtype))
    with replacing(path) as file:
        file.write(program.serialize())
        append_statement(file, found)
