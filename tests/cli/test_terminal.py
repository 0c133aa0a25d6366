"""What commands look like on a terminal of 80 or 120 columns, in a pipe, when quiet and when they say everything."""

import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from html.parser import HTMLParser
from pathlib import Path

import pytest

from conformance.adapters import ADAPTERS
from weights import MODELS

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
ENVIRONMENT["PYTHONPATH"] = str(ROOT)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("terminal") / "tiny.safetensors"
    done = piped("init", "tiny-se-resnet", str(path))
    assert done.returncode == 0, done.stderr
    return path


def piped(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "conformance", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**ENVIRONMENT, **environment})


def on_terminal(*args: str, columns: int, **environment: str) -> str:
    """What arrives on a terminal of so many columns."""
    reader, writer = pty.openpty()
    ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    command = [sys.executable, "-m", "conformance", *args]
    said = b""
    with subprocess.Popen(
        command, stdout=writer, stderr=subprocess.DEVNULL, env={**ENVIRONMENT, "TERM": "xterm-256color", **environment}
    ):
        os.close(writer)
        try:  # on Linux the end of a terminal is an error
            while part := os.read(reader, 4096):
                said += part
        except OSError:
            pass
    os.close(reader)
    return said.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", ["compare", "models", "paper", "inspect", "diff", "fetch"])
def test_every_line_fits_the_terminal_and_no_word_is_broken(
    command: str, columns: int, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoint.parent)
    monkeypatch.setitem(ENVIRONMENT, "SENET_HOME", "cache")
    arguments = {
        "compare": ["compare", "tiny.safetensors", "--framework", "numpy", "--size", "32x32"],
        "models": ["models", "*resnet*"],
        "paper": ["models", "--paper"],
        "inspect": ["inspect", "tiny.safetensors"],
        "diff": ["diff", "tiny.safetensors", "other.safetensors"],
        "fetch": ["fetch"],
    }[command]
    if command == "diff":
        assert piped("init", "tiny-se-resnet", "other.safetensors", "--seed", "1").returncode == 0
    lines = [COLOUR.sub("", line) for line in on_terminal(*arguments, columns=columns).splitlines()]
    assert lines
    assert [line for line in lines if len(line) > columns] == []
    words = {word for line in lines if "no room for" not in line for word in line.split()}
    whole = set(piped(*arguments).stdout.split())
    assert {word for word in words - whole if set(word) != {"-"}} == set()


def test_wider_terminal_has_more_columns(checkpoint: Path) -> None:
    arguments = ("compare", str(checkpoint), "--framework", "numpy", "--size", "32x32")
    narrow, wide = (on_terminal(*arguments, columns=columns) for columns in (80, 160))
    assert "no room for: version, " in narrow
    assert "verdict" in narrow
    assert "roundings" in wide
    assert "no room" not in wide


def test_verdict_has_a_colour_on_a_terminal_alone(checkpoint: Path) -> None:
    arguments = ("compare", str(checkpoint), "--framework", "numpy", "--size", "32x32")
    assert "\x1b[32magreed\x1b[0m" in on_terminal(*arguments, columns=120)
    assert "\x1b" not in on_terminal(*arguments, columns=120, NO_COLOR="1")
    assert "\x1b" not in on_terminal(*arguments, columns=120, TERM="dumb")
    assert "\x1b" not in piped(*arguments).stdout


def test_quiet_command_prints_nothing_but_what_is_asked_for(checkpoint: Path) -> None:
    for arguments in (("-q", "inspect", str(checkpoint)), ("inspect", str(checkpoint), "--quiet")):
        done = piped(*arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    printed = piped("inspect", "-q", "--json", str(checkpoint)).stdout
    assert json.loads(printed)["network"]["name"] == "tiny-se-resnet"
    missing = piped("-q", "inspect", "absent.safetensors")
    assert missing.returncode == 2
    assert missing.stderr.startswith("senet: absent.safetensors: ")


def test_verbose_command_tells_every_step_with_its_seconds(checkpoint: Path) -> None:
    told = piped("compare", "-v", str(checkpoint), "--framework", "numpy", "--size", "32x32").stderr
    assert re.search(r"^  the reference: \d+\.\d s$", told, re.M)
    assert re.search(r"^  numpy: \d+\.\d s$", told, re.M)
    assert piped("compare", str(checkpoint), "--framework", "numpy", "--size", "32x32").stderr == ""


def _completed(*words: str) -> list[str]:
    typed = {"COMP_WORDS": " ".join(["senet", *words]), "COMP_CWORD": str(len(words))}
    program = "from conformance.cli import main; main(prog_name='senet')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**ENVIRONMENT, "_SENET_COMPLETE": "bash_complete", **typed},
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_shells_complete_commands_networks_and_frameworks() -> None:
    assert _completed("comp") == ["compare"]
    assert _completed("init", "se-bn") == [name for name in MODELS if name.startswith("se-bn")]
    assert _completed("compare", "--framework", "jax,keras") == [
        f"jax,{name}" for name in ADAPTERS if name.startswith("keras")
    ]


class _Page(HTMLParser):
    """Texts, and whatever would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag
        links = (value or "" for name, value in attrs if name in ("src", "href", "srcset", "data"))
        self.fetched += [link for link in links if not link.startswith("#")]

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def test_page_of_the_architecture_has_every_layer_and_fetches_nothing(checkpoint: Path) -> None:
    printed = piped("inspect", str(checkpoint), "--html", "-").stdout
    page = _Page()
    page.feed(printed)
    told = json.loads(piped("inspect", str(checkpoint), "--json").stdout)
    assert {layer["name"] for layer in told["layers"]} <= set(page.words)
    assert f"{told['network']['parameters']:,}" in page.words
    assert sum(layer["parameters"] for layer in told["layers"]) == told["network"]["parameters"]
    assert sum(layer["macs"] for layer in told["layers"]) == told["network"]["macs"]
    assert page.fetched == []
    assert "url(" not in printed
    assert "prefers-color-scheme: dark" in printed


def test_two_things_are_not_printed_in_one_place(checkpoint: Path) -> None:
    done = piped("inspect", str(checkpoint), "--json", "--html", "-")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--json and --html" in done.stderr
