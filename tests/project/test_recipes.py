"""The recipes: every block runs as it stands, in order, and prints what the page says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from conformance import cli
from conformance.cli.demonstration import PHOTO

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "docs" / "recipes"
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "COLUMNS": "120", "TF_CPP_MIN_LOG_LEVEL": "3"}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.M | re.S)


def run(command, folder):
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={**os.environ, **ENVIRONMENT})
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return [line.rstrip() for line in done.stdout.splitlines()]


def assert_printed(lines, said):
    """The lines that a page says, where "..." stands for any lines."""
    pattern = "".join("(?:.*\n)*" if line == "..." else f"{re.escape(line)}\n" for line in said)
    printed = "".join(f"{line}\n" for line in lines)
    assert re.fullmatch(pattern, printed), f"the page says\n{chr(10).join(said)}\n\nprinted was\n{printed}"


@pytest.fixture
def folder(tmp_path):
    shutil.copyfile(PHOTO, tmp_path / "photo.jpg")
    return tmp_path


@pytest.mark.parametrize(
    "name", ["torch", pytest.param("tf", marks=pytest.mark.slow), pytest.param("jax", marks=pytest.mark.slow)]
)
def test_page_runs_and_prints_what_it_says(name, folder, monkeypatch):
    page = RECIPES / f"{name}.md"
    monkeypatch.chdir(folder)
    (first,) = re.findall(r"^    senet (init .*)$", page.read_text(), re.M)
    assert CliRunner().invoke(cli.main, first.split()).exit_code == 0
    script = "\n".join(blocks(page, "python"))
    (folder / "recipe.py").write_text(script)
    printed = run([sys.executable, "-W", "error::DeprecationWarning:__main__", "recipe.py"], folder)
    assert_printed(printed, re.findall(r"^ *print\(.*\)  # (.*)$", script, re.M))


def test_commands_run_and_print_what_the_page_says(folder):
    page = RECIPES / "command-line.md"
    for block in blocks(page, "console"):
        for command, said in re.findall(r"^\$ senet (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
            assert_printed(run([sys.executable, "-m", "conformance", *command.split()], folder), said.splitlines())
    (plugin,) = blocks(page, "python")
    (folder / "test_port.py").write_text(plugin)
    assert "1 passed" in run([sys.executable, "-m", "pytest", "-q", "-p", "pytest_senet", "test_port.py"], folder)[-1]


def test_pages_have_the_same_recipes():
    titles = {name: re.findall(r"^## (.*)$", (RECIPES / f"{name}.md").read_text(), re.M) for name in ("torch", "tf")}
    titles["jax"] = re.findall(r"^## (.*)$", (RECIPES / "jax.md").read_text(), re.M)
    assert len({tuple(found) for found in titles.values()}) == 1
