"""Orbax checkpoints: Flax restores what we write, what it saves we read, and nothing else's folder is overwritten."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_networks import INCEPTION, INFO, SENET, same, seeded

from weights import MODELS, InputError, Params, read, write
from weights.files import orbax

NETWORKS = pytest.mark.parametrize("spec", [SENET, INCEPTION], ids=lambda s: s.name)
ocp: Any = pytest.importorskip("orbax.checkpoint")


@pytest.fixture(scope="module")
def nnx() -> Any:
    return pytest.importorskip("flax.nnx")


@pytest.fixture(scope="module")
def se_jax(nnx: Any) -> Any:
    assert nnx.Module
    return pytest.importorskip("se_jax")


@pytest.fixture
def saved(se_jax: Any, tmp_path: Path) -> Any:
    """A network of ours with values, made without drawing random ones, which takes JAX long."""
    write(tmp_path / "values.safetensors", SENET, seeded(SENET))
    return se_jax.from_pretrained(tmp_path / "values.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.orbax"
    write(path, SENET, seeded(SENET, INFO))
    return path


@NETWORKS
def test_everything_comes_back_as_it_was(tmp_path, spec):
    write(tmp_path / "tiny.orbax", spec, seeded(spec, INFO))
    found, params = read(tmp_path / "tiny.orbax")
    assert (found, params.info) == (spec, INFO)
    assert same(params, seeded(spec))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_each_precision_is_kept(tmp_path, dtype):
    params = Params({name: array.astype(dtype) for name, array in seeded(SENET).items()})
    write(tmp_path / "tiny.orbax", SENET, params)
    assert same(read(tmp_path / "tiny.orbax")[1], params)


def test_a_checkpoint_needs_no_suffix_to_be_read(folder, tmp_path):
    folder.rename(tmp_path / "checkpoint_3")
    assert same(read(tmp_path / "checkpoint_3")[1], seeded(SENET))


def test_a_checkpoint_replaces_a_checkpoint(folder, tmp_path):
    write(folder, SENET, seeded(SENET, seed=1))
    assert same(read(folder)[1], seeded(SENET, seed=1))
    assert os.listdir(tmp_path) == [folder.name]


def test_another_folder_is_not_replaced(tmp_path):
    (tmp_path / "photos.orbax").mkdir()
    (tmp_path / "photos.orbax" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(InputError, match=r"photos\.orbax: stands already"):
        write(tmp_path / "photos.orbax", SENET, seeded(SENET))
    assert os.listdir(tmp_path / "photos.orbax") == ["cat.jpg"]


def test_nothing_is_left_of_a_checkpoint_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "absent" / "tiny.orbax", SENET, seeded(SENET))
    with pytest.raises(InputError, match=r"fc\.bias has shape"):
        write(tmp_path / "tiny.orbax", replace(SENET, classes=8), seeded(SENET))
    assert not list(tmp_path.iterdir())


@NETWORKS
def test_flax_restores_into_the_state_of_a_network(nnx, se_jax, tmp_path, spec):
    write(tmp_path / "tiny.orbax", spec, seeded(spec))
    model = nnx.eval_shape(lambda: se_jax.build(spec))
    with ocp.StandardCheckpointer() as checkpointer:
        state = nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))
        nnx.update(model, checkpointer.restore(tmp_path / "tiny.orbax", state))
    restored = se_jax.dump(model)
    assert all(np.array_equal(restored[name], a.astype(np.float32)) for name, a in seeded(spec).items())


@pytest.mark.parametrize("what", ["values", "everything", "plain dictionary"])
def test_a_state_that_flax_saved_is_read(nnx, se_jax, tmp_path, saved, what):
    state = nnx.state(saved) if what == "everything" else nnx.state(saved, nnx.Any(nnx.Param, nnx.BatchStat))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "saved", nnx.to_pure_dict(state) if what == "plain dictionary" else state)
    found, params = orbax.read(tmp_path / "saved", spec=SENET)
    assert found == SENET
    assert params.info.source == "saved"
    assert same(params, se_jax.dump(saved))


def test_a_step_of_a_checkpoint_manager_is_read(nnx, se_jax, tmp_path, saved):
    state = nnx.state(saved, nnx.Any(nnx.Param, nnx.BatchStat))
    with ocp.CheckpointManager(tmp_path / "run") as manager:
        manager.save(7, args=ocp.args.StandardSave(state))
        manager.wait_until_finished()
    assert same(orbax.read(tmp_path / "run" / "7", spec=SENET)[1], se_jax.dump(saved))


def test_a_checkpoint_of_a_published_network_need_not_state_it(tmp_path):
    spec = replace(MODELS["bn-inception"], classes=3)
    write(tmp_path / "saved.orbax", spec, seeded(spec))
    (tmp_path / "saved.orbax" / "_CHECKPOINT_METADATA").unlink()
    assert read(tmp_path / "saved.orbax")[0] == spec


@pytest.mark.parametrize("name", ["_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt"])
@pytest.mark.parametrize("damage", ["cut", "absent", "other"])
def test_damage_is_named(folder, name, damage):
    data = (folder / name).read_bytes()
    (folder / name).unlink()
    if damage != "absent":
        (folder / name).write_bytes(data[: len(data) // 2] if damage == "cut" else b"\xff" * len(data))
    if (name, damage) == ("_CHECKPOINT_METADATA", "absent"):  # then the spec is not stated
        assert same(orbax.read(folder, spec=SENET)[1], seeded(SENET))
        assert "stride_on_3x3" in read(folder).info.assumed
        return
    with pytest.raises(InputError, match=r"tiny\.orbax"):
        read(folder)


def test_lost_arrays_are_named(folder):
    shutil.rmtree(folder / "ocdbt.process_0")
    with pytest.raises(InputError, match=r"tiny\.orbax: is a damaged Orbax checkpoint"):
        read(folder)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="the suffix names no known format"):
        read(tmp_path)
    with pytest.raises(InputError, match=r"absent\.orbax: is no Orbax checkpoint"):
        read(tmp_path / "absent.orbax")
