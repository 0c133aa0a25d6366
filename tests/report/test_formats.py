"""Runs as JUnit XML and as Markdown, and the fields of their JSON, which the documentation names."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from conformance.cases import TINY, seeded
from conformance.judge.compare import Conditions
from conformance.judge.verdict import Verdict
from conformance.recording import Asked, Checkpoint, record
from conformance.report.junit import to_junit
from conformance.report.markdown import to_markdown
from conformance.report.page import to_html
from conformance.report.run import Run, to_json
from conformance.report.table import HEADER

SPEC = TINY["tiny-se-resnet"]
DOCUMENTED = Path(__file__).parents[2] / "docs" / "formats.md"


@pytest.fixture(scope="module")
def run() -> Run:
    """One framework that agrees, and one of each other kind."""
    source = Checkpoint(file=Path("tiny.safetensors"), spec=SPEC, params=seeded(SPEC, 1), size=(67, 63))
    found = record(
        source,
        Asked(adapters=("numpy",), command="senet compare tiny.safetensors", conditions=Conditions(isolated=False)),
    )
    errors = {"stem.conv1": 1e-16, "stem.bn1": 2e-12, "stem.relu1": math.inf, "logits": 1e-9}
    others = (
        Verdict(adapter="torch", status="disagreed", errors=errors, version="1.0", dtype="float64", bound=1e-13),
        Verdict(adapter="jax", status="absent", message="jax is not installed: pip install 'senet[jax]'"),
        Verdict(adapter="tf", status="failed", message="ended by SIGSEGV: \x1b[31mlast | words\x00", version="2"),
    )
    (comparison,) = found.comparisons
    results = {**comparison.results, **{verdict.adapter: verdict for verdict in others}}
    return replace(found, comparisons=(replace(comparison, results=results),))


def test_junit_has_a_case_for_each_tap(run: Run):
    suites = {suite.get("name"): suite for suite in ElementTree.fromstring(to_junit(run))}
    counts = {
        name: [int(suite.get(key, -1)) for key in ("tests", "failures", "errors", "skipped")]
        for name, suite in suites.items()
    }
    assert counts == {
        "numpy.taps.float64": [94, 0, 0, 0],
        "torch.taps.float64": [4, 3, 0, 0],
        "jax.taps.float64": [1, 0, 0, 1],
        "tf.taps.float64": [1, 0, 1, 0],
    }
    failures = {
        case.get("name"): case[0].get("message") for case in suites["torch.taps.float64"].iter("testcase") if len(case)
    }
    assert failures == {
        "stem.bn1": "error 2.0e-12, bound 1.0e-13",
        "stem.relu1": "error not a number, bound 1.0e-13",
        "logits": "error 1.0e-09, bound 1.0e-13",
    }


def test_markdown_is_a_report(run: Run):
    text = to_markdown(run)
    assert text.startswith("# tiny-se-resnet: they do not all agree\n")
    assert "## PyTorch, taps in float64: first at stem.bn1\n" in text
    assert "`senet compare tiny.safetensors`" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    rows = [line.replace("\\|", "") for line in tables[:6]]
    assert {row.count("|") for row in rows} == {len(HEADER) + 1}


def test_a_layer_that_is_wrong_in_the_pass_of_gradients_is_in_every_form(run: Run):
    # Its output is not among the gradients, which all agree.
    errors, layers = {"fc.bias": 1e-9, "data": 1e-9}, {"stem.relu1": 5.0}
    verdict = Verdict(
        adapter="mine", status="disagreed", errors=errors, layers=layers, version="1", dtype="float32", bound=1e-4
    )
    gradients = replace(run.comparisons[0], results={"mine": verdict}, what="gradients", dtype="float32")
    only = replace(run, comparisons=(gradients,))
    (suite,) = ElementTree.fromstring(to_junit(only))
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    assert "first at stem.relu1" in to_markdown(only)
    assert "stem.relu1" in to_html(only)


def test_json_has_the_documented_fields(run: Run):
    section = DOCUMENTED.read_text().split("## ")[1]
    rows = re.findall(r"^\| (`.*?) \| (.*) \|$", section, re.M)
    documented = {name: row for row in rows for name in re.findall(r"`([^`]*)`", row[0])}

    found = json.loads(to_json(run))
    comparison = found["comparisons"][0]
    result = comparison["frameworks"]["torch"]
    whole = {name for name, part in found.items() if not isinstance(part, dict | list)}
    parts = {f"{part}.{name}" for part in ("checkpoint", "network", "input", "machine") for name in found[part]}
    each = {f"comparisons[].{name}" for name in comparison} | {f"result.{name}" for name in result}
    assert set(documented) == whole | parts | each | {"comparisons[]", "top5[]", "assumed[]"}
    for name, inner in (("top5[]", found["top5"][0]), ("result.worst", result["worst"])):
        assert re.findall(r'"(\w+)"', documented[name][1].split("}")[0]) == list(inner)
