"""Each known porting bug, put into each framework, is caught at its own tap; nothing is caught where there is none."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mutants.injection import DTYPES, MUTANTS, NETWORKS, inject, isolated
from mutants.mutant import Mutant, Substitute
from mutants.substitution import StaleError, substituted

from conformance.adapters import STANDARD
from conformance.reference import forward

CASES = [(name, framework, dtype) for name, m in MUTANTS.items() for framework in m.frameworks for dtype in DTYPES]
HARMLESS = Mutant(name="none", what="nothing is wrong", at="stem.conv1")


@pytest.fixture(scope="module")
def findings():
    """The finding for every bug in every framework, each framework in a process of its own."""
    with ThreadPoolExecutor(2) as pool:
        return {(f.mutant, f.framework, f.dtype): f for found in pool.map(isolated, STANDARD) for f in found}


@pytest.mark.parametrize(("name", "framework", "dtype"), CASES, ids=map("-".join, CASES))
def test_bug_is_caught_at_its_tap(findings, name, framework, dtype):
    found = findings[name, framework, dtype]
    hidden = dtype == "float32" and MUTANTS[name].hidden
    assert found.found == (None if hidden else found.expected), found


def test_thirty_bugs_are_in_all_three_ports():
    assert sum({"torch", "jax", "tf"} <= set(m.frameworks) for m in MUTANTS.values()) >= 30


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("framework", STANDARD)
def test_nothing_is_caught_where_nothing_is_wrong(framework, network):
    mutant = replace(HARMLESS, network=network)
    assert [inject(mutant, framework, dtype).found for dtype in DTYPES] == [None, None]


def test_substitute_of_a_missing_name_is_an_error():
    stale = Substitute(forward, "no_such_function", forward.sigmoid)
    message = r"conformance\.reference\.forward\.no_such_function does not exist"
    with pytest.raises(StaleError, match=message), substituted([stale]):
        pass


def test_substitute_of_a_missing_key_is_an_error():
    stale = Substitute(forward.GLOBAL_POOLS, "median", forward.sigmoid)
    with pytest.raises(StaleError, match=r"a table\.median does not exist"), substituted([stale]):
        pass


def test_substitute_that_is_never_called_is_an_error():
    unused = Substitute(forward, "avg_pool", forward.avg_pool)
    message = r"nothing called the substitute of conformance\.reference\.forward\.avg_pool"
    with pytest.raises(StaleError, match=message), substituted([unused]):
        forward.sigmoid(np.zeros(1))


def test_bug_without_its_substitute_is_an_error():
    with pytest.raises(StaleError, match="numpy has no substitute for none"):
        inject(replace(HARMLESS, code=("numpy",)), "numpy")


def test_bug_leaves_nothing_behind():
    before = forward.pool
    assert inject(MUTANTS["pool-floor"], "numpy").found == "stem.pool"
    assert forward.pool is before
    assert inject(HARMLESS, "numpy").found is None


def test_error_in_the_block_still_restores_the_function():
    before = forward.pool
    with pytest.raises(ZeroDivisionError), substituted([Substitute(forward, "pool", before)]):
        raise ZeroDivisionError
    assert forward.pool is before


def test_documented_table_has_every_bug_caught():
    page = (Path(__file__).parents[2] / "docs" / "mutations.md").read_text()
    _, *tables = page.split("\n## In ")
    assert [table.split()[0] for table in tables] == list(DTYPES)
    for table in tables:
        rows = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")]
        assert rows[2:] == list(MUTANTS)
    assert "**" not in page
    hidden = sum(m.hidden != "" for m in MUTANTS.values())
    assert (page.count("hidden: "), hidden) == (sum(len(m.frameworks) for m in MUTANTS.values() if m.hidden), 4)
