"""The wheel: what is in it, and that it works outside the checkout, in an environment that has nothing else."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("weights", "conformance", "se_torch", "se_jax", "se_tf")
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
    assert {name for name in top if not name.endswith(".dist-info")} == {*PACKAGES, "pytest_senet.py"}
    sources = {p.relative_to(ROOT).as_posix() for package in PACKAGES for p in (ROOT / package).rglob("*.py")}
    data = {f"{package}/py.typed" for package in PACKAGES} | {
        p.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for suffix in ("csv", "html", "jpg", "txt")
        for p in (ROOT / package).rglob(f"*.{suffix}")
    }
    assert {Path(name).suffix for name in data} == {".typed", ".csv", ".html", ".jpg", ".txt"}
    assert {name for name in names if name.partition("/")[0] in PACKAGES} == sources | data


def test_sdist_holds_no_tests(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        inside = {name.partition("/")[2] for name in file.getnames()}
    assert not [name for name in inside if re.match(r"tests|benchmarks|examples|docs|\.ci", name)]
    assert {"README.md", "LICENSE", "pyproject.toml", "weights/images/imagenet_classes.csv"} <= inside


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
