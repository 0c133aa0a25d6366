"""Parameters into and out of the networks, in PyTorch. Compare se_jax/params.py and se_tf/params.py."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import numpy as np
import torch

import weights
from se_torch.models import build
from se_torch.network import Network
from weights import Params, Spec, schema
from weights.change.classifier import with_classes
from weights.networks.parameters import check
from weights.params import info_of


def from_pretrained(
    path: str | PathLike[str],
    dtype: str = "float32",
    classes: int | None = None,
    *,
    prototxt: str | PathLike[str] | None = None,
    dialect: str | None = None,
    spec: Spec | None = None,
) -> Network:
    """The network in a checkpoint of any format that ``weights.read`` knows, in inference mode.

    Args:
        path: .caffemodel, .safetensors, ...
        dtype: as of ``build``.
        classes: number of classes, if it differs from the checkpoint's: a new classifier, to be trained, replaces its
            own; 0 for none.
        prototxt: as of ``weights.read``: the definition of a Caffe network.
        dialect: as of ``weights.read``: whose names the tensors have.
        spec: as of ``weights.read``: the record, for files that do not state it.

    Returns:
        The model; ``.spec`` says what it is, ``.info`` what it expects and where it comes from, ``.preprocessing`` and
        ``.labels`` what is needed most of that.

    Raises:
        InputError: the file cannot be used.
    """
    found, params = weights.read(Path(path), prototxt=Path(prototxt) if prototxt else None, dialect=dialect, spec=spec)
    if classes is not None:
        found, params = with_classes(found, params, classes)
    return restore(found, params, dtype)


def restore(spec: Spec, params: Mapping[str, np.ndarray], dtype: str = "float32") -> Network:
    """The network of a spec with these parameters (canonical names), in inference mode.

    Raises:
        InputError: the parameters do not fit the spec.
    """
    model = build(spec, dtype)
    load(model, params)
    return model.eval()


def load(model: Network, params: Mapping[str, np.ndarray]) -> None:
    """Copies canonical parameters into a model, cast to its dtype, and sets its info to theirs.

    Raises:
        InputError: lists every missing, unexpected and mis-shaped array; the model is then as before.
    """
    info = info_of(params)
    check(model.spec, params, info.source or "parameters")
    variables = model.state_dict()
    for p in schema(model.spec):
        array = params[p.name]
        # A copy, because PyTorch takes no read-only arrays; of a dtype that it knows.
        array = np.array(array, np.promote_types(array.dtype, np.float32))
        variables[p.name].copy_(torch.from_numpy(array))
    model.info = info


def dump(model: Network) -> Params:
    """Copies of a model's parameters by canonical name (OIHW, OI, C), at least in float32, with the model's info."""
    variables = model.state_dict()
    params = Params(info=model.info)
    for p in schema(model.spec):
        tensor = variables[p.name].cpu()
        params[p.name] = tensor.to(torch.promote_types(tensor.dtype, torch.float32), copy=True).numpy()
    return params
