"""The words for what a run has in short form: an adapter, what of it is compared, an error."""

import math

from conformance.adapters import title_of
from conformance.judge.bounds import What

KINDS: dict[What, str] = {
    "taps": "",
    "gradients": "gradients",
    "training gradients": "gradients in training",
    "statistics": "statistics of a step",
    "momentum": "two steps",
    "training": "training",
}
"""What is compared, beside the title of an adapter: taps go without saying."""


def titled(adapter: str, what: What) -> str:
    """An adapter, and what of it is compared."""
    return ", ".join(filter(None, (title_of(adapter), KINDS[what])))


def error_in_words(error: float, roundings: float | None = None) -> str:
    """An error with two digits, and in units of rounding where they are given; or that it is not a number."""
    if not math.isfinite(error):
        return "not a number"
    return f"{error:.1e}" + (f", {roundings:.3g} roundings" if roundings is not None else "")
