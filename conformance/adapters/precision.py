"""``dtype()`` of what computes in some precisions only."""

from weights.networks.network import Network
from weights.networks.spec import Spec


def single(spec: Network | Spec, shape: tuple[int, ...], dtype: str) -> str:
    """float32, whatever is asked for: the runtime has no other kernels, or passes float64 through float32."""
    del spec, shape, dtype
    return "float32"


def fast(spec: Network | Spec, shape: tuple[int, ...], dtype: str) -> str:
    """bfloat16 where that is asked for, else float32: the fast paths have these two."""
    del spec, shape
    return "bfloat16" if dtype == "bfloat16" else "float32"
