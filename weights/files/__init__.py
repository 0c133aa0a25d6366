"""Checkpoint files of every format, chosen by suffix: ``read`` and ``write``."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, overload

import numpy as np

from weights.change.given import with_class_names, with_preprocessing
from weights.errors import InputError, InputWarning
from weights.files.onnx_options import OnnxOptions
from weights.files.options import refuse
from weights.files.programs import PROGRAMS, suffix_of
from weights.networks.models import MODELS, parse
from weights.networks.spec import Spec
from weights.params import Checkpoint, Info, Params, Preprocessing, check_class_names, info_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One kind of file: who reads and writes it, and which options that takes."""

    name: str
    title: str  # for people
    suffixes: tuple[str, ...]
    only_read: tuple[str, ...] = ()  # those of the suffixes that are not written
    is_read: bool = True
    module: str  # imported when first used; has read(path, **options) and write(path, spec, params, **options)
    reads_with: tuple[str, ...] = ()  # options of read
    writes_with: tuple[str, ...] = ()  # options of write


FORMATS = (
    Format(
        name="caffemodel",
        title="Caffe",
        suffixes=(".caffemodel", ".caffemodel.h5"),
        only_read=(".caffemodel.h5",),
        module="weights.caffe.checkpoint",
        reads_with=("prototxt",),
    ),
    Format(
        name="safetensors",
        title="safetensors",
        suffixes=(".safetensors",),
        module="weights.files.safetensors",
        reads_with=("dialect", "spec", "weights_key"),
        writes_with=("dialect",),
    ),
    Format(
        name="pytorch",
        title="PyTorch",
        suffixes=(".pth", ".pt", ".pth.tar", ".ckpt", ".bin"),
        module="weights.files.torch",
        reads_with=("dialect", "spec", "weights_key"),
        writes_with=("dialect",),
    ),
    Format(
        name="keras",
        title="Keras",
        suffixes=(".keras", ".weights.h5"),
        module="weights.files.keras",
        reads_with=("spec",),
        writes_with=("dialect",),
    ),
    Format(name="orbax", title="Orbax", suffixes=(".orbax",), module="weights.files.orbax", reads_with=("spec",)),
    Format(name="onnx", title="ONNX", suffixes=(".onnx",), module="weights.files.onnx", writes_with=("onnx",)),
    Format(name="openvino", title="OpenVINO", suffixes=(".xml",), module="weights.files.openvino", is_read=False),
)


_ABOUT_NAMES = "; {} is a network: weights.hub.fetch gets trained weights of some, senet init writes seeded ones"


def format_of(path: str | PathLike[str]) -> Format:
    """The format that a file's suffix names; folders with an Orbax checkpoint need none.

    Raises:
        InputError: none does.
    """
    name = Path(path).name.lower()
    if suffix := suffix_of(path):
        raise InputError(f"{path}: is a program; {PROGRAMS[suffix].package}.save(model, path) writes it, none is read")
    fits = [(len(s), f) for f in FORMATS for s in f.suffixes if name.endswith(s)]
    if not fits and Path(path).is_dir():
        fits = [(0, f) for f in FORMATS if f.name == "orbax" and _module(f).is_checkpoint(path)]
    if not fits:
        written = ", ".join(s for f in FORMATS for s in f.suffixes if s not in f.only_read)
        read = ", ".join(s for f in FORMATS for s in f.only_read)
        network = Path(path).name.lower()
        hint = _ABOUT_NAMES.format(network) if network in MODELS else ""
        raise InputError(
            f"{path}: the suffix names no known format; known are {written}, and to read also {read}{hint}"
        )
    return max(fits, key=lambda fit: fit[0])[1]


def read(
    path: str | PathLike[str],
    *,
    prototxt: str | PathLike[str] | None = None,
    dialect: str | None = None,
    spec: Spec | str | None = None,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
    weights_key: str | None = None,
) -> Checkpoint:
    """Reads a checkpoint of any known format.

    Args:
        path: its suffix chooses the format: .caffemodel and .caffemodel.h5 (Caffe); .safetensors; .pth, .pt, .pth.tar,
            .ckpt and .bin (PyTorch); .keras and .weights.h5 (Keras); .orbax (a folder; any folder that holds an Orbax
            checkpoint); .onnx (only files that ``write`` wrote).
        prototxt: Caffe only: the definition of the network, for files that carry none or should be read by another.
        dialect: PyTorch and safetensors only: whose names the tensors have, "torch" (``se_torch``'s), "timm",
            "cadene" or "torchvision"; without it they are recognised.
        spec: PyTorch, safetensors, Keras and Orbax: the network, for files that do not state it: a record, or its
            description as of ``weights.networks.models.parse``, "se-resnet-50,se.gate=tanh". Without it the network is
            recognised by the names and shapes of the tensors, and ``info.assumed`` lists the fields of the record that
            these do not tell; where several published networks have them and compute otherwise, it is asked for. For
            files that state another network it is refused; fields that a file lists as assumed are not stated.
        preprocessing: how images are prepared, for files that do not state it or where it was only assumed.
        class_names: one for each output, for files that do not name their classes.
        weights_key: PyTorch and safetensors: which weights are meant, in files with several sets, such as those in
            training and their moving average: "state_dict_ema". The error without it lists the keys.

    Returns:
        What the network is, and its parameters by canonical name: ``spec, params = read(path)``. ``info``, which the
        parameters carry too, says what the network expects, where the values come from, and what of all this is
        assumed because the file does not state it. Convolution kernels are OIHW, matrices OI; dtypes are the file's,
        except that BatchNorm statistics freed of Caffe's factor are float64. Arrays may be read-only views of the file.

    Raises:
        InputError: with one clear message, for anything wrong with the file, and for options that it does not take.
    """
    if not isinstance(path, str | PathLike):
        raise InputError(f"read: expected the path of a file, found {path!r:.100}")
    fmt = format_of(path)
    if not fmt.is_read:
        raise InputError(f"{path}: {fmt.title} files are written, not read; read what it was made of")
    spec = parse(spec) if isinstance(spec, str) else spec
    if not isinstance(spec, Spec | None):
        raise InputError(f"{path}: spec is {spec!r:.100}, expected a record of weights or its description")
    options = {"prototxt": prototxt, "dialect": dialect, "spec": spec, "weights_key": weights_key}
    found = Checkpoint(*_module(fmt).read(Path(path), **_taken(path, fmt, "read", fmt.reads_with, options)))
    try:
        found = found if preprocessing is None else with_preprocessing(found, preprocessing)
        return found if class_names is None else with_class_names(found, class_names)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


@overload
def write(
    path: str | PathLike[str], checkpoint: Checkpoint, /, *, dialect: str | None = None, onnx: OnnxOptions | None = None
) -> None: ...


@overload
def write(
    path: str | PathLike[str],
    spec: Spec,
    params: Mapping[str, np.ndarray],
    *,
    info: Info | None = None,
    dialect: str | None = None,
    onnx: OnnxOptions | None = None,
) -> None: ...


def write(
    path: str | PathLike[str],
    spec: Spec | Checkpoint,
    params: Mapping[str, np.ndarray] | None = None,
    *,
    info: Info | None = None,
    dialect: str | None = None,
    onnx: OnnxOptions | None = None,
) -> None:
    """Writes a checkpoint; what stands at ``path`` is replaced only by a whole file.

    Args:
        path: its suffix chooses the format, as of ``read``; .caffemodel.h5 cannot be written. And .xml: OpenVINO IR,
            with the values in the .bin beside it, which is not read.
        spec: the network; or a ``Checkpoint``, which holds the parameters as well.
        params: the parameters by canonical name: ``Params``, which carry what has to travel with them. A plain mapping
            carries nothing: without ``info`` one ``InputWarning`` says that the file will not state preprocessing,
            labels and origin.
        info: what travels with the parameters, in the place of what they carry themselves.
        dialect: PyTorch and safetensors: whose names the tensors get, "torch" (``se_torch``'s), "timm", "cadene",
            "torchvision", "pytorchcv" or "moskomule". Without it a .pth has ``se_torch``'s, a .safetensors is the
            canonical store.
            Keras' .weights.h5: "keras.applications", for its model of the same network.
        onnx: ONNX only: how the file is made, "OnnxOptions(precision='float16', size=(224, 224))".

    Raises:
        InputError: the parameters do not fit the spec, the format takes no such option or cannot hold such values, or
            the place cannot be written.
    """
    if isinstance(spec, Checkpoint):
        spec, params = spec
    if params is None:
        raise TypeError("write(path, spec, params), or write(path, checkpoint)")
    fmt = format_of(path)
    try:
        check_class_names(info or info_of(params), spec.classes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    options = _taken(path, fmt, "written", fmt.writes_with, {"dialect": dialect, "onnx": onnx})
    if not isinstance(onnx, OnnxOptions | None):
        raise InputError(f"{path}: onnx is {onnx!r:.100}, expected weights.OnnxOptions(...)")
    if info is None and not isinstance(params, Params):
        warnings.warn(
            InputWarning(
                f"{path}: will not state preprocessing, labels and origin, because a {type(params).__name__} of arrays "
                "carries none; hand in Params, or info="
            ),
            stacklevel=2,
        )
    _module(fmt).write(Path(path), spec, params if info is None else Params(params, info), **options)


def _taken(
    path: str | PathLike[str], fmt: Format, done: str, known: tuple[str, ...], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The options that are given, all of which the format must take."""
    listed = " and ".join(filter(None, (", ".join(known[:-1]), *known[-1:])))
    takes = f"with no option but {listed}" if known else "without options"
    others = {name: value for name, value in options.items() if name not in known}
    refuse(path, f"{fmt.title} files are {done} {takes}", **others)
    return {name: value for name, value in options.items() if name in known and value is not None}


def _module(fmt: Format) -> Any:  # noqa: ANN401, the options of its functions differ
    return import_module(fmt.module)
