"""The training loop in Flax. Compare train_torch.py and train_tf.py."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import se_jax
from ablation.digits import LEARNING_RATE, MOMENTUM, batches, held_out, initial
from se_jax.network import Network
from weights import Spec


@nnx.jit
def step(model: Network, optimizer: nnx.Optimizer[Network], x: jax.Array, classes: jax.Array) -> jax.Array:
    """One step of the optimizer; the loss before it."""

    def loss(model: Network) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(x), classes).mean()

    value, gradients = nnx.value_and_grad(loss)(model)
    optimizer.update(model, gradients)
    return value


def train(spec: Spec, steps: int) -> tuple[list[float], float]:
    """The loss of every step, and the accuracy on the held-out images at the end; in float64."""
    with jax.enable_x64(True):
        model = se_jax.restore(spec, initial(spec), dtype="float64")
        model.train()
        optimizer = nnx.Optimizer(model, optax.sgd(LEARNING_RATE, MOMENTUM), wrt=nnx.Param)
        losses = []
        for x, classes in batches(steps):
            losses.append(float(step(model, optimizer, jnp.asarray(x.transpose(0, 2, 3, 1)), jnp.asarray(classes))))
        x, classes = held_out()
        model.eval()
        logits = np.asarray(nnx.jit(lambda model, x: model(x))(model, jnp.asarray(x.transpose(0, 2, 3, 1))))
        return losses, float(np.mean(logits.argmax(1) == classes))
