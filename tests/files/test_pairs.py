"""A Caffe pair is one thing: whenever writing ends, one of the two pairs is read, or an error says what is wrong."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import weights
from conformance import cases
from weights import Info, InputError, Params
from weights.storage import whole

SPEC = replace(cases.TINY["tiny-se-resnet"], classes=1000)
OLD = Params(cases.seeded(SPEC, 1), Info(labels="devkit"))
NEW = Params(cases.seeded(SPEC, 2), Info(labels="sorted"))
BARE = Params(cases.seeded(SPEC, 3), Info())
"""Without labels: nothing of the old pair may be taken for what it says."""


def pair(folder: Path, params: Params = OLD) -> Path:
    path = folder / "net.caffemodel"
    weights.write(path, SPEC, params)
    return path


def found(path: Path) -> str:
    """What is read: "old", "new" or "bare", with their own labels; or "error", if it names a half."""
    try:
        params = weights.read(path).params
    except InputError as error:
        return "error" if "net.prototxt beside it belongs to other weights" in str(error) else str(error)
    for name, expected in (("old", OLD), ("new", NEW), ("bare", BARE)):
        if (params["fc.weight"] == expected["fc.weight"]).all():
            assert params.info.labels == expected.info.labels
            return name
    raise AssertionError("weights that nobody wrote")


def steps(patch: pytest.MonkeyPatch, at: int, happens: Callable[[], None]) -> list[str]:
    """The steps of writing, as they are made; what happens at one of them."""
    made: list[str] = []

    def counted(name: str, real: Any) -> Any:
        def step(*args: Any) -> Any:
            made.append(name)
            if len(made) - 1 == at:
                happens()
            return real(*args)

        return step

    class File:
        def __init__(self, file: Any):
            self._file = file
            self.write, self.flush = counted("write", file.write), counted("flush", file.flush)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    real = whole.part_file

    def part_file(target: Path) -> tuple[Path, Any]:
        path, file = real(target)
        return path, File(file)

    patch.setattr(whole, "part_file", counted("part", part_file))
    patch.setattr(Path, "replace", counted("replace", Path.replace))
    return made


def chosen(folder: Path, params: Params) -> list[int]:
    """Steps at which something may go wrong: of the many writes only the first, one between and the last."""
    with pytest.MonkeyPatch.context() as patch:
        made = steps(patch, -1, lambda: None)
        pair(folder, params)
    writes = [i for i, name in enumerate(made) if name == "write"]
    assert len(writes) > 100
    assert made.count("part") == made.count("replace") == 2
    few = {writes[0], writes[len(writes) // 2], writes[-2], writes[-1]}
    return [i for i, name in enumerate(made) if name != "write" or i in few]


def failed() -> None:
    raise OSError(5, "a step failed")


@pytest.mark.parametrize("params", [NEW, BARE], ids=["labelled", "bare"])
def test_pair_is_one_thing_whatever_step_fails(params: Params, tmp_path: Path):
    seen: list[str] = []
    for at in chosen(tmp_path, params):
        path = pair(tmp_path)
        with pytest.MonkeyPatch.context() as patch:
            steps(patch, at, failed)
            with pytest.raises(
                InputError, match=r"net\.prototxt and .*net\.caffemodel: cannot be written: a step failed"
            ):
                pair(tmp_path, params)
        seen.append(found(path))
        assert sorted(os.listdir(tmp_path)) == ["net.caffemodel", "net.prototxt"]
    assert (
        seen == ["old"] * (len(seen) - 2) + ["error"] * 2
    )  # before the second one is flushed, and before it is renamed


def killed(folder: Path) -> list[list[str]]:
    """For each step: what is read after a process was killed there, and what is in the folder after the next run."""
    seen: list[list[str]] = []
    for at in chosen(folder, NEW):
        path = pair(folder)
        child = os.fork()
        if not child:
            steps(pytest.MonkeyPatch(), at, lambda: os.kill(os.getpid(), signal.SIGKILL))
            pair(folder, NEW)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        state = found(path)
        pair(folder)
        seen.append([state, *sorted(os.listdir(folder))])
    return seen


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes of this kind")
def test_pair_is_one_thing_wherever_the_process_is_killed(tmp_path: Path):
    # In a process of its own: others here may have threads, which do not fork.
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, __file__, tmp_path], env=env, stdout=subprocess.PIPE, check=True)
    seen = json.loads(done.stdout)
    names = ["net.caffemodel", "net.prototxt"]
    assert seen == [["old", *names]] * (len(seen) - 2) + [["error", *names]] * 2


def test_new_pair_that_lacks_its_weights_is_named(tmp_path: Path):
    path = pair(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"net\.caffemodel: cannot be read: there is no"):
        weights.read(path)


if __name__ == "__main__":
    print(json.dumps(killed(Path(sys.argv[1]))))
