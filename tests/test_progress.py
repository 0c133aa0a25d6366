"""What a terminal shows while a command works, and that nothing else is shown anything."""

import os
import pty
import subprocess
import sys

import pytest

WORK = """
import time
from conformance.progress import busy, step
with busy("Comparing in float64", 2):
    with step("torch"):
        time.sleep({seconds})
    with step("jax"):
        time.sleep({seconds})
with step("alone"):
    pass
"""


def shown(seconds: float, terminal: bool) -> str:
    """What arrives on stderr."""
    reader, writer = pty.openpty() if terminal else os.pipe()
    command = [sys.executable, "-c", WORK.format(seconds=seconds)]
    with subprocess.Popen(command, stderr=writer, env={**os.environ, "TERM": "xterm", "COLUMNS": "80"}) as process:
        os.close(writer)
        said = b""
        # A terminal that nobody writes to any more is an error on Linux, a pipe an end.
        try:
            while part := os.read(reader, 4096):
                said += part
        except OSError:
            pass
    os.close(reader)
    assert process.returncode == 0
    return said.decode()


def test_a_terminal_shows_each_framework_at_work_and_is_clean_afterwards():
    said = shown(1.4, terminal=True)
    assert "Comparing in float64" in said
    assert "  torch" in said
    assert "  jax" in said
    assert "alone" not in said
    assert said.rstrip("\r\n").endswith(("\x1b[2K", "\x1b[?25h"))


@pytest.mark.parametrize(("seconds", "terminal"), [(0.1, True), (0.7, False)])
def test_nothing_is_shown_of_short_work_or_where_there_is_no_terminal(seconds, terminal):
    assert shown(seconds, terminal) == ""
