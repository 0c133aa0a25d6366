"""A process of one framework, which makes what is timed and times it, one run whenever it is asked.

Questions are lines of JSON on stdin, answers on stdout: ``{"make": NAME, ...}`` makes something and runs it once, which
compiles it; ``{"run": NAME}`` runs it; ``{"forget": true}`` lets go of all.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from benchmarks.speed.frameworks import Asked, NotThereError

AT_LEAST = 0.02
"""Seconds that a timed run lasts; what is shorter is repeated."""


def made(framework: str, said: dict[str, Any]) -> Callable[[], object]:
    """What is to be timed.

    Args:
        framework: the name of a module of ``benchmarks.speed.frameworks``.
        said: what (inference, training), way, network, file, batch, side.

    Raises:
        NotThereError: there is no such way to run the network.
    """
    module = import_module(f"benchmarks.speed.frameworks.{framework}")
    return getattr(module, said["what"])(said["way"], Asked(said["network"], said["batch"], said["side"], said["file"]))


def main(framework: str) -> None:
    """Answers until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    runs: dict[str, tuple[Callable[[], object], int]] = {}
    for line in sys.stdin:
        said = json.loads(line)
        try:
            answer = answered(framework, said, runs)
        except NotThereError as error:
            answer = {"absent": str(error)}
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


def answered(framework: str, said: dict[str, Any], runs: dict[str, tuple[Callable[[], object], int]]) -> dict[str, Any]:
    """What one question is answered: seconds, mostly."""
    if name := said.get("make"):
        run = made(framework, said)
        first = timed(run, 1)
        once = timed(run, 1)
        runs[name] = run, max(1, round(AT_LEAST / max(once, 1e-6)))
        return {"seconds": first}
    if name := said.get("run"):
        return {"seconds": timed(*runs[name])}
    runs.clear()
    return {}


def timed(run: Callable[[], object], times: int) -> float:
    """Seconds of one of several runs."""
    begin = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - begin) / times


def once(framework: str, said: dict[str, Any], times: int) -> None:
    """Makes something and runs it some times: for what the process as a whole takes."""
    run = made(framework, said)
    for _ in range(times):
        run()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        try:
            once(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]))
        except NotThereError as error:
            sys.exit(str(error))
    else:
        main(sys.argv[1])
