"""Parameters into and out of the networks, in Keras. Compare se_torch/params.py and se_jax/params.py."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import keras
import numpy as np

import weights
from se_tf.models import build
from se_tf.network import Network
from weights import Params, Spec, schema
from weights.change import with_class_names, with_classes
from weights.names.frameworks import KERAS
from weights.names.keras import by_flat, flat
from weights.networks.parameters import check
from weights.params import info_of


def from_pretrained(
    path: str | PathLike[str],
    dtype: str | None = None,
    classes: int | None = None,
    *,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    **options: Any,
) -> Network:
    """The network in a checkpoint of any format that ``weights.read`` knows, ready for inference.

    Args:
        path: .caffemodel, .safetensors, ...
        dtype: as of ``build``: without it, Keras' global policy.
        classes: number of classes, if it differs from the checkpoint's: a new classifier, to be trained, replaces its
            own; 0 for none.
        seed: of the new classifier.
        class_names: one for each output of the model; the file or ``classes`` says how many there are.
        options: as of ``weights.read``: ``spec=``, ``preprocessing=``, ``dialect=``, ``weights_key=``, ``prototxt=``.

    Returns:
        The model; ``.spec`` says what it is, ``.info`` what it expects and where it comes from, ``.preprocessing`` and
        ``.labels`` what is needed most of that.

    Raises:
        InputError: the file cannot be used, or float64 is switched off.
    """
    found = weights.read(path, **options)
    if classes is not None:
        found = with_classes(*found, classes, seed)
    if class_names is not None:
        found = with_class_names(found, class_names)
    return restore(*found, dtype)


def restore(spec: Spec, params: Mapping[str, np.ndarray], dtype: str | None = None) -> Network:
    """The network of a spec with these parameters (canonical names), ready for inference.

    Raises:
        InputError: the parameters do not fit the spec.
    """
    model = build(spec, dtype)
    load(model, params)
    return model


def load(model: Network, params: Mapping[str, np.ndarray]) -> None:
    """Copies canonical parameters into a model, cast to its dtype, and sets its info to theirs.

    Raises:
        InputError: lists every missing, unexpected and mis-shaped array; the model is then as before.
    """
    info = info_of(params)
    check(model.spec, params, info.source or "parameters")
    variables = _variables(model)
    for p in schema(model.spec):
        array = KERAS.encode(p, params[p.name])
        # Of a dtype that every backend knows.
        variables[KERAS.key(p)].assign(array.astype(np.promote_types(array.dtype, np.float32)))
    model.info = info


def dump(model: Network) -> Params:
    """Copies of a model's parameters by canonical name (OIHW, OI, C), at least in float32, with the model's info."""
    variables = _variables(model)
    params = Params(info=model.info)
    for p in schema(model.spec):
        array = np.asarray(keras.ops.convert_to_numpy(variables[KERAS.key(p)]))
        params[p.name] = np.array(KERAS.decode(p, array), np.promote_types(array.dtype, np.float32), order="C")
    return params


def _variables(model: Network) -> dict[str, keras.Variable]:
    """The model's variables by dotted path, "stage1.0.conv1.kernel"."""
    names = by_flat(KERAS.key(p) for p in schema(model.spec))
    return {names[flat(v.path)]: v for v in model.variables if flat(v.path) in names}
