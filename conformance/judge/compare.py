"""Compares adapters with the reference: outputs of every node, gradients, parameters after training."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from conformance.adapters import DIFFERENTIABLE, STANDARD, adapter, known, slow
from conformance.adapters.protocol import Adapter
from conformance.judge.answer import Answer, UnableError, answer_of, ask
from conformance.judge.bounds import BOUNDS
from conformance.judge.measure import NO_DEMANDS, Demands, check_asked, judge
from conformance.judge.process import processes
from conformance.judge.progress import SILENT, Progress
from conformance.judge.question import Backward, Forward, Given, Question, Training
from conformance.judge.standard import Standard
from conformance.judge.verdict import Comparison, Verdict
from conformance.reference.training import Batch, Recipe
from weights.errors import InputError
from weights.networks.network import Network, as_network
from weights.networks.spec import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How adapters are asked.

    Attributes:
        isolated: each adapter in a process of its own, two at a time, so that a crash, a lack of memory or a hang is
            one adapter's only. Otherwise one after the other in this process.
        timeout: seconds that an isolated adapter has.
        demands: what is demanded of an adapter beyond agreement.
        memory: MB (1e6 bytes) of resident memory that its processes may take together; None for any amount.
        progress: is told which adapter is at work.
        device: where adapters compute, "cuda:0"; "" for where each does by itself.
    """

    isolated: bool = True
    timeout: float = 600.0
    demands: Demands = NO_DEMANDS
    memory: float | None = None
    progress: Progress = SILENT
    device: str = ""


USUAL = Conditions()
"""Each adapter in a process of its own, for at most ten minutes."""


def run(
    name: str,
    of: Network | Spec,
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    dtype: str = "float64",
) -> dict[str, np.ndarray]:
    """Asks one adapter, in this process, for the outputs of the network's nodes.

    Args:
        name: one of ``ADAPTERS``, or a module "package.module" with an adapter's functions.
        of: the network, or its record.
        params: by canonical name.
        x: (N, 3, H, W), cast to the dtype.
        dtype: "float64", "float32", "bfloat16" or "float16"; the last two come back in float32. An adapter that cannot
            compute in it (ONNX Runtime in float64 on a large network) takes another.

    Returns:
        Node names to outputs, (N, C, H, W) or (N, C), in the order of the nodes; the last one is "logits" ("pool"
        without a classifier). Nodes that the adapter's model does not have are left out.

    Raises:
        InputError: there is no such adapter, or the parameters or the size do not fit the network.
        ImportError: what the adapter needs is not installed; the message says which extra to install.
    """
    return dict(ask(adapter(name), Given(as_network(of), params, dtype, Forward(x))).tensors)


def gradients(
    name: str,
    of: Network | Spec,
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    cotangent: np.ndarray,
    dtype: str = "float64",
    *,
    training: bool = False,
) -> dict[str, np.ndarray]:
    """Asks one adapter, in this process, for the gradients of sum(logits * cotangent).

    Args:
        name: as of ``run``; so are ``of``, ``params``, ``x`` and ``dtype``.
        cotangent: (N, classes).
        training: BatchNorm normalises with the statistics of the batch, and gradients run through them. Nothing is
            dropped out: what is dropped depends on each framework's own random numbers.

    Returns:
        That of the input as "data", that of each learnable parameter by its name, in canonical layouts.

    Raises:
        InputError: as of ``run``, or the adapter has no gradients.
        ImportError: as of ``run``.
    """
    return dict(ask(adapter(name), Given(as_network(of), params, dtype, Backward(x, cotangent, training))).tensors)


def train(
    name: str,
    of: Network | Spec,
    params: Mapping[str, np.ndarray],
    batches: Sequence[Batch],
    recipe: Recipe,
    dtype: str = "float64",
) -> dict[str, np.ndarray]:
    """Trains by one adapter's own optimizer, in this process, a step for each batch.

    Args:
        name: as of ``run``; so are ``of`` and ``dtype``.
        params: to start from.
        batches: images and classes, all of one shape. Nothing is dropped out.
        recipe: how the parameters are moved.

    Returns:
        Parameters and running statistics by canonical name.

    Raises:
        InputError: as of ``run``, or the adapter does not train.
        ImportError: as of ``run``.
    """
    return dict(ask(adapter(name), Given(as_network(of), params, dtype, Training(tuple(batches), recipe))).tensors)


def answered(name: str, given: Given, conditions: Conditions) -> Mapping[str, np.ndarray]:
    """The tensors that one adapter answers.

    Raises:
        InputError: what the adapter needs is not installed, or it failed.
    """
    given = replace(given, device=conditions.device)
    if not conditions.isolated:
        return ask(adapter(name), given).tensors
    with processes(given, conditions.timeout, conditions.memory) as answer_in_a_process:
        answer = answer_in_a_process(name)
    if answer.message:
        raise InputError(answer.message if answer.absent else f"{name}: {answer.message}")
    return answer.tensors


def compare(
    of: Network | Spec,
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    adapters: Iterable[str] = STANDARD,
    dtype: str = "float64",
    *,
    isolated: bool = True,
    timeout: float = 600.0,
    device: str = "",
) -> Comparison:
    """Compares every tap of every adapter with the reference in float64.

    Args:
        of: the network, or its record.
        params: by canonical name.
        x: (N, 3, H, W).
        adapters: their names.
        dtype: what the adapters compute in.
        isolated: as of ``Conditions``.
        timeout: as of ``Conditions``.
        device: as of ``Conditions``.

    Raises:
        InputError: an unknown adapter, or parameters or a size that do not fit the network.
    """
    given = Given(as_network(of), params, dtype, Forward(x))
    return compared(given, adapters, Conditions(isolated=isolated, timeout=timeout, device=device))


def compare_gradients(
    of: Network | Spec,
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    cotangent: np.ndarray,
    adapters: Iterable[str] = DIFFERENTIABLE,
    dtype: str = "float64",
    *,
    training: bool = False,
    isolated: bool = True,
    timeout: float = 600.0,
    device: str = "",
) -> Comparison:
    """Compares every gradient of every adapter with the reference's in float64; arguments as of the functions above.

    Errors stand in the order in which gradients come about, so the first divergent one is next to the mistake.
    """
    given = Given(as_network(of), params, dtype, Backward(x, cotangent, training))
    return compared(given, adapters, Conditions(isolated=isolated, timeout=timeout, device=device))


def compare_training(
    of: Network | Spec,
    params: Mapping[str, np.ndarray],
    batches: Sequence[Batch],
    recipe: Recipe,
    adapters: Iterable[str] = DIFFERENTIABLE,
    dtype: str = "float64",
    *,
    isolated: bool = True,
    timeout: float = 600.0,
    device: str = "",
) -> Comparison:
    """Compares every parameter and running statistic after training with the reference's in float64."""
    given = Given(as_network(of), params, dtype, Training(tuple(batches), recipe))
    return compared(given, adapters, Conditions(isolated=isolated, timeout=timeout, device=device))


def compared(given: Given, adapters: Iterable[str], conditions: Conditions) -> Comparison:
    """Compares the answers of adapters with the reference's.

    Raises:
        InputError: an unknown adapter.
    """
    names = tuple(dict.fromkeys(adapters))
    for name in names:
        known(name)
    standard = Standard(given)
    with conditions.progress.step("the reference"):
        _ = standard.truth  # computed before anything else, and once
    return by_standard(standard, names, conditions)


def by_standard(standard: Standard, adapters: Iterable[str], conditions: Conditions) -> Comparison:
    """Asks every adapter and judges each answer by the standard.

    Raises:
        InputError: an unknown adapter.
    """
    given = standard.given
    return Comparison(
        network=given.network.name,
        dtype=given.dtype,
        shapes=given.question.input_shapes,
        results=_judged(standard, adapters, conditions),
        truth=standard.truth[0],
        what=given.question.what,
    )


def _judged(standard: Standard, adapters: Iterable[str], conditions: Conditions) -> dict[str, Verdict]:
    given = replace(standard.given, device=conditions.device)  # the reference has none
    names = tuple(dict.fromkeys(adapters))
    for name in names:
        known(name)

    def verdict_on(name: str, answer: Callable[[str], Answer]) -> Verdict:
        with conditions.progress.step(name):
            return judge(name, answer(name), standard, conditions.demands)

    if not conditions.isolated:
        # An adapter in this process may write into what it is given.
        return {name: verdict_on(name, lambda name: answer_of(name, given.copied())) for name in names}
    # The processes end before the pool waits for the threads that ask them.
    with (
        ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool,
        processes(given, conditions.timeout, conditions.memory) as answer_in_a_process,
    ):
        # Those that take longest begin, so that no core waits for one of them at the end.
        first = sorted(names, key=slow, reverse=True)
        asked = {name: pool.submit(verdict_on, name, answer_in_a_process) for name in first}
        return {name: asked[name].result() for name in names}


def verdicts(
    port: str | Adapter,
    of: Network | Spec,
    params: Mapping[str, np.ndarray],
    questions: Iterable[Question],
    dtype: str,
    demands: Demands = NO_DEMANDS,
) -> Iterator[tuple[Question, Verdict]]:
    """Yields each question that has a bound in the precision, with the verdict on a port's answer; in this process.

    Args:
        port: the port, or its name. Its errors propagate.
        of, params: as of ``compare``.
        questions: what is asked. On what a port has no function for the verdict is "absent", unless it is demanded.
        dtype: what it computes in.
        demands: what is demanded of the port beyond agreement.

    Raises:
        InputError: there is no such port, or the parameters or the size do not fit the network.
    """
    check_asked(demands, (dtype,))
    asked = adapter(port) if isinstance(port, str) else port
    for question in questions:
        if dtype not in BOUNDS[question.what]:
            continue
        given = Given(as_network(of), params, dtype, question)
        try:
            answer = ask(asked, given.copied())
        except UnableError as error:
            answer = Answer(message=str(error), absent=True)
        yield question, judge(asked.NAME, answer, Standard(given), demands, port if isinstance(port, str) else "")
