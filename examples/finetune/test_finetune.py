"""The example in a short form; and as it stands: what is learned, what files keep, what several devices compute."""

import os
from dataclasses import replace
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

import conformance
import weights
from finetune.digits import BATCH, NETWORK, SECOND, Split, pictures
from weights import Params
from weights.images import prepare

FRAMEWORKS = ("torch", "jax", "tf")
SMALL = replace(NETWORK, depths=(1,), reduce=(4,), width=(4,), out_channels=(8,))
BOUND = 1e-12  # of the largest parameter: float64, and one step of 64 images; a share left out makes 1e-2


def example(framework: str) -> Any:
    return import_module(f"finetune.{framework}_finetune")


def first_batch() -> Split:
    data = pictures(SECOND)
    return data._replace(train=data.train[:BATCH], train_classes=data.train_classes[:BATCH])


def dumped(framework: str, model: Any) -> Params:
    return import_module(f"se_{framework}").dump(model)


def apart(a: Params, b: Params) -> float:
    assert a.keys() == b.keys()
    return max(float(np.abs(a[name] - b[name]).max() / np.abs(b[name]).max()) for name in b)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "first.caffemodel"
    import_module("finetune.pretrain").main(path, SMALL, epochs=1)
    return path


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_network_is_frozen_first_and_then_freed(framework: str, small: Path):
    before = weights.read(small)[1]
    tune = example(framework).tune
    head, freed = (dumped(framework, tune(small, first_batch(), epochs)) for epochs in ((1, 0), (1, 1)))
    network = [name for name in before if not name.startswith("fc.")]
    assert all(np.array_equal(head[name], before[name].astype("float32")) for name in network)
    assert not any(np.array_equal(freed[name], head[name]) for name in head)
    assert head["fc.bias"].any()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("first") / "first.caffemodel"
    import_module("finetune.pretrain").main(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_new_digits_are_learned_and_the_tuned_network_is_the_same_everywhere(framework: str, first: Path):
    data = pictures(SECOND)
    tuned = example(framework).tune(first, data)
    assert example(framework).accuracy(tuned, data) > 0.93  # 0.98 to 1 with other seeds
    path = first.with_name(f"{framework}.safetensors")
    import_module(f"se_{framework}").save(tuned, path)
    weights.write(path.with_suffix(".caffemodel"), weights.read(path))
    spec, params = weights.read(path.with_suffix(".caffemodel"))
    assert params.info.class_names == ("6", "7", "8", "9")
    assert params.info.preprocessing
    now = dumped(framework, tuned)
    assert params.keys() == now.keys()
    assert all(np.array_equal(params[name], now[name]) for name in now)
    x = prepare(data.test[0], params.info.preprocessing)
    assert conformance.compare(spec, params, x, FRAMEWORKS, isolated=False).agreed  # to 1e-13 in float64


def step(framework: str, path: str, training: bool, rows: Any = slice(None)) -> Params:
    """What all parameters and statistics are after one step on rows of the first batch; BatchNorm in either mode."""
    module, data = example(framework), first_batch()
    y = data.train_classes[rows]
    with patch.object(module, "BATCH", len(y)):
        match framework:
            case "torch":
                model = module.se_torch.from_pretrained(path, "float64", len(SECOND), seed=0).train(training)
                module.fit(model, module.inputs(model, data.train)[rows], module.torch.from_numpy(y), 1, 0.1)
                return module.se_torch.dump(model)
            case "jax":
                with module.jax.enable_x64(True):
                    model = module.se_jax.from_pretrained(path, "float64", len(SECOND), seed=0)
                    model.set_attributes(use_running_average=not training, raise_if_not_found=False)
                    module.fit(model, module.inputs(model, data.train)[rows], y, 1, 0.1, module.nnx.Param)
                    return module.se_jax.dump(model)
            case _:
                with module.strategy().scope():
                    model = module.se_tf.from_pretrained(path, "float64", len(SECOND), seed=0)
                for layer in model.layers:
                    layer.trainable = training or not isinstance(layer, module.keras.layers.BatchNormalization)
                with patch.object(module.tf.data.Dataset, "shuffle", lambda self, *_, **__: self):  # shares are halves
                    module.fit(model, module.inputs(model, data.train)[rows], y, 1, 0.1)
                return module.se_tf.dump(model)


def on_two(framework: str, share: int, path: str, found: str) -> None:
    """Both steps on two processes or devices, for which this process is made; the parameters go to files."""
    if framework == "torch":
        example("torch").dist.init_process_group("gloo", f"file://{found}", rank=share, world_size=2)
    elif framework == "jax":
        os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    else:
        import tensorflow as tf

        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
    for training in (False, True):
        params: Any = step(framework, path, training)
        np.savez(f"{found}.{share}.{training}.npz", **params)
    if framework == "torch":
        example("torch").dist.destroy_process_group()  # whose threads would end this process by a signal


def rows_of_shares(framework: str) -> list[Any]:
    """What each replica has of the batch."""
    if framework == "torch":
        from torch.utils.data import DistributedSampler

        return [list(DistributedSampler(range(BATCH), 2, share)) for share in (0, 1)]  # pyright: ignore
    return [slice(BATCH // 2), slice(BATCH // 2, None)]


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_step_on_two_devices_is_that_on_one(framework: str, small: Path, tmp_path: Path):
    shares = (0, 1) if framework == "torch" else (0,)
    spawn, found = get_context("spawn"), tmp_path / framework
    running = [spawn.Process(target=on_two, args=(framework, share, str(small), str(found))) for share in shares]
    for process in running:
        process.start()
    for process in running:
        process.join(1500)
    assert [process.exitcode for process in running] == [0] * len(shares)
    inference, training = (Params(np.load(f"{found}.0.{mode}.npz")) for mode in (False, True))
    assert apart(inference, step(framework, str(small), False)) < BOUND
    if framework == "jax":  # one program for the whole batch, so the statistics are those of the whole batch too
        assert apart(training, step(framework, str(small), True)) < BOUND
        return
    # Each replica normalises by its own share, and gradients are averaged: the first step is the mean of both steps.
    halves = [step(framework, str(small), True, rows) for rows in rows_of_shares(framework)]
    expected = Params({name: (halves[0][name] + halves[1][name]) / 2 for name in halves[0]})
    expected.update({name: a for name, a in halves[0].items() if ".running_" in name})  # the first one's own
    assert apart(training, expected) < BOUND
    assert apart(training, step(framework, str(small), True)) > 1e-4  # which is not the step on the whole batch
