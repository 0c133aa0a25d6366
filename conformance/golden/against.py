"""Judges adapters by a golden file: only what they compute themselves is computed."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from conformance import cases
from conformance.adapters import STANDARD
from conformance.golden.file import Golden, checksum, digest, read
from conformance.judge.compare import USUAL, Conditions, by_standard
from conformance.judge.question import Backward, Forward, Given
from conformance.judge.standard import Standard
from conformance.judge.verdict import Comparison
from weights.errors import InputError
from weights.networks.parameters import check
from weights.params import info_of


def against(
    path: str | Path,
    params: Mapping[str, np.ndarray] | None = None,
    adapters: Iterable[str] = STANDARD,
    dtype: str = "float64",
    what: Literal["taps", "gradients"] = "taps",
    conditions: Conditions = USUAL,
) -> Comparison:
    """Compares adapters with a golden file.

    Args:
        path: the golden file.
        params: those that were frozen; they may be left out if they were drawn.
        adapters, dtype: as of ``conformance.compare``.
        what: outputs of nodes, or gradients.
        conditions: how the adapters are asked.

    Raises:
        InputError: no golden file or a damaged one, other parameters than those frozen, or an unknown adapter.
    """
    golden = read(path)
    params = parameters(golden, params, str(path))
    question = Forward(golden.x) if what == "taps" else Backward(golden.x, golden.cotangent)
    return by_standard(Samples(Given(golden.spec.network(), params, dtype, question), golden), adapters, conditions)


class Samples(Standard):
    """What a golden file has of the reference's answer."""

    def __init__(self, given: Given, golden: Golden) -> None:
        super().__init__(given)
        forward = given.question.what == "taps"
        self._recorded = golden.taps if forward else golden.gradients
        self._whole = {given.network.output.name: golden.output} if forward else {}

    @cached_property
    def truth(self) -> tuple[Mapping[str, np.ndarray], ...]:
        """The samples of every tensor; the output whole."""
        return ({name: sampled.value for name, sampled in self._recorded.items()} | self._whole,)

    def seen(self, tensor: str, values: np.ndarray) -> np.ndarray:
        """The samples of a tensor."""
        return values if tensor in self._whole else digest(values, self._recorded[tensor].index)

    def shape(self, place: int, tensor: str) -> tuple[int, ...]:
        """That the tensor had when it was frozen."""
        del place
        return tuple(self._recorded[tensor].shape)


def parameters(golden: Golden, params: Mapping[str, np.ndarray] | None, path: str) -> Mapping[str, np.ndarray]:
    """The parameters that were frozen: those handed in, or drawn again; checked either way.

    Args:
        golden: what the file holds.
        params: those handed in, or None.
        path: of the file, for messages.

    Raises:
        InputError: they are others, or were not drawn and not handed in.
    """
    if params is None:
        if golden.seed is None:
            raise InputError(f"{path}: holds no weights; hand in those it was made from: {golden.weights}")
        params = cases.seeded(golden.spec, golden.seed)
    source = info_of(params).source or "those given"
    check(golden.spec, params, source)
    other = [name for name, expected in golden.checksums.items() if checksum(params[name]) != expected]
    if other:
        raise InputError(
            f"{path}: was made from other weights than {source}: {len(other)} of {len(golden.checksums)} tensors "
            f"differ, the first is {other[0]}; expected are {golden.weights}"
        )
    return params
