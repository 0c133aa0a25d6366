"""Puts every mutant into every framework and prints the table; ends with 1 where one was not caught at its tap.

python -m tests.mutants > docs/mutations.md     # a line for each bug
python -m tests.mutants --json torch            # one framework, for the tests
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from conformance.adapters import STANDARD

from .injection import DTYPES, MUTANTS, findings, isolated
from .mutant import Finding

INTRODUCTION = """# Bugs that the suite catches

{bugs} bugs that ports of these networks have had or could have, put into the frameworks on purpose ({injections} times)
by changing parameters, the spec, the nodes, or a function of a port, and compared in float64 and in float32, on two
images that are not square. A cell names the first divergent tap, its error relative to the largest value there
("shape": the tap has another one, or is not finite), and by how much the layer by itself is beyond what rounding can
explain. An empty cell: the bug cannot occur in that framework, or not in the same way. Where a framework does not have
the tap that a bug sits in, the first one that depends on it is named. What rounding hides in float32 is listed with the
reason.

Made by `make tables` from the mutants in `tests/mutants`.
"""


def main(arguments: list[str]) -> int:
    """Prints what was found."""
    if arguments[:1] == ["--json"]:
        print(json.dumps([asdict(found) for found in findings(arguments[1])]))
        return 0
    with ThreadPoolExecutor(2) as pool:
        found = [f for each in pool.map(isolated, STANDARD) for f in each]
    print(INTRODUCTION.format(bugs=len(MUTANTS), injections=len(found)))
    for dtype in DTYPES:
        print(f"\n## In {dtype}\n")
        print(table([f for f in found if f.dtype == dtype]))
    return int(any(wrong(f) for f in found))


def wrong(found: Finding) -> bool:
    """Whether a bug was not caught at its tap, or was where rounding is said to hide it."""
    hidden = found.dtype == "float32" and MUTANTS[found.mutant].hidden
    return found.found != (None if hidden else found.expected)


def table(found: list[Finding]) -> str:
    """All bugs in Markdown: a line for each, and a column for each framework."""
    cells = {(f.mutant, f.framework): f for f in found}
    header = ("bug", "what it is", "sits in", *STANDARD)
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    for m in MUTANTS.values():
        row = (m.name, m.what, f"`{m.at}`", *(_cell(cells.get((m.name, name))) for name in STANDARD))
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def _cell(found: Finding | None) -> str:
    if found is None:
        return ""
    if found.found is None:
        hidden = found.dtype == "float32" and MUTANTS[found.mutant].hidden
        return f"hidden: {hidden}" if hidden else "**not caught**"
    error = "shape" if found.error == float("inf") else f"{found.error:.0e}"
    if found.share is not None and found.share > 1:
        error += ", many times" if found.share > 1e4 else f", {found.share:.2g} times"
    return f"**`{found.found}`** {error}" if wrong(found) else f"`{found.found}` {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
