"""How long `senet convert` and `senet diff` take and what memory they need, against what cannot be left out.

That is a Python process which reads and writes the same bytes, and one which reads the two checkpoints. All are whole
processes. Python keeps compiled modules, as after an installation; the files are in the system's cache.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.rounds import ratio, summary
from benchmarks.speed.whole import run

NETWORKS = ("se-resnet-50", "senet-154")
TIMES = 3.0
"""As long as the copy, or the reading, at most."""

MEMORY = 150e6
"""Bytes beside those of the files, at most."""

_WRITE = "import sys, weights; from conformance import cases; spec = weights.MODELS[sys.argv[1]]; " + (
    "weights.write(sys.argv[2], spec, cases.seeded(spec, int(sys.argv[3])))"
)
_READ = "import sys, weights; found = [weights.read(path) for path in sys.argv[1:]]"
_COPY = "import sys; data = open(sys.argv[1], 'rb').read(); open(sys.argv[2], 'wb').write(data)"


def measure(network: str, rounds: int) -> Iterator[dict[str, Any]]:
    """Rows: seconds, also as so many times the plain process's, bytes of files and memory, whether bounds are kept."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, f"{network}.caffemodel"), Path(folder, "out.safetensors")
        ours, plain = ("-m", "conformance", "convert", source, target), ("-c", _COPY, source, target)
        run(folder, "-c", _WRITE, network, str(source), "1")
        yield _row("convert", network, folder, ours, plain, source.stat().st_size, rounds)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{seed}.safetensors") for seed in (1, 2)]
        for seed, file in enumerate(files, 1):
            run(folder, "-c", _WRITE, network, str(file), str(seed))
        ours, plain = ("-m", "conformance", "diff", *files), ("-c", _READ, *files)
        size = sum(file.stat().st_size for file in files)
        yield _row("diff", network, folder, ours, plain, size, rounds)


def _row(
    what: str,
    network: str,
    folder: str,
    ours: Sequence[str | Path],
    plain: Sequence[str | Path],
    size: int,
    rounds: int,
) -> dict[str, Any]:
    different = int(what == "diff")  # its exit code
    _alone(folder, plain)  # compiles the modules
    _alone(folder, ours, different)
    both = [(_alone(folder, plain), _alone(folder, ours, different)) for _ in range(rounds)]
    (plainly, _), (seconds, memory) = (zip(*runs, strict=True) for runs in zip(*both, strict=True))
    peak, times = max(memory), ratio(seconds, plainly)
    assert times is not None
    kept = times <= TIMES and peak <= size + MEMORY
    row = {"part": "conversion", "what": what, "network": network, "size": size, "peak": peak}
    return row | {"to_plain": times, "kept": kept} | summary(seconds)


def _alone(folder: str, command: Sequence[str | Path], code: int = 0) -> tuple[float, int]:
    """Seconds and bytes of a process, whose output is gone afterwards."""
    found = run(folder, *map(str, command), code=code)
    Path(folder, "out.safetensors").unlink(missing_ok=True)
    return found
