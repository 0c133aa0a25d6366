"""The wheel: what is in it, and that it works outside the checkout, in an environment that has nothing else."""

import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import weights

ROOT = Path(__file__).parents[2]
PACKAGES = ("weights", "conformance", "se_torch", "se_jax", "se_tf", "pytest_senet")
LEFT = shutil.ignore_patterns(".git", ".venv*", "__pycache__", "demo", "build", "*.egg-info", "shared")

pytestmark = pytest.mark.slow


def run(*command: object, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a command where nothing of this checkout or of this environment is on the path."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, text=True, env=environment | variables
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the checkout, because building writes into the folder."""
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("source") / "senet", ignore=LEFT))


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """The Python of an environment without packages."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    run(sys.executable, "-m", "venv", folder, folder=folder.parent)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def built(source, empty, tmp_path_factory):
    """The folder with wheel and sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(empty, "-m", "pip", "install", "--quiet", "build", folder=folder)
    run(empty, "-m", "build", "--outdir", folder, source, folder=folder)
    return folder


@pytest.fixture(scope="module")
def installed(source, built, empty):
    """The Python of an environment with the wheel and what it depends on."""
    (wheel,) = built.glob("*.whl")
    pinned = ("--constraint", source / "constraints.txt")
    run(empty, "-m", "pip", "install", "--quiet", *pinned, wheel, folder=built)
    return empty


def test_wheel_holds_the_packages_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)
    sources = {p.relative_to(ROOT).as_posix() for package in PACKAGES for p in (ROOT / package).rglob("*.py")}
    data = {f"{package}/py.typed" for package in PACKAGES} | {
        p.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for suffix in ("css", "csv", "html", "jpg", "txt")
        for p in (ROOT / package).rglob(f"*.{suffix}")
    }
    assert {Path(name).suffix for name in data} == {".typed", ".css", ".csv", ".html", ".jpg", ".txt"}
    assert {name for name in names if name.partition("/")[0] in PACKAGES} == sources | data


def test_sdist_holds_no_tests(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        inside = {name.partition("/")[2] for name in file.getnames()}
    assert not [name for name in inside if re.match(r"tests|benchmarks|examples|docs|\.ci", name)]
    files = {
        "README.md",
        "LICENSE",
        "CITATION.cff",
        "pyproject.toml",
        "setup.py",
        "weights/images/imagenet_classes.csv",
    }
    assert files <= inside


def test_description_has_no_link_that_leads_nowhere(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        described = email.message_from_bytes(file.read(name))
    text = described.get_payload()
    assert isinstance(text, str)
    assert text.startswith("# senet\n")
    assert re.findall(r"\]\((?!https://)[^)]*\)", text) == []
    assert described["Description-Content-Type"] == "text/markdown"
    assert described["Version"] == weights.__version__


def test_installed_wheel_converts_and_compares_outside_the_checkout(installed, tmp_path):
    senet = installed.with_name("senet")
    assert "Usage" in run(senet, "--help", folder=tmp_path).stdout
    assert "senet-154" in run(senet, "models", folder=tmp_path).stdout
    code = (
        "import weights; from conformance import cases; spec = cases.TINY['tiny-se-resnet']; "
        "weights.write('tiny.caffemodel', spec, cases.seeded(spec, 1)); print(weights.__file__)"
    )
    assert "site-packages" in run(installed, "-c", code, folder=tmp_path).stdout
    run(senet, "convert", "tiny.caffemodel", "tiny.safetensors", folder=tmp_path)
    command = ("compare", "tiny.safetensors", "--frameworks", "numpy", "--size", "65x64", "--report", "page.html")
    assert "agreed" in run(senet, *command, folder=tmp_path).stdout
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_installed_wheel_writes_nothing_beside_its_packages(installed):
    (site,) = (installed.parents[1] / "lib").glob("python*/site-packages")
    assert not [name for name in ("tests", "benchmarks", "docs", "examples") if (site / name).exists()]


EXTRAS = {"torch": "se_torch", "jax": "se_jax", "tf": "se_tf", "onnx": "weights"}
"""What is imported with each extra alone."""


@pytest.mark.parametrize("extra", EXTRAS)
def test_wheel_with_one_extra_alone_agrees(extra, source, built, tmp_path):
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv", folder=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    pinned = ("--constraint", source / "constraints.txt", "--no-compile")
    run(python, "-m", "pip", "install", "--quiet", *pinned, f"{wheel}[{extra}]", folder=tmp_path)
    code = f"import {EXTRAS[extra]} as package; print(package.__version__)"
    assert run(python, "-c", code, folder=tmp_path).stdout.split() == [weights.__version__]
    senet = python.with_name("senet")
    run(senet, "init", "tiny-se-resnet", "tiny.safetensors", folder=tmp_path)
    found = run(senet, "compare", "tiny.safetensors", "--size", "65x64", folder=tmp_path).stdout
    assert len(re.findall(r" agreed$", found, re.M)) == 1
    assert len(re.findall(r" absent: .*pip install 'senet\[", found)) == len(EXTRAS) - 1


@pytest.fixture(scope="module")
def typed(built, tmp_path_factory):
    """The Python of an environment with the wheel, which sees the packages of this one after it."""
    folder = tmp_path_factory.mktemp("typed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    (site,) = (folder / "lib").glob("python*/site-packages")
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    (site / "beside.pth").write_text(sysconfig.get_paths()["purelib"])
    return folder / "bin" / "python"


RIGHT = """
from pathlib import Path

import jax
import numpy as np
import torch

import conformance
import se_jax
import se_tf
import se_torch
import weights
from pytest_senet import Conformance
from weights.change import with_classes
from weights.images import names, prepare


def neutral(path: Path) -> str:
    checkpoint = weights.read(path)
    spec, params = checkpoint
    if checkpoint.info.preprocessing is None:
        raise weights.InputError(f"{path}: unknown preprocessing")
    x: np.ndarray = prepare(path, checkpoint.info.preprocessing)
    weights.write("other.safetensors", with_classes(spec, params, 10))
    counted: int = weights.cost(spec).learnable
    label: str = names(checkpoint.info.labels)[0]
    found = conformance.compare(spec, params, x, ["torch"])
    first: str | None = found.results["torch"].first_divergent
    taps: dict[str, np.ndarray] = conformance.run("numpy", spec, params, x)
    return f"{weights.__version__} {label} {counted} {first} {list(taps)} {found.agreed} {conformance.__version__}"


def in_torch(x: torch.Tensor) -> torch.Tensor:
    model = se_torch.from_pretrained("x.safetensors", classes=10)
    model.eval()
    maps: tuple[torch.Tensor, ...] = model.features(x)
    gates: dict[str, torch.Tensor] = se_torch.gates(model, maps[0])
    se_torch.save(se_torch.se_resnet50(classes=10, se=weights.SE(gate="tanh")), Path("x.pth"))
    block = se_torch.SEBlock(64, gate="relu")
    return gates["stage1.0"] + torch.as_tensor(block(x)) + len(se_torch.__version__)


def in_jax(x: jax.Array) -> jax.Array:
    model = se_jax.build("se-resnet-50", dtype="float32", classes=10)
    gates: dict[str, jax.Array] = se_jax.gates(model, x)
    se_jax.save(se_jax.se_resnet50(), "x.orbax")
    return gates["stage1.0"] + len(se_jax.__version__)


def in_keras(path: Path) -> None:
    model = se_tf.from_pretrained(path, dtype="float32")
    spec: weights.Spec = model.spec
    se_tf.save(se_tf.build(spec), path)
    print(se_tf.gates(model, [0.0]), se_tf.se_resnet50().spec.name, se_tf.__version__)


def test_port(senet: Conformance) -> None:
    verdict: conformance.Verdict = senet.assert_agrees("my.adapter", "se-resnet-50", size=(64, 64))
    print(verdict.worst)
"""
"""A user's own code, with the annotations that strict checkers ask for."""

WRONG = """
import conformance
import se_jax
import se_tf
import se_torch
import weights
from pytest_senet import Conformance

se_torch.from_pretrained(5)
se_jax.from_pretrained("x.pth", classes="10")
se_tf.save("x.pth", "x.pth")
se_torch.build(weights.MODELS["se-resnet-50"], dtype=32)
weights.SE(gate="softmax")
print(weights.read("x.pth").infos)
conformance.compare("se-resnet-50", {}, None)
Conformance().assert_agrees("my.adapter", dtype=32)
"""
"""From its ninth line on, a mistake in each."""


@pytest.mark.parametrize(
    "checker",
    [
        pytest.param(("mypy", "--strict", "--python-executable"), id="mypy"),
        pytest.param(("pyright", "--pythonpath"), id="pyright"),
    ],
)
def test_checkers_of_a_project_that_uses_the_wheel_find_its_mistakes_alone(checker, typed, tmp_path):
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text(WRONG)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    command = [sys.executable, "-m", *checker, str(typed), "right.py", "wrong.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    found = re.findall(r"(\w+\.py):(\d+):(?:\d+ -)? error", done.stdout)
    lines = {(name, int(line)) for name, line in found}
    wrong = range(9, len(WRONG.splitlines()) + 1)
    assert lines == {("wrong.py", line) for line in wrong}, done.stdout + done.stderr


@pytest.fixture(scope="module")
def editable(source, tmp_path_factory):
    """The Python of an environment in which the checkout is installed as the Makefile does it."""
    flags = re.search(r"^EDITABLE := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert flags
    folder = tmp_path_factory.mktemp("editable")
    run(sys.executable, "-m", "venv", folder / "venv", folder=folder)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", *flags[1].split(), source, folder=folder)
    return python


@pytest.mark.parametrize("package", PACKAGES)
def test_editable_install_is_found_before_a_folder_of_the_same_name(source, editable, tmp_path, package):
    (tmp_path / package).mkdir()
    (tmp_path / package / "SE-ResNet-50.caffemodel").write_bytes(b"")
    script = f"from importlib.util import find_spec; print(find_spec({package!r}).origin)"
    (tmp_path / "script.py").write_text(script)
    assert run(editable, "script.py", folder=tmp_path).stdout.strip() == str(source / package / "__init__.py")
