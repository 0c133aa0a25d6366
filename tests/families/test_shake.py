"""The shares of the two branches of Shake-Shake: drawn in training for every image, and not at all in inference."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from weights import MODELS, ShakeSpec

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

RNG = np.random.default_rng(1)
A, B, G = (RNG.standard_normal((5, 3, 4, 2)) for _ in range(3))
ALPHA, BETA = RNG.uniform(size=(2, 5, 1, 1, 1))

Answer = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The output, and the gradients of sum(output * G) with respect to A and B."""

FRAMEWORKS = pytest.mark.parametrize("framework", ["torch", "jax", "tf"])


def mix(framework: str, rule: str, seed: int = 0) -> Callable[..., Answer]:
    """A layer of a framework in training or inference; the same one, so that it draws anew each time."""
    package: Any = pytest.importorskip(f"se_{framework}", exc_type=ImportError)
    del package
    return {"torch": _torch, "jax": _jax, "tf": _tf}[framework](rule, seed)


def _torch(rule: Any, seed: int) -> Callable[..., Answer]:
    import torch

    from se_torch.layers import Mix

    layer = Mix(rule)
    torch.manual_seed(seed)

    def answer(training: bool, shares: tuple[np.ndarray, np.ndarray] | None = None) -> Answer:
        layer.train(training)
        a, b = (torch.from_numpy(x).requires_grad_() for x in (A, B))
        given = tuple(map(torch.from_numpy, shares)) if shares else None
        y = layer(a, b, given)
        of_a, of_b = torch.autograd.grad(y, (a, b), torch.from_numpy(G))
        return y.detach().numpy(), of_a.numpy(), of_b.numpy()

    return answer


def _jax(rule: Any, seed: int) -> Callable[..., Answer]:
    import jax
    from flax import nnx

    from se_jax.layers import Mix

    layer = Mix(rule, rngs=nnx.Rngs(seed))

    def answer(training: bool, shares: tuple[np.ndarray, np.ndarray] | None = None) -> Answer:
        with jax.enable_x64(True):
            _ = layer.train() if training else layer.eval()
            a, b = map(jax.numpy.asarray, (A, B))
            # Drawn outside of the gradient, where the layer's stream of random numbers must not change.
            drawn: Any = shares or (layer.draw(a) if training and rule != "even-even" else None)
            y, of = jax.vjp(lambda a, b: layer(a, b, drawn), a, b)
            of_a, of_b = of(jax.numpy.asarray(G))
            return np.asarray(y), np.asarray(of_a), np.asarray(of_b)

    return answer


def _tf(rule: Any, seed: int) -> Callable[..., Answer]:
    import tensorflow as tf

    from se_tf.layers import Mix

    layer: Any = Mix(rule, seed=seed, dtype="float64")

    def answer(training: bool, shares: tuple[np.ndarray, np.ndarray] | None = None) -> Answer:
        a, b = tf.constant(A), tf.constant(B)
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            y: Any = layer([a, b], training=training, shares=shares)
            total = tf.reduce_sum(y * G)
        of: Any = tape.gradient(total, [a, b])
        return y.numpy(), of[0].numpy(), of[1].numpy()

    return answer


def off(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@FRAMEWORKS
def test_shares_weigh_the_outputs_and_others_the_gradients(framework: str) -> None:
    y, of_a, of_b = mix(framework, "shake-shake")(True, (ALPHA, BETA))
    assert off(y, ALPHA * A + (1 - ALPHA) * B) < 1e-15
    assert off(of_a, BETA * G) < 1e-15
    assert off(of_b, (1 - BETA) * G) < 1e-15


@FRAMEWORKS
@pytest.mark.parametrize("rule", ["shake-shake", "shake-even", "even-even"])
def test_halves_in_inference_and_where_nothing_is_drawn(framework: str, rule: str) -> None:
    layer = mix(framework, rule)
    for training in (False, True) if rule == "even-even" else (False,):
        y, of_a, of_b = layer(training)
        assert np.array_equal(y, 0.5 * A + 0.5 * B)
        assert np.array_equal(of_a, 0.5 * G)
        assert np.array_equal(of_b, 0.5 * G)


@FRAMEWORKS
@pytest.mark.parametrize("rule", ["shake-shake", "shake-even"])
def test_shares_are_drawn_for_every_image_anew(framework: str, rule: str) -> None:
    layer = mix(framework, rule)
    alphas, betas = map(np.concatenate, zip(*(drawn(layer(True)) for _ in range(40)), strict=True))
    assert len(np.unique(alphas.round(9))) == len(alphas) == 200
    # A mean of 200 numbers from 0..1 is off by 0.02 (one deviation); their deviation is 0.289.
    assert abs(alphas.mean() - 0.5) < 0.1
    assert abs(alphas.std() - 12**-0.5) < 0.05
    if rule == "shake-even":
        assert np.allclose(betas, 0.5, rtol=0, atol=1e-14)
    else:
        assert abs(np.corrcoef(alphas, betas)[0, 1]) < 0.25
        assert abs(betas.std() - 12**-0.5) < 0.05


def drawn(answer: Answer) -> tuple[np.ndarray, np.ndarray]:
    """The shares alpha and beta of each image; they are the same at every value."""
    y, of_a, of_b = answer
    alpha, beta = (y - B) / (A - B), of_a / G
    assert np.allclose(alpha, alpha[:, :1, :1, :1], rtol=0, atol=1e-11)
    assert np.allclose(beta, beta[:, :1, :1, :1], rtol=0, atol=1e-14)
    assert np.allclose(of_a + of_b, G, rtol=0, atol=1e-15)
    return alpha[:, 0, 0, 0], beta[:, 0, 0, 0]


@FRAMEWORKS
def test_the_frameworks_own_seed_decides(framework: str) -> None:
    first, again, other = (mix(framework, "shake-shake", seed)(True)[0] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@FRAMEWORKS
def test_networks_draw_in_training_only(framework: str) -> None:
    package: Any = pytest.importorskip(f"se_{framework}", exc_type=ImportError)
    spec = ShakeSpec(name="small", depths=(1, 1), stem=4, width=(4, 6), out_channels=(4, 6), se=None, classes=3)
    x = RNG.standard_normal((2, 8, 8, 3)).astype(np.float32)
    model = package.build(spec)

    def twice(training: bool, model: Any) -> bool:
        """Whether two passes give the same."""
        if framework == "torch":
            import torch

            model.train(training)
            images = torch.from_numpy(x).movedim(-1, 1)
            return bool((model(images) == model(images)).all())
        if framework == "tf":
            return bool(np.array_equal(model(x, training=training), model(x, training=training)))
        _ = model.train() if training else model.eval()
        return bool(np.array_equal(model(x), model(x)))

    assert not twice(True, model)
    assert twice(False, model)
    assert twice(True, package.build(replace(spec, shares="even-even")))


def test_published_networks_are_trained_as_their_names_say() -> None:
    names = {name: spec.shares for name, spec in MODELS.items() if isinstance(spec, ShakeSpec)}
    assert len(names) == 4
    assert all(shares in name for name, shares in names.items())
