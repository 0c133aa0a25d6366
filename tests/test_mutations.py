"""Each known porting bug, put into each framework, is caught at its own tap; nothing is caught where there is none."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from conformance import mutations
from conformance.adapters import STANDARD
from conformance.mutations import MUTATIONS, Edit, Mutation, inject

CASES = [(name, framework) for name, m in MUTATIONS.items() for framework in m.frameworks]
HARMLESS = Mutation(name="none", what="nothing is wrong", at="stem.conv1")


@pytest.fixture(scope="module")
def findings():
    """Of every bug in every framework, each framework in a process of its own."""
    with ThreadPoolExecutor(2) as pool:
        return {(f.mutation, f.framework): f for found in pool.map(mutations.isolated, STANDARD) for f in found}


@pytest.mark.parametrize(("name", "framework"), CASES, ids=map("-".join, CASES))
def test_a_bug_is_caught_at_its_tap(findings, name, framework):
    found = findings[name, framework]
    assert found.found == found.expected, found


def test_there_are_thirty_bugs_in_three_frameworks():
    assert sum({"torch", "jax", "tf"} <= set(m.frameworks) for m in MUTATIONS.values()) >= 30


@pytest.mark.parametrize("network", mutations.NETWORKS)
@pytest.mark.parametrize("framework", STANDARD)
def test_nothing_is_caught_where_nothing_is_wrong(framework, network):
    assert inject(replace(HARMLESS, network=network), framework).found is None


def test_a_bug_that_the_source_has_outgrown_is_an_error():
    bug = replace(HARMLESS, edits={"numpy": (Edit("conformance.reference.forward", "no such line", ""),)})
    with pytest.raises(LookupError, match=r"conformance\.reference has nothing like 'no such line' to change"):
        inject(bug, "numpy")


def test_a_bug_leaves_nothing_behind():
    import se_torch.layers

    before = sys.modules["se_torch.layers"]
    assert inject(MUTATIONS["pool-floor"], "torch").found == "stem.pool"
    assert sys.modules["se_torch.layers"] is before is se_torch.layers
    assert inject(HARMLESS, "torch").found is None


def test_the_documented_table_has_every_bug_caught():
    page = (Path(__file__).parents[1] / "docs" / "mutations.md").read_text()
    rows = [line.split(" | ")[0].removeprefix("| ") for line in page.splitlines() if line.startswith("| ")]
    assert rows[2:] == list(MUTATIONS)
    assert "**" not in page
