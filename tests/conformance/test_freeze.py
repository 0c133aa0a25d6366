"""Golden files: what they hold, what they catch, and how they refuse."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import weights
from conformance import cases
from conformance.cases import TINY, image, seeded
from conformance.cli import main
from conformance.golden.against import against
from conformance.golden.file import MARK, SAMPLES, checksum, freeze, read, sample
from conformance.judge.compare import Conditions
from weights import InputError, Params, graph, schema
from weights.files.safetensors import load_tensors, save_tensors

SPEC = TINY["tiny-se-resnet"]
SIZE = (67, 63)
HERE = Conditions(isolated=False)


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    path = tmp_path_factory.mktemp("golden") / "golden.safetensors"
    freeze(SPEC.name, path, seed=7, size=SIZE, batch=2)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    weights.write(path, SPEC, seeded(SPEC, 11))
    return path


def senet(*args: object):
    return CliRunner().invoke(main, [str(a) for a in args])


def test_what_is_frozen_is_what_was_computed(golden):
    kept = read(golden)
    assert np.array_equal(kept.x, image(8, 2, *SIZE))
    assert list(kept.taps) == [node.name for node in graph(SPEC)]
    assert set(kept.gradients) == {"data", *(p.name for p in schema(SPEC) if p.learnable)}
    assert kept.checksums.keys() == seeded(SPEC, 7).keys()
    assert (kept.seed, kept.output.shape) == (7, (2, 10))
    assert {"senet", "numpy"} <= kept.versions.keys()
    assert golden.stat().st_size < 250_000


def test_the_same_is_frozen_to_the_same_bytes(golden, tmp_path):
    freeze(SPEC.name, tmp_path / "again.safetensors", seed=7, size=SIZE, batch=2)
    assert (tmp_path / "again.safetensors").read_bytes() == golden.read_bytes()


@pytest.mark.parametrize("shape", [(1, 5), (SAMPLES,), (2, 3, 40, 41)])
def test_samples_are_values_and_four_numbers_about_all(shape):
    array = np.random.default_rng(0).standard_normal(shape)
    found = sample(array, np.random.default_rng(1))
    assert found.index.shape == (SAMPLES,)
    assert np.array_equal(found.value[:SAMPLES], array.reshape(-1)[found.index])
    assert len(set(found.index.tolist())) == min(array.size, SAMPLES)
    numbers = [array.mean(), np.abs(array).mean(), np.abs(array).max(), np.sqrt((array**2).mean())]
    assert np.allclose(found.value[SAMPLES:], numbers, rtol=1e-15)


def test_a_checksum_is_of_the_numbers():
    array = np.array([[1.5, -0.0], [0.1, 3]], np.float32)
    assert checksum(array) == checksum(array.astype(np.float64)) == checksum(np.asfortranarray(array))
    assert checksum(array) == hashlib.sha256(np.array([1.5, 0, np.float32(0.1), 3], "<f8").tobytes()).hexdigest()
    assert checksum(array) != checksum(np.nextafter(array, np.float32(9)))


@pytest.mark.parametrize("what", ["taps", "gradients"])
def test_frameworks_agree_with_what_was_frozen(golden, what):
    found = against(golden, adapters=("numpy", "torch", "jax", "tf"), what=what, conditions=HERE)
    assert found.agreed
    assert [r.status for r in found.results.values()] == ["agreed"] * 4
    # The reference is compared with itself; every tensor of it is looked at.
    assert set(found.results["numpy"].errors.values()) == {0.0}
    assert len(found.results["numpy"].errors) == len(read(golden).taps if what == "taps" else read(golden).gradients)


def test_float32_has_its_own_bound(golden):
    found = against(golden, adapters=("torch", "onnx"), dtype="float32", conditions=HERE)
    assert found.agreed
    assert 1e-8 < found.results["torch"].errors["logits"] < 1e-5


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (lambda taps: taps["stage2.0"] * (1 + 1e-12), "stage2.0"),
        (lambda taps: np.roll(taps["stage2.0"], 1, axis=3), "stage2.0"),
        (lambda taps: taps["stage2.0"].swapaxes(0, 1), "stage2.0"),
        (lambda taps: np.where(np.arange(taps["stage2.0"].shape[3]) == 0, 0, taps["stage2.0"]), "stage2.0"),
    ],
    ids=["scaled", "shifted", "another shape", "edge lost"],
)
def test_a_wrong_layer_is_named(golden, monkeypatch, change, first):
    import conformance.adapters.numpy as adapter

    taps = adapter.taps
    monkeypatch.setattr(adapter, "taps", lambda model, x: (found := taps(model, x)) | {"stage2.0": change(found)})
    result = against(golden, adapters=("numpy",), conditions=HERE).results["numpy"]
    assert (result.status, result.first_divergent) == ("disagreed", first)
    assert [tap for tap, error in result.errors.items() if error] == [first]


def test_a_wrong_shape_is_told(golden, monkeypatch):
    import conformance.adapters.numpy as adapter

    taps = adapter.taps
    monkeypatch.setattr(adapter, "taps", lambda model, x: taps(model, x) | {"stem.pool": np.zeros((2, 8, 3, 3))})
    result = against(golden, adapters=("numpy",), conditions=HERE).results["numpy"]
    assert result.message == "stem.pool has shape (2, 8, 3, 3), expected (2, 8, 17, 16)"


def test_weights_of_a_file_are_handed_in_and_checked(checkpoint, tmp_path):
    path = tmp_path / "golden.safetensors"
    freeze(checkpoint, path, size=SIZE)
    with pytest.raises(InputError, match="holds no weights; hand in those it was made from"):
        against(path)
    assert against(path, seeded(SPEC, 11), ("numpy",), conditions=HERE).agreed
    changed = seeded(SPEC, 11)
    changed["fc.bias"] = np.nextafter(changed["fc.bias"], np.float32(9))
    with pytest.raises(InputError, match=r"1 of 122 tensors differ, the first is fc\.bias"):
        against(path, changed, ("numpy",))


def test_weights_that_are_drawn_otherwise_are_refused(golden, monkeypatch):
    monkeypatch.setattr(cases, "seeded", lambda spec, seed, drawn=seeded: drawn(spec, seed + 1))
    with pytest.raises(InputError, match="made from other weights"):
        against(golden, adapters=("numpy",))


def test_what_is_not_finite_is_not_frozen(tmp_path):
    params = seeded(SPEC, 1)
    params["stage1.0.bn1.bias"][0] = np.nan
    weights.write(tmp_path / "nan.safetensors", SPEC, Params(params))
    with pytest.raises(InputError, match=r"stage1\.0\.bn1 of tiny-se-resnet is not finite"):
        freeze(tmp_path / "nan.safetensors", tmp_path / "golden.safetensors", size=SIZE)
    assert not (tmp_path / "golden.safetensors").exists()


def test_a_network_without_classifier_is_frozen_to_its_features(tmp_path):
    spec = replace(SPEC, classes=0)
    weights.write(tmp_path / "headless.safetensors", spec, seeded(spec, 1))
    freeze(tmp_path / "headless.safetensors", tmp_path / "golden.safetensors", size=SIZE)
    found = against(tmp_path / "golden.safetensors", seeded(spec, 1), ("torch",), conditions=HERE)
    assert found.agreed
    assert found.output.shape == (2, 128)


def test_another_safetensors_file_is_no_golden_file(checkpoint):
    with pytest.raises(InputError, match="is no golden file"):
        read(checkpoint)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda t, _: t.pop("input"), "damaged: 'input'"),
        (lambda t, _: t.update({"taps/index": t["taps/index"] + 10**6}), "places outside of their tensors"),
        (lambda t, _: t.update({"taps/value": t["taps/value"][1:]}), "damaged: taps has tables"),
        (lambda t, _: t.update({"output": t["output"][:1]}), "output and cotangent are"),
        (lambda _, r: r["taps"].pop("stem.conv1"), "damaged: taps has tables"),
        (lambda _, r: r["taps"].update({"stem.conv1": [1]}), "taps are not those of tiny-se-resnet"),
        (lambda _, r: r["checksums"].pop("fc.bias"), "checksums are not those of"),
        (lambda _, r: r["spec"].pop("depths"), "does not fit"),
        (lambda _, r: r.pop("weights"), "damaged: 'weights'"),
        (lambda t, _: t.update({"taps/index": t["taps/index"].astype("f8")}), "damaged: taps .* index is of float64"),
        (lambda t, _: t.update({"taps/value": t["taps/value"].astype("i1")}), "damaged: taps .* is of int8"),
        (lambda t, _: t.update({"gradients/value": t["gradients/value"] * np.nan}), "damaged: gradients .*not finite"),
        (lambda t, _: t.update({"input": t["input"] > 0}), "damaged: input is of bool"),
        (lambda t, _: t.update({"input": t["input"] * np.inf}), "damaged: input is of float32 or not finite"),
        (lambda _, r: r.update(checksums=list(r["checksums"])), "damaged: checksums are no texts by name"),
        (lambda _, r: r.update(checksums=dict.fromkeys(r["checksums"], 5)), "damaged: checksums are no texts by name"),
        (lambda _, r: r.update(versions=[1]), "damaged: versions are no texts by name"),
    ],
)
def test_damage_is_named(golden, tmp_path, damage, said):
    tensors, strings = load_tensors(golden)
    record = json.loads(strings["senet.record"])
    damage(tensors, record)
    save_tensors(tmp_path / "bad.safetensors", tensors, strings | {"senet.record": json.dumps(record)})
    with pytest.raises(InputError, match=rf"bad\.safetensors: .*{said}"):
        read(tmp_path / "bad.safetensors")


def test_a_later_version_is_refused(golden, tmp_path):
    tensors, strings = load_tensors(golden)
    save_tensors(tmp_path / "later.safetensors", tensors, strings | {MARK: "2"})
    with pytest.raises(InputError, match="golden version '2', this program reads '1'; update senet"):
        read(tmp_path / "later.safetensors")


def test_the_commands_freeze_and_compare(checkpoint, tmp_path):
    path = tmp_path / "golden.safetensors"
    done = senet("freeze", checkpoint, path, "--size", "67x63")
    assert done.exit_code == 0, done.stderr
    assert "samples of 94 taps and 83 gradients" in done.stdout
    done = senet("compare", checkpoint, "--against", path, "--framework", "torch", "--in-process")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.startswith("PyTorch") for line in lines[2:]] == [True, True]
    assert "PyTorch, gradients" in lines[3]


def test_the_commands_refuse_in_one_line(checkpoint, golden, tmp_path):
    for args, said in (
        (["compare"], "Missing argument 'FILE', or --against"),
        (["compare", checkpoint, "--against", golden], "was made from other weights"),
        (["compare", "--against", golden, "--size", "64x64"], "has an input of its own"),
        (["compare", "--against", checkpoint], "is no golden file"),
        (["freeze", "se-resnet-51", tmp_path / "x.safetensors"], "se-resnet-51"),
    ):
        done = senet(*args)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert said in done.stderr


@pytest.mark.slow
def test_se_resnet_50_is_frozen_in_a_megabyte(tmp_path):
    path = tmp_path / "golden.safetensors"
    freeze("se-resnet-50", path)
    assert path.stat().st_size < 1.2e6
    assert against(path, adapters=("torch",), what="gradients", conditions=HERE).agreed
