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
FRAMEWORKS = ("torch", "tf", "jax")
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


@pytest.mark.slow
@pytest.mark.parametrize("name", FRAMEWORKS)
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
    for block in blocks(RECIPES / "command-line.md", "console"):
        for command, said in re.findall(r"^\$ senet (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
            assert_printed(run([sys.executable, "-m", "conformance", *command.split()], folder), said.splitlines())


@pytest.mark.slow
def test_test_of_the_page_of_commands_passes(folder):
    (plugin,) = blocks(RECIPES / "command-line.md", "python")
    (folder / "test_port.py").write_text(plugin)
    assert "1 passed" in run([sys.executable, "-m", "pytest", "-q", "test_port.py"], folder)[-1]


def test_pages_of_the_frameworks_have_the_same_recipes():
    pages = [(RECIPES / f"{name}.md").read_text() for name in FRAMEWORKS]
    titles = [re.findall(r"^## .*$", page, re.M) for page in pages]
    assert len(titles[0]) == 10
    assert titles == [titles[0]] * 3
