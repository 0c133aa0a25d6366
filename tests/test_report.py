"""The report: what it says, that it needs nothing beside it, and that a browser shows it at both widths."""

import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from conformance.cases import TINY
from conformance.record import to_json, top
from conformance.report import HEADER, agreed, aligned, html, markdown, rows, write
from weights import InputError, graph

VOID = {"meta", "img", "br", "hr", "link", "input"}
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="


def result(dtype: str, errors: dict[str, float], bound: float, **changes) -> dict:
    worst = max(errors, key=lambda tap: errors[tap])
    first = next((tap for tap, error in errors.items() if not error <= bound), None)
    return {
        "status": "disagreed" if first else "agreed",
        "version": "1.0",
        "dtype": dtype,
        "bound": bound,
        "message": "",
        "taps": errors,
        "worst": {"tap": worst, "error": errors[worst]},
        "first_divergent": first,
        "logits_error": errors["logits"],
        "top1": 3,
        "seconds": 1.0,
    } | changes


ABSENT = {
    "status": "absent",
    "version": "",
    "dtype": "",
    "bound": 0.0,
    "message": "jax is not installed: pip install 'senet[jax]'",
    "taps": {},
    "worst": None,
    "first_divergent": None,
    "logits_error": None,
    "top1": None,
    "seconds": 0.0,
}


def run(error: float = 1e-15, name: str = "tiny-se-resnet", note: str = "") -> dict:
    """A run of two frameworks and an absent one; PyTorch is off by ``error`` from stage2 on."""
    taps = [node.name for node in graph(TINY["tiny-se-resnet"])]
    late = taps.index("stage2.0.conv1")
    double = {tap: 0.0 if i == 0 else 1e-15 if i < late else error for i, tap in enumerate(taps)}
    single = dict.fromkeys(taps, 3e-7)
    frameworks = {"torch": result("float64", double, 1e-13), "onnx": result("float32", single, 1e-5), "jax": ABSENT}
    return {
        "format": 1,
        "checkpoint": {
            "file": "x.safetensors",
            "source": "x.caffemodel",
            "format": "caffemodel",
            "sha256": "ab",
            "note": note,
        },
        "network": {"name": name, "parameters": 12345, "gmacs": 0.1},
        "input": {"what": "the photograph x.jpg", "shape": [1, 3, 65, 64], "preprocessing": "BGR", "photo": PIXEL},
        "comparisons": [{"dtype": "float64", "bound": 1e-13, "eps": 2.2e-16, "agreed": True, "frameworks": frameworks}],
        "top5": [{"index": 3, "name": "kit fox", "probability": 0.5}],
        "labels": "devkit",
        "assumed": ["labels"],
        "machine": {"system": "Linux", "cpus": 2, "date": "today", "versions": {"Python": "3.11"}},
        "command": "senet compare x.safetensors",
    }


class Page(HTMLParser):
    """Checks that tags balance, and collects links, identifiers and words."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.links += [str(found[name]) for name in ("src", "href", "xlink:href") if name in found]
        self.ids += [str(found["id"])] if "id" in found else []
        if tag == "img" or found.get("role") == "img":
            self.images.append(found)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing():
    text = html(run())
    page = Page(text)
    assert not page.open
    assert page.links == [PIXEL]
    assert not re.search(r"https?:|url\(|@import|<script", text)
    assert len(set(page.ids)) == len(page.ids)


def test_pictures_have_words_for_those_who_do_not_see_them():
    assert all(image.get("alt") or image.get("aria-label") for image in Page(html(run())).images)
    assert "the worst is 1.0e-15" in html(run())


def test_the_page_shows_every_tap_of_every_framework():
    taps = len(graph(TINY["tiny-se-resnet"]))
    assert html(run()).count('<circle class="point"') == 2 * taps


def test_the_verdict_follows_the_numbers():
    assert ">agreed</span>" in html(run())
    page = html(run(error=1e-3))
    assert ">disagreed</span>" in page
    assert "PyTorch in float64, first at <code>stage2.0.conv1</code>" in page
    assert page.count('<circle class="over"') > 1


def test_text_from_files_is_escaped():
    page = html(run(name="<script>alert(1)</script>"))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("error", [math.inf, math.nan, 1e300, 0.0])
def test_extreme_errors_can_be_drawn(error):
    heights = [float(y) for y in re.findall(r'cy="([^"]*)"', html(run(error=error)))]
    assert all(0 <= y <= 260 for y in heights)


def test_nothing_compared_is_not_agreed():
    found = run()
    found["comparisons"][0]["frameworks"] = {"jax": ABSENT}
    assert not agreed(found)
    assert "nothing compared" in html(found)


def test_seeded_weights_are_called_so():
    assert "(seeded weights)" in html(run(note="seeded weights"))


def test_the_table_has_a_row_for_each_framework():
    lines = list(rows(run()))
    assert [line[0] for line in lines] == ["PyTorch", "ONNX Runtime", "Flax (JAX)"]
    assert lines[1][2] == "float32"
    assert lines[2][-1].startswith("absent: jax is not installed")
    text = aligned(HEADER, lines).splitlines()
    assert text[0].index("verdict") == text[2].index("agreed")
    assert markdown(HEADER, lines).splitlines()[1].count("---") == len(HEADER)


def test_json_holds_no_number_that_json_has_not():
    text = to_json(run(error=math.inf))
    assert "Infinity" not in text
    assert '"stage2.0.conv1": null' in text
    assert PIXEL not in text


def test_probabilities_sum_to_one_and_names_need_a_label_order():
    import numpy as np

    scores = np.linspace(0, 1000, 1000)[None]
    found = top(scores, "devkit", 1000)
    assert abs(sum(c["probability"] for c in found) - 1) < 1e-12
    assert found[0]["index"] == 999
    assert all(c["name"] for c in found)
    assert not any(c["name"] for c in top(scores, None))
    assert not any(c["name"] for c in top(scores[:, :10], "devkit"))


def test_a_page_that_cannot_be_written_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "no" / "report.html", run())


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here to render the page")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_page_without_overflow(width, tmp_path):
    # Chromium's windows are at least 500 pixels wide; below that the body is held to the width.
    probe = (
        f"<style>body {{ max-width: {width}px }}</style>"
        "<script>document.title = [document.body.scrollWidth, document.body.clientWidth, "
        "document.querySelectorAll('figure circle.point').length, document.images[0].complete].join(' ')</script>"
    )
    page = tmp_path / "page.html"
    page.write_text(html(run()).replace("</body>", f"{probe}</body>"))
    done = subprocess.run(
        [
            str(BROWSER),
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"),
            *(f"--window-size={max(width, 500)},2000", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    title = re.search(r"<title>([^<]*)</title>", done.stdout)
    assert title, done.stderr
    scroll, client, points, image = title[1].split()
    assert int(scroll) <= int(client) <= width
    assert int(points) == 2 * len(graph(TINY["tiny-se-resnet"]))
    assert image == "true"


def test_the_readme_quotes_the_blocks_as_they_are():
    root = Path(__file__).parents[1]
    readme = (root / "README.md").read_text()
    snippets = re.findall(r"```python\n(def (?:forward|__call__|call)\(.*?)```", readme, re.S)
    assert len(snippets) == 3
    for snippet, package in zip(snippets, ("se_torch", "se_jax", "se_tf"), strict=True):
        source = (root / package / "se_block.py").read_text()
        quoted = [line.strip() for line in snippet.splitlines() if line.strip()]
        assert "\n".join(quoted) in "\n".join(line.strip() for line in source.splitlines())
