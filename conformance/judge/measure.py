"""Measures an answer: how far each of its tensors is from the reference's, and each layer from what its inputs make."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from conformance.adapters import computes_in
from conformance.judge.answer import Answer
from conformance.judge.bounds import BOUNDS, COARSE, PLAIN, ROUNDING, SIGMOID, SUSPICIOUS, What, bound_of
from conformance.judge.local import shares
from conformance.judge.question import GRADIENTS, TRAINING, Backward, Forward, Question, Training
from conformance.judge.standard import STATISTICS, Standard, Tensors, UndecidedError, relative_error
from conformance.judge.verdict import Status, Verdict
from weights.errors import InputError, printable
from weights.networks.network import Network
from weights.networks.sizes import shapes

_UNDECIDED = (
    "below float64 gradients are judged by the ReLUs and maxima of the port's own pass, whose taps it does not give"
)


ALL_TAPS = 0
"""As many taps as the network has nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What is demanded of every adapter beyond agreement in what it answers.

    Attributes:
        dtypes: precisions that agree too, where an adapter computes in another than the one asked for. Those of the
            runtimes that come along are known and need not be named.
        taps: how many nodes' outputs it has to show, ``ALL_TAPS`` or a number; None: the last one's.
        answers: what it has to answer at all: an adapter that cannot is otherwise absent, not wrong.
    """

    dtypes: tuple[str, ...] = ()
    taps: int | None = None
    answers: tuple[What, ...] = ()


NO_DEMANDS = Demands()
"""Agreement in what is answered, in the precision that is asked for."""

_MEANS: Mapping[str, tuple[What, ...]] = {"taps": (), "gradients": GRADIENTS, "training": TRAINING}
REQUIRABLE = tuple(_MEANS)
"""What can be required of a port."""


def demanding(required: Collection[str], taps: int | str | None = None, dtypes: Collection[str] = ()) -> Demands:
    """Demands as people state them.

    Args:
        required: some of ``REQUIRABLE``: "taps" are those of at least one node beside the output.
        taps: how many; "all"; None: no number.
        dtypes: precisions that agree too.

    Raises:
        InputError: something else is required, a number that is none, or an unknown precision.
    """
    if isinstance(required, str) or isinstance(dtypes, str):
        raise InputError("what is required, and the precisions that are allowed, are several texts: ('gradients',)")
    if taps not in (None, "all") and (not isinstance(taps, int) or taps < 1):
        raise InputError(f"{taps!r:.80} taps: expected a number from 1, or 'all'")
    if wrong := [dtype for dtype in dtypes if dtype not in ROUNDING]:
        raise InputError(f"unknown precision {wrong[0]!r:.80}: expected some of {', '.join(ROUNDING)}")
    if unknown := [what for what in required if what not in _MEANS]:
        raise InputError(f"unknown requirement {unknown[0]!r:.80}: expected some of {', '.join(REQUIRABLE)}")
    least = taps if isinstance(taps, int) else ALL_TAPS if taps else 2 if "taps" in required else None
    answers: list[What] = []
    for what in required:
        answers += _MEANS[what]
    return Demands(dtypes=tuple(dtypes), taps=least, answers=tuple(answers))


def check_asked(demands: Demands, dtypes: Collection[str]) -> None:
    """Whether what is demanded can be judged in each precision.

    Raises:
        InputError: there is no bound for any of it in one of them, so that nothing would be asked.
    """
    for required, means in _MEANS.items():
        for dtype in dtypes:
            if set(means) & set(demands.answers) and not any(dtype in BOUNDS[what] for what in means):
                raise InputError(
                    f"{required} in {dtype} cannot be required: there is no bound for it; take float64 or float32"
                )


def judge(
    name: str, answer: Answer, standard: Standard, demands: Demands = NO_DEMANDS, row: str | None = None
) -> Verdict:
    """Compares an answer with the reference, tensor by tensor, in the reference's order.

    Args:
        name: of the adapter.
        answer: its answer.
        standard: what it is judged by. Its question says which tensors are required and which bound holds.
        demands: what else is demanded.
        row: of ``ADAPTERS``, whose runtime's own limits are allowed for; by default that of the name. A port has none,
            whatever it calls itself.
    """
    row = name if row is None else row
    given = standard.given
    question = given.question
    if answer.message:
        status: Status = "absent" if answer.absent and question.what not in demands.answers else "failed"
        return Verdict(adapter=name, status=status, version=answer.version, asked=given.dtype, message=answer.message)
    if answer.dtype not in BOUNDS[question.what]:
        expected = ", ".join(BOUNDS[question.what])
        message = printable(f"says that it computed in {answer.dtype!r:.40}: expected {expected}")
        return Verdict(adapter=name, status="failed", version=answer.version, asked=given.dtype, message=message)
    try:
        truth = standard.truth_for(answer)
    except UndecidedError:
        status = "failed" if question.what in demands.answers else "absent"
        return Verdict(adapter=name, status=status, version=answer.version, asked=given.dtype, message=_UNDECIDED)
    errors, notes = _errors(answer, standard, truth)
    layers = _layers(row, answer, standard)
    known = list(truth[0])
    missing = tuple(tensor for tensor in known if tensor not in errors)
    absences = [
        *_absences(question, known, missing),
        *_at_times(answer, question, errors),
        *_too_few(question, errors, missing, demands),
    ]
    notes = [*absences, *_strangers(answer, standard, question), *filter(None, [standard.strays(answer)]), *notes]
    bound = bound_of(question.what, answer.dtype, row)
    agreed = all(error <= bound for error in errors.values()) and all(s <= 1 for s in layers.values()) and not notes
    if not agreed and (bad := next((tensor for tensor, b in truth[0].items() if not np.isfinite(b).all()), None)):
        notes.insert(0, f"the reference itself is not finite from {bad} on")
    status = "agreed" if agreed else "disagreed"
    if agreed and row not in COARSE and (most := _suspicious(errors, answer, question, standard)):
        status = "suspicious"
        notes.append(most)
    elif agreed and answer.dtype not in (given.dtype, *demands.dtypes, *computes_in(row)):
        status = "otherwise"
        notes.append(f"asked for {given.dtype}; --allow-dtype {answer.dtype} accepts it")
    clear = math.isfinite(errors.get("logits", math.inf))
    return Verdict(
        adapter=name,
        status=status,
        version=answer.version,
        asked=given.dtype,
        dtype=answer.dtype,
        bound=bound,
        message="; ".join(notes[:3]),
        errors=errors,
        layers=layers,
        missing=missing,
        top1=int(np.argmax(answer.tensors["logits"][0])) if clear else None,
        seconds=answer.seconds,
    )


def _errors(answer: Answer, standard: Standard, truth: Sequence[Tensors]) -> tuple[dict[str, float], list[str]]:
    """The largest error of each tensor over the inputs, and shapes that are others."""
    errors: dict[str, float] = {}
    notes: list[str] = []
    for place, (found, expected) in enumerate(zip((answer.tensors, *answer.others), truth, strict=True)):
        for tensor, b in expected.items():
            if tensor not in found:
                continue
            a, shape = found[tensor], standard.shape(place, tensor)
            if a.shape == shape:
                error = relative_error(standard.seen(tensor, a), b, standard.size(tensor, b))
            else:
                error = math.inf
                notes.append(f"{tensor} has shape {a.shape}, expected {shape}")
            errors[tensor] = max(error, errors.get(tensor, 0.0))
    if isinstance(standard.given.question, Training) and answer.dtype != "float64":
        errors = _in_common(errors, answer, standard)
    return errors, notes


def _in_common(errors: Mapping[str, float], answer: Answer, standard: Standard) -> dict[str, float]:
    """Errors after training, each as far as half of the tensors of its kind have it too.

    A ReLU whose input rounding swaps moves a few parameters elsewhere, a bias of an SE block by as much as a step, and
    through them the statistics of the next step. Mistakes of an optimizer are in all. A tensor that has not moved at
    all is none that rounding moved elsewhere.
    """
    start, question = standard.given.params, standard.given.question
    kinds: dict[str, list[float]] = {}
    for tensor, error in errors.items():
        kinds.setdefault(tensor.rpartition(".")[2], []).append(error)
    middle = {kind: sorted(found)[len(found) // 2] for kind, found in kinds.items()}
    found = dict(errors)
    for tensor, error in errors.items():
        exact = question.what == "statistics" and tensor.endswith(STATISTICS)  # of the first step's own pass
        rested = np.array_equal(answer.tensors[tensor], np.asarray(start[tensor], answer.tensors[tensor].dtype))
        if math.isfinite(error) and not exact and not rested:
            found[tensor] = min(error, middle[tensor.rpartition(".")[2]])
    return found


def _layers(row: str, answer: Answer, standard: Standard) -> dict[str, float]:
    """The largest share of each layer over the inputs: of outputs, or of the pass whose gradients were answered."""
    given, sigmoid = standard.given, SIGMOID.get(row, 0.0)
    question = given.question
    match question:
        case Forward():
            shown = list(zip(question.inputs, (answer.tensors, *answer.others), strict=True))
        case Backward():
            shown = list(zip((x for x, _ in question.inputs), standard.shown(answer), strict=True))
        case Training():
            shown = []
        case _:
            assert_never(question)
    found: dict[str, float] = {}
    for x, tensors in shown:
        expected = {tap: (len(x), *shape) for tap, shape in shapes(given.network, *x.shape[2:]).items()}
        taps = {tap: tensor for tap, tensor in tensors.items() if expected.get(tap) == tensor.shape}
        by_tap = shares(given.network, given.params, x, taps, answer.dtype, sigmoid, training=question.training)
        for tap, share in by_tap.items():
            found[tap] = max(share, found.get(tap, 0.0))
    return found


def _absences(question: Question, known: Sequence[str], missing: Sequence[str]) -> Iterator[str]:
    """What is required and not there."""
    if lacks := [tensor for tensor in question.required(known) if tensor in missing]:
        more = f", nor {len(lacks) - 1} more" if len(lacks) > 1 else ""
        yield f"there is no {question.tensor} {lacks[0]!r}{more}"


def _at_times(answer: Answer, question: Question, shown: Collection[str]) -> Iterator[str]:
    """What is there for some inputs only: nobody would see whether it is right for the others."""
    every = list(zip((answer.tensors, *answer.others), question.input_shapes, strict=True))
    lacks = {tensor: shape for tensor in shown for found, shape in every if tensor not in found}
    if lacks:
        (tensor, shape), *more = lacks.items()
        others = f"; so it is with {len(more)} more" if more else ""
        yield f"{question.tensor} {tensor!r} is there for some inputs only, not for {shape}{others}"


def _too_few(question: Question, shown: Collection[str], missing: Sequence[str], demands: Demands) -> Iterator[str]:
    """That there are not as many taps as are demanded."""
    if isinstance(question, Forward) and demands.taps is not None:
        least = len(shown) + len(missing) if demands.taps == ALL_TAPS else demands.taps
        if len(shown) < least:
            first = f"; the first that is missing is {missing[0]}" if missing else ", more than the network has"
            yield f"there are {len(shown)} taps, demanded are {least}{first}"


def _strangers(answer: Answer, standard: Standard, question: Question) -> Iterator[str]:
    """What the network does not have."""
    known = set(standard.truth[0])
    if isinstance(question, Backward):  # and the taps of its pass
        known |= set(standard.given.network.by_name)
    if unknown := [tensor for found in (answer.tensors, *answer.others) for tensor in found if tensor not in known]:
        names = printable(", ".join(tensor[:80] for tensor in unknown[:5])) + ", ..." * (len(unknown) > 5)
        yield f"{question.tensor}s that the network does not have: {names}"


def _suspicious(errors: Mapping[str, float], answer: Answer, question: Question, standard: Standard) -> str:
    """Why errors within the bound are suspicious; "" if they are not."""
    factor, roundings = SUSPICIOUS.get(question.what), 1 / ROUNDING[answer.dtype]
    if factor is None:
        return ""
    forward = isinstance(question, Forward)
    alone = _judged_alone(standard.given.network, answer.tensors) if forward else set[str]()
    # The reference in float32 is computed only where it can matter.
    beyond = {t: e * roundings for t, e in errors.items() if t not in alone and e * roundings > factor * PLAIN}
    if not beyond:
        return ""
    plain = standard.plain_roundings
    usual = {tensor: plain[tensor] if forward else max(plain.values()) for tensor in beyond}
    tensor = max(beyond, key=lambda tensor: beyond[tensor] / max(usual[tensor], PLAIN))
    if beyond[tensor] <= factor * max(usual[tensor], PLAIN):
        return ""
    return f"{tensor} is off by {beyond[tensor]:.3g} roundings, plain rounding makes {usual[tensor]:.3g}"


def _judged_alone(network: Network, shown: Collection[str]) -> set[str]:
    """The taps whose layer is judged by itself, all of its inputs being shown."""
    known = {"data", *shown}
    return {node.name for node in network.nodes if node.name in known and known.issuperset(node.inputs)}
