"""The networks of which most tests take all: the released ones and their plain counterparts."""

from weights import MODELS
from weights.names.caffe import NET_NAMES

PUBLISHED = {name: MODELS[name] for name in NET_NAMES}
"""By name. The further families have tests of their own, in tests/families."""
