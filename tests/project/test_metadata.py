"""What the package says about itself: one version, a citation that follows its schema, types, addresses stated once."""

import ast
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

import conformance
import weights
from conformance.cli import main

ROOT = Path(__file__).parents[2]
PACKAGES = ("weights", "conformance", "se_torch", "se_jax", "se_tf", "pytest_senet")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))


def test_version_is_stated_once(citation):
    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", weights.__version__)
    assert conformance.__version__ == citation["version"] == version("senet") == weights.__version__
    assert CliRunner().invoke(main, ["--version"]).stdout == f"senet {weights.__version__}\n"


@pytest.mark.parametrize("package", ["se_torch", "se_jax", "se_tf", "pytest_senet"])
def test_every_package_takes_it_from_there(package):
    nodes = ast.parse((ROOT / package / "__init__.py").read_text("utf-8")).body
    taken = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and "__version__" in ast.unparse(node)]
    lazily = [node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name == "__getattr__"]
    assert taken == ["weights"] or lazily


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package):
    assert (ROOT / package / "py.typed").is_file()


NAMES = {"family-names", "given-names"}


class TestCitation:
    """The schema of the Citation File Format 1.2.0, as far as the file uses it."""

    def test_has_what_is_required_and_known_keys_alone(self, citation):
        known = {"cff-version", "message", "title", "authors", "type", "version", "license", "keywords", "references"}
        assert {"cff-version", "message", "title", "authors"} <= citation.keys() <= known
        assert (citation["cff-version"], citation["type"]) == ("1.2.0", "software")
        assert all(isinstance(citation[key], str) for key in ("message", "title", "version", "license"))

    def test_says_what_the_package_says(self, citation):
        assert citation["license"] == PROJECT["license"]
        assert citation["authors"] == PROJECT["authors"]
        assert citation["title"] == f"senet: {PROJECT['description']}"

    def test_refers_to_the_paper(self, citation):
        (paper,) = citation["references"]
        assert (
            {"type", "title", "authors"} <= paper.keys() <= {"type", "title", "authors", "year", "url", "identifiers"}
        )
        assert all(author.keys() == NAMES for author in paper["authors"])
        assert [author["family-names"] for author in paper["authors"]] == ["Hu", "Shen", "Albanie", "Sun", "Wu"]
        assert paper["url"] == PROJECT["urls"]["Paper"]
        assert isinstance(paper["year"], int)
        assert all(i["type"] in ("doi", "url", "swh", "other") and i["value"] for i in paper["identifiers"])
