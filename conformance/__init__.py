"""Proves networks equal, tap by tap, across frameworks and to the original Caffe. Importing it imports none of them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.judge.compare import (
        BOUNDS,
        Comparison,
        Recipe,
        Verdict,
        compare,
        compare_gradients,
        compare_training,
        gradients,
        run,
        train,
    )

__all__ = [
    "BOUNDS",
    "Comparison",
    "Recipe",
    "Verdict",
    "compare",
    "compare_gradients",
    "compare_training",
    "gradients",
    "run",
    "train",
]


def __getattr__(name: str) -> Any:
    # Only when used, because the command line is in this package and its --help should not wait for NumPy.
    if name in __all__:
        return getattr(import_module("conformance.judge.compare"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
