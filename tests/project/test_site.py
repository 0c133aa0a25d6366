"""The documentation as a site: built without a warning, fetching nothing, with every public name in its reference."""

import ast
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from runpy import run_path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("weights", "conformance", "se_torch", "se_jax", "se_tf")
FRAMEWORKS = ("torch", "jax", "flax", "keras", "tensorflow", "onnx")


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.modules.update(dict.fromkeys({FRAMEWORKS}))\nfrom mkdocs.__main__ import cli; cli()"
    command = (sys.executable, "-c", code, "build", "--strict", "--site-dir", str(out))
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=source, env=environment, timeout=120)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; no framework could be imported meanwhile."""
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT, out)
    assert done.returncode == 0, done.stderr
    return out


class Fetched(HTMLParser):
    """What a browser loads with a page, and the page's anchors."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if name := found.get("id"):
            self.anchors.add(name)
        if tag != "a":
            self.urls += [url for key in ("src", "href") if (url := found.get(key))]


def test_pages_load_files_of_the_site_alone(site):
    for page in site.rglob("*.html"):
        base = site if page.name == "404.html" else page.parent
        for url in Fetched(page).urls:
            path = url.lstrip("/") if page.name == "404.html" else url
            assert (base / path).resolve().is_relative_to(site), (page.name, url)
            assert (base / path).exists(), (page.name, url)


def test_style_sheets_load_nothing_from_elsewhere(site):
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\(\s*[\"']?(?:https?:)?//", sheet.read_text("utf-8")) == [], sheet.name


def public(package: str) -> list[str]:
    """The names in ``__all__`` of a package, from its text."""
    for node in ast.parse((ROOT / package / "__init__.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{package} has no __all__")


@pytest.fixture(scope="module")
def constructors():
    page = (ROOT / "docs" / "api" / "constructors.md").read_text("utf-8")
    return dict(re.findall(r"^\| `(\w+)` \| `([\w-]+)`", page, re.M))


@pytest.mark.parametrize("package", PACKAGES)
def test_reference_has_every_public_name(site, constructors, package):
    anchors = Fetched(site / "api" / f"{package}.html").anchors
    names = {name for name in public(package) if f"{package}.{name}" not in anchors}
    left_out = {"__version__"} | (set(constructors) if package.startswith("se_") else set())
    assert names == left_out


def test_page_of_constructors_names_the_networks_that_they_build(constructors):
    source = (ROOT / "se_torch" / "models.py").read_text("utf-8")
    assert constructors == dict(re.findall(r'^(\w+) = _constructor\(\s*\w+, "([\w-]+)"', source, re.M))


def test_a_record_shows_the_comments_of_its_fields(site):
    assert "Channels / reduction" not in (page := (site / "api" / "weights.html").read_text("utf-8"))
    assert "The hidden layer has channels / reduction units." in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a page](nowhere.md)", "nowhere.md"),
        ("[an anchor](faq.md#nowhere)", "nowhere"),
        ("::: weights.nowhere", "nowhere"),
        ('--8<-- "nowhere.yml"', "nowhere.yml"),
    ],
)
def test_what_leads_nowhere_is_an_error(tmp_path, text, said):
    for name in ("setup.py", "pyproject.toml", "mkdocs.yml", "docs/hooks"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs" / "index.md").write_text(f"# Start\n\n{text}\n")
    (tmp_path / "docs" / "faq.md").write_text("# Questions\n")
    (tmp_path / "docs" / "site.css").touch()
    settings = (ROOT / "mkdocs.yml").read_text("utf-8")
    nav = "nav: [{Start: index.md}, {FAQ: faq.md}]\n\ntheme:"
    (tmp_path / "mkdocs.yml").unlink()
    (tmp_path / "mkdocs.yml").write_text(re.sub(r"^nav:.*?^theme:", nav, settings, flags=re.M | re.S))
    done = build(tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert said in done.stdout + done.stderr


class TestLinksOutward:
    outward = staticmethod(run_path(str(ROOT / "setup.py"))["outward"])
    text = "[formats](docs/formats.md#files), [paper](https://arxiv.org), [below](#use)\n```\n[x](y.md)\n```\n"

    def test_without_an_address_they_are_words(self):
        said = "formats, [paper](https://arxiv.org), [below](#use)\n```\n[x](y.md)\n```\n"
        assert self.outward(self.text, PurePosixPath()) == said

    def test_with_an_address_they_are_absolute(self):
        link = "https://example.org/senet/blob/main/docs/formats.md#files"
        found = self.outward(self.text, PurePosixPath(), base="https://example.org/senet/blob/main")
        assert found == self.text.replace("docs/formats.md#files", link)

    def test_those_within_the_site_stay(self):
        page = "[formats](formats.md), [house](../CONTRIBUTING.md)"
        folder = PurePosixPath("docs")
        assert self.outward(page, folder, inside=folder) == "[formats](formats.md), house"
