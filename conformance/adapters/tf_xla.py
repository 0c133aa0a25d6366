"""Keras on TensorFlow, compiled by XLA: all taps (which are kept, and so not fused away) and gradients."""

from functools import partial

from conformance.adapters import ADAPTERS
from conformance.adapters import tf as graph
from conformance.adapters.tf import build, on, version

__all__ = ["NAME", "build", "gradients", "on", "taps", "version"]

NAME = ADAPTERS["tf_xla"].title
taps = partial(graph.taps, xla=True)
gradients = partial(graph.gradients, xla=True)
