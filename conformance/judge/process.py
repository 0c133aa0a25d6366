"""An adapter asked in a process of its own, which may do whatever it likes without harm to the others.

What is asked and what is answered travel as safetensors files, with JSON in their metadata. They have no names: the
process is handed the question, to be read only, as its standard input, and its answer as its standard output. So one
process reaches neither the question nor the answer of another, and nothing is left on disk whoever is killed. The
answer is mapped into memory, and only what is looked at is read.
"""

import getpass
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import isfinite
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO

import numpy as np

from conformance.adapters import ADAPTERS
from conformance.judge.answer import Answer, answer_of
from conformance.judge.guard import Ended, Guard, Limits
from conformance.judge.question import Given
from conformance.judge.transfer import largest_answer, load, save
from weights.errors import InputError
from weights.files.safetensors import tensors_in, write_tensors

_CHILD = (
    # Our packages come from where they are here, whatever the current folder has by their names. Everything else is
    # found where this process finds it.
    "import sys; sys.path.insert(0, sys.argv[1]); from importlib import import_module; "
    "main = import_module(sys.argv[2]).main; del sys.path[0]; main(*sys.argv[3:])"
)
_HOME = str(Path(__file__).parents[2])
_ITS_ANSWER = "its answer"


@contextmanager
def processes(given: Given, timeout: float, memory: float | None = None) -> Generator[Callable[[str], Answer]]:
    """Hands out a function that asks the adapter of a name, in a process of its own, from any thread.

    What goes wrong in a process becomes the message of its answer. When the block ends, for whatever reason, so do all
    processes that were started and all that these have started.

    Args:
        given: what every adapter is given.
        timeout: seconds after which a process is ended.
        memory: MB of resident memory at which it is ended; None for never.

    Raises:
        InputError: there is no place for the question, or no process can be started.
    """
    limits = Limits(timeout=timeout, memory=memory, written=largest_answer(given))
    with ExitStack() as stack:
        try:
            question, guard = stack.enter_context(nameless(given)), stack.enter_context(Guard())
        except OSError as error:
            raise no_process(error) from error
        inputs = len(given.question.input_shapes)
        yield lambda name: _ask(guard, name, question, limits, inputs)


def no_process(error: OSError) -> InputError:
    """What is said where none can be started."""
    return InputError(f"no process can be asked: {(error.strerror or str(error)).lower()}")


@contextmanager
def nameless(given: Given) -> Generator[BinaryIO]:
    """The question in a file without a name, to be read only."""
    number, path = tempfile.mkstemp(prefix="senet-")
    with os.fdopen(number, "wb") as file, open(path, "rb") as question:  # noqa: PTH123
        os.unlink(path)  # noqa: PTH108
        save(file, given)
        file.flush()
        yield question


def run(guard: Guard, module: str, name: str, limits: Limits, question: BinaryIO, answer: BinaryIO) -> Ended:
    """Runs ``main(name, started)`` of a module of ours in a process, until it ends or has to.

    Args:
        guard: what runs it.
        module: its path. It takes what it is handed by ``handed``.
        name: of the adapter.
        limits: what the process may take.
        question: its standard input.
        answer: its standard output.
    """
    # Modules are found where this process finds them: a port may lie in the current folder.
    environment = {
        **_kept_for_the_next_run(),
        **os.environ,
        **(ADAPTERS[name].environment if name in ADAPTERS else {}),
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
    }
    command = [sys.executable, "-P", "-c", _CHILD, _HOME, module, name]
    return guard.run(command, environment, limits, question, answer)


def _kept_for_the_next_run() -> dict[str, str]:
    """Variables by which what PyTorch compiles, which takes a minute, stays where it is without a guard."""
    try:
        user = re.sub(r'[\\/:*?"<>|]', "_", getpass.getuser())
    except (KeyError, OSError):  # the user has no name
        return {}
    return {"TORCHINDUCTOR_CACHE_DIR": str(Path(tempfile.gettempdir(), f"torchinductor_{user}"))}


def _ask(guard: Guard, name: str, question: BinaryIO, limits: Limits, inputs: int) -> Answer:
    try:
        with tempfile.TemporaryFile() as file:
            ended = run(guard, __name__, name, limits, question, file)
            size = os.fstat(file.fileno()).st_size
            if ended.beyond:
                return Answer(message=ended.beyond)
            if ended.code or not size:
                return Answer(message=last_words(ended))
            return _answered(memoryview(mmap(file.fileno(), size, access=ACCESS_READ)), inputs)
    except (OSError, ValueError, RecursionError) as error:
        return Answer(message=str(error))


def _answered(data: memoryview, inputs: int) -> Answer:
    """What a process answered to so many inputs.

    Raises:
        InputError: what is no answer.
    """
    tensors, strings = tensors_in(data, _ITS_ANSWER)
    try:
        said = json.loads(strings["answer"])
    except (KeyError, ValueError):
        said = None
    match said:
        case {
            "version": str(version),
            "dtype": str(dtype),
            "seconds": float(seconds),
            "message": str(message),
            "absent": bool(absent),
        } if isfinite(seconds):
            first, *others = _by_input(tensors, inputs)
            return Answer(
                version=version,
                dtype=dtype,
                tensors=first,
                others=tuple(others),
                seconds=seconds,
                message=message,
                absent=absent,
            )
        case _:
            raise InputError(f"{_ITS_ANSWER} does not say what it is")


def _by_input(tensors: Mapping[str, np.ndarray], inputs: int) -> Iterator[dict[str, np.ndarray]]:
    """The tensors for each of the question's inputs, whose names begin with its place: "0/stem.conv1"."""
    for prefix in (f"{place}/" for place in range(inputs)):
        yield {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def last_words(ended: Ended) -> str:
    """How a process ended that did not answer, and the last line that it said."""
    how = f"ended by {_name(-ended.code)}" if ended.code < 0 else f"ended with exit code {ended.code}"
    said = [line.strip() for line in ended.said.splitlines() if line.strip()]
    return f"{how}: {said[-1]}" if said else how


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextmanager
def handed(started: str) -> Generator[tuple[Given, BinaryIO] | None]:
    """Hands out, in the process, what it is given and where its answer goes; None if nobody waits for one.

    Args:
        started: the number of a file descriptor, as of ``Guard.run``.
    """
    waits = int(started)
    if not os.read(waits, 1):
        yield None
        return
    os.close(waits)
    # What adapters print is no answer, and what they read is nothing.
    with os.fdopen(os.dup(1), "wb") as answer, os.fdopen(os.dup(0), "rb") as question:
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        given = load(question)
        question.close()
        yield given, answer


def main(name: str, started: str) -> None:
    """What the process runs: answers one question.

    Args:
        name: of the adapter.
        started: as of ``handed``.
    """
    with handed(started) as given_and_answer:
        if given_and_answer:
            _answer(name, *given_and_answer)


def _answer(name: str, given: Given, answer: BinaryIO) -> None:
    try:
        found = answer_of(name, given)
    except KeyboardInterrupt:  # the adapter's own: terminals do not reach this session
        found = Answer(message="KeyboardInterrupt")
    size = sum(array.nbytes for own in (found.tensors, *found.others) for array in own.values())
    most = largest_answer(given)
    if size > most:
        message = f"answered {size / 1e6:.0f} MB, expected at most {most / 1e6:.0f} MB"
        found = Answer(version=found.version, message=message)
    try:
        _write(answer, found)
    except (OSError, ValueError) as error:  # no space, or a name that no file can hold
        answer.seek(0)
        answer.truncate()
        _write(answer, Answer(version=found.version, message=f"{_ITS_ANSWER} cannot be kept: {error}"))


def _write(file: BinaryIO, answer: Answer) -> None:
    said = {key: getattr(answer, key) for key in ("version", "dtype", "seconds", "message", "absent")}
    found = (answer.tensors, *answer.others)
    tensors = {f"{place}/{name}": tensor for place, own in enumerate(found) for name, tensor in own.items()}
    write_tensors(file, _ITS_ANSWER, tensors, {"answer": json.dumps(said)})
    file.flush()
