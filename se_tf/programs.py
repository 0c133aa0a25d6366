"""Networks as programs for other runtimes, in Keras. Compare se_torch/programs.py and se_jax/programs.py."""

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from se_tf.layers import GlobalMaxPooling2D, MaxPool
from se_tf.network import Network
from se_tf.se_block import SEBlock
from weights import Checkpoint, InputError
from weights.files.options import refuse
from weights.files.programs import STATEMENT, append_statement, check_package, statement, suffix_of
from weights.storage.parts import scratch
from weights.storage.whole import replacing, replacing_folder


def write_program(path: Path, model: Network, found: Checkpoint, images: Any = None) -> None:
    """Writes a ``.savedmodel`` (a folder) or a ``.tflite``: images (N, H, W, 3) of any number and size to logits.

    What travels lies in a SavedModel as ``assets.extra/senet.json``, behind a LiteRT program as the file ``senet.json``
    of a zip archive.

    Args:
        path: of the file or folder.
        model: a copy that may be changed; the program computes in its dtype.
        found: what it was made of.
        images: of LiteRT programs: images (N, H, W, 3) in float32, prepared, by whose activations the scales of 8-bit
            numbers are chosen. Without them the program computes in float32.

    Raises:
        InputError: the suffix is another framework's, Keras does not run on TensorFlow, LiteRT does not compute in the
            model's dtype, there are no such images, or the place cannot be written.
    """
    check_package(path, "se_tf")
    if keras.backend.backend() != "tensorflow":
        raise InputError(f"{path}: Keras runs on {keras.backend.backend()} here: set KERAS_BACKEND=tensorflow")
    if suffix_of(path) == ".tflite":
        content = _lite(path, model, images)
        with replacing(path) as file:
            file.write(content)
            append_statement(file, found)
        return
    refuse(path, "SavedModels take no images", images=None if images is None else "given")
    with replacing_folder(path, _is_saved_model, "SavedModel") as new:
        model.export(new, verbose=False)
        (new / "assets.extra").mkdir()
        (new / "assets.extra" / STATEMENT).write_text(statement(found))


def _is_saved_model(folder: Path) -> bool:
    return (folder / "saved_model.pb").is_file()


def _lite(path: Path, model: Network, images: Any) -> bytes:
    import tensorflow as tf

    if model.dtype_policy.name != "float32":
        raise InputError(f"{path}: the model is one of {model.dtype_policy.name}; LiteRT programs need float32")
    for block in model.layers:
        if isinstance(block, SEBlock) and isinstance(block.pool, GlobalMaxPooling2D):
            block.pool.has_gradient = False
    if images is not None:
        images = _checked(path, model, images)
        for layer in model.layers:
            if isinstance(layer, MaxPool):
                layer.repeats_edge = True
    with scratch() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")  # the images give them
        model.export(folder, verbose=False)
        converter: Any = tf.lite.TFLiteConverter.from_saved_model(str(folder))
        if images is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        return converter.convert()


def _checked(path: Path, model: Network, images: Any) -> np.ndarray:
    array, channels = np.asarray(images), model.spec.in_channels
    fits = array.dtype.kind in "fiu" and array.ndim == 4 and array.shape[3] == channels and array.size > 0
    if not fits or not np.isfinite(array).all():
        raise InputError(
            f"{path}: images of shape {array.shape} and type {array.dtype}: expected (N, H, W, {channels}) of finite "
            "numbers, prepared as the model expects them"
        )
    return array.astype(np.float32)
