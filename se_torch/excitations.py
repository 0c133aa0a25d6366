"""What the SE blocks of a network let through, in PyTorch. Compare the same file of se_jax and se_tf."""

from collections.abc import Generator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from se_torch.network import Network
from se_torch.se_block import SEBlock


def gates(model: Network, x: Tensor) -> dict[str, Tensor]:
    """The gates of every SE block of a model for these images: the factors by which each block scales its channels.

    Gradients flow through them unless ``torch.inference_mode`` is on; the model stays in its mode.

    Args:
        model: of this package.
        x: images (N, 3, H, W), prepared for the model and in its dtype.

    Returns:
        Gates by the name of the block's unit ("stage1.0"), from the first to the last: (N, C), or (N, C, H, W) in a
        network whose blocks have no squeeze. Empty for a network without SE blocks.
    """
    with _kept(model) as found:
        model(x)
    return found


@contextmanager
def _kept(model: Network) -> Generator[dict[str, Tensor]]:
    found: dict[str, Tensor] = {}

    def keep(name: str, gate: nn.Module) -> RemovableHandle:
        def note(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found[name] = output

        return gate.register_forward_hook(note)

    blocks = [(path, module) for path, module in model.named_modules() if isinstance(module, SEBlock)]
    hooks = [keep(path.removesuffix(".se"), block.gate) for path, block in blocks]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
