"""Whatever is drawn follows the framework's own seeding, unless a seed is given."""

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
import torch
from flax import nnx

import se_jax
import se_tf
import se_torch
import weights
from conformance import cases
from weights.change import with_classes
from weights.networks.models import changed

SPEC = cases.TINY["tiny-se-resnet"]
SHAKE = changed(
    weights.MODELS["shake-shake-26-2x96d-cifar-10"], depths=(1, 1, 1), width=(4, 4, 4), out_channels=(4, 4, 4)
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("seeds") / "net.safetensors"
    weights.write(path, SPEC, cases.seeded(SPEC, 1))
    return path


def with_torch(path, number, **given):
    torch.manual_seed(number)
    return se_torch.dump(se_torch.from_pretrained(path, classes=3, **given))


def with_tf(path, number, **given):
    keras.utils.set_random_seed(number)
    return se_tf.dump(se_tf.from_pretrained(path, classes=3, **given))


def with_jax(path, number, **given):
    return se_jax.dump(se_jax.from_pretrained(path, classes=3, rngs=nnx.Rngs(number), **given))


@pytest.mark.parametrize("tuned", [with_torch, with_tf, with_jax])
def test_new_classifier_follows_the_seeding_of_the_framework(tuned, file):
    first, again, other = (tuned(file, number)["fc.weight"] for number in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("tuned", [with_torch, with_tf, with_jax])
def test_given_seed_is_that_of_the_new_classifier_in_every_framework(tuned, file):
    expected = with_classes(*weights.read(file), 3, 5)[1]["fc.weight"]
    assert np.array_equal(tuned(file, 7, seed=5)["fc.weight"], expected)


def test_history_says_what_was_drawn(file):
    found = with_torch(file, 7)
    seed = int(found.info.history[-1].rpartition(" ")[2])
    assert np.array_equal(found["fc.weight"], with_torch(file, 8, seed=seed)["fc.weight"])


def test_restored_network_of_flax_draws_its_shares_by_its_generators():
    params = cases.seeded(SHAKE, 1)

    def drawn(number):
        model: Any = se_jax.restore(SHAKE, params, rngs=nnx.Rngs(number))
        model.train()
        units = (model.stage1[0], model.stage3[0])
        return [float(unit.mix.draw(jnp.zeros((1, 1, 1, 1)))[0][0, 0, 0, 0]) for unit in units]

    (a, b), again, other = drawn(7), drawn(7), drawn(8)
    assert [a, b] == again
    assert len({a, b, *other}) == 4
    states = jax.tree.leaves(nnx.state(se_jax.restore(SHAKE, params), nnx.RngState))
    assert all(isinstance(value, jax.Array) for value in states)


def test_restoring_draws_nothing_but_a_stream_for_each_layer_that_draws(monkeypatch):
    counted = []
    draw = nnx.RngStream.__call__
    monkeypatch.setattr(nnx.RngStream, "__call__", lambda stream: counted.append(stream) or draw(stream))
    se_jax.restore(SPEC, cases.seeded(SPEC, 1))
    assert len(counted) == 1  # of the dropout
