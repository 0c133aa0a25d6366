"""``senet classify`` on many photographs: what it takes, what it prints and writes, and what it skips."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import weights
from conformance.cases import TINY, seeded
from conformance.cli import main
from conformance.cli.photos import photographs
from weights import CAFFE, Info, InputError, Params, limits

SPEC = replace(TINY["tiny-se-resnet"], classes=3)
NAMES = ("red", "green", "blue")


def senet(*args: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args], input=stdin)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three photographs of one colour each, one of them further down, a damaged one, and a text."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    for name, colour in (("a.png", "red"), ("b.jpg", "green"), ("more/c.webp", "blue")):
        Image.new("RGB", (40, 30), colour).save(folder / name)
    (folder / "bad.jpg").write_bytes((folder / "b.jpg").read_bytes()[:200])
    (folder / "notes.txt").write_text("no photograph")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "three.safetensors"
    info = Info(preprocessing=replace(CAFFE, resize=36, crop=32), class_names=NAMES)
    weights.write(path, SPEC, Params(seeded(SPEC, 1), info))
    return path


def test_photographs_are_named_by_files_folders_patterns_and_once_each(folder, monkeypatch):
    monkeypatch.chdir(folder)
    named = [path.name for path in photographs([Path("more/c.webp"), Path(), Path("**/*.[jw]*"), Path("a.png")])]
    assert named == ["more/c.webp", "a.png", "b.jpg", "bad.jpg"]


def test_photograph_under_several_names_is_one(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    (tmp_path / "link.png").symlink_to(folder / "a.png")
    named = [Path("a.png"), folder / "a.png", Path("more/../a.png"), tmp_path / "link.png", tmp_path]
    assert [photo.name for photo in photographs(named)] == ["a.png"]


def test_tables_that_cannot_be_written_are_told_first(folder, tmp_path):
    place = tmp_path / "none" / "x.csv"
    done = senet("classify", folder, "--weights", "no weights", "--csv", place)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{place}: cannot be written: there is no {place.parent}\n" in done.stderr


def test_file_of_a_name_that_looks_like_a_pattern_is_that_file(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "[a].png")
    assert [photo.source for photo in photographs([tmp_path / "[a].png"])] == [tmp_path / "[a].png"]


@pytest.mark.parametrize(("name", "message"), [("more/*.gif", "none that matches"), ("none", "has no photographs")])
def test_nothing_found_is_one_clear_error(name, message, folder, checkpoint):
    (folder / "none").mkdir(exist_ok=True)
    done = senet("classify", folder / name, "--weights", checkpoint)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr


def test_one_batch_gives_what_single_photographs_give(folder, checkpoint):
    whole = senet("classify", folder / "*.png", folder / "more", "--weights", checkpoint, "--json", "-")
    assert whole.exit_code == 0, whole.output
    both = json.loads(whole.stdout)["photos"]
    for photo in both:
        alone = senet("classify", photo["photo"], "--weights", checkpoint, "--json", "-", "--batch", 1)
        (again,) = json.loads(alone.stdout)["photos"]
        assert [c["name"] for c in again["classes"]] == [c["name"] for c in photo["classes"]]
        p, q = ([c["probability"] for c in one["classes"]] for one in (again, photo))
        np.testing.assert_allclose(p, q, rtol=1e-4)  # float32, summed in another order
        assert sum(q) == pytest.approx(1)
    assert [photo["photo"] for photo in both] == [str(folder / "a.png"), str(folder / "more" / "c.webp")]


def test_damaged_photograph_in_a_folder_is_skipped_and_said(folder, checkpoint):
    done = senet("classify", folder, "--weights", checkpoint, "--csv", "-", "--top", 2, "--batch", 2)
    assert done.exit_code == 1
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(Path(r["photo"]).name, r["rank"]) for r in rows] == [
        ("a.png", "1"), ("a.png", "2"), ("b.jpg", "1"), ("b.jpg", "2"),
    ]  # fmt: skip
    assert {r["class"] for r in rows} <= set(NAMES)
    skipped = [line for line in done.stderr.splitlines() if line.startswith("senet: skipped: ")]
    assert len(skipped) == 1
    assert "bad.jpg: is not an image that can be read" in skipped[0]
    assert "a.png" in done.stderr  # the table, for people


def test_damaged_photograph_alone_is_bad_input(folder, checkpoint):
    done = senet("classify", folder / "bad.jpg", "--weights", checkpoint)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "bad.jpg: is not an image" in done.stderr


def test_no_readable_photograph_of_several_is_bad_input(checkpoint, tmp_path):
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(b"no image")
    done = senet("classify", tmp_path, "--weights", checkpoint, "--json", tmp_path / "x.json")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 3)
    assert "none of the 2 photographs can be read" in done.stderr
    assert not (tmp_path / "x.json").exists()


def test_photograph_on_standard_input_is_that_of_the_file(folder, checkpoint):
    piped = senet("classify", "-", "--weights", checkpoint, "--csv", "-", stdin=(folder / "b.jpg").read_bytes())
    file = senet("classify", folder / "b.jpg", "--weights", checkpoint, "--csv", "-")
    assert piped.exit_code == 0, piped.output
    assert piped.stdout.replace("standard input", str(folder / "b.jpg")) == file.stdout


def test_standard_input_that_is_no_photograph_is_one_clear_error(checkpoint, monkeypatch):
    done = senet("classify", "-", "--weights", checkpoint, stdin=b"")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "standard input: is closed or has nothing" in done.stderr
    done = senet("classify", "-", "--weights", checkpoint, stdin=b"no image")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "standard input: is not an image" in done.stderr
    monkeypatch.setattr(limits, "STREAM", 10)
    done = senet("classify", "-", "--weights", checkpoint, stdin=bytes(11))
    assert (done.exit_code, "standard input: has more than 10 bytes" in done.stderr) == (2, True)


def test_photograph_is_not_overwritten(folder, checkpoint):
    for option in ("--json", "--csv"):
        done = senet("classify", folder / "*.png", "--weights", checkpoint, option, folder / "a.png")
        assert (done.exit_code, "a.png: is a photograph; name another file" in done.stderr) == (2, True)


def test_imagenet_classes_have_their_wordnet_ids(folder, tmp_path):
    spec = replace(SPEC, classes=1000)
    params = seeded(spec, 1)
    params["fc.weight"][:] = 0
    params["fc.bias"][:] = -np.arange(1000)
    path = tmp_path / "thousand.safetensors"
    info = Info(preprocessing=replace(CAFFE, resize=36, crop=32), labels="sorted")
    weights.write(path, spec, Params(params, info))
    done = senet("classify", folder / "a.png", "--weights", path, "--top", 2, "--json", tmp_path / "x.json")
    assert done.exit_code == 0, done.output
    (photo,) = json.loads((tmp_path / "x.json").read_text())["photos"]
    assert [(c["index"], c["wnid"]) for c in photo["classes"]] == [(0, "n01440764"), (1, "n01443537")]
    assert "n01440764" in done.stdout
    assert "photo" not in done.stdout  # there is one


def test_reading_is_bounded(folder, checkpoint):
    done = senet("classify", folder / "a.png", "--weights", checkpoint, "--max-pixels", 1000)
    assert (done.exit_code, "more than the 1,000 that are read" in done.stderr) == (2, True)


def test_pattern_reads_no_folder(folder):
    with pytest.raises(InputError, match="none that matches"):
        photographs([folder / "mor[e]"])


PORT = """
from conformance.adapters import numpy
from conformance.adapters.numpy import taps, version

NAME = "narrow"

def dtype(of, shape, asked):
    return "bfloat16"

def build(spec, params, dtype):
    return numpy.build(spec, params, "float32")
"""


def test_another_precision_than_asked_for_is_said_and_allowed_or_not(folder, checkpoint, tmp_path, monkeypatch):
    (tmp_path / "narrow").mkdir()
    (tmp_path / "narrow" / "port.py").write_text(PORT)
    monkeypatch.syspath_prepend(tmp_path)
    command = ("classify", folder / "a.png", "--weights", checkpoint, "--framework", "narrow.port", "--json", "-")
    for code, allowed in ((1, ()), (1, ("--allow-dtype", "float16")), (0, ("--allow-dtype", "bfloat16"))):
        done = senet(*command, *allowed)
        assert done.exit_code == code, done.stderr
        assert "narrow.port computes in bfloat16, asked for float32" in done.stderr
        assert json.loads(done.stdout)["dtype"] == "bfloat16"
