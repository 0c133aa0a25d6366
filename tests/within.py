"""The one way in which tests hold errors against a bound."""

from collections.abc import Mapping


def assert_within(errors: Mapping[str, float], bound: float) -> None:
    """Fails with every tensor whose error is above the bound, or is not a number."""
    over = {name: error for name, error in errors.items() if not error <= bound}
    assert not over, f"above {bound:.0e}: {over}"
