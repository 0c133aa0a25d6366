"""Flax, ``jax.export``: the StableHLO for images of any size that ``save`` writes, loaded; logits alone."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np

import se_jax
from conformance.adapters import ADAPTERS
from conformance.adapters.jax import build, nchw, version
from weights.networks.network import graph

__all__ = ["NAME", "build", "taps", "version"]

NAME = ADAPTERS["jax_exported"].title


def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    with (
        jax.enable_x64(x.dtype == np.float64),
        jax.default_matmul_precision("highest"),
        TemporaryDirectory() as folder,
    ):
        path = Path(folder) / "net.stablehlo"
        se_jax.save(model, path)
        program = jax.export.deserialize(bytearray(path.read_bytes()))
        return {
            graph(model.spec)[-1].name: nchw(program.call(x.transpose(0, 2, 3, 1).astype(program.in_avals[0].dtype)))
        }
