"""Asks the processes in turn: every contestant has one run in each round."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any, Literal

What = Literal["inference", "training"]

FRAMEWORKS: Mapping[str, str] = {
    "torch": "PyTorch",
    "jax": "Flax (JAX)",
    "tf": "Keras (TensorFlow)",
    "onnx": "ONNX Runtime",
    "openvino": "OpenVINO",
}
"""Modules of ``benchmarks.speed.frameworks``, and what people call them."""

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "jax": ("jax", "flax"),
    "tf": ("tensorflow", "keras"),
    "onnx": ("onnxruntime",),
    "openvino": ("openvino",),
}
"""What each needs, by the names of packages, which are those of their modules."""

WAYS: Mapping[str, Mapping[str, str]] = {
    "torch": {"model": "in `inference_mode`", "fast": "`se_torch.fast`", "peer": "written by hand"},
    "jax": {"model": "under `nnx.jit`", "fast": "`se_jax.fast`", "peer": "written by hand"},
    "tf": {
        "model": "under `tf.function`",
        "predict": "by `predict`",
        "fast": "`se_tf.fast`",
        "peer": "written by hand",
    },
    "onnx": {"model": ""},
    "openvino": {"model": ""},
}
"""Ways of each in inference, and their titles."""

TRAINING: Mapping[str, str] = {"model": "a step of SGD", "peer": "written by hand"}
"""Ways in training, of those that train."""

TRAINABLE = ("torch", "jax", "tf")

LEAST, MOST = 3, 31
"""Rounds: fewer say nothing of a spread, more say nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is timed: one network, in one way to use it."""

    what: What
    network: str
    file: str
    batch: int
    side: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to go on: seconds for the rounds of a task, and at most so many rounds."""

    seconds: float = 20.0
    rounds: int = MOST


class Process:
    """One framework in a process of its own."""

    def __init__(self, framework: str) -> None:
        command = [sys.executable, "-m", "benchmarks.speed.process", framework]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, **said: object) -> dict[str, Any]:
        """The answer to a question; one that says so if the process has ended."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(said) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {"failed": "its process has ended"}
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"failed": "its process has ended"}

    def end(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def processes(frameworks: Sequence[str]) -> Generator[Mapping[str, Process]]:
    """A process for each framework that is installed."""
    with ExitStack() as stack:
        found: dict[str, Process] = {}
        for framework in frameworks:
            if all(find_spec(package) for package in PACKAGES[framework]):
                found[framework] = Process(framework)
                stack.callback(found[framework].end)
        yield found


def measure(task: Task, running: Mapping[str, Process], effort: Effort) -> Iterator[dict[str, Any]]:
    """A row for every contestant: the median of its runs and their quartiles, in seconds, and ratios.

    A ratio is the median of those within each round, to ONNX Runtime's time and to that of the network written by hand
    in the same framework.
    """
    contestants: dict[tuple[str, str], dict[str, Any]] = {}
    for framework, process in running.items():
        for way in ways(task.what, framework):
            contestants[framework, way] = process.ask(make=way, way=way, **asdict(task))
    runs: dict[tuple[str, str], list[float]] = {c: [] for c, made in contestants.items() if "seconds" in made}
    until = time.perf_counter() + effort.seconds
    for number in range(effort.rounds):
        if number >= LEAST and time.perf_counter() > until:
            break
        for (framework, way), seconds in runs.items():
            seconds.append(running[framework].ask(run=way)["seconds"])
    for process in running.values():
        process.ask(forget=True)
    for (framework, way), made in contestants.items():
        row = {
            "part": task.what,
            "network": task.network,
            "batch": task.batch,
            "side": task.side,
            "framework": framework,
            "way": way,
        }
        if "absent" in made:
            continue
        if "failed" in made:
            yield row | made
            continue
        yield (
            row
            | summary(runs[framework, way])
            | {
                "first": made["seconds"],
                "to_onnx": ratio(runs[framework, way], runs.get(("onnx", "model"))),
                "to_peer": ratio(runs[framework, way], runs.get((framework, "peer"))),
            }
        )


def ways(what: What, framework: str) -> Mapping[str, str]:
    """The ways of a framework, with their titles."""
    if what == "inference":
        return WAYS[framework]
    return TRAINING if framework in TRAINABLE else {}


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """The median and the quartiles of several runs."""
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return {"seconds": middle, "low": low, "high": high, "rounds": len(seconds)}


def ratio(seconds: Sequence[float], others: Sequence[float] | None) -> float | None:
    """The median of the ratios round by round; None where there is nothing to compare with."""
    return others and statistics.median(a / b for a, b in zip(seconds, others, strict=True))
