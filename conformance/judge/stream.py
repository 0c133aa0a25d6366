"""One adapter that computes the logits, or the outputs of other nodes, of batch after batch, in a process of its own.

The process is handed the network and its parameters as its standard input, as for any question. Its standard output is
a socket, by which batches come and outputs go: each message a header in JSON and the bytes of an array.
"""

import json
import os
import socket
import struct
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from math import inf, prod
from threading import TIMEOUT_MAX
from typing import Any, BinaryIO, cast

import numpy as np

from conformance.adapters import AbsentError, adapter
from conformance.adapters.devices import DeviceError
from conformance.judge.answer import Answer, Built, UnableError, built, outputs, said
from conformance.judge.bounds import ROUNDING
from conformance.judge.compare import Conditions
from conformance.judge.guard import Ended, Guard, Limits
from conformance.judge.placed import placed
from conformance.judge.process import handed, last_words, nameless, no_process, run
from conformance.judge.question import Forward, Given
from weights.errors import InputError, printable
from weights.networks.network import Network, as_network
from weights.networks.sizes import shapes
from weights.networks.spec import Spec

_SIZES = struct.Struct("<IQ")  # bytes of a header and of an array
_LARGEST_HEADER = 1 << 16
_NO_ANSWER = "its answer does not say what it is"
_LAST_WORDS = 10.0  # seconds to wait for those of a process that has closed its socket

Array = np.ndarray
Shapes = Mapping[str, tuple[int, ...]]


class Predictor:
    """Logits of images, or the outputs of other nodes, by one adapter in float32.

    Attributes:
        version: of what computes.
        dtype: the precision that it computes in.
    """

    def __init__(
        self,
        name: str,
        channel: socket.socket,
        ended: "Future[Ended]",
        conditions: Conditions,
        network: Network,
    ):
        """Waits until the adapter is ready.

        Args:
            name: of the adapter.
            channel: how its process is reached.
            ended: how that ended.
            conditions: of which the timeout counts.
            network: what it computes.

        Raises:
            InputError: it cannot be made ready.
        """
        self._name, self._channel, self._ended = name, channel, ended
        self._timeout, self._network = min(conditions.timeout, TIMEOUT_MAX), network
        hello, _ = self._received(0)
        self.version, self.dtype = str(hello.get("version")), str(hello.get("dtype"))
        if self.dtype not in ROUNDING:
            expected = ", ".join(ROUNDING)
            raise InputError(printable(f"{name}: says that it computes in {self.dtype!r:.40}: expected {expected}"))

    def __call__(self, x: Array) -> Array:
        """The logits (N, classes) of images (N, C, H, W); rows do not depend on each other.

        Raises:
            InputError: the adapter failed, or what it gave is not what the network gives.
        """
        last = self._network.output.name
        return self.outputs(x, (last,))[last]

    def outputs(self, x: Array, nodes: Sequence[str]) -> dict[str, Array]:
        """The outputs of those of some nodes that the adapter shows, by name; of one at least.

        Args:
            x: images (N, C, H, W).
            nodes: their names.

        Raises:
            InputError: as of calling it.
        """
        try:
            self._channel.settimeout(self._timeout)
            _send(self._channel, {"shape": x.shape, "nodes": list(nodes)}, np.ascontiguousarray(x, np.float32))
        except OSError as error:
            raise self._failed(error) from None
        expected = _expected(self._network, x, nodes)
        header, data = self._received(8 * sum(map(prod, expected.values())))
        try:
            given = {name: tuple(shape) for name, shape in header["shapes"].items()}
            found = _taken_apart(given, expected, np.frombuffer(data, header["dtype"]))
            wrong = next((name for name in given if name not in found or not np.isfinite(found[name]).all()), None)
            if any(array.dtype.kind not in "fiu" for array in found.values()):
                raise TypeError
        except (AttributeError, KeyError, TypeError, ValueError, SyntaxError):  # NumPy's, of texts that are no dtype
            raise InputError(f"{self._name}: {_NO_ANSWER}") from None
        if wrong is not None:
            raise InputError(
                f"{self._name}: {wrong} has shape {given[wrong]} or is not finite, "
                f"expected finite numbers of {expected[wrong]}"
            )
        return found

    def _received(self, most: int) -> tuple[dict[str, Any], bytearray]:
        """A message with at most so many bytes of an array.

        Raises:
            InputError: none came in time, or it says what went wrong.
        """
        try:
            header, data = _receive(self._channel, most, self._timeout)
        except (OSError, EOFError) as error:
            raise self._failed(error) from None
        except ValueError as error:
            raise InputError(f"{self._name}: {error}") from None
        if "message" in header:
            message = _in_a_line(str(header["message"]))
            raise InputError(message if header.get("absent") else f"{self._name}: {message}")
        return header, data

    def _failed(self, error: Exception) -> InputError:
        if isinstance(error, TimeoutError):
            return InputError(f"{self._name}: no answer within {self._timeout:g} s")
        try:
            ended = self._ended.result(_LAST_WORDS)
        except (OSError, TimeoutError) as other:
            return InputError(f"{self._name}: {other or error}")
        return InputError(f"{self._name}: {ended.beyond or last_words(ended)}")


def _expected(network: Network, x: Array, nodes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of some nodes' outputs."""
    found = shapes(network, *x.shape[2:])
    return {name: (len(x), *found[name]) for name in nodes}


def _taken_apart(given: Shapes, expected: Shapes, values: Array) -> dict[str, Array]:
    """Outputs by node, of their values one after the other; nothing where a shape is not the expected one."""
    if any(expected[name] != shape for name, shape in given.items()):
        return {}
    ends = np.cumsum([prod(shape) for shape in given.values()])
    if not given or len(values) != ends[-1]:
        raise ValueError(_NO_ANSWER)
    parts = np.split(values, ends[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(given.items(), parts, strict=True)}


@contextmanager
def predicting(
    name: str, spec: Spec, params: Mapping[str, Array], image: Sequence[int], conditions: Conditions
) -> Generator[Predictor]:
    """Hands out what computes logits; the process ends with the block.

    Args:
        name: of the adapter.
        spec: the network.
        params: by canonical name.
        image: the shape of one image, (C, H, W).
        conditions: the timeout is for each batch, and for the start.

    Raises:
        InputError: what the adapter needs is not installed, it failed, or parameters or the size do not fit.
    """
    network = as_network(spec)
    question = Forward(np.zeros((1, *image), np.float32))
    given = Given(network, params, "float32", question, device=conditions.device)
    limits = Limits(timeout=inf, memory=conditions.memory, written=sys.maxsize)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(1))  # the process ends before its thread is waited for
        try:
            question, guard = stack.enter_context(nameless(given)), stack.enter_context(Guard())
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise no_process(error) from error
        stack.enter_context(ours)

        def answers() -> Ended:
            with theirs, theirs.makefile("wb", buffering=0) as answer:
                return run(guard, __name__, name, limits, question, cast(BinaryIO, answer))

        yield Predictor(name, ours, pool.submit(answers), conditions, network)


def main(name: str, started: str) -> None:
    """What the process runs: answers until there are no more batches.

    Args:
        name: of the adapter.
        started: as of ``handed``.
    """
    with handed(started) as given_and_answer:
        if given_and_answer:
            given, answer = given_and_answer
            with socket.socket(fileno=os.dup(answer.fileno())) as channel, suppress(EOFError, ConnectionError):
                _answer(name, given, channel)  # until nobody asks any more


def _answer(name: str, given: Given, channel: socket.socket) -> None:
    with ExitStack() as stack:
        hello, by = _started(name, given, stack)
        _send(channel, hello)
        while by:
            header, data = _receive(channel, sys.maxsize, None)
            images = np.frombuffer(data, np.float32).reshape(header["shape"])
            _send(channel, *_outputs(by, given.network, images, header["nodes"]))


def _started(name: str, given: Given, stack: ExitStack) -> tuple[dict[str, Any], Built | None]:
    """What is said at first, and what computes then, as long as the stack is not closed."""
    try:
        port = adapter(name)
        stack.enter_context(placed(port, given.device, given.dtype))
        by = built(port, given)
        return {"version": port.version(), "dtype": by.dtype}, by
    except (AbsentError, DeviceError, UnableError) as error:
        return {"message": str(error), "absent": True}, None
    except BaseException as error:
        return {"message": _in_a_line(said(error))}, None


def _in_a_line(message: str) -> str:
    """What an adapter says of itself, as answers of all kinds have it."""
    return Answer(message=message).message


def _outputs(by: Built, network: Network, images: Array, nodes: Sequence[str]) -> tuple[dict[str, Any], Array | None]:
    """What is said to a batch, and the values of the outputs, node by node."""
    try:
        found = outputs(by, network, images, nodes)
    except BaseException as error:
        return {"message": _in_a_line(said(error))}, None
    if not found:
        return {"message": f"gave no {nodes[-1]}"}, None
    dtype = np.result_type(*found.values())
    header = {"shapes": {name: array.shape for name, array in found.items()}, "dtype": dtype.str}
    if any(found[name].shape != shape for name, shape in _expected(network, images, tuple(found)).items()):
        return header, None
    return header, np.concatenate([array.astype(dtype, copy=False).ravel() for array in found.values()])


def _send(channel: socket.socket, header: Mapping[str, Any], array: Array | None = None) -> None:
    text = json.dumps(header).encode()
    data = memoryview(b"") if array is None else array.data.cast("B")
    channel.sendall(_SIZES.pack(len(text), len(data)) + text)
    channel.sendall(data)


def _receive(channel: socket.socket, most: int, timeout: float | None) -> tuple[dict[str, Any], bytearray]:
    """A header and the bytes of an array.

    Raises:
        EOFError: the other end has gone.
        TimeoutError: there is no answer in so many seconds.
        ValueError: more bytes, or no header.
    """
    end = None if timeout is None else time.monotonic() + timeout
    header_size, size = _SIZES.unpack(_exactly(channel, _SIZES.size, end))
    if header_size > _LARGEST_HEADER or size > most:
        raise ValueError(f"answered more than {most / 1e6:.0f} MB")
    text = _exactly(channel, header_size, end)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise ValueError(_NO_ANSWER)
    return header, _exactly(channel, size, end)


def _exactly(channel: socket.socket, size: int, end: float | None) -> bytearray:
    data = bytearray(size)
    view, filled = memoryview(data), 0
    while filled < size:
        if end is not None:
            channel.settimeout(max(end - time.monotonic(), 1e-3))
        count = channel.recv_into(view[filled:])
        if not count:
            raise EOFError
        filled += count
    return data
