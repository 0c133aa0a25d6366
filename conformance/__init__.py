"""Proves networks equal, tap by tap, across frameworks and to the original Caffe. Importing it imports none of them."""

from conformance.comparison import BOUNDS, Comparison, Result, compare, run

__all__ = ["BOUNDS", "Comparison", "Result", "compare", "run"]
