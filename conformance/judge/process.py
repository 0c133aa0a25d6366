"""An adapter asked in a process of its own, which may crash or hang without harm.

What is asked and what is answered travel as safetensors files, with JSON in their metadata: an answer is mapped into
memory, and only what is looked at is read.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from conformance.adapters import ADAPTERS
from conformance.judge.answer import Answer, answer_of
from conformance.judge.question import Given
from conformance.judge.transfer import load, save
from weights.errors import InputError
from weights.files.safetensors import load_tensors, save_tensors

_CHILD = (
    # Our packages come from where they are here, whatever the current folder has by their names. Everything else is
    # found where this process finds it.
    "import sys; sys.path.insert(0, sys.argv[1]); from conformance.judge.process import main; del sys.path[0]; "
    "main(*sys.argv[2:])"
)
_HOME = str(Path(__file__).parents[2])
_QUESTION, _ANSWER = "question.safetensors", "answer.safetensors"


def keep(folder: Path, given: Given) -> None:
    """Writes what adapters are given into a folder, once for all of them."""
    save(folder / _QUESTION, given)


def answer_in_a_process(name: str, folder: Path, timeout: float) -> Answer:
    """The answer of an adapter to the question that ``keep`` wrote; what goes wrong becomes its message.

    Args:
        name: of the adapter.
        folder: that of the question. Tensors of the answer outlive it.
        timeout: seconds after which the process is ended.
    """
    # Modules are found where this process finds them: a port may lie in the current folder.
    env = {
        **os.environ,
        **(ADAPTERS[name].environment if name in ADAPTERS else {}),
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
    }
    # A mapped file stays readable when it is deleted; a system that refuses to delete it keeps it.
    with TemporaryDirectory(prefix="senet-", dir=folder, ignore_cleanup_errors=True) as out:
        answer, said = Path(out, _ANSWER), Path(out, "stderr")
        command = [sys.executable, "-P", "-c", _CHILD, _HOME, str(folder / _QUESTION), name, str(answer)]
        try:
            with said.open("wb") as stderr:
                code = subprocess.run(
                    command, env=env, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, timeout=timeout
                ).returncode
        except subprocess.TimeoutExpired:
            return Answer(message=f"no answer within {timeout:g} s")
        if code or not answer.exists():
            return Answer(message=_last_words(code, said.read_text(errors="replace")))
        tensors, strings = load_tensors(answer)
        said = json.loads(strings["answer"])
        found: list[dict[str, np.ndarray]] = [{} for _ in range(said.pop("inputs"))]
        for name, tensor in tensors.items():
            place, _, own = name.partition("/")
            found[int(place)][own] = tensor
        return Answer(tensors=found[0], others=tuple(found[1:]), **said)


def _last_words(code: int, stderr: str) -> str:
    how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    said = [line.strip() for line in stderr.splitlines() if line.strip()]
    return f"{how}: {said[-1]}" if said else how


def main(question: str, name: str, answer: str) -> None:
    """What the process runs: answers one question."""
    found = answer_of(name, load(Path(question)))
    try:
        _save(Path(answer), found)
    except InputError as error:  # an array of objects, or of numbers that the file does not have
        message = str(error).removeprefix(f"{answer}: ")
        _save(Path(answer), Answer(version=found.version, message=message))


def _save(path: Path, answer: Answer) -> None:
    said = {key: getattr(answer, key) for key in ("version", "dtype", "seconds", "message", "absent")}
    found = (answer.tensors, *answer.others)
    tensors = {f"{place}/{name}": tensor for place, own in enumerate(found) for name, tensor in own.items()}
    save_tensors(path, tensors, {"answer": json.dumps(said | {"inputs": len(found)})})
