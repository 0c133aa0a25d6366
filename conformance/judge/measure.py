"""Measures an answer: how far each of its tensors is from the reference's."""

import math
from collections.abc import Mapping

import numpy as np

from conformance.judge.answer import Answer
from conformance.judge.bounds import BOUNDS
from conformance.judge.question import Question
from conformance.judge.verdict import Status, Verdict
from weights.errors import printable


def judge(name: str, answer: Answer, truth: Mapping[str, np.ndarray], question: Question) -> Verdict:
    """Compares an answer with the reference, tensor by tensor, in the reference's order.

    The question says which tensors are required and which bound holds.
    """
    if answer.message:
        status: Status = "absent" if answer.absent else "failed"
        return Verdict(adapter=name, status=status, version=answer.version, message=answer.message)
    if answer.dtype not in BOUNDS[question.what]:
        message = printable(
            f"says that it computed in {answer.dtype!r:.40}: expected {', '.join(BOUNDS[question.what])}"
        )
        return Verdict(adapter=name, status="failed", version=answer.version, message=message)
    found = answer.tensors
    errors, notes, top1 = {}, [], None
    for tensor, b in truth.items():
        if tensor not in found:
            continue
        a = found[tensor]
        errors[tensor] = relative_error(a, b)
        if a.shape != b.shape:
            notes.append(f"{tensor} has shape {a.shape}, expected {b.shape}")
        elif tensor == "logits" and math.isfinite(errors[tensor]):
            top1 = int(np.argmax(a[0]))
    if unknown := [tensor for tensor in found if tensor not in truth]:
        names = printable(", ".join(str(tensor)[:80] for tensor in unknown[:5])) + ", ..." * (len(unknown) > 5)
        notes.insert(0, f"{question.tensor}s that the network does not have: {names}")
    if missing := [tensor for tensor in question.required(list(truth)) if tensor not in found]:
        more = f", nor {len(missing) - 1} more" if len(missing) > 1 else ""
        notes.insert(0, f"there is no {question.tensor} {missing[0]!r}{more}")
    bound = BOUNDS[question.what][answer.dtype]
    agreed = all(error <= bound for error in errors.values()) and not notes
    if not agreed and (bad := next((tensor for tensor, b in truth.items() if not np.isfinite(b).all()), None)):
        notes.insert(0, f"the reference itself is not finite from {bad} on")
    return Verdict(
        adapter=name,
        status="agreed" if agreed else "disagreed",
        version=answer.version,
        dtype=answer.dtype,
        bound=bound,
        message="; ".join(notes[:3]),
        errors=errors,
        top1=top1,
        seconds=answer.seconds,
    )


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """The error max |a - b| / max |b|; inf where the shapes differ or either has a value that is not finite.

    A gate of ReLUs can switch a block off, and then b is all zeros. Such zeros come from comparisons and from products
    with 0, which round nothing: zeros agree, with an error of 0, and any other number is off by inf.
    """
    if a.shape != b.shape:
        return math.inf
    a = a.astype(np.float64, copy=False)
    with np.errstate(invalid="ignore"):  # inf - inf
        largest, off = float(np.abs(b).max(initial=0)), float(np.abs(a - b).max(initial=0))
    if not math.isfinite(largest) or not math.isfinite(off):
        return math.inf
    return off / largest if largest else (math.inf if off else 0.0)
