"""Runs commands within limits, and ends all that they started, whatever becomes of them or of this process.

A command has a session of its own. When it has ended, or is to end, every process of that session is killed, and every
other one that still has the variable in its environment by which a command's descendants are known. The limits are
looked at ten times a second. The keeper, a small process beside, does the killing if this process is killed itself.

Temporary files of the commands are in a folder of theirs, which goes with them: who is killed cannot remove any.
"""

import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from threading import Event, Thread
from typing import IO, BinaryIO, Self

import psutil

from conformance.judge import keeper
from conformance.judge.keeper import MARK, end
from weights.storage.parts import scratch

_KEPT = 65536  # bytes of what a command says, the last ones
_TICK = 0.1  # seconds
_INTERRUPTED = "interrupted"
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")  # of all systems


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one command may take.

    Attributes:
        timeout: seconds.
        memory: MB (1e6 bytes) of resident memory of all processes of its session together; None for any amount.
        written: bytes that it may write to its standard output.
    """

    timeout: float
    memory: float | None
    written: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code, or minus the signal that ended it.
        beyond: which limit it passed, in words; "" for none.
        said: the end of what it wrote to stderr.
    """

    code: int
    beyond: str
    said: str


class Guard:
    """Runs commands, in several threads at a time; when its block ends, all of them end.

    Raises:
        InputError: when made: there is no place for temporary files.
        OSError: when made: no process can be started.
    """

    def __init__(self) -> None:
        self._over = Event()
        with ExitStack() as made:
            self._folder = made.enter_context(scratch())
            self._keeper = Popen(
                [sys.executable, "-I", "-S", keeper.__file__, os.pathsep.join(sys.path), self._folder],
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
            self._made = made.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with self._made, self._keeper:  # closes its input, and waits
            pass

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], limits: Limits, stdin: BinaryIO, stdout: BinaryIO
    ) -> Ended:
        """Runs a command until it ends or has to.

        Args:
            command: what to run. It is handed one more argument, the number of a file descriptor: it has to wait until
                it can read a byte from there, and to end if it cannot.
            environment: its variables.
            limits: what it may take.
            stdin: what it reads.
            stdout: a file for what it writes.
        """
        if self._over.is_set():
            return Ended(code=0, beyond=_INTERRUPTED, said="")
        mark = secrets.token_hex(16)
        waits, starts = os.pipe()
        try:
            process = Popen(
                [*command, str(waits)],
                stdin=stdin,
                stdout=stdout,
                stderr=PIPE,
                env={**environment, **dict.fromkeys(_TEMPORARY, str(self._folder)), MARK: mark},
                pass_fds=(waits,),
                start_new_session=True,
            )
            said = _Tail(process.stderr)
            try:
                self._tell(f"+{process.pid} {mark}")
                os.write(starts, b"!")
                beyond = self._watch(process, limits, stdout)
            finally:
                with suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
                code = process.wait()
                end(process.pid, mark)
                self._tell(f"-{process.pid} {mark}")
        finally:
            os.close(waits)
            os.close(starts)
        return Ended(code=code, beyond=beyond, said=said.text())

    def _watch(self, process: "Popen[bytes]", limits: Limits, stdout: BinaryIO) -> str:
        last = time.monotonic() + limits.timeout
        while process.poll() is None:
            if self._over.is_set():
                return _INTERRUPTED
            if time.monotonic() >= last:
                return f"no answer within {limits.timeout:g} s"
            if limits.memory is not None and _resident(process.pid) > limits.memory * 1e6:
                return f"took more than {limits.memory:g} MB of memory"
            if os.fstat(stdout.fileno()).st_size > limits.written:
                return f"answered more than {limits.written / 1e6:.0f} MB"
            with suppress(TimeoutExpired):
                process.wait(_TICK)
        return ""

    def _tell(self, line: str) -> None:
        if self._keeper.stdin:
            with suppress(OSError, ValueError):  # the block has ended; so has the keeper, and what it knew of
                self._keeper.stdin.write(f"{line}\n".encode())


class _Tail:
    """The end of what comes out of a pipe, read in a thread of its own so that nobody waits for it."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        assert pipe
        self._pipe, self._kept = pipe, b""
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), _KEPT):
                self._kept = (self._kept + chunk)[-_KEPT:]

    def text(self) -> str:
        """What came, when all who could write are gone."""
        self._thread.join(1)  # somebody may have escaped with the other end
        return self._kept.decode(errors="replace")


def _resident(session: int) -> int:
    """Bytes of resident memory of a session's processes."""
    total = 0
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            if os.getsid(pid) == session:
                total += psutil.Process(pid).memory_info().rss
    return total
