"""One framework at work: in this process, or in one of its own that may crash or hang without harm.

python -m conformance.judge.process FOLDER FRAMEWORK    # what ``isolated`` starts
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import numpy as np

from conformance.adapters import ENVIRONMENT, AbsentError, adapter
from conformance.reference.training import Recipe
from weights.networks.models import from_dict, to_dict
from weights.networks.network import graph
from weights.networks.spec import Spec

FUNCTIONS = {"taps": "taps", "gradients": "gradients", "training": "train"}
"""What is asked for, and the adapter's function that answers it."""


@dataclass(frozen=True, slots=True)
class Job:
    """What every framework is given."""

    spec: Spec
    params: Mapping[str, np.ndarray]
    x: np.ndarray  # (N, 3, H, W); of training (steps, N, 3, H, W)
    dtype: str
    what: str = "taps"  # "gradients", "training"
    y: np.ndarray | None = None  # the cotangent (N, classes), or the classes (steps, N)
    training: bool = False  # gradients: through the statistics of the batch
    recipe: Recipe | None = None

    def save(self, folder: Path) -> None:
        """Writes the job where other processes read it."""
        job = {
            "spec": to_dict(self.spec),
            "dtype": self.dtype,
            "what": self.what,
            "training": self.training,
            "recipe": self.recipe and asdict(self.recipe),
        }
        (folder / "job.json").write_text(json.dumps(job))
        np.savez(folder / "params.npz", **self.params)  # type: ignore[arg-type]
        np.save(folder / "x.npy", self.x)
        if self.y is not None:
            np.save(folder / "y.npy", self.y)


def _load(folder: Path) -> Job:
    job = json.loads((folder / "job.json").read_text())
    job["spec"] = from_dict(job["spec"])
    job["recipe"] = job["recipe"] and Recipe.of(job["recipe"])
    y = folder / "y.npy"
    with np.load(folder / "params.npz") as params:
        return Job(params=dict(params), x=np.load(folder / "x.npy"), y=np.load(y) if y.exists() else None, **job)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a framework made of a job."""

    version: str = ""
    dtype: str = ""  # that it computed in
    taps: Mapping[str, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0  # for building, loading and running
    message: str = ""  # why there are no taps
    absent: bool = False  # because it is not installed


def taps(framework: ModuleType, spec: Spec, params: Mapping[str, np.ndarray], x: np.ndarray, dtype: str) -> Answer:
    """The taps of an adapter, in the order of the graph; those that the graph does not have stand at the end."""
    return ask(framework, Job(spec, params, x, dtype))


def ask(framework: ModuleType, job: Job) -> Answer:
    """What the adapter has to say to a job; its errors pass through."""
    start = time.perf_counter()
    spec, dtype = job.spec, job.dtype
    if hasattr(framework, "dtype"):
        dtype = framework.dtype(spec, job.x.shape[-4:], dtype)
    model = framework.build(spec, job.params, dtype)
    carried = "float64" if dtype == "float64" else "float32"  # NumPy has no bfloat16
    x = np.ascontiguousarray(job.x, carried)
    if job.what == "taps":
        found = framework.taps(model, x)
        found = {node.name: found[node.name] for node in graph(spec) if node.name in found} | found
    elif job.what == "gradients":
        # Only in training, so that ports which do not train need no such argument.
        options = {"training": True} if job.training else {}
        found = framework.gradients(model, x, np.asarray(job.y, carried), **options)
    else:
        found = framework.train(model, list(zip(x, np.asarray(job.y, np.int64), strict=True)), job.recipe)
    return Answer(version=framework.version(), dtype=dtype, taps=found, seconds=time.perf_counter() - start)


def answer(framework: str, job: Job) -> Answer:
    """The answer of a framework in this process; what goes wrong becomes its message.

    Raises:
        InputError: there is no such framework.
    """
    try:
        loaded = adapter(framework)
    except AbsentError as error:
        return Answer(message=str(error), absent=True)
    if not hasattr(loaded, FUNCTIONS[job.what]):
        return Answer(version=loaded.version(), message=f"{loaded.NAME} has no {job.what}", absent=True)
    try:
        return ask(loaded, job)
    except Exception as error:
        return Answer(version=loaded.version(), message=f"{type(error).__name__}: {str(error).strip()}")


@contextmanager
def isolated(framework: str, folder: Path, timeout: float) -> Iterator[Answer]:
    """The answer of a framework in a process of its own, to the job saved in a folder.

    Args:
        timeout: seconds after which the process is ended.
    """
    # Modules are found where this process finds them: an adapter may lie in the current folder.
    env = {
        **os.environ,
        **ENVIRONMENT.get(framework, {}),
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
    }
    with TemporaryDirectory(prefix="senet-", dir=folder) as out:
        command = [sys.executable, "-m", "conformance.judge.process", str(folder), framework, out]
        try:
            with Path(out, "stderr").open("wb") as stderr:
                code = subprocess.run(
                    command, env=env, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, timeout=timeout
                ).returncode
        except subprocess.TimeoutExpired:
            yield Answer(message=f"no answer within {timeout:g} s")
            return
        if code:
            yield Answer(message=_last_words(code, Path(out, "stderr").read_text(errors="replace")))
            return
        with np.load(Path(out, "taps.npz")) as found:
            yield Answer(taps=found, **json.loads(Path(out, "answer.json").read_text()))


def _last_words(code: int, stderr: str) -> str:
    how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    said = [line.strip() for line in stderr.splitlines() if line.strip()]
    return f"{how}: {said[-1]}" if said else how


def main(folder: Path, framework: str, out: Path) -> None:
    """Answers one job."""
    found = answer(framework, _load(folder))
    np.savez(out / "taps.npz", **found.taps)  # type: ignore[arg-type]
    said = {name: getattr(found, name) for name in ("version", "dtype", "seconds", "message", "absent")}
    (out / "answer.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
