"""Two checkpoints, tensor by tensor: what is told apart, what is not, and what the command answers."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import weights
from conformance.cases import TINY, seeded
from conformance.cli import main
from conformance.report.difference import text
from weights import MODELS, InputError, Params
from weights.errors import InputWarning
from weights.files.diff import diff, difference
from weights.files.safetensors import save_tensors
from weights.storage import bfloat16

SPEC = TINY["tiny-se-resnet"]
PARAMS = seeded(SPEC, 1)


@pytest.fixture
def write(tmp_path):
    """Writes a checkpoint and returns its path; ``changed`` replaces some of the arrays."""

    def path(name, changed=(), spec=SPEC, info=PARAMS.info, **options):
        weights.write(tmp_path / name, spec, Params({**PARAMS, **dict(changed)}, info), **options)
        return tmp_path / name

    return path


def verdicts(found) -> dict[str, int]:
    return {v: n for v in ("identical", "equal", "rounded", "different", "missing") if (n := found.count(v))}


@pytest.mark.parametrize("suffix", ["caffemodel", "pth"])
def test_formats_that_keep_the_layout_are_identical(write, suffix):
    found = diff(write("a.safetensors"), write(f"b.{suffix}"))
    assert found.same()
    assert verdicts(found) == {"identical": 122}


@pytest.mark.parametrize("suffix", ["keras", "weights.h5", "orbax"])
def test_channels_last_formats_are_equal_up_to_layout(write, suffix):
    found = diff(write("a.safetensors"), write(f"b.{suffix}"))
    assert found.same()
    layouts = {(t.verdict, *(side.layout for side in t.stored if side)) for t in found.tensors}
    assert layouts == {("equal", "OIHW", "HWIO"), ("equal", "OI", "IO"), ("identical", "C", "C")}


def test_a_wider_dtype_is_equal(write):
    found = diff(write("a.safetensors"), write("b.safetensors", {"fc.weight": PARAMS["fc.weight"].astype(np.float64)}))
    assert found.same()
    assert verdicts(found) == {"identical": 121, "equal": 1}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rounding_to_a_narrower_dtype_is_told_from_other_differences(write, dtype):
    name = "stem.bn1.running_mean"
    rounded = PARAMS[name].astype(dtype)
    found = diff(write("a.safetensors"), write("b.safetensors", {name: rounded}))
    assert verdicts(found) == {"identical": 121, "rounded": 1}
    assert found.same(rounding=True)
    assert not found.same()
    off = np.nextafter(rounded, dtype(np.inf))
    assert verdicts(diff(write("a.safetensors"), write("b.safetensors", {name: off})))["different"] == 1


@pytest.mark.parametrize("container", [np.float32, np.float64])
@pytest.mark.parametrize("to", ["float32", "float16", "bfloat16"])
def test_rounding_is_judged_by_values_whatever_holds_them(write, to, container):
    name = "stem.bn1.running_mean"
    exact = PARAMS[name].astype(container if to != "float32" else np.float64)
    rounded = bfloat16.rounded(exact) if to == "bfloat16" else exact.astype(to)
    first = write("a.safetensors", {name: exact})
    found = diff(first, write("b.safetensors", {name: rounded.astype(container)}))
    assert verdicts(found) == {"identical": 121, "rounded": 1}
    off = rounded.astype(container)
    off[0] += np.float32(2.0**-9) * off[0]
    assert verdicts(diff(first, write("c.safetensors", {name: off})))["different"] == 1


def test_number_that_became_infinite_was_not_rounded(write):
    huge = PARAMS["fc.bias"].astype(np.float64)
    huge[0] = 1e300
    with np.errstate(over="ignore"):
        infinite = huge.astype(np.float32)
    found = diff(write("a.safetensors", {"fc.bias": huge}), write("b.safetensors", {"fc.bias": infinite}))
    assert verdicts(found)["different"] == 1


def test_bfloat16_is_rounded_to_the_nearest_and_halfway_to_the_even_one():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    numbers = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    halfway = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, -1 - 2.0**-8, 3.4e38, np.inf, -np.inf, np.nan, 1e-40], np.float32)
    found = np.concatenate([numbers, halfway])
    with np.errstate(over="ignore"):
        wanted = found.astype(ml_dtypes.bfloat16).astype(np.float32)
    assert np.array_equal(bfloat16.rounded(found), wanted, equal_nan=True)


def test_text_shows_twenty_rows_and_the_worst_of_all(write):
    changes = {name: a.astype(np.float32) for name, a in PARAMS.items() if "running" in name}
    changes["fc.bias"] = PARAMS["fc.bias"] + np.float32(1)
    found = diff(write("a.safetensors"), write("b.safetensors", changes))
    lines = text(found).splitlines()
    rows = [line.split()[0] for line in lines if " rounded " in line or line.startswith("fc.bias")]
    assert (len(rows), rows[0], rows[-1]) == (20, "stem.bn1.running_mean", "fc.bias")
    assert "and 21 more tensors that differ" in lines
    everything = text(found, all_rows=True)
    assert len([line for line in everything.splitlines() if " rounded " in line]) == 40
    assert "more tensors" not in everything


def test_a_difference_is_measured(write):
    array = PARAMS["fc.weight"].copy()
    array[3, 5] = np.nextafter(np.nextafter(array[3, 5], np.float32(9)), np.float32(9))
    array[4, 6] += np.float32(0.5)
    (found,) = (t for t in diff(write("a.safetensors"), write("b.caffemodel", {"fc.weight": array})).tensors if t.count)
    off = np.abs(array.astype(np.float64) - PARAMS["fc.weight"])
    largest = max(np.abs(array).max(), np.abs(PARAMS["fc.weight"]).max())
    assert (found.name, found.verdict, found.count, found.size) == ("fc.weight", "different", 2, array.size)
    assert found.max_abs == off.max()
    assert found.relative == off.max() / largest
    assert found.ulp is not None
    assert found.ulp > 2


@pytest.mark.parametrize(
    ("a", "b", "ulp"),
    [
        (1.0, 1 + 2**-23, 1),
        (-(2.0**-149), 2.0**-149, 2),  # the numbers beside 0
        (0.1, float(np.float32(0.1)), 0),  # nearer than neighbours
        (1.0, -1.0, 2 * 0x3F800000),
        (1e300, 2e300, None),  # beyond float32
    ],
)
def test_float32_steps(a, b, ulp):
    assert difference(np.array([a]), np.array([b]))["ulp"] == ulp


def test_nan_and_infinity_differ():
    def found(a, b):
        return difference(np.array([a, 1.0], np.float32), np.array([b, 1.0], np.float32))

    assert found(np.nan, np.nan)["count"] == 0
    assert found(np.inf, np.inf)["count"] == 0
    for pair in ((np.nan, 0), (np.inf, -np.inf), (1, np.inf)):
        assert (found(*pair)["count"], found(*pair)["max_abs"], found(*pair)["ulp"]) == (1, np.inf, None)


def test_zeros_of_another_sign_are_equal_and_not_identical(write):
    zeros = np.zeros_like(PARAMS["fc.bias"])
    found = diff(write("a.pth", {"fc.bias": zeros}), write("b.pth", {"fc.bias": -zeros}))
    assert found.same()
    assert verdicts(found) == {"identical": 121, "equal": 1}


def test_networks_are_compared_field_by_field_and_tensors_by_name(tmp_path):
    other = replace(SPEC, name="other", depths=(1, 1, 1, 1), groups=2, eps=1e-5)
    weights.write(tmp_path / "a.safetensors", SPEC, seeded(SPEC, 1))
    weights.write(tmp_path / "b.safetensors", other, seeded(other, 1))
    found = diff(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert found.spec == {
        "name": ("tiny-se-resnet", "other"),
        "depths.1": (2, 1),
        "groups": (1, 2),
        "eps": (weights.EPS, 1e-5),
    }
    missing = [t for t in found.tensors if t.verdict == "missing"]
    assert {t.name.rpartition(".")[0].partition(".se")[0][:8] for t in missing} == {"stage2.1"}
    assert all(t.stored[0] and t.stored[1] is None for t in missing)
    assert {
        t.name for t in found.tensors if t.stored[0] and t.stored[1] and t.stored[0].shape != t.stored[1].shape
    } == {f"stage{stage}.0.conv2.weight" for stage in (1, 2, 3, 4)}


def test_the_name_of_a_network_does_not_count(write):
    found = diff(write("a.safetensors"), write("b.safetensors", spec=replace(SPEC, name="mine")))
    assert found.spec == {"name": ("tiny-se-resnet", "mine")}
    assert found.same()


def test_another_channel_order_is_another_checkpoint_and_an_unstated_one_is_not(write):
    caffe = PARAMS.info
    assert caffe.preprocessing is not None
    rgb = replace(caffe, preprocessing=replace(caffe.preprocessing, channels="rgb"))
    found = diff(write("a.safetensors"), write("b.safetensors", info=rgb))
    assert found.expects == {"preprocessing.channels": ("bgr", "rgb")}
    assert not found.same()
    found = diff(write("a.safetensors"), write("b.safetensors", info=replace(caffe, preprocessing=None)))
    assert list(found.expects) == ["preprocessing"]
    assert found.same()


def test_a_released_conversion_is_read_through_its_own_layout(tmp_path):
    spec = replace(MODELS["se-resnet-50"], depths=(1, 1, 1, 1), classes=4)
    params = seeded(spec, 1)
    weights.write(tmp_path / "a.safetensors", spec, params)
    weights.write(tmp_path / "b.pth", spec, params, dialect="timm")
    found = diff(tmp_path / "a.safetensors", tmp_path / "b.pth")
    assert found.same()


def test_the_command_answers_with_its_exit_code(write, tmp_path):
    array = PARAMS["fc.bias"] + np.float32(1)
    a, same, other = write("a.safetensors"), write("b.keras"), write("c.pth", {"fc.bias": array})
    broken = tmp_path / "d.safetensors"
    broken.write_bytes(b"nothing")
    codes = [CliRunner().invoke(main, ["diff", str(a), str(b)]).exit_code for b in (same, other, broken)]
    assert codes == [0, 1, 2]


@pytest.mark.filterwarnings("ignore:.*statistics rounded to float32:weights.errors.InputWarning")
def test_the_command_takes_rounding_for_equal_when_asked(write):
    pair = [str(write("a.safetensors")), str(write("b.onnx"))]
    assert CliRunner().invoke(main, ["diff", *pair]).exit_code == 1
    found = CliRunner().invoke(main, ["diff", "--rounding", *pair])
    assert found.exit_code == 0
    assert found.stdout.splitlines()[-1] == "the same: 122 tensors, 82 identical, 40 rounded"


def test_the_command_shows_each_tensor_that_differs(write):
    array = PARAMS["fc.bias"].copy()
    array[2] = np.nan
    pair = [str(write("a.safetensors")), str(write("b.pth", {"fc.bias": array}))]
    lines = CliRunner().invoke(main, ["diff", *pair]).stdout.splitlines()
    (row,) = (line for line in lines if line.startswith("fc.bias"))
    assert row.split()[:6] == ["fc.bias", "different", "1", "of", "10", "inf"]
    assert lines[-1] == "different: 122 tensors, 121 identical, 1 different"
    found = json.loads(CliRunner().invoke(main, ["diff", "--json", *pair]).stdout)
    assert found["tensors"][-1] == {
        "name": "fc.bias",
        "verdict": "different",
        "stored": [{"dtype": "float32", "shape": [10], "layout": "C"}] * 2,
        "count": 1,
        "size": 10,
        "max_abs": None,
        "relative": None,
        "ulp": None,
    }


def test_a_foreign_file_is_bad_input(write, tmp_path):
    save_tensors(tmp_path / "x.safetensors", {"x": np.zeros(3, np.float32)}, {})
    with pytest.raises(InputError, match=r"x\.safetensors"):
        diff(write("a.safetensors"), tmp_path / "x.safetensors")


def test_what_is_left_out_is_told_in_a_line(write, monkeypatch):
    def warned(path, read=weights.read, **options):
        warnings.warn(f"{path}: a layer is left out", InputWarning, stacklevel=1)
        return read(path, **options)

    monkeypatch.setattr("weights.files.diff.read", warned)
    path = write("a.safetensors")
    done = CliRunner().invoke(main, ["diff", str(path), str(path)])
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [f"senet: warning: {path}: a layer is left out"] * 2


def test_what_differs_in_the_last_numbers_of_a_large_tensor_is_found():
    a = np.random.default_rng(0).standard_normal(100_001).astype(np.float32)
    b = a.copy()
    b[-1] = np.nextafter(a[-1], np.float32(9))
    gap = abs(float(b[-1]) - float(a[-1]))
    assert difference(a, b) == {"count": 1, "max_abs": gap, "relative": gap / float(np.abs(a).max()), "ulp": 1}
    b[-1] = np.nan
    assert difference(a, b) == {"count": 1, "max_abs": np.inf, "relative": np.inf, "ulp": None}
    assert difference(a, a) == {"count": 0, "max_abs": 0.0, "relative": 0.0, "ulp": 0}
