"""From named tensors to a network and its parameters, and back: what the files of all frameworks have in common."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from weights.errors import InputError
from weights.names.dialect import CADENE, STATE_DICTS, TIMM, TORCH, Dialect, state_dict_dialect
from weights.networks.models import MODELS
from weights.networks.parameters import check, schema
from weights.networks.spec import Spec
from weights.params import Info, Params, Preprocessing

IMAGENET = Preprocessing(channels="rgb", range=1, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""What Cadene's and timm's conversions of the released networks expect."""

_WRAPPERS = {"module": "DataParallel", "_orig_mod": "torch.compile"}
"""Modules of PyTorch's that hold the network: the name under which they do so."""


def to_state(spec: Spec, params: Mapping[str, np.ndarray], dialect: str | Dialect = TORCH) -> dict[str, np.ndarray]:
    """Parameters as a PyTorch module's ``state_dict`` has them, BatchNorm's ``num_batches_tracked`` (0) included.

    Raises:
        InputError: the parameters do not fit the spec, or the dialect has no names for such a network.
    """
    check(spec, params)
    names = dialect if isinstance(dialect, Dialect) else state_dict_dialect(dialect, spec)
    state = {}
    for p in schema(spec):
        state[names.key(p)] = names.encode(p, params[p.name])
        if p.leaf == "running_var":
            state[f"{names.module(p.module)}.num_batches_tracked"] = np.array(0, np.int64)
    return state


def from_state(
    path: str | Path,
    tensors: Mapping[str, np.ndarray],
    dialect: str | None = None,
    spec: Spec | None = None,
    info: Info | None = None,
    **_: Any,
) -> tuple[Spec, Params]:
    """The network that a PyTorch state dict belongs to, told by names and shapes, and its canonical parameters.

    Args:
        path: where the tensors come from.
        dialect: what the names are, if the caller knows; otherwise they tell.
        spec: the network, where the file states it; otherwise one of ``MODELS`` with any number of classes: shapes
            do not tell where strides sit.
        info: what the file states about the parameters. Without it, those under Cadene's and timm's names are taken
            for conversions of the kind these projects publish, and ``info.assumed`` says so.

    Raises:
        InputError: the tensors are of none of these networks, or of one that looks alike and computes otherwise.
    """
    if dialect and dialect not in STATE_DICTS:
        raise InputError(f"unknown dialect {dialect!r}; known are {', '.join(STATE_DICTS)}")
    history = list(info.history) if info else []
    while tensors and (prefix := next(iter(tensors)).partition(".")[0]) in _WRAPPERS:
        if not all(name.startswith(f"{prefix}.") for name in tensors):
            break
        tensors = {name.removeprefix(f"{prefix}."): array for name, array in tensors.items()}
        history.append(f"names lost the prefix '{prefix}.' of {_WRAPPERS[prefix]}")
    tensors = {name: a for name, a in tensors.items() if not name.endswith(".num_batches_tracked")}
    _refuse_lookalikes(path, tensors)
    names, found = identify(path, tensors, [STATE_DICTS[dialect]] if dialect else [TORCH, TIMM], spec)
    if info is None:
        info = Info(source=Path(path).name, format="state dict")
        if names in (TIMM, CADENE):
            found = replace(found, eps=1e-5)  # PyTorch's, a double; Caffe's is a float
            order = "sorted" if found.classes == 1000 else None
            assumed = ("preprocessing", "labels") if order else ("preprocessing",)
            info = replace(info, format=names.name, preprocessing=IMAGENET, labels=order, assumed=assumed)
    return found, decode(path, found, tensors, names, replace(info, history=tuple(history)))


def decode(path: str | Path, spec: Spec, tensors: Mapping[str, np.ndarray], names: Dialect, info: Info) -> Params:
    """Tensors by a dialect's names as canonical parameters (views).

    Raises:
        InputError: one is no floating-point array.
    """
    params = Params(info=info)
    for p in schema(spec):
        array = tensors[names.key(p)]
        if array.dtype.kind != "f":
            raise InputError(f"{path}: {names.key(p)} holds {array.dtype}, expected floating-point numbers")
        params[p.name] = names.decode(p, array)
    return params


def identify(
    path: str | Path, tensors: Mapping[str, np.ndarray], dialects: Iterable[Dialect], spec: Spec | None = None
) -> tuple[Dialect, Spec]:
    """Which dialect the names are in and which network has exactly these shapes.

    Raises:
        InputError: none has; the message compares with the nearest.
    """
    shapes = {name: tuple(array.shape) for name, array in tensors.items()}
    nearest: tuple[int, Dialect, Spec] | None = None
    for names in dialects:
        classes = max(shapes.get(f"{names.module('fc')}.bias") or (0,))
        for known in [spec] if spec else [replace(model, classes=classes) for model in MODELS.values()]:
            wanted = {names.key(p): names.shape(p) for p in schema(known)}
            if wanted == shapes:
                return names, known
            score = len(wanted.items() & shapes.items())
            if nearest is None or score > nearest[0]:
                nearest = (score, names, known)
    assert nearest is not None
    score, names, known = nearest
    if spec or 2 * score > len(shapes):
        what = "as it says" if spec else "the nearest network known"
        raise InputError(f"{path}: does not fit {known.name}, {what}\n  {_differences(names, known, shapes)}")
    if any(names.module("stem.conv1") in name for name in shapes):
        raise InputError(
            f"{path}: is none of {', '.join(MODELS)}, and does not state its strides, which shapes do not show; "
            "read a file that says what it is (any that senet writes), or give spec="
        )
    some = ", ".join(name[:80] for name in list(shapes)[:3]) or "none"
    raise InputError(
        f"{path}: its {len(shapes)} tensors ({some}, ...) are those of no network of this family; the names may be "
        "senet's own, or those of timm's legacy_se* and Cadene's se_* networks"
    )


def _differences(names: Dialect, spec: Spec, shapes: Mapping[str, tuple[int, ...]]) -> str:
    wanted = {names.key(p): names.shape(p) for p in schema(spec)}
    findings = [f"- {name} {shape} is missing" for name, shape in wanted.items() if name not in shapes]
    findings += [f"+ {name} {shape} is unexpected" for name, shape in shapes.items() if name not in wanted]
    findings += [
        f"! {name} has shape {shapes[name]}, expected {shape}"
        for name, shape in wanted.items()
        if name in shapes and shapes[name] != shape
    ]
    more = [f"... and {len(findings) - 20} more"] if len(findings) > 20 else []
    return "\n  ".join(findings[:20] + more)


def _refuse_lookalikes(path: str | Path, tensors: Mapping[str, np.ndarray]) -> None:
    if "conv1.weight" in tensors and "layer1.0.conv1.weight" in tensors:
        raise InputError(
            f"{path}: these are the names of torchvision's ResNet (timm's resnet50, seresnet50 and others share them), "
            "which pads its max-pooling by 1 and strides in the 3x3 convolution: another network than those here, "
            "though the shapes agree; convert a checkpoint of timm's legacy_se* or Cadene's se_* networks instead"
        )
