"""senet excite: means, deviations and extreme channels of the gates; the plot and the data."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import conformance
import weights
from conformance.cases import TINY, seeded
from conformance.cli import excitation, main
from conformance.judge import process, stream
from conformance.report.excitation import Excited
from conformance.report.excitation_plot import draw
from weights import CAFFE, Info, Params
from weights.images import prepare

SPEC = TINY["tiny-se-resnet"]
SMALL = replace(CAFFE, resize=40, crop=33)


def senet(*args: object):
    return CliRunner().invoke(main, [str(a) for a in args])


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for kind, count in (("bright", 3), ("dark", 2)):
        (tmp_path / kind).mkdir()
        for i in range(count):
            pixels = rng.integers(0, 128, (40, 44, 3)) + (128 if kind == "bright" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / kind / f"{i}.png")
    (tmp_path / "dark" / "notes.txt").touch()
    weights.write(tmp_path / "tiny.safetensors", SPEC, Params(seeded(SPEC, 5), Info(preprocessing=SMALL)))
    return tmp_path


def test_means_and_deviations_are_those_of_the_reference_s_gates(folder):
    result = folder / "out.json"
    done = senet(
        "excite", folder / "bright", folder / "dark", "--weights", folder / "tiny.safetensors", "--json", result
    )
    assert done.exit_code == 0, done.stderr
    blocks = json.loads(result.read_text())["blocks"]
    assert [(b["block"], b["class"], b["photos"]) for b in blocks[:2]] == [
        ("stage1.0", "bright", 3),
        ("stage1.0", "dark", 2),
    ]
    x = np.concatenate([prepare(folder / "bright" / f"{i}.png", SMALL) for i in range(3)])
    gate = conformance.run("numpy", *weights.read(folder / "tiny.safetensors"), x)["stage4.0.se.gate"]
    found = next(b for b in blocks if (b["block"], b["class"]) == ("stage4.0", "bright"))
    # The command computes in float32, whose bound for taps is 1e-5.
    assert np.allclose(found["mean"], gate.mean(0), rtol=0, atol=1e-5)
    assert np.allclose(found["deviation"], gate.std(0), rtol=0, atol=1e-5)
    assert found["most_excited"][0] == int(gate.mean(0).argmax())
    assert found["least_excited"][0] == int(gate.mean(0).argmin())


@pytest.mark.parametrize(("name", "start"), [("out.png", b"\x89PNG"), ("out.svg", b"<?xml")])
def test_plot_is_written_in_the_format_of_its_suffix(folder, name, start):
    done = senet(
        "excite", folder / "dark", "--weights", folder / "tiny.safetensors", "--plot", folder / name, "--every-block"
    )
    assert done.exit_code == 0, done.stderr
    assert (folder / name).read_bytes().startswith(start)


@pytest.mark.parametrize("kind", ["$\\frac{$", "a_b^c$$", "\udcff\n\x1b[31m", "x" * 250, "_hidden", "\u732b"])
def test_names_of_folders_are_no_formulas(kind, tmp_path):
    channels = np.linspace(0, 1, 5)
    one = Excited(block="stage1.0", kind=kind, photos=2, mean=channels, deviation=channels / 9)
    draw([one], kind, tmp_path / "out.svg")
    name = {"\udcff\n\x1b[31m": "\\udcff\\n\\x1b[31m", "x" * 250: "x" * 57 + "...", "_hidden": " _hidden"}.get(
        kind, kind
    )
    assert f"<!-- {name} (2) -->" in (tmp_path / "out.svg").read_text(encoding="utf-8")


def test_photographs_named_one_by_one_are_one_class(folder):
    paths = sorted((folder / "bright").iterdir())
    shown = senet("excite", *paths, "--weights", folder / "tiny.safetensors").stdout
    assert shown.splitlines()[2].split()[:3] == ["stage1.0", "photos", "3"]


def test_what_cannot_be_shown_exits_2_with_one_line(folder):
    plain = folder / "plain.safetensors"
    weights.write(plain, TINY["tiny-resnet"], Params(seeded(TINY["tiny-resnet"], 1), Info(preprocessing=SMALL)))
    (folder / "empty").mkdir()
    tiny = folder / "tiny.safetensors"
    for args, part in (
        ((folder / "dark", "--weights", plain), "no SE blocks"),
        ((folder / "empty", "--weights", tiny), "no photographs"),
        ((folder / "dark", "--weights", tiny, "--plot", "x.pdf"), ".png or .svg"),
        ((folder / "dark", "--weights", tiny, "--every-block"), "--plot"),
        ((folder / "none.png", "--weights", tiny), "none.png"),
    ):
        done = senet("excite", *args)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
        assert part in done.stderr


def test_one_process_answers_for_all_batches_and_classes(folder, monkeypatch):
    started = []
    monkeypatch.setattr(excitation, "_BATCH", 2)
    monkeypatch.setattr(stream, "run", lambda *args: started.append(args[2]) or process.run(*args))
    done = senet("excite", folder / "bright", folder / "dark", "--weights", folder / "tiny.safetensors")
    assert done.exit_code == 0, done.stderr
    assert started == ["numpy"]
