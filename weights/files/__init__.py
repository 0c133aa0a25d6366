"""Checkpoint files of every format, chosen by suffix: ``read`` and ``write``."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from weights.errors import InputError
from weights.networks.spec import Spec
from weights.params import Params


@dataclass(frozen=True, slots=True)
class Format:
    name: str
    suffixes: tuple[str, ...]
    module: str  # imported when first used; has read(path, **options) and write(path, spec, params, **options)


FORMATS = (
    Format("caffemodel", (".caffemodel", ".caffemodel.h5"), "weights.caffe.checkpoint"),
    Format("safetensors", (".safetensors",), "weights.files.safetensors"),
    Format("pytorch", (".pth", ".pt"), "weights.files.torch"),
    Format("keras", (".keras", ".weights.h5"), "weights.files.keras"),
    Format("orbax", (".orbax",), "weights.files.orbax"),
    Format("onnx", (".onnx",), "weights.files.onnx"),
)


def format_of(path: str | Path) -> Format:
    """The format that a file's suffix names; folders with an Orbax checkpoint need none.

    Raises:
        InputError: none does.
    """
    name = Path(path).name.lower()
    fits = [(len(s), f) for f in FORMATS for s in f.suffixes if name.endswith(s)]
    if not fits and Path(path).is_dir():
        fits = [(0, f) for f in FORMATS if f.name == "orbax" and _module(f).is_checkpoint(path)]
    if not fits:
        known = ", ".join(s for f in FORMATS for s in f.suffixes)
        raise InputError(f"{path}: the suffix names no known format; known are {known}")
    return max(fits, key=lambda fit: fit[0])[1]


def read(path: str | Path, **options: Any) -> tuple[Spec, Params]:
    """Reads a checkpoint of any known format.

    Args:
        path: its suffix chooses the format.
        options: of that format's module (``prototxt=`` for Caffe files, ``dialect=`` for state dicts).

    Returns:
        What the network is, and its parameters by canonical name, with ``.info``. Convolution kernels are OIHW,
        matrices OI; dtypes are the file's, except that BatchNorm statistics freed of Caffe's factor are float64.

    Raises:
        InputError: with one clear message, for anything wrong with the file.
    """
    return _module(format_of(path)).read(Path(path), **options)


def write(path: str | Path, spec: Spec, params: Mapping[str, np.ndarray], **options: Any) -> None:
    """Writes a checkpoint; the suffix chooses the format. What stands at ``path`` is replaced only by a whole file.

    Raises:
        InputError: the parameters do not fit the spec, or the place cannot be written.
    """
    _module(format_of(path)).write(Path(path), spec, params, **options)


def _module(fmt: Format) -> Any:
    return import_module(fmt.module)
