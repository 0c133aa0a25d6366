"""``dtype()`` of runtimes that compute in float32 only."""

from weights.networks.network import Network
from weights.networks.spec import Spec


def single(spec: Network | Spec, shape: tuple[int, ...], dtype: str) -> str:
    """float32, whatever is asked for: the runtime has no other kernels, or passes float64 through float32."""
    del spec, shape, dtype
    return "float32"
