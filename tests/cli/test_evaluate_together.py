"""Several processes that evaluate one folder, one of which is killed: the result of all is that of one, exactly."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

import weights
from conformance.cases import TINY, seeded
from weights import CAFFE, Info, Params

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "evaluation.md"
NAMES = ("ant", "bee", "cat")
IMAGES = 31
SENET = (sys.executable, "-m", "conformance")

SLOW = """
import time
from conformance.adapters.numpy import *

NAME = "slow"

def logits(model, x):
    time.sleep(0.3)
    return taps(model, x)["logits"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with photographs, a checkpoint, and an adapter that takes its time."""
    folder = tmp_path_factory.mktemp("together")
    for i in range(IMAGES):
        path = folder / "photos" / NAMES[i % 3] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (4, 5, 3), np.uint8)
        Image.fromarray(pixels).resize((40, 36)).save(path)
    (folder / "photos" / "bee" / "bad.png").write_bytes(b"no image")
    spec = replace(TINY["tiny-se-resnet"], classes=3)
    info = Info(preprocessing=replace(CAFFE, resize=36, crop=32), class_names=NAMES)
    weights.write(folder / "SE-ResNet-50.safetensors", spec, Params(seeded(spec, 1), info))
    (folder / "slow").mkdir()
    (folder / "slow" / "port.py").write_text(SLOW)
    return folder


def environment(**variables: str) -> Mapping[str, str]:
    plain = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return {**plain, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}


def ran(*command: object, folder: Path) -> subprocess.CompletedProcess[str]:
    words = list(map(str, command))
    return subprocess.run(
        words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )


def torchrun(processes: int, *options: object) -> list[str]:
    launcher = (Path(sys.executable).parent / "torchrun", "--standalone", "--nproc-per-node", processes, "--no-python")
    words = (*launcher, *SENET, "evaluate", "photos", "--weights", "SE-ResNet-50.safetensors", "--batch", 2, *options)
    return list(map(str, words))


def result(folder: Path, *options: object) -> dict:
    done = ran(*SENET, "evaluate", *options, "--json", "-", folder=folder)
    assert done.returncode == 1, done.stderr  # a photograph is damaged
    found = json.loads(done.stdout)
    return {key: found[key] for key in ("images", "top1", "top5", "skipped", "run")}


@pytest.fixture(scope="module")
def alone(folder):
    """What one process counts."""
    options = ("--weights", "SE-ResNet-50.safetensors", "--batch", 2, "--framework", "slow.port")
    return result(folder, "photos", *options)


def counted(journal: Path) -> list[int]:
    """The batches in a journal, of whole lines."""
    found: list[int] = []
    for file in sorted(journal.glob("rank-*.jsonl")):
        lines = file.read_bytes().splitlines(keepends=True)
        found += [json.loads(line)["batch"] for line in lines[1:] if line.endswith(b"\n")]
    return found


def test_one_process_counts_by_that_of_a_framework(folder):
    options = ("--weights", "SE-ResNet-50.safetensors", "--framework", "numpy")
    found = result(folder, "photos", *options)
    assert found["images"] == found["top5"]["right"] == IMAGES
    assert [one["image"] for one in found["skipped"]] == ["bee/bad.png"]
    assert found["run"]["version"] == f"numpy {np.__version__}"


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(3, 2), (2, 3)])
def test_killed_process_is_made_up_for_by_others(before, after, folder, alone):
    journal = folder / f"journal-{before}"
    options = ("--framework", "slow.port", "--journal", journal)
    with subprocess.Popen(torchrun(before, *options), cwd=folder, env=environment(), stderr=subprocess.PIPE) as process:
        while len(counted(journal)) < 2 * before:
            assert process.poll() is None
            time.sleep(0.05)
        (victim,) = [
            child
            for child in psutil.Process(process.pid).children()
            if child.environ().get("RANK") == "1" and "evaluate" in child.cmdline()
        ]
        os.kill(victim.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    assert process.returncode
    done = counted(journal)
    assert len(done) == len(set(done)) < IMAGES // 2
    assert "batches are missing" in ran(*SENET, "evaluate", "--merge", journal, folder=folder).stderr
    again = ran(*torchrun(after, *options), folder=folder)
    assert again.returncode == 0, again.stderr
    assert sorted(counted(journal)) == list(range(IMAGES // 2 + 1))  # each once
    assert result(folder, "--merge", journal) == alone


@pytest.mark.slow
def test_commands_of_the_page_run_as_they_stand(folder):
    block = re.search(r"^    torchrun .*\n(?:    .+\n)+", PAGE.read_text(), re.M)
    assert block
    for line in block[0].splitlines():
        words = shlex.split(line)
        place = words.index("senet")
        launcher = [str(Path(sys.executable).parent / words[0]), *words[1:place]] if place else []
        done = ran(*launcher, *SENET, *words[place + 1 :], folder=folder)
        assert done.returncode == (0 if place else 1), done.stderr
    found = json.loads((folder / "result.json").read_text())
    assert (found["images"], len(found["skipped"])) == (IMAGES, 1)
    assert found["run"]["version"].startswith("torch ")
