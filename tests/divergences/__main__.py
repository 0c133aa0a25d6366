"""Prints docs/divergences.md: ``python -m tests.divergences > docs/divergences.md``."""

from .page import page

print(page(), end="")
