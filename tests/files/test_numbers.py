"""Numbers that make no sense are refused where they enter: from every file, from JSON, from the command line."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import conformance
import weights
from conformance import cases
from conformance.cli import main
from conformance.golden.file import freeze
from conformance.judge import memory
from weights import CAFFE, Info, InputError, Params, Preprocessing
from weights.change import with_classes
from weights.files import metadata

SPEC = cases.TINY["tiny-se-resnet"]
PARAMS = cases.seeded(SPEC, 1)
STATED = Params(PARAMS, replace(PARAMS.info, class_names=tuple("abcdefghij")))
SUFFIXES = (".caffemodel", ".safetensors", ".pth", ".keras", ".weights.h5", ".orbax", ".onnx")

WRONG: dict[str, tuple[str, Any, str]] = {
    "std of 0": ("preprocessing.std", [1, 0, 1], "std is"),
    "negative std": ("preprocessing.std", [1, -1, 1], "std is"),
    "endless std": ("preprocessing.std", [1, math.inf, 1], "std is"),
    "mean that is no number": ("preprocessing.mean", [math.nan, 0, 0], "mean is"),
    "range of 0": ("preprocessing.range", 0, "range is"),
    "negative crop": ("preprocessing.crop", -224, "crop is"),
    "crop of 0": ("preprocessing.crop", 0, "crop is"),
    "endless resize": ("preprocessing.resize", 10**9, "resize is"),
    "resize in fractions": ("preprocessing.resize", 256.5, "resize is"),
    "a class twice": ("class_names", [*"abcdefghi", "a"], "class names: 'a' stands twice"),
    "a class too few": ("class_names", [*"abcdefghi"], "9 class names for 10 classes"),
    "negative input size": ("input_size", [-1, 224], "input size"),
    "channels of 0": ("spec.in_channels", 0, "in_channels is 0"),
}
EVERYWHERE = ("negative crop", "negative std", "a class twice", "a class too few")


def spoiled(monkeypatch: pytest.MonkeyPatch, place: str, value: object) -> None:
    """From now on files are written with that value in their metadata."""
    encode = metadata.encode
    field, _, inner = place.partition(".")

    def encoded(*args: Any) -> dict[str, str]:
        strings = encode(*args)
        old = json.loads(strings.get(f"senet.{field}", "{}"))
        return {**strings, f"senet.{field}": json.dumps({**old, inner: value} if inner else value)}

    monkeypatch.setattr(metadata, "encode", encoded)


@pytest.mark.filterwarnings("ignore::weights.errors.InputWarning")  # digits that a format does not hold
@pytest.mark.parametrize(
    ("wrong", "suffix"),
    [(wrong, ".safetensors") for wrong in WRONG] + [(wrong, suffix) for wrong in EVERYWHERE for suffix in SUFFIXES],
)
def test_file_that_states_what_makes_no_sense_is_refused(
    wrong: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if suffix == ".orbax":
        pytest.importorskip("orbax.checkpoint")
    place, value, said = WRONG[wrong]
    path = tmp_path / f"net{suffix}"
    with monkeypatch.context() as patched:
        spoiled(patched, place, value)
        weights.write(path, SPEC, STATED)
    with pytest.raises(InputError, match=rf"net\.\w+.*: .*{said}"):
        weights.read(path)


@pytest.mark.parametrize("wrong", ["std of 0", "negative std", "endless std", "negative crop"])
def test_option_that_makes_no_sense_is_refused(wrong: str, tmp_path: Path):
    place, value, said = WRONG[wrong]
    if wrong == "endless std":  # refused before it comes to the record
        said = "has Infinity, which is no number of JSON"
    path = tmp_path / "net.safetensors"
    weights.write(path, SPEC, Params(PARAMS, Info()))
    data = asdict(CAFFE) | {place.partition(".")[2]: value}
    for given in (json.dumps(data), str(tmp_path / "p.json")):
        (tmp_path / "p.json").write_text(json.dumps(data))
        done = CliRunner().invoke(main, ["inspect", str(path), "--preprocessing", given])
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: replace(CAFFE, std=(1.0, -1.0, 1.0)), "std is"),
        (lambda: replace(CAFFE, crop=-1), "crop is -1"),
        (lambda: Preprocessing(channels="rgb", range=math.nan, mean=(0, 0, 0), std=(1, 1, 1)), "range is nan"),
        (lambda: Info(input_size=(0, 224)), "input size"),
        (lambda: cases.seeded(SPEC, -1), "the seed is -1"),
        (lambda: cases.image(-1), "the seed is -1"),
        (lambda: with_classes(SPEC, PARAMS, 3, seed=-1), "seed of a new classifier is -1"),
        (lambda: conformance.compare(SPEC, PARAMS, np.zeros((0, 3, 64, 64)), ["numpy"]), r"N at least 1"),
    ],
)
def test_value_that_makes_no_sense_is_refused(make: Callable[[], object], said: str):
    with pytest.raises(InputError, match=said):
        make()


def test_golden_file_of_no_images_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="N at least 1"):
        freeze("tiny-se-resnet", tmp_path / "golden.safetensors", batch=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", ["0x224", "224x-1", "99999x1", "١x٢"])
def test_size_that_no_image_has_is_wrong_usage(size: str):
    done = CliRunner().invoke(main, ["compare", "absent.safetensors", f"--size={size}"])
    assert done.exit_code == 2
    assert "is not a size; write height x width" in done.stderr


@pytest.mark.parametrize("command", ["compare", "freeze"])
def test_size_that_does_not_fit_into_memory_is_refused_before_it_is_filled(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(memory, "_memory", lambda: 24e9)
    path = tmp_path / "net.safetensors"
    weights.write(path, SPEC, PARAMS)
    more = [str(tmp_path / "golden")] if command == "freeze" else []
    done = CliRunner().invoke(main, [command, str(path), *more, "--size", "16384x16384"])
    assert done.exit_code == 2
    assert "tiny-se-resnet at 16384x16384: the outputs of all its layers of 2 images are" in done.stderr
    assert "this machine has 24 GB of memory" in done.stderr
