"""A trained network made into another one: classifier, class names, label order, first convolution, BatchNorms."""

from weights.change.changes import with_changes
from weights.change.classifier import with_classes
from weights.change.first_convolution import rewrite
from weights.change.folding import Folded, fold
from weights.change.given import with_class_names, with_preprocessing
from weights.change.label_order import reorder

__all__ = [
    "Folded",
    "fold",
    "reorder",
    "rewrite",
    "with_changes",
    "with_class_names",
    "with_classes",
    "with_preprocessing",
]
