"""Explains why a port disagrees: the first tensor that is off, what it computes, and the errors around it."""

from conformance.judge.verdict import Verdict
from conformance.report.table import aligned
from weights.networks.network import Network, as_network
from weights.networks.spec import Spec


def explain(verdict: Verdict, of: Network | Spec, what: str = "tap") -> str:
    """Why a port disagrees with the reference.

    Args:
        verdict: on the port.
        of: the network, or its record.
        what: what one of the compared tensors is called, "tap" or "gradient".
    """
    network = as_network(of)
    first, worst = verdict.first_divergent, verdict.worst
    who = f"{verdict.adapter} ({verdict.version})"
    where = f"on {network.name} in {verdict.dtype}" + (f", first at {first}" if first else "")
    lines = [f"{who} disagrees with the reference {where}", *filter(None, [verdict.message])]
    node = network.by_name.get(first or "")
    if node and what == "tap":
        inputs = " and ".join(f"{name} ({_status(name, verdict)})" for name in node.inputs)
        lines.append(f"{first} is {node.op} of {inputs}")
    if first and worst:
        names, bound = list(verdict.errors), verdict.bound
        at = names.index(first)
        shown = dict.fromkeys([*names[max(at - 2, 0) : at + 4], worst[0], names[-1]])
        errors = ((name, error) for name, error in verdict.errors.items() if name in shown)
        rows = [(name, f"{error:.1e}", "" if error <= bound else "off") for name, error in errors]
        lines += ["", aligned((what, "error", f"bound {bound:.0e}"), rows)]
    return "\n".join(lines)


def _status(name: str, verdict: Verdict) -> str:
    """What is known of an input."""
    if name == "data":
        return "the input"
    if name not in verdict.errors:
        return "no tap"
    return "agreed" if verdict.errors[name] <= verdict.bound else "off"
