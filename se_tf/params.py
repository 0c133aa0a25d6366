"""Parameters into and out of the networks, in Keras. Compare se_torch/params.py and se_tf/params.py."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import keras
import numpy as np

import weights
from se_tf.inception import Inception
from se_tf.models import build
from se_tf.resnet import ResNet
from weights import Info, Params, Spec, schema
from weights.change.classifier import with_classes
from weights.names.frameworks import KERAS
from weights.networks.parameters import check
from weights.params import info_of


def from_pretrained(
    path: str | PathLike[str], dtype: str = "float32", classes: int | None = None, **options: Any
) -> ResNet | Inception:
    """The network in a checkpoint of any format that ``weights.read`` knows, ready for inference.

    Args:
        path: .caffemodel, .safetensors, ...
        dtype: as of ``build``.
        classes: how many, if others than the checkpoint's: a new classifier takes the place of its own, to fine-tune
            with; 0 for none.
        options: of the format, as of ``weights.read``.

    Returns:
        The model; ``.spec``, ``.preprocessing`` and ``.labels`` say what it is, expects and answers.

    Raises:
        InputError: the file cannot be used, or float64 is switched off.
    """
    spec, params = weights.read(str(path), **options)
    if classes is not None:
        spec, params = with_classes(spec, params, classes)
    return restore(spec, params, dtype)


def restore(spec: Spec, params: Mapping[str, np.ndarray], dtype: str = "float32") -> ResNet | Inception:
    """The network of a spec with these parameters (canonical names), ready for inference.

    Raises:
        InputError: the parameters do not fit the spec.
    """
    model = build(spec, dtype)
    load(model, params)
    return model


def load(model: ResNet | Inception, params: Mapping[str, np.ndarray]) -> None:
    """Copies canonical parameters into a model, cast to its dtype.

    Raises:
        InputError: lists every missing, unexpected and mis-shaped array; the model is then as before.
    """
    info = info_of(params)
    check(model.spec, params, info.source or "parameters")
    variables = _variables(model)
    for p in schema(model.spec):
        array = KERAS.encode(p, params[p.name])
        # Of a dtype that every backend knows.
        variables[_path(KERAS.key(p))].assign(array.astype(np.promote_types(array.dtype, np.float32)))
    model.preprocessing, model.labels, model.assumed = info.preprocessing, info.labels, info.assumed


def dump(model: ResNet | Inception) -> Params:
    """Copies of a model's parameters by canonical name (OIHW, OI, C), at least in float32."""
    variables = _variables(model)
    params = Params(info=Info(preprocessing=model.preprocessing, labels=model.labels, assumed=model.assumed))
    for p in schema(model.spec):
        array = np.asarray(keras.ops.convert_to_numpy(variables[_path(KERAS.key(p))]))
        params[p.name] = np.array(KERAS.decode(p, array), np.promote_types(array.dtype, np.float32), order="C")
    return params


def _variables(model: ResNet | Inception) -> dict[str, keras.Variable]:
    return {_path(variable.path): variable for variable in model.variables}


def _path(name: str) -> str:
    """'stage1.0.se/fc1/kernel' and 'stage1.0.se.fc1.kernel' as the same: what parts a name depends on the backend."""
    return name.replace("/", "_").replace(".", "_")
