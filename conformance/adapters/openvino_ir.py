"""OpenVINO, from the intermediate representation that ``weights.write`` writes; logits alone, in float32."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import weights
from conformance.adapters import ADAPTERS, openvino
from conformance.adapters.openvino import taps, version
from conformance.adapters.precision import single as dtype
from weights.networks.spec import Spec
from weights.params import Params, info_of

__all__ = ["NAME", "build", "dtype", "taps", "version"]

NAME = ADAPTERS["openvino_ir"].title


def build(spec: Spec, params: Mapping[str, np.ndarray], dtype: str) -> Any:
    del dtype
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.xml"
        weights.write(path, spec, Params(params, info_of(params)))
        return openvino.compiled(path)
