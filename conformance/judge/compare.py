"""Compares adapters with the reference: outputs of every node, gradients, parameters after training."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from conformance.adapters import DIFFERENTIABLE, STANDARD, adapter, known
from conformance.adapters.protocol import Adapter
from conformance.judge.answer import Answer, answer_of, ask
from conformance.judge.bounds import BOUNDS
from conformance.judge.measure import judge
from conformance.judge.process import answer_in_a_process, keep
from conformance.judge.progress import SILENT, Progress
from conformance.judge.question import Backward, Forward, Given, Question, Training
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
        progress: is told which adapter is at work.
    """

    isolated: bool = True
    timeout: float = 600.0
    progress: Progress = SILENT


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
        name, of, params, x, dtype: as of ``run``.
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
        name, of, dtype: as of ``run``.
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


def logits(name: str, of: Network | Spec, params: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The output (N, classes) by one adapter in float32, in a process of its own, whose chatter is not ours.

    Raises:
        InputError: what the adapter needs is not installed, or it failed.
    """
    return outputs(name, of, params, x)[as_network(of).output.name]


def outputs(name: str, of: Network | Spec, params: Mapping[str, np.ndarray], x: np.ndarray) -> Mapping[str, np.ndarray]:
    """The outputs of all nodes by one adapter, as of ``logits``.

    Raises:
        InputError: what the adapter needs is not installed, or it failed.
    """
    given = Given(as_network(of), params, "float32", Forward(x))
    with TemporaryDirectory(prefix="senet-", ignore_cleanup_errors=True) as folder:
        keep(Path(folder), given)
        answer = answer_in_a_process(name, Path(folder), USUAL.timeout)
    if answer.message:
        raise InputError(answer.message)
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
) -> Comparison:
    """Compares every tap of every adapter with the reference in float64.

    Args:
        of: the network, or its record.
        params: by canonical name.
        x: (N, 3, H, W).
        adapters: their names.
        dtype: what the adapters compute in.
        isolated, timeout: as of ``Conditions``.

    Raises:
        InputError: an unknown adapter, or parameters or a size that do not fit the network.
    """
    given = Given(as_network(of), params, dtype, Forward(x))
    return compared(given, adapters, Conditions(isolated=isolated, timeout=timeout))


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
) -> Comparison:
    """Compares every gradient of every adapter with the reference's in float64; arguments as of the functions above.

    Errors stand in the order in which gradients come about, so the first divergent one is next to the mistake.
    """
    given = Given(as_network(of), params, dtype, Backward(x, cotangent, training))
    return compared(given, adapters, Conditions(isolated=isolated, timeout=timeout))


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
) -> Comparison:
    """Compares every parameter and running statistic after training with the reference's in float64."""
    given = Given(as_network(of), params, dtype, Training(tuple(batches), recipe))
    return compared(given, adapters, Conditions(isolated=isolated, timeout=timeout))


def compared(given: Given, adapters: Iterable[str], conditions: Conditions) -> Comparison:
    """Compares the answers of adapters with the reference's.

    Raises:
        InputError: an unknown adapter.
    """
    names = tuple(dict.fromkeys(adapters))
    for name in names:
        known(name)
    with conditions.progress.step("the reference"):
        truth = truth_of(given)
    results = judged(given, names, lambda name, answer: judge(name, answer, truth, given.question), conditions)
    return comparison_of(given, results, truth)


def comparison_of(given: Given, results: Mapping[str, Verdict], truth: Mapping[str, np.ndarray]) -> Comparison:
    """The comparison of what was asked."""
    return Comparison(
        network=given.network.name,
        dtype=given.dtype,
        shape=given.question.input_shape,
        results=results,
        truth=truth,
        what=given.question.what,
    )


def judged(
    given: Given,
    adapters: Iterable[str],
    verdict: Callable[[str, Answer], Verdict],
    conditions: Conditions,
) -> dict[str, Verdict]:
    """Asks every adapter and applies ``verdict(name, answer)`` to each answer.

    Raises:
        InputError: an unknown adapter.
    """
    names = tuple(dict.fromkeys(adapters))
    for name in names:
        known(name)

    def verdict_on(name: str, answer: Callable[[str], Answer]) -> Verdict:
        with conditions.progress.step(name):
            return verdict(name, answer(name))

    if not conditions.isolated:
        return {name: verdict_on(name, lambda name: answer_of(name, given)) for name in names}
    with (
        TemporaryDirectory(prefix="senet-", ignore_cleanup_errors=True) as folder,
        ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool,
    ):
        keep(Path(folder), given)

        def isolated(name: str) -> Verdict:
            return verdict_on(name, lambda name: answer_in_a_process(name, Path(folder), conditions.timeout))

        return dict(zip(names, pool.map(isolated, names), strict=True))


def verdicts(
    port: str | Adapter,
    of: Network | Spec,
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    cotangent: np.ndarray,
    dtype: str,
) -> Iterator[Verdict]:
    """Yields the verdict on a port's taps and then, if it has gradients, on those; in this process.

    Args:
        port: the port, or its name. Its errors propagate.
        of, params, x: as of ``compare``.
        cotangent: the gradient on the output (N, classes).
        dtype: what it computes in.

    Raises:
        InputError: there is no such port, or the parameters or the size do not fit the network.
    """
    asked = adapter(port) if isinstance(port, str) else port
    questions: tuple[Question, ...] = (Forward(x), Backward(x, cotangent))
    for question in questions:
        if hasattr(asked, question.function) and (question.what == "taps" or dtype in BOUNDS[question.what]):
            given = Given(as_network(of), params, dtype, question)
            yield judge(asked.NAME, ask(asked, given), truth_of(given), question)


def truth_of(given: Given) -> Mapping[str, np.ndarray]:
    """The reference's tensors in float64. Errors in the reference propagate; they are no adapter's disagreement."""
    return ask(adapter("numpy"), replace(given, dtype="float64")).tensors
