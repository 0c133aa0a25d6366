"""Parameters into and out of the networks, in PyTorch. Compare se_jax/params.py and se_tf/params.py."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Unpack, cast

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import weights
from se_torch.models import build
from se_torch.network import Network, refuse_hooks
from se_torch.programs import write_program
from weights import Checkpoint, InputError, Params, Preprocessing, Spec, schema
from weights.change import with_changes, with_class_names, with_classes
from weights.change.as_it_is import expect_model
from weights.change.first_convolution import Convention
from weights.change.since_loaded import loaded, since_loaded
from weights.files import format_of
from weights.files.options import WriteOptions, refuse
from weights.files.programs import suffix_of
from weights.hub import located
from weights.networks.parameters import check
from weights.params import Labels, info_of


def from_pretrained(
    path: str | PathLike[str],
    dtype: str = "float32",
    classes: int | None = None,
    *,
    seed: int | None = None,
    class_names: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    prototxt: str | PathLike[str] | None = None,
    dialect: str | None = None,
    spec: Spec | None = None,
    weights_key: str | None = None,
) -> Network:
    """The network in a checkpoint of any format that ``weights.read`` knows, in inference mode.

    Args:
        path: .caffemodel, .safetensors, ...; or the name of a network whose trained weights are known, which are
            fetched once (``weights.hub.fetch``): "se-resnet-50". A file of that name comes first.
        dtype: as of ``build``; "float32" whatever PyTorch's default is.
        classes: number of classes, if it differs from the checkpoint's: a new classifier, to be trained, replaces its
            own; 0 for none.
        seed: of the new classifier; without it PyTorch draws one, which ``torch.manual_seed`` makes repeatable.
        class_names: one for each output of the model; the file or ``classes`` says how many there are.
        preprocessing: as of ``weights.read``: what the network expects, for files that do not state it.
        prototxt: as of ``weights.read``: the definition of a Caffe network.
        dialect: as of ``weights.read``: whose names the tensors have.
        spec: as of ``weights.read``: the record, for files that do not state it.
        weights_key: as of ``weights.read``: which of several sets of weights.

    Returns:
        The model; ``.spec`` says what it is, ``.info`` what it expects and where it comes from, ``.preprocessing`` and
        ``.labels`` what is needed most of that.

    Raises:
        InputError: the file cannot be used, or the trained weights cannot be had.
    """
    found = weights.read(
        located(path),
        prototxt=prototxt,
        dialect=dialect,
        spec=spec,
        preprocessing=preprocessing,
        weights_key=weights_key,
    )
    if classes is not None:
        drawn = int(torch.randint(2**31, (), device="cpu")) if seed is None else seed
        found = with_classes(*found, classes, drawn)
    if class_names is not None:
        found = with_class_names(found, class_names)
    return restore(*found, dtype)


def restore(spec: Spec, params: Mapping[str, np.ndarray], dtype: str = "float32") -> Network:
    """The network of a spec with these parameters (canonical names), in inference mode.

    Raises:
        InputError: the parameters do not fit the spec.
    """
    model = build(spec, dtype)
    load(model, params)
    return model.eval()


def load(model: nn.Module, params: Mapping[str, np.ndarray]) -> None:
    """Copies canonical parameters into a model, cast to its dtype, and sets its info to theirs.

    Raises:
        InputError: lists every missing, unexpected and mis-shaped array; the model is then as before. Or the model is
            on the device "meta", which holds no values.
    """
    model = _unwrapped(model)
    info = info_of(params)
    check(model.spec, params, info.source or "parameters")
    variables = model.state_dict()
    if any(tensor.is_meta for tensor in variables.values()):
        raise InputError(
            f'{model.spec.name}: the model is on the device "meta", which holds no values: build it on another one, '
            'or call model.to_empty(device="cpu") first'
        )
    for p in schema(model.spec):
        array = params[p.name]
        # A copy, because PyTorch takes no read-only arrays; of a dtype that it knows.
        array = np.array(array, np.promote_types(array.dtype, np.float32))
        variables[p.name].copy_(torch.from_numpy(array))
    model.info = loaded(params, info)


def checkpoint(model: nn.Module) -> Checkpoint:
    """What the model is now, also inside of ``torch.compile`` or a parallel wrapper, with copies of its parameters.

    The record is ``model.spec``, but for the classes where the classifier was replaced; then nothing is known of labels
    and class names. Parameters have canonical names (OIHW, OI, C) and are at least in float32. The history says whether
    they are still the values that were loaded.

    Raises:
        InputError: it is no model of ``se_torch``, or has changed otherwise since it was built; the message says
            what to do.
    """
    model = _unwrapped(model)
    spec, info = model.as_it_is()
    variables = model.state_dict()
    params = Params(info=info)
    for p in schema(spec):
        tensor = variables[p.name].cpu()
        params[p.name] = tensor.to(torch.promote_types(tensor.dtype, torch.float32), copy=True).numpy()
    return Checkpoint(spec, since_loaded(params))


def dump(model: nn.Module) -> Params:
    """The parameters of ``checkpoint``.

    Raises:
        InputError: as ``checkpoint``.
    """
    return checkpoint(model).params


def save(
    model: nn.Module,
    path: str | PathLike[str],
    *,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
    labels: Labels | None = None,
    convention: Convention | None = None,
    **options: Unpack[WriteOptions],
) -> None:
    """Saves a model with all that travels: network, preprocessing, labels, class names, history.

    Args:
        model: its classifier may have been replaced by one fully connected layer of other classes. Of what
            ``torch.compile``, a parallel wrapper or ``AveragedModel`` made of a model, the one inside is saved.
        path: the suffix chooses the format, as of ``weights.write``: .safetensors, .pth, .keras, .onnx, ...; or the
            program: .pt2 is a program of ``torch.export``, in the model's dtype.
        preprocessing: how images are prepared, where ``model.preprocessing`` is not known.
        class_names: one for each output, where the model has none: of a classifier that was replaced.
        labels: the order that the file's ImageNet classes get, "sorted" or "devkit"; the model stays as it is.
        convention: the input that the file's network gets, "rgb01" (RGB 0..1) or "bgr255"; the model stays as it is.
        options: those of ``weights.write``: ``dialect``.

    Raises:
        InputError: the model has changed otherwise since it was built, the file cannot be written, or does not take
            such an option.
    """
    found = with_changes(
        checkpoint(model), preprocessing=preprocessing, class_names=class_names, labels=labels, convention=convention
    )
    suffix = suffix_of(path)
    if suffix or format_of(path).name in ("onnx", "openvino"):
        refuse_hooks(model, f"{path}: is a program")
    if suffix is None:
        weights.write(path, found, **options)
        return
    refuse(path, "a program is written without such options", **options)
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    write_program(Path(path), restore(*found, dtype), found)


def _unwrapped(model: nn.Module) -> Network:
    """The model inside of what ``torch.compile``, a parallel wrapper or an average of weights made of it.

    Raises:
        InputError: there is no model of ``se_torch`` in it.
    """
    wrappers = nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel
    inside: Any = model
    while isinstance(inside, nn.Module):
        held = dict(inside.named_children())
        if "_orig_mod" in held:  # of torch.compile, whose class takes long to import
            inside = held["_orig_mod"]
        elif isinstance(inside, wrappers):
            inside = held["module"]
        else:
            break
    expect_model(inside, Network, "se_torch")
    return cast(Network, inside)
