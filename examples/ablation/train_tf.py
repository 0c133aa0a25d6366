"""The training loop in Keras on TensorFlow. Compare train_torch.py and train_jax.py."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

import se_tf
from ablation.digits import LEARNING_RATE, MOMENTUM, batches, held_out, initial
from weights import Spec


def train(spec: Spec, steps: int) -> tuple[list[float], float]:
    """The loss of every step, and the accuracy on the held-out images at the end; in float64."""
    model = se_tf.restore(spec, initial(spec), dtype="float64")
    optimizer = keras.optimizers.SGD(LEARNING_RATE, MOMENTUM)

    @tf.function(autograph=False)
    def step(x: Any, classes: Any) -> Any:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, model(x, training=True))
            loss = tf.reduce_mean(losses)
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return loss

    optimizer.build(model.trainable_variables)
    losses = []
    for x, classes in batches(steps):
        losses.append(float(step(tf.constant(x.transpose(0, 2, 3, 1)), tf.constant(classes))))
    x, classes = held_out()
    logits = np.asarray(model(x.transpose(0, 2, 3, 1), training=False))
    return losses, float(np.mean(logits.argmax(1) == classes))
