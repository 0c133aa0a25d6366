"""What the fast paths of the frameworks have in common: the network that they run, and the words for what was done."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from weights.change.as_it_is import expect_model
from weights.change.folding import Folded, fold
from weights.errors import InputError
from weights.networks.network import Network
from weights.networks.spec import Spec

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What was done to a model.

    Attributes:
        network: its name.
        precision: what it computes in.
        folded: so many BatchNorms were taken into convolutions.
        kept: so many were not, for they follow no convolution, or one that others read too.
        layout: how maps lie in memory, "NHWC" or "NCHW".
        compiler: what runs it, in words.
    """

    network: str
    precision: Precision
    folded: int
    kept: int
    layout: str
    compiler: str

    def __str__(self) -> str:
        norms = f"{self.folded} BatchNorms folded into convolutions, {self.kept} kept"
        return f"{self.network} in {self.precision}: {norms}; {self.layout}; {self.compiler}"


def folded(of: Network | Spec, params: Mapping[str, np.ndarray], precision: Precision) -> Folded:
    """``fold``, of the precisions that fast paths compute in.

    Raises:
        InputError: there is no such fast path.
    """
    if precision not in get_args(Precision):
        raise InputError(f"precision {precision!r:.100}: expected one of {', '.join(get_args(Precision))}")
    return fold(of, params, precision)


def expect(model: object, kind: type, package: str, *, training: bool) -> None:
    """Whether there can be a fast path of that.

    Args:
        model: what a user gives.
        kind: of the models of the package.
        package: its name.
        training: whether a layer of the model, which inference changes, is in training mode.

    Raises:
        InputError: it is no model of the package, or it is in training mode.
    """
    try:
        expect_model(model, kind, package)
    except InputError as error:
        raise InputError(f"fast: {error}") from None
    if training:
        raise InputError("fast: the model is in training mode, and the fast path is for inference: call model.eval()")
