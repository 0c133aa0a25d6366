"""Every way of running a small network of each family, against the reference: the table in docs/contestants.md.

python -m benchmarks.contestants > docs/contestants.md    # or name other networks, which take longer
"""

import sys

from conformance.adapters import ADAPTERS as KNOWN
from conformance.adapters import title_of
from conformance.cases import find as network
from conformance.cases import image, seeded, top_diff
from conformance.judge.compare import compare, compare_gradients
from conformance.judge.verdict import Verdict
from conformance.report.table import markdown
from weights.networks.network import graph

NETWORKS = {"tiny-se-resnet": (2, 65, 64), "tiny-se-bn-inception": (2, 64, 32)}
"""Those of the page, with the number and size of the images."""

SEED, SIZE = 1, (2, 64, 64)
HEADER = ("network", "framework", "name", "version", "precision", "taps", "worst", "gradients", "worst")


def main(names: list[str]) -> int:
    """Prints the page; 1 where something that is installed does not agree."""
    rows, agreed = [], True
    for name in names or NETWORKS:
        spec = network(name)
        params = seeded(spec, SEED)
        x = image(SEED, *NETWORKS.get(name, SIZE))
        taps = compare(spec, params, x, KNOWN)
        gradients = compare_gradients(spec, params, x, top_diff(SEED, *taps.output.shape), KNOWN)
        agreed &= taps.agreed and gradients.agreed
        for framework, result in taps.results.items():
            found = gradients.results[framework]
            nodes = f"{len(result.errors)} of {len(graph(spec))}" if result.errors else ""
            cells = (_error(result), str(len(found.errors) or ""), _error(found) if found.version else "")
            rows.append((name, title_of(framework), f"`{framework}`", result.version, result.dtype, nodes, *cells))
    print(INTRODUCTION)
    print(markdown(HEADER, rows))
    return int(not agreed)


def _error(result: Verdict) -> str:
    if result.errors and result.status == "agreed":
        return f"{max(result.errors.values()):.1e}"
    return "none" if result.status == "absent" and result.version else f"{result.status}: {result.message}"


INTRODUCTION = """# Every way of running the networks

Each is an adapter in `conformance/adapters/` that `senet compare --frameworks NAME,...` takes, or all of them with
`--frameworks all`; one that is not installed says what to install. Those that compile a network away leave its logits
alone to compare. Errors are the largest of a tap (a gradient), relative to its largest value in the float64 reference.
A gradient is of a seeded functional of the logits, with respect to the input and every parameter.

LiteRT, OpenVINO, ONNX Runtime and the fast paths compute in float32 at most (OpenVINO takes float64 and passes it
through float32); in float64 `onnx` is evaluated by ONNX's own reference implementation, for networks that are small.
`torch.jit.script` cannot compile the networks; tracing can. Each Keras backend needs a process of its own, which is the
default.

LiteRT in 8-bit integers has its scales from the images of the comparison and a bound of its own, 0.1.

The smallest image is 3x3, for Inception networks 7x7; the commands refuse smaller ones.

Made by `python -m benchmarks.contestants > docs/contestants.md`.
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
