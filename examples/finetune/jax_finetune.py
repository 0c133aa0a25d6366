"""Fine-tunes a checkpoint in Flax. Compare torch_finetune.py and tf_finetune.py.

From the folder examples, on all devices that JAX finds; the second makes two of the CPU:

    python -m finetune.jax_finetune first.caffemodel tuned.safetensors
    export XLA_FLAGS=--xla_force_host_platform_device_count=2
    python -m finetune.jax_finetune first.caffemodel tuned.safetensors
"""

import sys
from collections.abc import Sequence

import jax
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from PIL import Image

import se_jax
from finetune.digits import BATCH, EPOCHS, MOMENTUM, RATES, SECOND, Split, pictures
from se_jax.network import Network
from weights.images import prepare


def tune(path: str, data: Split, epochs: Sequence[int] = EPOCHS, dtype: str = "float32", seed: int = 0) -> Network:
    """The network of a checkpoint with a classifier for other classes, trained alone and then with all the rest."""
    rngs = nnx.Rngs(seed)  # of the new classifier
    model = se_jax.from_pretrained(path, dtype, len(SECOND), class_names=tuple(map(str, SECOND)), rngs=rngs)
    x, y = inputs(model, data.train), data.train_classes
    # In training mode BatchNorm would normalise by each batch and change the statistics of the frozen network.
    model.eval()
    fit(model, x, y, epochs[0], RATES[0], nnx.All(nnx.Param, nnx.PathContains("fc")))
    model.train()
    fit(model, x, y, epochs[1], RATES[1], nnx.Param)
    model.eval()
    return model


def fit(model: Network, x: np.ndarray, y: np.ndarray, epochs: int, rate: float, trained: nnx.filterlib.Filter) -> None:
    """Trains these parameters; each device has a share of a batch, and what is computed is that of the whole batch."""
    mesh = Mesh(jax.devices(), ("devices",))
    whole, shared = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("devices"))
    nnx.update(model, jax.device_put(nnx.state(model), whole))
    optimizer = nnx.Optimizer(model, optax.sgd(rate, MOMENTUM), wrt=trained)
    rng = np.random.default_rng(0)
    for _ in range(epochs):
        order = rng.permutation(len(y))
        for chosen in order[: len(y) // BATCH * BATCH].reshape(-1, BATCH):
            step(model, optimizer, *jax.device_put((x[chosen], y[chosen]), shared))


@nnx.jit
def step(model: Network, optimizer: nnx.Optimizer[Network], x: Array, y: Array) -> None:
    """One step of the optimizer."""

    def loss(model: Network) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    optimizer.update(model, nnx.grad(loss, argnums=nnx.DiffState(0, optimizer.wrt))(model))


def inputs(model: Network, images: Sequence[Image.Image]) -> np.ndarray:
    """Images as the checkpoint expects them: (N, H, W, 3)."""
    assert model.preprocessing
    x = np.concatenate([prepare(image, model.preprocessing) for image in images])
    return x.transpose(0, 2, 3, 1).astype(jax.tree.leaves(nnx.state(model, nnx.Param))[0].dtype)


def accuracy(model: Network, data: Split) -> float:
    """Of the held-out images."""
    logits = nnx.jit(lambda model, x: model(x))(model, inputs(model, data.test))
    return float(np.mean(np.asarray(logits).argmax(1) == data.test_classes))


def main(path: str, output: str) -> None:
    """Fine-tunes and saves."""
    data = pictures(SECOND)
    model = tune(path, data)
    print(f"{output}: {accuracy(model, data):.1%} of the held-out images")
    se_jax.save(model, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
