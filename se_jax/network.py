"""What every network is in Flax: a module that carries its record and its info. Compare se_torch/network.py."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from flax import nnx
from jax import Array

from se_jax.layers import BatchNorm
from weights import Info, Preprocessing, Spec
from weights.change.as_it_is import as_it_is
from weights.names.frameworks import FLAX
from weights.params import Labels

N = TypeVar("N", bound="Network")


class Network(nnx.Module):
    """Images (N, H, W, 3) to logits (N, classes), or to pooled features (N, C) where the spec has no classes.

    Attributes:
        spec: the record that the network was built from.
        info: what the parameters expect and where they come from; empty until parameters are loaded.
        dropout: before the classifier.
    """

    dropout: nnx.Dropout

    def __init__(self, spec: Spec) -> None:
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

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the outputs; empty if they are not known."""
        return self.info.class_names

    def as_it_is(self) -> tuple[Spec, Info]:
        """The record and the info of the network as it is now: its first and last layer may have been replaced.

        Raises:
            InputError: it has changed otherwise since it was built; the message says what to do.
        """
        nodes = [(".".join(map(str, path)), node) for path, node in nnx.iter_graph(self)]
        held = nnx.Param, nnx.BatchStat
        shapes = {name: tuple(node.get_value().shape) for name, node in nodes if isinstance(node, held)}
        eps = {name: node.epsilon for name, node in nodes if isinstance(node, nnx.BatchNorm)}
        return as_it_is(self.spec, self.info, FLAX, shapes, eps, self.dropout.rate, _layers(self), _built)

    def features(self, x: Array) -> tuple[Array, ...]:
        """The feature maps (N, h, w, C): the last ones of each stride, from the largest to the smallest."""
        raise NotImplementedError


def without_values(make: Callable[[nnx.Rngs], N]) -> N:
    """The network that a function makes with random numbers, but with the shapes of its parameters only."""

    def made() -> N:
        rngs = nnx.Rngs(0)
        rngs.default = _OneKey(0, tag="default")  # pyright: ignore[reportAttributeAccessIssue], it takes any name
        return make(rngs)

    return nnx.eval_shape(made)


class _OneKey(nnx.RngStream):
    """Gives the same key each time.

    A stream counts its keys, and while shapes are traced each count costs more than the one before: in SENet-154 twelve
    seconds of thirteen.
    """

    def __call__(self) -> Array:
        return self.key[...]


def _layers(model: nnx.Module) -> dict[str, str]:
    """What the layers compute, by path, as ``as_it_is`` compares them."""
    found = {".".join(map(str, path)): node for path, node in nnx.iter_graph(model) if isinstance(node, nnx.Module)}

    def described(path: str, layer: nnx.Module) -> str:
        kind = type(layer)
        if not path:
            return f"computed by {kind.__call__.__module__}.{kind.__call__.__qualname__}"
        if kind in (BatchNorm, nnx.BatchNorm):  # whose eps is compared, and shapes
            return "BatchNorm"
        if kind is nnx.Dropout:
            return "Dropout"
        if path == "fc" and kind is nnx.Linear:
            return "Linear"
        settings = (f"{key}={vars(layer)[key]}" for key in _SETTINGS if key in vars(layer))
        ours = kind.__module__.partition(".")[0] in ("flax", "se_jax")
        name = kind.__name__ if ours else f"{kind.__module__}.{kind.__qualname__}"
        return f"{name}({', '.join(settings)})"

    return {path or "the model": described(path, layer) for path, layer in found.items()}


_SETTINGS = ("kernel_size", "strides", "padding", "feature_group_count", "stride", "pad", "after", "position", "factor")
"""Attributes of layers that say what they compute."""


@lru_cache(maxsize=16)
def _built(spec: Spec) -> dict[str, str]:
    from se_jax.models import NETWORKS  # which imports this module

    return _layers(without_values(lambda rngs: NETWORKS[spec.family](spec, rngs=rngs)))
