"""The training loop in PyTorch. Compare train_jax.py and train_tf.py."""

import numpy as np
import torch

import se_torch
from ablation.digits import LEARNING_RATE, MOMENTUM, batches, held_out, initial
from weights import Spec


def train(spec: Spec, steps: int) -> tuple[list[float], float]:
    """The loss of every step, and the accuracy on the held-out images at the end; in float64."""
    model = se_torch.restore(spec, initial(spec), dtype="float64").train()
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM)
    losses = []
    for x, classes in batches(steps):
        loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(classes))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    x, classes = held_out()
    with torch.inference_mode():
        logits = model.eval()(torch.from_numpy(x)).numpy()
    return losses, float(np.mean(logits.argmax(1) == classes))
