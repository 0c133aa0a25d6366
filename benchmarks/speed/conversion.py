"""How long a conversion takes and what memory it needs, against a Python process that reads and writes the same bytes.

`senet convert X.caffemodel out.safetensors` as a whole process. Python keeps compiled modules, as after an
installation; the file is in the system's cache.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.speed.rounds import ratio, summary
from benchmarks.speed.whole import run

NETWORKS = ("se-resnet-50", "senet-154")
TIMES = 3.0
"""As long as the copy, at most."""

MEMORY = 150e6
"""Bytes beside the file's, at most."""

_WRITE = "import sys, weights; from conformance import cases; spec = weights.MODELS[sys.argv[1]]; " + (
    "weights.write(sys.argv[2], spec, cases.seeded(spec, 1))"
)
_COPY = "import sys; data = open(sys.argv[1], 'rb').read(); open(sys.argv[2], 'wb').write(data)"


def measure(network: str, rounds: int) -> Iterator[dict[str, Any]]:
    """One row: seconds, also as so many times the copy's, bytes of the file and of memory, whether bounds are kept."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, f"{network}.caffemodel"), Path(folder, "out.safetensors")
        run(folder, "-c", _WRITE, network, str(source))
        run(folder, "-m", "conformance", "convert", str(source), str(target))  # compiles the modules
        size = source.stat().st_size
        copies, conversions = [], []
        for _ in range(rounds):
            copies.append(run(folder, "-c", _COPY, str(source), str(target)))
            target.unlink()
            conversions.append(run(folder, "-m", "conformance", "convert", str(source), str(target)))
            target.unlink()
    seconds, copied = ([seconds for seconds, _ in runs] for runs in (conversions, copies))
    peak = max(memory for _, memory in conversions)
    times = ratio(seconds, copied)
    assert times is not None
    kept = times <= TIMES and peak <= size + MEMORY
    row = {"part": "conversion", "network": network, "size": size, "peak": peak, "to_copy": times, "kept": kept}
    yield row | summary(seconds)
