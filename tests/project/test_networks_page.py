"""docs/networks.md names every family and every name of a network."""

import re
from pathlib import Path

from weights import FAMILIES, MODELS

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()


def test_every_family_has_a_row():
    rows = set(re.findall(r"^\|[^|]*\| `([\w-]+)` \|", PAGE, re.M))
    assert rows == set(FAMILIES)


def test_names_in_code_that_look_like_networks_are_networks():
    named = {name for name in re.findall(r"`((?:se-)?[a-z]+-[\w.-]*\d[\w-]*)`", PAGE) if "=" not in name}
    plain = {name for name in named if not re.search(r"\.\.\.|legacy_", name)}
    assert len(plain) >= 15
    assert plain <= set(MODELS), plain - set(MODELS)
