"""What every network is in PyTorch: a module that carries its record and its info. Compare se_jax/network.py."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from se_torch.layers import BatchNorm, Linear
from weights import Info, InputError, Preprocessing, Spec
from weights.change.as_it_is import as_it_is
from weights.files import metadata
from weights.files.torch import NOTE
from weights.names.frameworks import TORCH
from weights.networks.recognition import computing_otherwise
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

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the outputs; empty if they are not known."""
        return self.info.class_names

    def as_it_is(self) -> tuple[Spec, Info]:
        """The record and the info of the network as it is now: its first and last layer may have been replaced.

        Raises:
            InputError: it has changed otherwise since it was built; the message says what to do.
        """
        tensors = (*self.named_parameters(), *self.named_buffers())
        shapes = {name: tuple(t.shape) for name, t in tensors if not name.endswith(".num_batches_tracked")}
        norms = nn.BatchNorm2d, nn.SyncBatchNorm
        eps = {name: layer.eps for name, layer in self.named_modules() if isinstance(layer, norms)}
        dropout = getattr(self, "dropout", None)
        rate = dropout.p if isinstance(dropout, nn.Dropout) else None
        return as_it_is(self.spec, self.info, TORCH, shapes, eps, rate, _layers(self), _built)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Notes what the network is beside the version that PyTorch notes of every module; no key is added."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        notes = getattr(destination, "_metadata", None)
        if notes is not None:
            # A network that has changed since it was built is not noted: it is recognised, or refused, when read.
            with suppress(InputError):
                notes[prefix[:-1]][NOTE] = metadata.encode(*self.as_it_is())

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Takes over the info that the weights' network noted; refuses those of a network that computes otherwise."""
        found = missing_keys, unexpected_keys, error_msgs
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *found)
        if NOTE not in local_metadata:
            return
        stated, info = metadata.decode(local_metadata[NOTE], "the state dict")
        differ = computing_otherwise(stated, self.spec)
        if differ:
            error_msgs.append(
                f"the weights are of another network, which differs in {', '.join(differ)}: build that one, "
                "or load dict(state_dict), which says nothing of its network"
            )
        elif stated.classes == self.spec.classes:
            self.info = info

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """The feature maps (N, C, h, w): the last ones of each stride, from the largest to the smallest."""
        raise NotImplementedError


def _layers(model: nn.Module) -> dict[str, str]:
    """What the layers compute, by path, as ``as_it_is`` compares them."""
    return {
        path or "the model": _described(path, layer)
        for path, layer in model.named_modules()
        if path != "fc" or type(layer) is not nn.Identity
    }


def _described(path: str, layer: nn.Module) -> str:
    kind = type(layer)
    own = " with a forward of its own" if "forward" in vars(layer) else ""
    if not path:
        return f"computed by {kind.forward.__module__}.{kind.forward.__qualname__}{own}"
    if kind in (BatchNorm, nn.BatchNorm2d, nn.SyncBatchNorm):  # whose eps is compared, and shapes
        return f"BatchNorm{own}"
    if kind is nn.Dropout:
        return f"Dropout{own}"
    if path == "fc" and kind in (Linear, nn.Linear):
        return f"Linear{own}"
    ours = kind.__module__.partition(".")[0] in ("torch", "se_torch")
    name = kind.__name__ if ours else f"{kind.__module__}.{kind.__qualname__}"
    return f"{name}({layer.extra_repr().replace('inplace=True', '')}){own}"


def refuse_hooks(model: nn.Module, why: str) -> None:
    """Refuses hooks of forward passes, where what is made of the model computes without them.

    Raises:
        InputError: a module has one; it is named.
    """
    for path, layer in model.named_modules():
        if any(vars(layer)[hooks] for hooks in ("_forward_hooks", "_forward_pre_hooks")):
            raise InputError(
                f"{why}, which computes without the hook that {path or 'the model'} has: "
                "call remove() of what registered it, if it changes nothing"
            )


class _NothingDrawn(TorchFunctionMode):
    """Leaves initial values out: on the meta device drawing them imports PyTorch's compiler, seconds for nothing."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> object:
        return args[0] if func in (Tensor.normal_, Tensor.uniform_) else func(*args, **(kwargs or {}))


@lru_cache(maxsize=16)
def _built(spec: Spec) -> dict[str, str]:
    from se_torch.models import NETWORKS  # which imports this module

    with torch.device("meta"), _NothingDrawn():
        return _layers(NETWORKS[spec.family](spec))
