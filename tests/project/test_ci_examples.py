"""examples/ci does what docs/ci.md says: its own commands freeze, compare, report, and fail for a wrong port."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "ci"
WORKFLOW: dict[Any, Any] = yaml.safe_load((EXAMPLES / "conformance.yml").read_text("utf-8"))
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["conformance"]["steps"]
HOOK: dict[str, Any] = yaml.safe_load((EXAMPLES / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"][0]
EVENTS = ("push", "workflow_dispatch")

PORT = """
from dataclasses import replace
from conformance.reference import forward

NAME = "a port"
EPS = {eps}

def version():
    return "port 1"

def build(spec, params, dtype):
    return replace(spec, eps=EPS or spec.eps), params

def taps(model, x):
    return forward.run(*model, x)
"""


class Done(NamedTuple):
    """What a run of the workflow has left."""

    code: int
    summary: str
    folder: Path


def bash(line: str, folder: Path, **variables: str) -> int:
    """Runs a line as GitHub does; the commands are those of this checkout."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(["bash", "-e", "-c", line], cwd=folder, env=environment, timeout=300).returncode


def workflow(event: str, folder: Path) -> Done:
    """Runs the workflow's own steps, but for those that install, on a small network, until one fails."""
    summary = folder / "summary.md"
    summary.write_text("")
    variables = {**WORKFLOW["env"], "NETWORK": "tiny-se-resnet", "GITHUB_STEP_SUMMARY": str(summary)}
    code = 0
    for step in STEPS:
        if "run" in step and not installs(step) and event in re.findall(r"'(\w+)'", step.get("if", f"'{event}'")):
            code = code or bash(step["run"], folder, **variables)
    return Done(code, summary.read_text("utf-8"), folder)


def installs(step: dict[str, Any]) -> bool:
    return step.get("run", "").startswith("pip install ")


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """A project with a right port, after its golden file was made by hand."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "port").mkdir()
    (folder / "port" / "adapter.py").write_text(PORT.format(eps=None))
    done = workflow("workflow_dispatch", folder)
    assert done.code == 0
    return folder


@pytest.fixture(scope="module")
def right(frozen):
    return workflow("push", frozen)


@pytest.fixture
def wrong_port(frozen):
    adapter = frozen / "port" / "adapter.py"
    adapter.write_text(PORT.format(eps=1e-3))
    yield
    adapter.write_text(PORT.format(eps=None))


def test_events_are_those_of_its_conditions():
    assert set(WORKFLOW[True]) == set(EVENTS)  # YAML takes the key "on" for a truth
    named = {event for step in STEPS for event in re.findall(r"event_name == '(\w+)'", step.get("if", ""))}
    assert named == set(EVENTS)


def test_actions_are_pinned_to_a_version():
    assert all(re.fullmatch(r"actions/[\w/-]+@v\d+", step["uses"]) for step in STEPS if "uses" in step)


def test_what_it_installs_is_ours():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (installed,) = [step["run"] for step in STEPS if installs(step)]
    assert re.fullmatch(r"pip install 'senet\[(\w+)\]'", installed)
    assert installed.split("[")[1].rstrip("]'") in extras


def test_golden_file_is_where_it_will_be_committed(frozen):
    golden = frozen / WORKFLOW["env"]["GOLDEN"]
    (uploaded,) = [step["with"]["path"] for step in STEPS if step.get("with", {}).get("name") == "golden"]
    assert golden.is_relative_to(frozen / uploaded)
    assert golden.stat().st_size < 1_000_000


def test_weights_are_where_they_are_cached(frozen):
    (cached,) = [step["with"]["path"] for step in STEPS if step.get("uses", "").startswith("actions/cache@")]
    assert (frozen / WORKFLOW["env"]["WEIGHTS"]).is_relative_to(frozen / cached)


def test_right_port_passes_with_a_summary_and_a_report(right):
    assert right.code == 0
    assert re.search(r"^\|.*\bagreed\b", right.summary, re.M)
    report = ElementTree.parse(right.folder / "conformance.xml").getroot()
    assert len(list(report.iter("testcase"))) > 90
    assert not list(report.iter("failure"))


@pytest.mark.usefixtures("right", "wrong_port")
def test_wrong_port_fails_with_both(frozen):
    done = workflow("push", frozen)
    assert done.code == 1
    assert "disagreed" in done.summary
    assert "stem.bn1" in done.summary
    report = ElementTree.parse(frozen / "conformance.xml").getroot()
    first = next(report.iter("failure"))
    assert any(case.get("name") == "stem.bn1" and first in case for case in report.iter("testcase"))


def test_hook_passes_for_a_right_port(frozen):
    assert bash(HOOK["entry"], frozen) == 0


@pytest.mark.usefixtures("wrong_port")
def test_hook_fails_for_a_wrong_port(frozen):
    assert bash(HOOK["entry"], frozen) == 1


def test_hook_runs_where_something_of_it_changed():
    assert (HOOK["language"], HOOK["pass_filenames"]) == ("system", False)
    changed = ["port/adapter.py", WORKFLOW["env"]["WEIGHTS"], WORKFLOW["env"]["GOLDEN"]]
    assert all(re.match(HOOK["files"], path) for path in changed)
    assert not re.match(HOOK["files"], "docs/page.md")
