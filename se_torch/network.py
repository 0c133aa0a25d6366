"""What every network is in PyTorch: a module that carries its record and its info. Compare se_jax/network.py."""

from torch import Tensor, nn

from weights import Info, Preprocessing, Spec
from weights.params import Labels


class Network(nn.Module):
    """Images (N, 3, H, W) to logits (N, classes), or to pooled features (N, C) where the spec has no classes.

    Attributes:
        spec: the record that the network was built from.
        info: what the parameters expect and where they come from; empty until parameters are loaded.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.info = Info()

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How images are prepared for these parameters; None if it is not known."""
        return self.info.preprocessing

    @property
    def labels(self) -> Labels | None:
        """The order of the classes; None if it is not known."""
        return self.info.labels

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The feature maps (N, C, h, w): the last ones of each stride, from the largest to the smallest."""
        raise NotImplementedError
