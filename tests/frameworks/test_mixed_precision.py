"""Mixed precision of every family: computed in bfloat16, parameters and gradients in float32, as each framework says it."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
import torch
from families.small import SMALL

import se_jax
import se_tf
import se_torch
from conformance import cases
from conformance.adapters import adapter
from weights import Spec, schema

IMAGES = 4

Found = tuple[np.ndarray, Mapping[str, np.ndarray]]
"""The logits in inference, and every gradient in training, by name."""


def given(spec: Spec) -> tuple[Spec, Mapping[str, np.ndarray], np.ndarray, np.ndarray]:
    """The network with nothing drawn at random, its parameters, images, and what the gradients are of."""
    spec = spec.without_chance()
    x = cases.image(2, IMAGES, *cases.oblong(spec, spec.only_size or (64, 64)), spec.in_channels)
    return spec, cases.seeded(spec, 1), x, cases.top_diff(3, IMAGES, spec.classes)


def by_torch(spec: Spec, mixed: bool) -> Found:
    spec, params, x, cotangent = given(spec)
    model, images = se_torch.restore(spec, params), torch.from_numpy(x)
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        logits = model(images)
        model.train()
        output = model(images)
    (output.float() * torch.from_numpy(cotangent).float()).sum().backward()
    assert output.dtype == (torch.bfloat16 if mixed else torch.float32)
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert {gradient.dtype for gradient in found.values() if gradient is not None} == {torch.float32}
    return logits.detach().float().numpy(), {name: g.numpy() for name, g in found.items() if g is not None}


def by_jax(spec: Spec) -> Found:
    spec, params, x, cotangent = given(spec)
    model = se_jax.restore(spec, params, "bfloat16", param_dtype="float32")
    return asked("jax", model, x, cotangent)


def by_keras(spec: Spec) -> Found:
    spec, params, x, cotangent = given(spec)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = se_tf.restore(spec, params)
    finally:
        keras.config.set_dtype_policy(before)
    return asked("tf_eager", model, x, cotangent)


def asked(name: str, model: Any, x: np.ndarray, cotangent: np.ndarray) -> Found:
    port: Any = adapter(name)
    logits = port.taps(model, x)["logits"]
    found = port.gradients(model, x, cotangent.astype(np.float32), training=True)
    return logits, {p.name: found[p.name] for p in schema(model.spec) if p.learnable}


MIXED: Mapping[str, Callable[[Spec], Found]] = {
    "torch": lambda spec: by_torch(spec, True),
    "jax": by_jax,
    "keras": by_keras,
}


@cache
def in_float32(family: str) -> Found:
    return by_torch(SMALL[family], False)


def off(found: np.ndarray, expected: np.ndarray) -> float:
    """How long the difference is, as a share of the length of what is expected."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


if __name__ == "__main__":
    import time
    import sys
    for family in SMALL:
        logits, gradients = in_float32(family)
        for name in sys.argv[1:]:
            t = time.process_time()
            l, g = MIXED[name](SMALL[family])
            every = np.concatenate([a.ravel() for a in gradients.values()])
            mine = np.concatenate([g[k].ravel() for k in gradients])
            per = {k: off(g[k], a) for k, a in gradients.items() if np.linalg.norm(a) > 1e-3 * np.linalg.norm(every) / len(gradients)**.5}
            w = max(per, key=per.get)
            print(family, name, f"logits {np.abs(l - logits).max() / np.abs(logits).max():.4f} all {off(mine, every):.4f} cos {1 - mine @ every / np.linalg.norm(mine) / np.linalg.norm(every):.5f} median {np.median(list(per.values())):.3f} worst {per[w]:.3f} {w}", f"{time.process_time() - t:.1f}s", flush=True)
