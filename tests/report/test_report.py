"""The report: what it says, that it needs nothing beside it, and that a browser shows it at both widths."""

import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.cases import TINY
from conformance.judge.verdict import Comparison, Verdict
from conformance.report.heat_map import HeatMap
from conformance.report.page import to_html
from conformance.report.plots import merged
from conformance.report.run import Compared, Input, Machine, Prediction, Run, Weights, to_json, top
from conformance.report.table import HEADER, aligned, listed, markdown, rows
from weights import MODELS, Spec, graph

SPEC = TINY["tiny-se-resnet"]
VOID = {"meta", "img", "br", "hr", "link", "input"}
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
ABSENT = Verdict(adapter="jax", status="absent", message="jax is not installed: pip install 'senet[jax]'")


def judged(adapter: str, dtype: str, errors: dict[str, float], bound: float) -> Verdict:
    agreed = all(error <= bound for error in errors.values())
    return Verdict(
        adapter=adapter,
        status="agreed" if agreed else "disagreed",
        version="1.0",
        dtype=dtype,
        bound=bound,
        errors=errors,
        top1=3,
        seconds=1.0,
    )


def compared(*verdicts: Verdict, **changes: Any) -> Comparison:
    results = {verdict.adapter: verdict for verdict in verdicts}
    comparison = Comparison(network=SPEC.name, dtype="float64", shapes=((1, 3, 65, 64),), results=results, truth={})
    return replace(comparison, **changes)


def run(error: float = 1e-15, name: str = "tiny-se-resnet", note: str = "", spec: Spec = SPEC) -> Run:
    """A run of two frameworks and an absent one; PyTorch is off by ``error`` from stage2 on."""
    taps = [node.name for node in graph(spec)]
    late = taps.index("stage2.0.conv1")
    double = {tap: 0.0 if i == 0 else 1e-15 if i < late else error for i, tap in enumerate(taps)}
    torch = judged("torch", "float64", double, 1e-13)
    onnx = judged("onnx", "float32", dict.fromkeys(taps, 3e-7), 1e-5)
    return Run(
        checkpoint=Weights(
            file="x.safetensors", file_sha256="cd", source="x.caffemodel", format="caffemodel", sha256="ab", note=note
        ),
        network=Compared(name=name, parameters=12345, gmacs=0.1),
        input=Input(what="the photograph x.jpg", shapes=((1, 3, 65, 64),), preprocessing="BGR", photo=PIXEL),
        comparisons=(compared(torch, onnx, ABSENT),),
        top5=(Prediction(3, "kit fox", 0.5),),
        labels="devkit",
        assumed=("labels",),
        machine=Machine(system="Linux", cpus=2, date="today", versions={"Python": "3.11"}),
        command="senet compare x.safetensors",
    )


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


def test_page_is_whole_and_fetches_nothing():
    text = to_html(run())
    page = Page(text)
    assert not page.open
    assert page.links == [PIXEL]
    assert not re.search(r"https?:|url\(|@import|<script", text)
    assert len(set(page.ids)) == len(page.ids)


def test_pictures_have_text_alternatives():
    assert all(image.get("alt") or image.get("aria-label") for image in Page(to_html(run())).images)
    assert "the worst is 1.0e-15" in to_html(run())


def test_curves_show_every_tap_of_every_framework():
    taps = len(graph(SPEC))
    assert to_html(run()).count('<circle class="point"') == 2 * taps


def test_heat_map_and_its_table_hold_every_tap_of_every_framework():
    page = to_html(run())
    for tap in (node.name for node in graph(SPEC)):
        assert page.count(f"<title>{tap}\n") == 2
        assert page.count(f'<tr><th scope="row"><code>{tap}</code></th>') == 2
    assert "<title>logits\nPyTorch: 1.0e-15, 9.01 roundings</title>" in page


@pytest.mark.parametrize(
    ("error", "shade"),
    [
        (None, "none"),
        (0.0, "zero"),
        (5e-324, "within0"),
        (2.2e-16, "within0"),
        (3e-15, "within3"),
        (1e-13, "within5"),
        (1.01e-13, "over0"),
        (1.1e-12, "over1"),
        (1e-3, "over2"),
        (math.inf, "over2"),
        (math.nan, "over2"),
    ],
)
def test_shade_places_error_between_epsilon_and_bound(error, shade):
    drawn = HeatMap("taps", "float64", {"torch": judged("torch", "float64", {"logits": 1e-15}, 1e-13)})
    assert drawn.shade(error) == shade
    assert shade in [name for name, _, _ in drawn.key]
    assert f".{shade} {{" in to_html(run())


def test_heat_map_names_first_tap_above_bound():
    place = [node.name for node in graph(SPEC)].index("stage2.0.conv1") + 1
    said = f"PyTorch is above the bound first at <code>stage2.0.conv1</code>, {place} of {len(graph(SPEC))}."
    assert said in to_html(run(error=1e-3))
    assert "above the bound first" not in to_html(run())


def test_merged_taps_keep_graph_order():
    assert merged([["a", "b", "d"], ["a", "c", "d"], ["a", "b", "c", "d", "e"], []]) == ["a", "b", "c", "d", "e"]


def test_page_draws_gradients_apart_from_taps():
    errors = {"logits": 0.0, "fc.weight": 2e-16, "stem.conv1.weight": 4e-15, "data": 1e-15}
    gradients = compared(judged("torch", "float64", errors, 1e-12), what="gradients")
    found = replace(run(), comparisons=(*run().comparisons, gradients))
    page = to_html(found)
    assert "Gradients in float64" in page
    assert "PyTorch, gradients: error of 4 gradients" in page
    assert list(rows(found))[-1][0] == "PyTorch, gradients"


def test_page_says_how_to_run_it_again():
    page = to_html(run())
    assert "echo &#39;cd  x.safetensors&#39; | sha256sum --check\nsenet compare x.safetensors</code>" in page
    assert "Python 3.11" in page


def test_page_verdict_follows_errors():
    assert ">agreed</span>" in to_html(run())
    page = to_html(run(error=1e-3))
    assert ">disagreed</span>" in page
    assert "PyTorch in float64, first at <code>stage2.0.conv1</code>" in page
    assert page.count('<circle class="over"') > 1


def test_page_escapes_text_from_files():
    page = to_html(run(name="<script>alert(1)</script>"))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("error", [math.inf, math.nan, 1e300, 0.0])
def test_curves_draw_extreme_errors_inside_the_picture(error):
    heights = [float(y) for y in re.findall(r'cy="([^"]*)"', to_html(run(error=error)))]
    assert all(0 <= y <= 260 for y in heights)


def test_run_without_comparison_has_not_agreed():
    found = replace(run(), comparisons=(compared(ABSENT),))
    assert not found.agreed
    assert "nothing compared" in to_html(found)


def test_page_names_seeded_weights():
    assert "(seeded weights)" in to_html(run(note="seeded weights"))


def test_table_has_a_row_for_each_framework():
    lines = list(rows(run()))
    assert [line[0] for line in lines] == ["PyTorch", "ONNX Runtime", "Flax (JAX)"]
    assert lines[1][2:4] == ("float64", "float32")
    assert lines[2][-1].startswith("absent: jax is not installed")
    text = aligned(HEADER, lines).splitlines()
    assert text[0].index("verdict") == text[2].index("agreed")
    assert markdown(HEADER, lines).splitlines()[1].count("---") == len(HEADER)


def test_json_writes_null_for_errors_that_are_not_finite():
    text = to_json(run(error=math.inf))
    assert "Infinity" not in text
    assert '"stage2.0.conv1": null' in text
    assert PIXEL not in text


def test_top_classes_have_probabilities_and_names_by_label_order():
    scores = np.linspace(0, 1000, 1000)[None]
    found = top(scores, "devkit", 1000)
    assert abs(sum(c.probability for c in found) - 1) < 1e-12
    assert found[0].index == 999
    assert all(c.name for c in found)
    assert not any(c.name for c in top(scores, None))
    assert not any(c.name for c in top(scores[:, :10], "devkit"))


def test_terminal_table_wraps_between_words():
    lines = [("one two three", "12"), ("four", "3")]
    assert aligned(("name", "how many"), lines, 15).splitlines() == [
        "            how",
        "name       many",
        "---------- ----",
        "one two      12",
        "three",
        "four          3",
    ]


@pytest.mark.parametrize("width", [None, 9, 200])
def test_table_that_fits_or_cannot_wrap_has_a_line_for_each_row(width: int | None):
    text = aligned(HEADER, rows(run()), width).splitlines()
    assert len(text) == 5
    assert text == aligned(HEADER, rows(run())).splitlines()


def test_table_in_a_pipe_has_a_line_for_each_row():
    long = [("PyTorch [bold]x[/bold]", "1" * 500), ("a", "2")]
    assert aligned(("name", "number"), long).splitlines()[2].endswith("PyTorch [bold]x[/bold]  " + "1" * 500)


def test_list_of_facts_wraps_values_below_each_other():
    assert listed([("file", "a b c d"), ("x", "y")], 9) == "file  a b\n      c d\nx     y"


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here to render the page")
@pytest.mark.parametrize("error", [1e-15, 1e-3])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("network", ["tiny-se-resnet", "senet-154"])
def test_browser_shows_page_without_overflow(network, width, error, tmp_path):
    spec = TINY.get(network) or MODELS[network]
    # Chromium's windows are at least 500 pixels wide; a frame in them can be a telephone.
    probe = """<script>
        const all = selector => [...document.querySelectorAll(selector)];
        const page = document.documentElement;
        const boxes = all(".map .scroll");
        const cells = all(".map .tap").map(cell => cell.getBoundingClientRect());
        const fill = cell => cell && getComputedStyle(cell).fill;
        parent.document.title = JSON.stringify({
            overflow: page.scrollWidth - innerWidth,
            points: all("figure circle").length,
            image: document.images[0].complete,
            cells: cells.length,
            narrowest: Math.min(...cells.map(cell => cell.width)),
            filled: Math.max(...cells.map(cell => cell.right)) - boxes[0].getBoundingClientRect().left
                - boxes[0].scrollWidth,
            lowest: Math.min(...cells.map(cell => cell.height)),
            rows: all(".map .names li").length,
            outside: Math.max(...boxes.map(box => box.getBoundingClientRect().right)) - innerWidth,
            scrolls: boxes.map(box => box.scrollWidth > box.clientWidth + 1),
            good: fill(document.querySelector(".map .within2")),
            bad: fill(document.querySelector(".map .over2")) ?? null,
            shown: all(".map .names li").map(li => li.scrollWidth <= li.clientWidth && li.scrollHeight <= 26),
        });
        </script>"""
    (tmp_path / "page.html").write_text(to_html(run(error, spec=spec)).replace("</body>", f"{probe}</body>"))
    frame = tmp_path / "frame.html"
    frame.write_text(f'<title>none</title><iframe src="page.html" style="border: 0" width={width} height=900></iframe>')
    done = subprocess.run(
        [
            str(BROWSER),
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--allow-file-access-from-files", "--window-size=1400,1000", "--dump-dom", frame.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    title = re.search(r"<title>(\{.*\})</title>", done.stdout)
    assert title, done.stderr
    seen = json.loads(title[1])
    taps = len(graph(spec))
    assert seen["overflow"] <= 0
    assert (seen["points"], seen["cells"], seen["rows"]) == (2 * taps, 2 * taps, 2)
    assert seen["image"]
    # A map is as wide as its box; only where a tap would be thinner than a pixel it scrolls, and inside its box.
    assert seen["narrowest"] >= 0.99
    assert abs(seen["filled"]) <= 1
    assert seen["lowest"] == 26
    assert seen["outside"] <= 0
    assert seen["scrolls"] == [taps > width] * 2
    assert all(seen["shown"])
    assert seen["good"].startswith("rgb(")
    assert seen["bad"] == ("rgb(122, 12, 18)" if error > 1e-5 else None)


def test_readme_quotes_the_blocks():
    root = Path(__file__).parents[2]
    readme = (root / "README.md").read_text()
    snippets = re.findall(r"```python\n(def (?:forward|__call__|call)\(.*?)```", readme, re.S)
    assert len(snippets) == 3
    for snippet, package in zip(snippets, ("se_torch", "se_jax", "se_tf"), strict=True):
        source = (root / package / "se_block.py").read_text()
        quoted = [line.strip() for line in snippet.splitlines() if line.strip()]
        assert "\n".join(quoted) in "\n".join(line.strip() for line in source.splitlines())
