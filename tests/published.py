"""The seven released networks and their plain counterparts: those that slow tests of all networks at full size take.

The networks of other families are tested at full size, where they are, with their families.
"""

from weights import MODELS
from weights.caffe.released import RELEASED

_KINDS = {spec.name.removeprefix("se-") for spec in RELEASED}
ORIGINAL = [name for name in MODELS if name.removeprefix("se-") in _KINDS]
