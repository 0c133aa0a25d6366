"""Runs as JUnit XML and as Markdown, and the fields of their JSON, which the documentation names."""

import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from conformance.cases import TINY, seeded
from conformance.judge.compare import Result
from conformance.report.formats import junit, markdown
from conformance.report.run import record, to_json

SPEC = TINY["tiny-se-resnet"]
DOCUMENTED = Path(__file__).parents[1] / "docs" / "formats.md"


@pytest.fixture(scope="module")
def run():
    """One framework that agrees, and one of each other kind."""
    run = record(
        SPEC,
        seeded(SPEC, 1),
        file=Path("tiny.safetensors"),
        frameworks=("numpy",),
        dtypes=("float64",),
        command="senet compare tiny.safetensors",
        size=(67, 63),
        isolated=False,
    )
    frameworks = run["comparisons"][0]["frameworks"]
    errors = {"stem.conv1": 1e-16, "stem.bn1": 2e-12, "stem.relu1": math.inf, "logits": 1e-9}
    common = {"version": "1.0", "dtype": "float64", "bound": 1e-13}
    for result in (
        Result(framework="torch", status="disagreed", errors=errors, **common),
        Result(framework="jax", status="absent", message="jax is not installed: pip install 'senet[jax]'"),
        Result(framework="tf", status="failed", message="ended by SIGSEGV: \x1b[31mlast | words\x00", version="2"),
    ):
        frameworks[result.framework] = result.to_dict()
    return run


def test_junit_has_a_case_for_each_tap(run):
    suites = {suite.get("name"): suite for suite in ElementTree.fromstring(junit(run))}
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


def test_markdown_is_a_report(run):
    text = markdown(run)
    assert text.startswith("# tiny-se-resnet: they do not all agree\n")
    assert "## PyTorch, taps in float64: first at stem.bn1\n" in text
    assert "`senet compare tiny.safetensors`" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    rows = [line.replace("\\|", "") for line in tables[:6]]
    assert {row.count("|") for row in rows} == {11}


def test_the_fields_of_the_json_are_those_documented(run):
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
