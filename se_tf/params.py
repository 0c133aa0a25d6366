"""Parameters into and out of the networks, in Keras. Compare se_torch/params.py and se_jax/params.py."""

import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Unpack, cast

import keras
import numpy as np

import weights
from se_tf.models import build
from se_tf.network import Network
from se_tf.programs import write_program
from weights import Checkpoint, Params, Preprocessing, Spec, schema
from weights.change import with_changes, with_class_names, with_classes
from weights.change.as_it_is import expect_model
from weights.change.first_convolution import Convention
from weights.change.since_loaded import loaded, since_loaded
from weights.files.options import WriteOptions, refuse
from weights.files.programs import suffix_of
from weights.hub import located
from weights.names.frameworks import KERAS
from weights.names.keras import by_flat, flat
from weights.networks.parameters import check
from weights.params import Labels, info_of


def from_pretrained(
    path: str | PathLike[str],
    dtype: str | None = None,
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
    """The network in a checkpoint of any format that ``weights.read`` knows, ready for inference.

    Args:
        path: .caffemodel, .safetensors, ...; or the name of a network whose trained weights are known, which are
            fetched once (``weights.hub.fetch``): "se-resnet-50". A file of that name comes first.
        dtype: as of ``build``: without it, Keras' global policy.
        classes: number of classes, if it differs from the checkpoint's: a new classifier, to be trained, replaces its
            own; 0 for none.
        seed: of the new classifier; without it one is drawn as for Keras' own layers, which
            ``keras.utils.set_random_seed`` makes repeatable.
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
        InputError: the file cannot be used, or float64 is switched off.
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
        drawn = cast(int, keras.initializers.HeNormal().seed) if seed is None else seed
        found = with_classes(*found, classes, drawn)
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
    expect_model(model, Network, "se_tf")
    info = info_of(params)
    check(model.spec, params, info.source or "parameters")
    variables = _variables(model)
    for p in schema(model.spec):
        array = KERAS.encode(p, params[p.name])
        # Of a dtype that every backend knows.
        variables[KERAS.key(p)].assign(array.astype(np.promote_types(array.dtype, np.float32)))
    model.info = loaded(params, info)


def checkpoint(model: Network) -> Checkpoint:
    """What the model is now, with copies of its parameters; ``weights.write`` saves it.

    The record is ``model.spec``, but for the classes where the classifier was replaced; then nothing is known of labels
    and class names. Parameters have canonical names (OIHW, OI, C) and are at least in float32. The history says whether
    they are still the values that were loaded.

    Raises:
        InputError: it is no model of ``se_tf``, or has changed otherwise since it was built; the message says
            what to do.
    """
    expect_model(model, Network, "se_tf")
    spec, info = model.as_it_is()
    variables = _variables(model)
    params = Params(info=info)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's, of how TensorFlow hands out arrays
        for p in schema(spec):
            array = np.asarray(keras.ops.convert_to_numpy(variables[KERAS.key(p)]))
            params[p.name] = np.array(KERAS.decode(p, array), np.promote_types(array.dtype, np.float32), order="C")
    return Checkpoint(spec, since_loaded(params))


def dump(model: Network) -> Params:
    """The parameters of ``checkpoint``.

    Raises:
        InputError: as ``checkpoint``.
    """
    return checkpoint(model).params


def save(
    model: Network,
    path: str | PathLike[str],
    *,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
    labels: Labels | None = None,
    convention: Convention | None = None,
    images: Any = None,
    **options: Unpack[WriteOptions],
) -> None:
    """Saves a model with all that travels: network, preprocessing, labels, class names, history.

    Args:
        model: its classifier may have been replaced by one fully connected layer of other classes.
        path: the suffix chooses the format, as of ``weights.write``: .safetensors, .pth, .keras, .onnx, ...; or the
            program: .savedmodel and .tflite are programs of TensorFlow and LiteRT, in the model's dtype.
        preprocessing: how images are prepared, where ``model.preprocessing`` is not known.
        class_names: one for each output, where the model has none: of a classifier that was replaced.
        labels: the order that the file's ImageNet classes get, "sorted" or "devkit"; the model stays as it is.
        convention: the input that the file's network gets, "rgb01" (RGB 0..1) or "bgr255"; the model stays as it is.
        images: .tflite: prepared images (N, H, W, 3), by which the scales of a program of 8-bit integers are chosen.
            Without them it computes in float32.
        options: those of ``weights.write``: ``dialect``.

    Raises:
        InputError: the model has changed otherwise since it was built, the file cannot be written, or does not take
            such an option.
    """
    found = with_changes(
        checkpoint(model), preprocessing=preprocessing, class_names=class_names, labels=labels, convention=convention
    )
    if suffix_of(path) is None:
        refuse(path, "only LiteRT programs take images", images=None if images is None else "given")
        weights.write(path, found, **options)
        return
    refuse(path, "a program is written without such options", **options)
    dtype = model.dtype_policy.name
    write_program(Path(path), restore(*found, dtype), found, images)


def _variables(model: Network) -> dict[str, keras.Variable]:
    """The model's variables by dotted path, "stage1.0.conv1.kernel"."""
    names = by_flat(KERAS.key(p) for p in schema(model.spec))
    return {names[flat(v.path)]: v for v in model.variables if flat(v.path) in names}
