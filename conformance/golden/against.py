"""Judges adapters by a golden file: only what they compute themselves is computed."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from conformance import cases
from conformance.adapters import STANDARD
from conformance.golden.file import Golden, checksum, digest, read
from conformance.judge.answer import Answer
from conformance.judge.compare import USUAL, Conditions, comparison_of, judged
from conformance.judge.measure import judge
from conformance.judge.question import Backward, Forward, Given
from conformance.judge.verdict import Comparison, Verdict
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
    given = Given(golden.spec.network(), params, dtype, question)
    recorded = golden.taps if what == "taps" else golden.gradients
    truth = {name: sampled.value for name, sampled in recorded.items()}
    whole = list(golden.taps)[-1] if what == "taps" else ""
    if whole:
        truth[whole] = golden.output

    def judge_samples(name: str, answer: Answer) -> Verdict:
        found, wrong = {}, []
        for tensor, array in answer.tensors.items():
            sampled = recorded.get(tensor)
            if sampled is None or tensor == whole:
                found[tensor] = array
            elif array.shape == sampled.shape:
                found[tensor] = digest(array, sampled.index)
            else:
                found[tensor] = np.full_like(sampled.value, np.nan)
                wrong.append(f"{tensor} has shape {array.shape}, expected {sampled.shape}")
        verdict = judge(name, replace(answer, tensors=found), truth, question)
        return replace(verdict, message="; ".join(wrong[:3])) if wrong else verdict

    return comparison_of(given, judged(given, adapters, judge_samples, conditions), truth)


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
