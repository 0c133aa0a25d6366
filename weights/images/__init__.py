"""From photographs to inputs, and the names of the classes."""

from weights.images.labels import names, wnids
from weights.images.photograph import prepare, takes_photographs

__all__ = ["names", "prepare", "takes_photographs", "wnids"]
