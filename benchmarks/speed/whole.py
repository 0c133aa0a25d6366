"""Whole processes: seconds and memory from start to end, of commands, imports, and of one contestant by itself."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

import click

from benchmarks.speed.rounds import FRAMEWORKS, PACKAGES, Task, ratio, summary, ways

STARTS: Mapping[str, tuple[str, ...]] = {
    "python": ("-c", "pass"),
    "import weights": ("-c", "import weights"),
    "import torch": ("-c", "import torch"),
    "import se_torch": ("-c", "import se_torch"),
    "import flax": ("-c", "import flax.nnx"),
    "import se_jax": ("-c", "import se_jax"),
    "import keras": ("-c", "import keras, tensorflow"),
    "import se_tf": ("-c", "import se_tf, tensorflow"),
    "senet --help": ("-m", "conformance", "--help"),
    "senet models": ("-m", "conformance", "models"),
}
"""What is started, by what people would type."""

REPEATED = 2
"""Runs of a contestant whose memory is measured: the second one may need more than the first."""


def run(folder: str, *arguments: str, code: int = 0) -> tuple[float, int]:
    """Runs Python to its end, its compiled modules in ``folder``: seconds, and the most bytes that it had resident.

    Raises:
        ClickException: it ended with another exit code.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)  # this process stays small: its own size would count at the start
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        raise click.ClickException(f"{' '.join(arguments)[:80]} ended with {process.returncode}")
    return seconds, usage.ru_maxrss * 1024


def starts(rounds: int) -> Iterator[dict[str, Any]]:
    """One row for each of ``STARTS`` whose packages are installed."""
    with tempfile.TemporaryDirectory() as folder:
        there = {name: arguments for name, arguments in STARTS.items() if _installed(name)}
        for arguments in there.values():
            run(folder, *arguments)  # compiles the modules
        taken: dict[str, list[float]] = {name: [] for name in there}
        for _ in range(rounds):
            for name, arguments in there.items():
                taken[name].append(run(folder, *arguments)[0])
    for name, seconds in taken.items():
        yield {"part": "start", "name": name} | summary(seconds)


def _installed(name: str) -> bool:
    """Whether what is started can be: an import names a package, or one of ours that needs one."""
    first, _, package = name.partition(" ")
    needed = {"se_torch": "torch", "se_jax": "flax", "se_tf": "keras"}
    return first != "import" or find_spec(needed.get(package, package)) is not None


def memory(task: Task) -> Iterator[dict[str, Any]]:
    """One row for each contestant: the most bytes that a process of its own had resident."""
    with tempfile.TemporaryDirectory() as folder:
        for framework in FRAMEWORKS:
            if not all(find_spec(package) for package in PACKAGES[framework]):
                continue
            peaks: dict[str, int] = {}
            for way in ways(task.what, framework):
                said = json.dumps(asdict(task) | {"way": way})
                command = ("-m", "benchmarks.speed.process", framework, said, str(REPEATED))
                try:
                    _, peaks[way] = run(folder, *command)
                except click.ClickException:
                    continue  # a way that this network has not
            for way, peak in peaks.items():
                yield {
                    "part": "memory",
                    "what": task.what,
                    "network": task.network,
                    "batch": task.batch,
                    "framework": framework,
                    "way": way,
                    "peak": peak,
                    "to_peer": ratio([peak], [peaks["peer"]] if "peer" in peaks else None),
                }
