"""The pages for people: their Python runs or is the sources', their commands exist, and their links lead somewhere."""

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

import weights
from conformance import cases, cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = [*ROOT.glob("se_*/se_block.py"), ROOT / "examples" / "functional_jax" / "adapter.py"]
"""What the pages quote."""

SKETCHES = {"SqueezeNetSpec", "test_port"}
"""Definitions that are outlines of what a reader would write."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.M | re.S)


def commands(page: Path) -> list[str]:
    """Lines that a reader would type: after a $ in a console block, or indented."""
    typed = [line for block in blocks(page, "console") for line in re.findall(r"^\$ (.*)$", block, re.M)]
    return typed + re.findall(r"^    ((?:senet|make|pip|python) .*?)(?:  #.*)?$", page.read_text(), re.M)


def plain(definition: ast.stmt) -> str:
    """The code of a definition without annotations and docstrings."""
    for node in ast.walk(definition):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            if ast.get_docstring(node):
                node.body = node.body[1:]
        elif isinstance(node, ast.arg):
            node.annotation = None
    return ast.unparse(definition)


PYTHON = [(page, block) for page in PAGES if page.parent.name != "recipes" for block in blocks(page, "python")]
DEFINITIONS = [
    pytest.param(statement, id=f"{page.stem}-{statement.name}-{i}")
    for i, (page, block) in enumerate(PYTHON)
    for statement in ast.parse(block).body
    if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name not in SKETCHES
]
COMMANDS = [pytest.param(line, id=f"{page.stem}: {line}") for page in PAGES for line in commands(page)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with tiny files of the names that the pages use."""
    spec = replace(cases.TINY["tiny-se-resnet"], classes=1000)
    params = cases.seeded(spec, 1)
    (tmp_path / "demo").mkdir()
    for name in (
        "SE-ResNet-50.caffemodel",
        "SE-ResNet-50.safetensors",
        "demo/SE-ResNet-50.safetensors",
        "tiny.safetensors",
        "squeezenet.safetensors",
        "golden.safetensors",
        "net.safetensors",
        "net.caffemodel",
    ):
        weights.write(tmp_path / name, spec, params)
    for name in ("photo.jpg", "demo/balloon.jpg"):
        Image.new("RGB", (320, 260), (90, 120, 150)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_of_the_readme_runs(folder):
    script = "".join(block for block in blocks(ROOT / "README.md", "python") if not block.startswith("def "))
    (folder / "readme.py").write_text(script)
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "readme.py"]
    paths = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={**os.environ, **paths})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "True None"  # agreed, and no first divergent tap


def test_python_of_the_start_page_the_facts_and_the_questions_runs(folder):
    pages = [ROOT / "docs" / f"{name}.md" for name in ("index", "facts", "faq")]
    quoted = [block for page in pages for block in blocks(page, "python") if not block.startswith("def ")]
    spec, params = weights.read(folder / "tiny.safetensors")
    weights.write(folder / "timm.pth", weights.Checkpoint(spec, params), dialect="timm")
    (folder / "pages.py").write_text("".join(quoted))
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "pages.py"]
    paths = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={**os.environ, **paths})
    assert done.returncode == 0, done.stderr
    said = re.findall(r"^print.*  # (.*)$", "".join(quoted), re.M)
    assert len(said) >= 3
    assert set(said) <= set(done.stdout.splitlines())


def test_python_of_the_page_of_variants_prints_what_it_says(tmp_path):
    blocks_of_page = blocks(ROOT / "docs" / "variants.md", "python")
    (tmp_path / "variants.py").write_text("".join(blocks_of_page))
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "variants.py"]
    paths = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **paths})
    assert done.returncode == 0, done.stderr
    said = re.findall(r"^print.*# (\([\d, ]+\))", "".join(blocks_of_page), re.M)
    assert re.findall(r"\([\d, ]+\)", done.stdout) == said


def test_page_of_variants_has_the_tables_of_the_paper():
    printed = CliRunner().invoke(cli.main, ["models", "--paper", "--markdown"]).stdout.strip()
    assert printed in (ROOT / "docs" / "variants.md").read_text()


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_quoted_definition_is_that_of_the_sources(definition):
    defined = {
        plain(node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == definition.name
    }
    assert plain(definition) in defined


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("line", COMMANDS)
def test_command_exists_and_takes_these_arguments(line):
    program, *arguments = shlex.split(line, comments=True)
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
        assert [a for a in arguments if "=" not in a and a not in targets] == []
    elif program == "senet":
        name, *rest = arguments
        rest = ["tiny.safetensors" if a == "FILE" else a for a in rest]
        command = cli.main.commands[name]
        with click.Context(cli.main, info_name="senet") as parent:
            assert command.make_context(name, rest, parent).params  # parsed and converted, not run
    else:
        pytest.fail(f"no way to check {program}")


def test_commands_of_the_readme_table_exist():
    table = re.findall(r"^\| `senet (\w+)", (ROOT / "README.md").read_text(), re.M)
    assert sorted(table) == sorted(cli.main.commands)


def test_extras_of_the_readme_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {e for group in re.findall(r"'\.\[([\w,]+)\]'", (ROOT / "README.md").read_text()) for e in group.split(",")}
    assert named
    assert named <= extras.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_modules_that_pages_name_exist(page):
    named = re.findall(r"`((?:weights|conformance|se_\w+|tests|benchmarks|examples|docs)/[\w/.]+)`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []
    modules = re.findall(r"python -m ([\w.]+)", page.read_text())
    assert [m for m in modules if not list(ROOT.glob(f"{m.replace('.', '/')}*"))] == []
