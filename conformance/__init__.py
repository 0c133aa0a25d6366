"""Proves networks equal, tap by tap, across frameworks and to the original Caffe. Importing it imports none of them."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.judge.bounds import BOUNDS
    from conformance.judge.compare import compare, compare_gradients, compare_training, gradients, run, train
    from conformance.judge.verdict import Comparison, Verdict
    from conformance.reference.training import Recipe
    from weights import __version__

__all__ = [
    "BOUNDS",
    "Comparison",
    "Recipe",
    "Verdict",
    "__version__",
    "compare",
    "compare_gradients",
    "compare_training",
    "gradients",
    "run",
    "train",
]


def __getattr__(name: str) -> object:
    # Only when used: the command line is in this package, and its --help should not wait for NumPy.
    if name == "__version__":
        return import_module("weights").__version__
    if name in __all__:
        return getattr(import_module("conformance.judge.compare"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
