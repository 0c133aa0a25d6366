"""Bugs of constants and of precision: epsilon, Caffe's factor, statistics, what is rounded on the way."""

from dataclasses import replace

import numpy as np

from weights import EPS

from .changes import both, each, exchanged
from .mutant import Arrays, Mutant


def _eps_beside_the_root(params: Arrays) -> Arrays:
    """Gammas that make gamma / sqrt(var + eps) what gamma / (sqrt(var) + eps) would be."""
    changed = dict(params)
    for name, var in params.items():
        module, _, leaf = name.rpartition(".")
        if leaf == "running_var":
            gamma = params[f"{module}.weight"]
            changed[f"{module}.weight"] = gamma * np.sqrt(var + EPS) / (np.sqrt(var) + EPS)
    return changed


MUTANTS = (
    Mutant(
        name="eps-1e-3",
        what="Keras' default eps, 1e-3",
        at="stem.bn1",
        spec=lambda spec: replace(spec, eps=1e-3),
    ),
    Mutant(
        name="eps-1.001e-5",
        what="the eps of Keras' own applications, 1.001e-5",
        at="stem.bn1",
        spec=lambda spec: replace(spec, eps=1.001e-5),
        hidden="a change of 1e-7, two roundings",
    ),
    Mutant(
        name="eps-double",
        what="eps is 1e-5 in double precision, not Caffe's float",
        at="stem.bn1",
        spec=lambda spec: replace(spec, eps=1e-5),
        impossible=("onnx",),  # its epsilon is a float
        hidden="the same number in float32",
    ),
    Mutant(
        name="eps-beside-the-root",
        what="eps is added to the deviation, not to the variance",
        at="stem.bn1",
        params=_eps_beside_the_root,
    ),
    Mutant(
        name="scale-lost",
        what="a Scale layer keeps its initial gamma and beta",
        at="stage1.0.bn3",
        params=both(each(r"stage1\.0\.bn3\.weight", np.ones_like), each(r"stage1\.0\.bn3\.bias", np.zeros_like)),
    ),
    Mutant(
        name="statistics-stale",
        what="a BatchNorm keeps its initial mean and variance",
        at="stage2.0.bn2",
        params=both(
            each(r"stage2\.0\.bn2\.running_var", np.ones_like), each(r"stage2\.0\.bn2\.running_mean", np.zeros_like)
        ),
    ),
    Mutant(
        name="statistics-exchanged",
        what="mean and variance are exchanged",
        at="stem.bn1",
        params=both(exchanged("running_mean", "running_var"), each(r".*running_var", np.abs)),
    ),
    Mutant(
        name="gamma-and-beta-exchanged",
        what="gamma and beta are exchanged",
        at="stem.bn1",
        params=lambda p: p | {"stem.bn1.weight": p["stem.bn1.bias"], "stem.bn1.bias": p["stem.bn1.weight"]},
    ),
    Mutant(
        name="factor-not-divided",
        what="the statistics still carry Caffe's factor",
        at="stem.bn1",
        params=each(r".*running_\w+", lambda v: v * 999.98236),
    ),
    Mutant(
        name="factor-rounded",
        what="the factor is taken to be 1000",
        at="stem.bn1",
        params=each(r".*running_\w+", lambda v: v * (999.98236 / 1000)),
    ),
    Mutant(
        name="statistics-in-float32",
        what="the statistics are rounded to float32",
        at="stem.bn1",
        params=each(r".*running_\w+", lambda v: v.astype(np.float32)),
        hidden="float32 rounds them",
    ),
    Mutant(
        name="weights-in-float16",
        what="one kernel has passed through float16",
        at="stage2.0.conv1",
        params=each(r"stage2\.0\.conv1\.weight", lambda w: w.astype(np.float16).astype(np.float32)),
    ),
    Mutant(
        name="batch-statistics",
        what="BatchNorm is left in training mode",
        at="stem.bn1",
        code=("numpy", "torch", "jax", "tf"),
    ),
    Mutant(
        name="dropout-on",
        what="dropout is on in inference",
        at="dropout",
        network="senet",
        code=("torch", "jax", "tf"),
    ),
)
