"""The program of 8-bit integers for LiteRT, whose scales the images of the question choose; logits alone."""

from functools import partial

from conformance.adapters import ADAPTERS, tf_lite
from conformance.adapters.precision import single as dtype
from conformance.adapters.tf import build, version

__all__ = ["NAME", "build", "dtype", "taps", "version"]

NAME = ADAPTERS["tf_lite_int8"].title
taps = partial(tf_lite.taps, calibrated=True)
