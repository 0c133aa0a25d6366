"""OpenVINO IR of networks, a ``.xml`` with its ``.bin``: made of the model that ONNX files hold; not read."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from weights.errors import InputError
from weights.files.beside import bin_of
from weights.files.onnx_model import build, onnx_ir_module
from weights.files.programs import STATEMENT, statement
from weights.networks.parameters import check
from weights.networks.spec import Spec
from weights.params import Checkpoint, Params, info_of
from weights.storage.parts import scratch
from weights.storage.whole import together


def write(path: Path, spec: Spec, params: Mapping[str, np.ndarray]) -> None:
    """Writes the network in float32: images (N, 3, H, W) of any number and size to logits.

    What travels lies in it as the runtime information ``senet.json``.

    Args:
        path: of the .xml; the values come beside it, with the suffix .bin.
        spec: the network.
        params: its parameters.

    Raises:
        InputError: the parameters do not fit, OpenVINO or ONNX is not installed, or the place cannot be written.
    """
    check(spec, params, str(path))
    values_at = bin_of(path)
    if os.path.lexists(values_at) and not os.path.lexists(path):
        raise InputError(
            f"{values_at}: stands where the values of {path.name} go, and belongs to no .xml; choose another name"
        )
    openvino, ir = _openvino(), onnx_ir_module()
    model = openvino.Core().read_model(ir.to_proto(build(spec, params)).SerializeToString())
    model.set_rt_info(statement(Checkpoint(spec, Params(params, info_of(params)))), [STATEMENT])
    with scratch() as folder, together(values_at, path) as (values, layers):
        made = folder / "made.xml"
        openvino.save_model(model, made, compress_to_fp16=False)
        for source, target in ((bin_of(made), values), (made, layers)):
            with source.open("rb") as file:
                shutil.copyfileobj(file, target)


def _openvino() -> ModuleType:
    """The module ``openvino``.

    Raises:
        InputError: it is not installed.
    """
    without_reports()
    try:
        import openvino
    except ImportError as error:
        raise InputError(f"OpenVINO IR needs OpenVINO: pip install 'senet[contestants]' ({error})") from error
    return openvino


def without_reports() -> None:
    """Keeps OpenVINO, when it is imported, from starting a process that reports the run to its makers."""
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
