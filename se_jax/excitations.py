"""What the SE blocks of a network let through, in Flax. Compare the same file of se_torch and se_tf."""

from typing import Any

from flax import nnx
from jax import Array

from se_jax.network import Network


def gates(model: Network, x: Array) -> dict[str, Array]:
    """The gates of every SE block of a model for these images: the factors by which each block scales its channels.

    Gradients flow through them; the model stays in its mode. Compiled: ``nnx.jit(se_jax.gates)(model, x)``.

    Args:
        model: of this package.
        x: images (N, H, W, 3), prepared for the model and in its dtype.

    Returns:
        Gates by the name of the block's unit ("stage1.0"), from the first to the last: (N, C), or (N, H, W, C) in a
        network whose blocks have no squeeze. Empty for a network without SE blocks.
    """
    captured: Any = nnx.capture(model, nnx.Intermediate, method_outputs=nnx.Intermediate)(x)[1]
    found = {
        ".".join(map(str, path[:-3])): value.get_value()[0]
        for path, value in nnx.to_flat_state(captured)
        if path[-3:] == ("se", "gate", "__call__")
    }
    return {block.name: found[block.name] for block in model.spec.blocks() if block.name in found}
