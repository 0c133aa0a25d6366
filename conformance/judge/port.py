"""One port against the reference, in this process: its taps and, where it has them, its gradients."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from conformance import adapters as frameworks
from conformance import cases
from conformance.adapters.protocol import Adapter
from conformance.judge import process as worker
from conformance.judge.bounds import BOUNDS
from conformance.judge.compare import Verdict, judge, truth_of
from weights.errors import InputError
from weights.networks.models import MODELS
from weights.networks.network import graph
from weights.networks.parameters import check
from weights.networks.sizes import shapes
from weights.networks.spec import Spec


def network(named: str | Spec) -> Spec:
    """The spec of that name, of ``MODELS`` or ``cases.TINY``; a spec as it is.

    Raises:
        InputError: there is none.
    """
    if not isinstance(named, str):
        return named
    known = MODELS | cases.TINY
    if named not in known:
        raise InputError(f"unknown network {named!r}: expected one of {', '.join(known)}, or a weights.Spec")
    return known[named]


def results(
    adapter: str | Adapter,
    spec: Spec,
    params: Mapping[str, np.ndarray],
    x: np.ndarray,
    cotangent: np.ndarray,
    dtype: str,
) -> Iterator[Verdict]:
    """What becomes of the port's taps; then of its gradients, where it has them, as if they were taps.

    Args:
        adapter: as it is, or its name.
        x: (N, 3, H, W).
        cotangent: the gradient of the functional on the logits (N, classes).

    Raises:
        InputError: there is no such adapter, or the parameters or the size do not fit the network.
    """
    check(spec, params)
    shapes(spec, *x.shape[2:])
    port: Any = frameworks.adapter(adapter) if isinstance(adapter, str) else adapter
    for what in ("taps", "gradients"):
        if not hasattr(port, what) or dtype not in BOUNDS[what]:
            continue
        job = worker.Job(spec, params, x, dtype, what, cotangent)
        yield judge(port.NAME, worker.ask(port, job), truth_of(job), BOUNDS[what])


def explain(result: Verdict, spec: Spec, what: str = "tap") -> str:
    """Why a port does not agree: the first tap that is off, what it computes, and the errors around it."""
    from conformance.report.table import aligned

    first, worst = result.first_divergent, result.worst
    where = f", first at {first}" if first else ""
    lines = [
        f"{result.adapter} ({result.version}) disagrees with the reference on {spec.name} in {result.dtype}{where}"
    ]
    lines += [result.message] if result.message else []
    node = next((node for node in graph(spec) if node.name == first), None)
    if node and what == "tap":
        inputs = " and ".join(f"{name} ({_agreed(name, result)})" for name in node.inputs)
        lines.append(f"{first} is {node.op} of {inputs}")
    if first and worst:
        names = list(result.errors)
        at = names.index(first)
        shown = dict.fromkeys([*names[max(at - 2, 0) : at + 4], worst[0], names[-1]])
        rows = [
            (name, f"{e:.1e}", "" if e <= result.bound else "off") for name, e in result.errors.items() if name in shown
        ]
        lines += ["", aligned((what, "error", f"bound {result.bound:.0e}"), rows)]
    return "\n".join(lines)


def _agreed(name: str, result: Verdict) -> str:
    if name == "data":
        return "the input"
    if name not in result.errors:
        return "no tap"
    return "agreed" if result.errors[name] <= result.bound else "off"
