"""A trained network made into another one: its classifier, the order of its classes, its first convolution."""

from weights.change.classifier import with_classes
from weights.change.first_convolution import rewrite
from weights.change.label_order import reorder

__all__ = ["reorder", "rewrite", "with_classes"]
