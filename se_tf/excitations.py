"""What the SE blocks of a network let through, in Keras. Compare the same file of se_torch and se_jax."""

from typing import Any

import keras

from se_tf.layers import layer_name
from se_tf.network import Network
from se_tf.se_block import SEBlock


def gates(model: Network, x: Any, training: bool | None = None) -> dict[str, Any]:
    """The gates of every SE block of a model for these images: the factors by which each block scales its channels.

    Gradients flow through them. Compiled, with the TensorFlow backend: ``tf.function(se_tf.gates)(model, x)``.

    Args:
        model: of this package.
        x: images (N, H, W, 3), prepared for the model.
        training: as of the model.

    Returns:
        Gates by the name of the block's unit ("stage1.0"), from the first to the last: (N, C), or (N, H, W, C) in a
        network whose blocks have no squeeze. Empty for a network without SE blocks.
    """
    names = {layer_name(f"{unit.name}.se"): unit.name for unit in model.spec.blocks()}
    blocks = {names[layer.name]: layer for layer in model.layers if isinstance(layer, SEBlock)}
    if not blocks:
        return {}
    # A gate is inside of its block, and a model of Keras ends at outputs of layers: so up to the blocks, and in there.
    inputs = keras.Model(model.input, [block.input for block in blocks.values()])(x, training=training)
    pairs = zip(blocks.items(), inputs if len(blocks) > 1 else [inputs], strict=True)
    return {name: block.gate(block.fc2(block.relu(block.fc1(block.pool(y))))) for (name, block), y in pairs}
