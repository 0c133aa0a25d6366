"""How commands end: exit codes that are true, one printable line, nothing half written, whatever the streams do."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import weights
from conformance import cases
from conformance.cli import main, printing
from conformance.cli.printing import LONGEST, message
from weights.errors import InputError

SPEC = cases.TINY["tiny-se-resnet"]
ROOT = str(Path(__file__).parents[2])
COMPARE = ("--frameworks", "numpy", "--size", "33x32")

PORT = """
from conformance.adapters.numpy import *
import os, signal, sys, time
NAME = "mine"
def taps(model, x):
    {does}
"""


def senet(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("endings") / "tiny.safetensors"
    weights.write(path, SPEC, cases.seeded(SPEC, 1))
    return path


def started(*args: object, cwd: Path | None = None, **options: Any) -> subprocess.Popen[Any]:
    command = [sys.executable, "-m", "conformance", *map(str, args)]
    env = {**os.environ, "PYTHONPATH": ROOT, **options.pop("env", {})}
    return subprocess.Popen(command, cwd=cwd, env=env, stderr=subprocess.PIPE, **options)


def ends(process: subprocess.Popen[Any]) -> tuple[int, str]:
    out = process.communicate(timeout=60)
    return process.returncode, out[1].decode()


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes an adapter in the current folder that does something instead of answering."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])

    def made(does: str) -> str:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "__init__.py").touch()
        (tmp_path / "mine" / "adapter.py").write_text(PORT.format(does=does))
        return "mine.adapter"

    return made


def fails(result: Result, code: int, *parts: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


# Exit codes.


@pytest.mark.parametrize("error", [RuntimeError("of ours"), EOFError(), MemoryError(), RecursionError(), SystemExit(0)])
def test_unexpected_error_is_70_in_one_line(error: BaseException, checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(weights, "read", broken)
    kind = type(error).__name__
    fails(
        senet("inspect", checkpoint), 70, f"senet: internal error: {kind}", "run again with --debug for the traceback"
    )
    for args in (("--debug", "inspect", checkpoint), ("inspect", checkpoint, "--debug")):
        shown = senet(*args)
        assert shown.exit_code == 70
        assert "Traceback" in shown.stderr
        assert "run again" not in shown.stderr


@pytest.mark.parametrize("suffix", [".safetensors", ".orbax", ".caffemodel", ".png"])
def test_name_that_the_system_does_not_take_is_one_line(suffix: str, checkpoint: Path, tmp_path: Path):
    path = tmp_path / f"{'x' * 300}{suffix}"
    if suffix == ".png":
        fails(senet("excite", path, "--weights", checkpoint), 2, "xxx.png", "file name too long")
        return
    fails(senet("inspect", path), 2, "file name too long")
    fails(senet("convert", checkpoint, path), 2, "file name too long")


@pytest.mark.parametrize("command", ["inspect", "excite", "classify"])
def test_links_in_a_circle_are_one_line(command: str, checkpoint: Path, tmp_path: Path):
    loop = tmp_path / "loop.safetensors"
    loop.symlink_to(loop)
    more = () if command == "inspect" else ("--weights", checkpoint)
    fails(senet(command, loop, *more), 2, "loop.safetensors")


def test_help_names_the_exit_codes():
    assert "0 done, or agreed; 1 disagreed, or photographs were skipped; 2 bad input; 70 an internal error" in " ".join(
        senet("--help").stdout.split()
    )


@pytest.mark.parametrize(("number", "words"), [("SIGTERM", "terminated"), ("SIGINT", "interrupted")])
def test_signal_ends_a_command_with_its_code_and_leaves_nothing(
    number: str, words: str, port: Callable[[str], str], checkpoint: Path, tmp_path: Path
):
    name = port("open('asked', 'x').close(); time.sleep(60)")
    (tmp_path / "tmp").mkdir()
    args = ("compare", checkpoint, "--framework", name, "--size", "33x32", "--in-process", "--json", "result.json")
    process = started(*args, cwd=tmp_path, env={"TMPDIR": str(tmp_path / "tmp")})
    while not (tmp_path / "asked").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(getattr(signal, number))
    assert ends(process) == (128 + getattr(signal, number), f"senet: {words}\n")
    assert sorted(os.listdir(tmp_path)) == ["asked", "mine", "tmp"]
    assert os.listdir(tmp_path / "tmp") == []


def test_signals_while_it_cleans_up_are_ignored(tmp_path: Path):
    code = """
import os, signal, sys
from pathlib import Path
from conformance.cli.ending import EndedError, signals_as_errors
from weights.storage.whole import replacing
real = Path.unlink
def unlink(path, **options):
    os.kill(os.getpid(), signal.SIGINT)
    real(path, **options)
Path.unlink = unlink
try:
    with signals_as_errors(), replacing(sys.argv[1]) as file:
        os.kill(os.getpid(), signal.SIGTERM)
except EndedError as ended:
    print(ended.code, os.listdir(os.path.dirname(sys.argv[1])))
"""
    env = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], env=env, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("143 []\n", "", 0)


SWALLOWED = {
    "in a finalizer": "class Dies:\n    def __del__(self): os.kill(os.getpid(), signal.SIGTERM)\nDies()",
    "by a library": "try: os.kill(os.getpid(), signal.SIGTERM)\nexcept BaseException: pass\ntime.sleep(9)",
    "for another error": "try: os.kill(os.getpid(), signal.SIGTERM)\nexcept BaseException: raise RuntimeError",
}


@pytest.mark.parametrize("does", SWALLOWED.values(), ids=SWALLOWED)
def test_signal_that_is_swallowed_ends_the_command_all_the_same(does: str, tmp_path: Path):
    code = f"""
import os, signal, sys, time
from conformance.cli import ending, main, networks
from weights.storage.whole import replacing
ending._GRACE = 0.5
def callback(**_):
    with ending.temporary_files_of_its_own(), replacing({str(tmp_path / "x")!r}):
        {does.replace(chr(10), chr(10) + " " * 8)}
networks.models.callback = callback
main(["models"])
"""
    (tmp_path / "tmp").mkdir()
    env = {**os.environ, "PYTHONPATH": ROOT, "TMPDIR": str(tmp_path / "tmp")}
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("", "senet: terminated\n", 143)
    assert time.monotonic() - start < 8
    assert (os.listdir(tmp_path), os.listdir(tmp_path / "tmp")) == (["tmp"], [])


# Streams.


def test_closed_stdout_is_one_line_before_anything_is_written(checkpoint: Path, tmp_path: Path):
    target = tmp_path / "a.pth"
    shell = ["sh", "-c", 'exec "$@" <&- >&-', "sh", sys.executable, "-m", "conformance"]
    env = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run([*shell, "convert", checkpoint, target], env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "senet: standard output is closed; redirect it to a file or to /dev/null\n"
    assert not target.exists()


def test_closed_stdin_is_one_line_of_who_reads_it(checkpoint: Path):
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "conformance", "classify", "-", "--weights"]
    env = {**os.environ, "PYTHONPATH": ROOT}
    options = ["--preprocessing", "caffe"]
    done = subprocess.run([*shell, checkpoint, *options], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "senet: standard input: is closed or has nothing\n")


def test_closed_stderr_does_not_change_what_is_written(checkpoint: Path, tmp_path: Path):
    shell = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m", "conformance"]
    env = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run([*shell, "convert", checkpoint, tmp_path / "a.pth"], env=env, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert weights.read(tmp_path / "a.pth").spec == SPEC


@pytest.mark.parametrize("args", [("models",), ("--help",), ("inspect", "--help"), ("--version",)])
def test_full_stdout_is_one_line_and_status_2(args: tuple[str, ...], monkeypatch: pytest.MonkeyPatch):
    def full(*_args: object, err: bool = False, **_options: object) -> None:
        if not err:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        told.append(str(_args[0]))

    told: list[str] = []
    for module in (printing.click, click.core, click.decorators):
        monkeypatch.setattr(module, "echo", full)
    assert senet(*args).exit_code == 2
    (line,) = told
    assert "cannot be written" in line
    assert "no space left on device" in line


@pytest.mark.parametrize("args", [("--help",), ("inspect", "--help")])
def test_reader_that_has_gone_is_a_quiet_end(args: tuple[str, ...]):
    reader, writer = os.pipe()
    os.close(reader)
    process = started(*args, stdout=writer)
    os.close(writer)
    assert ends(process) == (141, "")


def test_names_are_printable_in_any_locale(checkpoint: Path, tmp_path: Path):
    target = tmp_path / "caf\udce9 é\n\x1b[31m.pth"
    env = {
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "HOME": "/nowhere",
    }
    process = started("convert", checkpoint, target, env=env, stdout=subprocess.PIPE)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")
    assert rb"caf\udce9" in out
    assert rb"\n\x1b[31m.pth: tiny-se-resnet" in out
    assert out.count(b"\n") == 1
    assert weights.read(target).spec == SPEC


# What is printed.


def test_message_is_bounded_and_in_lines_of_its_own_only():
    assert message("a\nb\n  c\x1b[31m\u202e") == "a\\nb\n  c\\x1b[31m\\u202e"
    long = message("x" * 5000)
    assert len(long) == LONGEST
    assert long.endswith("x ... (5,000 characters)")


def test_error_of_any_length_is_bounded(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_args: object, **_options: object) -> None:
        raise InputError("\x1b[31m" + "x" * 10**6)

    monkeypatch.setattr(weights, "read", broken)
    result = senet("inspect", checkpoint)
    assert result.exit_code == 2
    assert result.stderr.startswith("senet: \\x1b[31mxxx")
    assert len(result.stderr) == LONGEST + 1


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose name has what terminals, XML and UTF-8 do not take."""
    from dataclasses import replace

    path = tmp_path_factory.mktemp("odd") / "odd.safetensors"
    weights.write(path, replace(SPEC, name="odd\x1b[2J\x00\ud800|<b>\nname"), cases.seeded(SPEC, 1))
    return path


def test_names_from_files_are_escaped_in_every_form(odd: Path, tmp_path: Path):
    page, result, suite = tmp_path / "a.html", tmp_path / "a.json", tmp_path / "a.xml"
    done = senet("compare", odd, *COMPARE, "--report", page, "--json", result, "--junit", suite, "--markdown")
    assert done.exit_code == 0, done.output
    assert json.loads(result.read_text())["network"]["name"].startswith("odd\x1b")
    assert ElementTree.parse(suite).getroot().tag == "testsuites"
    shown = [done.stdout, page.read_text(encoding="utf-8"), suite.read_text(), senet("inspect", odd).stdout]
    other = tmp_path / "of two\nlines.safetensors"
    other.write_bytes(odd.read_bytes())
    difference = senet("diff", other, odd).stdout
    assert difference.startswith(f"A  {tmp_path}/of two\\nlines.safetensors (safetensors)\nB  ")
    for text in [*shown, difference]:
        assert all(c in "\n\r\t" or c.isprintable() for c in text if c != "\u00a0")
    assert "odd\\x1b[2J" in shown[0]
    assert "odd\\x1b[2J" in shown[1]


def test_progress_shows_names_as_they_are(monkeypatch: pytest.MonkeyPatch):
    from rich.console import Console

    from conformance.cli import progress
    from weights.hub import bar

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    monkeypatch.setattr(bar, "_DELAY", 0.0)
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=terminal, force_terminal=True, width=80))
    bars = progress.Bars()
    with bars.busy("Reading [/b]\x1b]0;x\x07\n.pth", 1), bars.step("[red]step\x07"):
        time.sleep(0.3)
    text = terminal.getvalue()
    assert "Reading [/b]\\x1b]0;x\\x07\\n.pth" in text
    assert "[red]step\\x07" in text


# What is read is not written.


@pytest.mark.parametrize("by", ["name", "hard link", "link", "another way"])
def test_output_that_is_the_source_is_refused_by_the_identity_of_the_file(by: str, checkpoint: Path, tmp_path: Path):
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    source.write_bytes(checkpoint.read_bytes())
    match by:
        case "name":
            target = source
        case "hard link":
            target.hardlink_to(source)
        case "link":
            target.symlink_to(source)
        case _:
            target = tmp_path / ".." / tmp_path.name / "a.safetensors"
    fails(senet("convert", source, target), 2, f"{target}: is the source itself; name another file")
    assert source.read_bytes() == checkpoint.read_bytes()


def inputs(folder: Path) -> dict[str, tuple[tuple[object, ...], str, str]]:
    """Commands whose output is also an input: the arguments, the file that is to stay, what is said."""
    tiny, golden, names, photo = (
        folder / "tiny.safetensors",
        folder / "golden",
        folder / "names.txt",
        folder / "photo.png",
    )
    fields, pair, photos = folder / "p.json", folder / "pair.caffemodel", folder / "photos"
    definition, other = folder / "pair.prototxt", folder / "other.prototxt"
    seen = photos / "1.png"
    return {
        "compare FILE": (("compare", tiny, "--json", tiny), str(tiny), "is the source itself"),
        "compare --image": (
            ("compare", tiny, "--image", photo, "--report", photo),
            str(photo),
            "is what --image reads",
        ),
        "compare --against": (
            ("compare", "--against", golden, "--junit", golden),
            str(golden),
            "is what --against reads",
        ),
        "class names": (("convert", tiny, names, "--class-names", names), str(names), "is what --class-names reads"),
        "fields": (
            ("compare", tiny, "--preprocessing", fields, "--json", fields),
            str(fields),
            "what --preprocessing reads",
        ),
        "init from fields": (("init", f"{fields},classes=3", fields), str(fields), "is the source itself"),
        "freeze": (("freeze", tiny, tiny), str(tiny), "is the source itself"),
        "the definition": (("compare", pair, "--json", definition), str(definition), "the .prototxt that belongs to"),
        "a given one": (
            ("convert", tiny, folder / "other.caffemodel", "--prototxt", other),
            str(other),
            "is what --prototxt reads",
        ),
        "excite --plot": (("excite", photos, "--weights", tiny, "--plot", seen), str(seen), "is a part of"),
        "excite --json": (("excite", photo, "--weights", tiny, "--json", tiny), str(tiny), "is what --weights reads"),
        "demo": (("demo", "--caffemodel", tiny, "--output", folder), str(tiny), "is the source itself"),
        "two outputs": (("compare", tiny, "--json", folder / "new", "--junit", folder / "new"), "", "is also --json"),
        "stdout twice": (("compare", tiny, "--json", "-", "--junit", "-"), "", "-: is also --json"),
    }


@pytest.mark.parametrize("which", list(inputs(Path())))
def test_every_command_refuses_an_output_that_it_reads(which: str, checkpoint: Path, tmp_path: Path):
    (tmp_path / "tiny.safetensors").write_bytes(checkpoint.read_bytes())
    weights.write(tmp_path / "pair.caffemodel", SPEC, cases.seeded(SPEC, 1))
    (tmp_path / "photos").mkdir()
    for path in (tmp_path / "photo.png", tmp_path / "photos" / "1.png"):
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(path)
    for name in ("golden", "names.txt", "p.json", "other.prototxt"):
        (tmp_path / name).write_text("kept")
    args, stays, said = inputs(tmp_path)[which]
    before = Path(stays).read_bytes() if stays else b""
    fails(senet(*args), 2, said)
    assert not stays or Path(stays).read_bytes() == before
    assert not (tmp_path / "new").exists()


def test_output_that_is_a_photograph_of_a_folder_by_another_name_is_refused(checkpoint: Path, tmp_path: Path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "photos" / "1.png")
    (tmp_path / "plot.png").hardlink_to(tmp_path / "photos" / "1.png")
    args = ("excite", tmp_path / "photos", "--weights", checkpoint, "--plot", tmp_path / "plot.png")
    fails(senet(*args), 2, "plot.png: is a part of the source itself")


def test_folder_that_holds_the_source_is_not_written(checkpoint: Path, tmp_path: Path):
    folder = tmp_path / "x.orbax"
    folder.mkdir()
    (folder / "_METADATA").touch()
    (folder / "tiny.safetensors").write_bytes(checkpoint.read_bytes())
    fails(senet("convert", folder / "tiny.safetensors", folder), 2, "holds", "the source itself; name another folder")
    fails(senet("compare", folder, "--json", folder / "_METADATA"), 2, "_METADATA: is a part of the source itself")


@pytest.mark.parametrize("option", ["--json", "--junit", "--report"])
def test_dash_prints_and_the_table_goes_to_stderr(option: str, checkpoint: Path):
    done = senet("compare", checkpoint, *COMPARE, option, "-")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith({"--json": "{", "--junit": "<?xml", "--report": "<!doctype html>"}[option])
    assert "NumPy reference" in done.stderr
    assert "verdict" in done.stderr
    if option == "--json":
        assert json.loads(done.stdout)["network"]["name"] == SPEC.name


def test_checkpoint_is_not_printed(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for command in ("convert", "freeze"):
        fails(senet(command, checkpoint, "-"), 2, "-: name a file")
    assert os.listdir(tmp_path) == []


def test_words_go_to_stderr_where_stdout_has_the_file(checkpoint: Path, tmp_path: Path):
    (tmp_path / "a.pth").symlink_to("/dev/stdout")
    process = started("convert", checkpoint, tmp_path / "a.pth", stdout=subprocess.PIPE)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0
    (tmp_path / "b.pth").write_bytes(out)
    assert weights.read(tmp_path / "b.pth").spec == SPEC
    assert b"a.pth: tiny-se-resnet" in said
