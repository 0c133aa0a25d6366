"""What a terminal shows while a command works, and that a pipe shows nothing."""

import os
import pty
import re
import subprocess
import sys

import pytest

WORK = """
import time
from conformance.cli.progress import Bars
bars = Bars()
with bars.busy("Comparing in float64", 2):
    with bars.step("torch"):
        time.sleep({seconds})
    with bars.step("jax"):
        time.sleep({seconds})
with bars.step("alone"):
    pass
"""


BYTES = """
import time
from weights.hub.bar import bytes_coming
with bytes_coming("Fetching se-resnet-50") as told:
    told(56_000_000, 112_000_000)
    time.sleep({seconds})
"""


def shown(seconds: float, terminal: bool, work: str = WORK) -> str:
    """What arrives on stderr."""
    reader, writer = pty.openpty() if terminal else os.pipe()
    command = [sys.executable, "-c", work.format(seconds=seconds)]
    with subprocess.Popen(command, stderr=writer, env={**os.environ, "TERM": "xterm", "COLUMNS": "80"}) as process:
        os.close(writer)
        said = b""
        # Reading from a terminal that nobody writes to any more is an error on Linux; from a pipe it is an end.
        try:
            while part := os.read(reader, 4096):
                said += part
        except OSError:
            pass
    os.close(reader)
    assert process.returncode == 0
    return said.decode()


COUNTING = """
import time
from conformance.cli.progress import Bars
with Bars().counting("Evaluating", 40, 10) as advance:
    for _ in range({seconds}):
        time.sleep(0.1)
        advance(1)
"""


def test_terminal_shows_how_many_and_how_fast():
    said = shown(13, terminal=True, work=COUNTING)
    assert "Evaluating" in said
    assert re.search(r"2[0-3]/40", said)
    assert re.search(r"\d images/s", said)
    assert said.rstrip("\r\n").endswith(("\x1b[2K", "\x1b[?25h"))


def test_pipe_shows_no_counting():
    assert shown(1, terminal=False, work=COUNTING) == ""


def test_terminal_shows_each_step_and_is_clean_afterwards():
    said = shown(1.4, terminal=True)
    assert "Comparing in float64" in said
    assert "  torch" in said
    assert "  jax" in said
    assert "alone" not in said
    assert said.rstrip("\r\n").endswith(("\x1b[2K", "\x1b[?25h"))


def test_terminal_shows_how_much_of_a_file_has_come():
    said = shown(1.4, terminal=True, work=BYTES)
    assert "Fetching se-resnet-50" in said
    assert "56.0/112.0 MB" in said
    assert said.rstrip("\r\n").endswith(("\x1b[2K", "\x1b[?25h"))


@pytest.mark.parametrize("work", [WORK, BYTES])
@pytest.mark.parametrize(("seconds", "terminal"), [(0.1, True), (0.7, False)])
def test_short_work_and_pipe_show_nothing(seconds: float, terminal: bool, work: str):
    assert shown(seconds, terminal, work) == ""


QUIET = """
import time, click
from conformance.cli.printing import volume_options
from weights.hub.bar import bytes_coming
@click.command(params=volume_options())
def work():
    with bytes_coming("Fetching se-resnet-50") as told:
        told(56_000_000, 112_000_000)
        time.sleep({seconds})
work(["-q"], standalone_mode=False)
"""


def test_quiet_command_shows_no_bytes():
    assert shown(1.4, terminal=True, work=QUIET) == ""
