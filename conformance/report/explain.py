"""Explains why a port disagrees: the first tensor that is off, what it computes, and the errors around it."""

from conformance.judge.question import Question
from conformance.judge.verdict import Verdict
from conformance.report.table import aligned
from conformance.report.titles import KINDS
from weights.networks.network import Network, as_network
from weights.networks.spec import Spec

_SAID = {
    "suspicious": "is suspiciously far from the reference",
    "otherwise": "agrees with the reference, but in another precision,",
    "failed": "failed",
}


def explain(verdict: Verdict, of: Network | Spec, question: Question) -> str:
    """Why a port disagrees with the reference.

    Args:
        verdict: on the port.
        of: the network, or its record.
        question: what it was asked.
    """
    network = as_network(of)
    first, worst = verdict.first_divergent, verdict.worst
    who = f"{verdict.adapter} ({verdict.version})"
    where = f"on {network.name} in {verdict.dtype or verdict.asked}" + (f", first at {first}" if first else "")
    said = _SAID.get(verdict.status, "disagrees with the reference")
    lines = [f"{who} {said} {KINDS[question.what] and 'in its ' + KINDS[question.what] + ' '}{where}"]
    lines += filter(None, [verdict.message])
    if wrong := verdict.wrong_layers:
        more = f", and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        lines.append(f"wrong by themselves, whatever comes before them: {', '.join(wrong[:5])}{more}")
    node = network.by_name.get(first or "")
    if node and question.what == "taps":
        inputs = " and ".join(f"{name} ({_status(name, verdict)})" for name in node.inputs)
        lines.append(f"{first} is {node.op} of {inputs}")
    if worst and first and first in verdict.errors:
        names, bound = list(verdict.errors), verdict.bound
        at = names.index(first)
        shown = dict.fromkeys([*names[max(at - 2, 0) : at + 4], worst[0], names[-1]])
        errors = ((name, error) for name, error in verdict.errors.items() if name in shown)
        rows = [(name, f"{error:.1e}", *_off(name, verdict)) for name, error in errors]
        lines += ["", aligned((question.tensor, "error", f"bound {bound:.0e}", "of rounding"), rows)]
    return "\n".join(lines)


def _status(name: str, verdict: Verdict) -> str:
    """What is known of an input."""
    if name == "data":
        return "the input"
    if name not in verdict.errors:
        return "no tap"
    return "agreed" if verdict.errors[name] <= verdict.bound and name not in verdict.wrong_layers else "off"


def _off(name: str, verdict: Verdict) -> tuple[str, str]:
    """Whether a tensor is off, and its layer's share of what rounding can explain."""
    share = verdict.layers.get(name)
    return "" if _status(name, verdict) == "agreed" else "off", "" if share is None else f"{share:.2g}"
