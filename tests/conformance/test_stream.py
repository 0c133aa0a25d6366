"""Logits of batch after batch, by one process that may misbehave: the right numbers, or one line."""

import os
import socket
import time
from concurrent.futures import Future
from pathlib import Path
from textwrap import indent

import numpy as np
import psutil
import pytest

from conformance import cases
from conformance.judge import stream
from conformance.judge.compare import Conditions, run
from conformance.judge.keeper import MARK
from conformance.judge.stream import predicting
from weights import InputError

SPEC = cases.TINY["tiny-se-resnet"]
PARAMS = cases.seeded(SPEC, 1)
IMAGE = (3, 32, 33)
BATCHES = [cases.image(seed, n, *IMAGE[1:]) for seed, n in ((1, 4), (2, 4), (3, 1))]

PORT = """
import os, signal, sys, time
import numpy as np
from conformance.adapters.numpy import build, taps as all_taps, version

NAME = "port"
asked = []

def taps(model, x):
    found = all_taps(model, x)
    asked.append(x)
    if len(asked) == 2:
{second}
    return found
"""

SECOND = {
    "raises": ("raise ValueError('no')", "ValueError: no"),
    "raises_an_error_of_the_system": ("raise BrokenPipeError('mine')", "BrokenPipeError: mine"),
    "says_megabytes": ("raise ValueError('x' * 10**7)", r"ValueError: x{200,300}\.\.\."),
    "exits": ("os._exit(3)", "ended with exit code 3"),
    "crashes": ("os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL"),
    "hangs": ("time.sleep(60)", "no answer within 1 s"),
    "gigabytes": (
        "found['logits'] = np.broadcast_to(np.zeros(1), (4, 10**9))",
        r"logits has shape \(4, 1000000000\) or is not finite, expected finite numbers of \(4, 10\)",
    ),
    "not_finite": ("found['logits'] = found['logits'] * np.nan", r"logits has shape \(4, 10\) or is not finite"),
    "none": ("del found['logits']", "gave no logits"),
    "texts": ("found['logits'] = 'x'", "TypeError: .* expected an array of NumPy's"),
    "garbage": (
        "for n in range(3, 64):\n    try: os.write(n, b'garbage' * 5)\n    except OSError: pass",
        "answered more than 0 MB",
    ),
}


def port(folder: Path, name: str, second: str) -> str:
    (folder / f"stream_{name}").mkdir()
    (folder / f"stream_{name}" / "port.py").write_text(PORT.format(second=indent(second, " " * 8)))
    return f"stream_{name}.port"


@pytest.mark.parametrize("framework", ["numpy", "jax"])  # test_cli has the others
def test_batches_of_any_length_get_their_logits(framework):
    with predicting(framework, SPEC, PARAMS, IMAGE, Conditions()) as logits:
        found = [logits(x) for x in BATCHES]
        assert logits.dtype == "float32"
        assert logits.version
    for x, scores in zip(BATCHES, found, strict=True):
        expected = run("numpy", SPEC, PARAMS, x)["logits"]
        assert abs(scores - expected).max() <= 1e-5 * abs(expected).max()  # the bound of float32


@pytest.mark.parametrize("kind", SECOND)
def test_what_goes_wrong_with_a_batch_is_one_line(kind, tmp_path, monkeypatch):
    code, message = SECOND[kind]
    monkeypatch.syspath_prepend(tmp_path)
    name = port(tmp_path, kind, code)
    with predicting(name, SPEC, PARAMS, IMAGE, Conditions()) as logits:
        logits(BATCHES[0])
        if kind == "hangs":
            monkeypatch.setattr(logits, "_timeout", 1.0)
        with pytest.raises(InputError, match=rf"^stream_{kind}\.port: {message}"):
            logits(BATCHES[1])


def test_a_precision_that_nobody_knows_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    name = port(tmp_path, "lies", "pass")
    with (tmp_path / "stream_lies" / "port.py").open("a") as file:
        file.write(
            "def dtype(*_): return 'float8'\nall_of = build\ndef build(s, p, _): return all_of(s, p, 'float32')\n"
        )
    with (
        pytest.raises(InputError, match=r"^stream_lies\.port: says that it computes in 'float8': expected float64"),
        predicting(name, SPEC, PARAMS, IMAGE, Conditions()),
    ):
        pass


def test_process_ends_with_the_block(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    name = port(tmp_path, "writes", "pass")
    with predicting(name, SPEC, PARAMS, IMAGE, Conditions()) as logits:
        logits(BATCHES[0])
        assert _marked()
    last = time.monotonic() + 5
    while _marked():
        assert time.monotonic() < last
        time.sleep(0.02)


def _marked() -> list[int]:
    """Processes of this one's that a guard has started."""
    found = []
    for child in psutil.Process(os.getpid()).children(recursive=True):
        try:
            if MARK in child.environ():
                found.append(child.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize(
    "answer",
    [
        b"[" * 60_000,
        b'{"dtype": "f8"}',
        b'{"shapes": 5, "dtype": "f8"}',
        b'{"shapes": ["logits"], "dtype": "f8"}',
        b'{"shapes": {}, "dtype": "f8"}',
        b'{"shapes": {"logits": 5}, "dtype": "f8"}',
        b'{"shapes": {"others": [1, 10]}, "dtype": "f8"}',
        b'{"shapes": {"logits": [1, 10, 1]}, "dtype": "f8"}',
        b'{"shapes": {"logits": [1, 10]}, "dtype": "f4"}',
        *(
            f'{{"shapes": {{"logits": [1, 10]}}, "dtype": {dtype}}}'.encode()
            for dtype in ('"S8"', '"i4,i4"', '"M8[s]"', '"O"', "[]", '"((("')
        ),
        b'{"shapes": {"logits": [1, 10]}, "dtype": "f8", "x": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda answer: answer[:60].decode(),
)
def test_answer_in_the_form_of_others_is_one_line(answer):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for text, data in ((b'{"dtype": "float32"}', b""), (answer, bytes(80))):
            theirs.sendall(stream._SIZES.pack(len(text), len(data)) + text + data)
        long = Conditions(timeout=1e11)  # longer than a socket can wait
        logits = stream.Predictor("it", ours, Future(), long, SPEC.network())
        with pytest.raises(InputError, match=r"^it: its answer does not say what it is$|^it: logits has shape"):
            logits(np.zeros((1, *IMAGE), np.float32))
