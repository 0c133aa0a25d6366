"""What is imported when: frameworks only where they are used, and each package alone with its own."""

import json
import resource
import subprocess
import sys

import pytest

import weights
from conformance.cases import TINY, seeded

FRAMEWORKS = {
    "torch": ("torch",),
    "jax": ("jax", "jaxlib", "flax", "orbax"),
    "tf": ("tensorflow", "keras"),
    "onnx": ("onnx", "onnx_ir", "onnxruntime"),
}
"""Top-level modules by extra; the first is the one that is missed first."""

HEAVY = sorted({name for names in FRAMEWORKS.values() for name in names} | {"matplotlib", "openvino"})

BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=120)


def without(extras: set[str], command: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Runs Python code where the frameworks of some extras cannot be imported."""
    blocked = [name for extra in extras for name in FRAMEWORKS[extra]]
    return python(f"BLOCKED = {blocked!r}{BLOCKER}{command}", *args)


@pytest.mark.parametrize(
    "code",
    [
        "import weights",
        "import conformance",
        "from conformance.cli import main; main(['--help'], standalone_mode=True)",
        "from conformance.cli import main; main(['models'])",
    ],
)
def test_no_framework_is_imported(code):
    report = (
        "import sys, json, atexit; atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))"
    )
    done = python(f"{report}\n{code}")
    assert done.returncode == 0, done.stderr
    assert not set(HEAVY) & {name.partition(".")[0] for name in json.loads(done.stderr)}


def test_help_answers_at_once():
    # 0.3 s warm is the promise. The processor's time is taken, so that a busy machine does not fail it.
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "conformance", "--help"], capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("one") / "tiny.safetensors"
    weights.write(path, TINY["tiny-se-resnet"], seeded(TINY["tiny-se-resnet"], 1))
    return str(path)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_one_framework_alone_is_enough(framework, checkpoint):
    others = set(FRAMEWORKS) - {framework}
    package = f"import se_{framework}; se_{framework}.from_pretrained(sys.argv[1])\n" if framework != "onnx" else ""
    command = f"{package}from conformance.cli import main; main(['compare', sys.argv[1], '--size', '65x64'])"
    done = without(others, command, checkpoint)
    assert done.returncode == 0, done.stderr
    verdicts = [line.rsplit("  ", 1)[-1] for line in done.stdout.splitlines()[2:]]
    assert verdicts.count("agreed") == 1
    assert sum("absent" in line for line in done.stdout.splitlines()) == 3


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_missing_framework_is_named_with_its_extra(framework, checkpoint):
    command = "from conformance.cli import main; main(['compare', sys.argv[1], '--frameworks', sys.argv[2]])"
    done = without({framework}, command, checkpoint, framework)
    assert done.returncode == 2
    assert f"pip install 'senet[{framework}]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_any_framework_nothing_is_called_agreed(checkpoint):
    command = "from conformance.cli import main; main(['compare', sys.argv[1], '--size', '65x64'])"
    done = without(set(FRAMEWORKS), command, checkpoint)
    assert done.returncode == 2
    assert "nothing was compared" in done.stderr


def test_checkpoints_convert_without_any_framework(checkpoint, tmp_path):
    for suffix in (".caffemodel", ".pth", ".keras", ".weights.h5", ".safetensors"):
        target = tmp_path / f"x{suffix}"
        done = without(
            set(FRAMEWORKS),
            "from conformance.cli import main; main(['convert', *sys.argv[1:]])",
            checkpoint,
            str(target),
        )
        assert done.returncode == 0, done.stderr
        assert target.stat().st_size > 10_000
