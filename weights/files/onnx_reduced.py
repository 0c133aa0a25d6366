"""Networks as ONNX models of less precision than their parameters have: measured, made, compared."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from weights.change import fold
from weights.errors import InputError
from weights.files.onnx_int8 import quantized
from weights.files.onnx_measured import Agreement, Session, agreement, inputs
from weights.files.onnx_model import model
from weights.files.onnx_narrow import in_single, narrow, too_large
from weights.files.onnx_options import OnnxOptions
from weights.networks.network import Network
from weights.networks.parameters import schema
from weights.params import info_of

if TYPE_CHECKING:
    import onnx_ir as ir


_LARGEST = 2**31 - 2**24  # bytes of parameters that a message of protobuf holds, with all that is around them


def reduced(
    network: Network, params: Mapping[str, np.ndarray], options: OnnxOptions
) -> tuple["ir.Model", Agreement, Mapping[str, str]]:
    """The model in the precision asked for, without what is around the network.

    Returns:
        It; how far its last output is from that of the network as it was, in float32; the nodes that stay float32, with
        the reason in words.

    Raises:
        InputError: ONNX Runtime is not installed, the network is too large, or of the images.
    """
    size = sum(p.size for p in schema(network)) * 4
    if size >= _LARGEST:
        raise InputError(f"{size:,} bytes of parameters; only networks of less than {_LARGEST:,} are made less precise")
    preprocessing = info_of(params).preprocessing
    measure, compare = inputs(network, preprocessing, options.images, options.size)
    any_batch = replace(options, batch=None)
    plain = replace(any_batch, precision="float32", taps=(), images=())
    small = fold(network, params)
    wide: dict[str, str] = {}
    match options.precision:
        case "int8":
            made = tried = quantized(model(small.network, small.params, "float32", any_batch), measure)
        case "float16" | "bfloat16" as precision:
            if precision == "float16":
                every = model(small.network, small.params, "float32", replace(plain, taps=("all",)))
                wide = too_large(every, Session(every), measure)
            made, tried = (model(small.network, small.params, "float32", o) for o in (any_batch, plain))
            for one in (made, tried):
                narrow(one, precision, wide)
            in_single(tried, precision)
        case "float32":
            raise ValueError("float32 is not reduced")
    found = agreement(Session(model(network, params, "float32", plain)), Session(tried), compare, bool(options.images))
    return made, found, wide
