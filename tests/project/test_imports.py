"""What is imported when: frameworks only where they are used, and each package alone with its own."""

import ast
import json
import os
import re
import resource
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

import conformance
import weights
from conformance.cases import TINY, seeded

ROOT = Path(__file__).parents[2]
PACKAGES = ("weights", "conformance", "se_torch", "se_jax", "se_tf")

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
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def python(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **variables}
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=120, env=env)


@pytest.fixture
def without(tmp_path):
    """Runs Python where the frameworks of some extras cannot be imported, in its child processes neither."""

    def run(extras: set[str], *args: str) -> subprocess.CompletedProcess[str]:
        blocked = {name for extra in extras for name in FRAMEWORKS[extra]}
        (tmp_path / "sitecustomize.py").write_text(BLOCKER.format(blocked=blocked))
        return python(*args, PYTHONPATH=str(tmp_path))

    return run


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
    done = python("-c", f"{report}\n{code}")
    assert done.returncode == 0, done.stderr
    assert not set(HEAVY) & {name.partition(".")[0] for name in json.loads(done.stderr)}


ROOMS = ("cases", "reference", "adapters", "judge", "evaluate", "golden", "report", "recording", "cli")
"""The rooms of the suite: each imports those before it, and itself."""


def test_rooms_of_the_suite_import_only_those_before_them():
    root = Path(conformance.__file__).parent
    upwards = []
    for path in root.glob("*/**/*.py"):
        room = path.relative_to(root).parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            used = {name.split(".")[1] for name in names if name and name.startswith("conformance.")}
            upwards += [(str(path), other) for other in used if ROOMS.index(other) > ROOMS.index(room)]
    assert upwards == []


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


SENET = ("-m", "conformance")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_one_framework_alone_is_enough(framework, checkpoint, without):
    done = without(set(FRAMEWORKS) - {framework}, *SENET, "compare", checkpoint, "--size", "65x64")
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r" agreed$", done.stdout, re.M)) == 1
    assert len(re.findall(r" absent: .*pip install 'senet\[", done.stdout)) == 3


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_missing_framework_is_named_with_its_extra(framework, checkpoint, without):
    done = without({framework}, *SENET, "compare", checkpoint, "--size", "65x64", "--frameworks", framework)
    assert done.returncode == 2
    assert f"pip install 'senet[{framework}]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("framework", ["torch", "jax", "tf"])
def test_a_package_without_its_framework_says_what_to_install(framework, without):
    done = without({framework}, "-c", f"import se_{framework}")
    assert done.returncode == 1
    assert re.search(rf"ImportError: .*pip install 'senet\[{framework}\]'", done.stderr)


def test_without_any_framework_nothing_is_called_agreed(checkpoint, without):
    done = without(set(FRAMEWORKS), *SENET, "compare", checkpoint, "--size", "65x64")
    assert done.returncode == 2
    assert "nothing was compared" in done.stderr


def test_checkpoints_convert_and_classify_without_any_framework(checkpoint, tmp_path, without):
    for suffix in (".caffemodel", ".pth", ".keras", ".weights.h5", ".safetensors"):
        target = tmp_path / f"x{suffix}"
        done = without(set(FRAMEWORKS), *SENET, "convert", checkpoint, str(target))
        assert done.returncode == 0, done.stderr
        assert target.stat().st_size > 10_000
    photo = tmp_path / "photo.png"
    Image.new("RGB", (300, 300)).save(photo)
    done = without(set(FRAMEWORKS), *SENET, "classify", str(photo), "--weights", checkpoint)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("place", ["weights.py", "weights/__init__.py"])
@pytest.mark.parametrize("package", ["se_torch", "se_jax", "se_tf"])
def test_module_of_the_same_name_is_named_in_one_error(place, package, tmp_path):
    hiding = tmp_path / place
    hiding.parent.mkdir(exist_ok=True)
    hiding.touch()
    (tmp_path / "script.py").write_text(f"import {package}")
    done = python(str(tmp_path / "script.py"), PYTHONPATH=str(ROOT))
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: {package} needs the package weights of senet, but")
    assert str(hiding) in done.stderr.splitlines()[-1]


def test_command_names_the_module_that_hides_a_package(tmp_path):
    (tmp_path / "weights.py").touch()
    (tmp_path / "script.py").write_text("from conformance.cli import main; main(['models'])")
    done = python(str(tmp_path / "script.py"), PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert str(tmp_path / "weights.py") in done.stderr


def test_no_module_has_the_name_of_a_function_that_its_package_exports():
    for top in PACKAGES:
        for init in (ROOT / top).rglob("__init__.py"):
            package = import_module(".".join(init.parent.relative_to(ROOT).parts))
            exported = getattr(package, "__all__", ())
            assert not {path.stem for path in init.parent.iterdir()} & set(exported), package.__name__
