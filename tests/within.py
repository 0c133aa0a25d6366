"""The one way in which tests hold errors against a bound."""

from collections.abc import Mapping

import numpy as np

from conformance.judge.standard import relative_error


def assert_within(errors: Mapping[str, float], bound: float) -> None:
    """Fails with every tensor whose error is above the bound, or is not a number."""
    over = {name: error for name, error in errors.items() if not error <= bound}
    assert not over, f"above {bound:.0e}: {over}"


def errors(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The relative error of every tensor that was found."""
    return {tensor: relative_error(found[tensor], expected[tensor]) for tensor in found}
