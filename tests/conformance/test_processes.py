"""Adapters that misbehave: whatever a process does is its own row, the other rows stand, and nothing is left of it."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from textwrap import indent

import psutil
import pytest
from click.testing import CliRunner

import conformance
import weights
from conformance import cases
from conformance.adapters import known
from conformance.cli import main
from conformance.judge.compare import Conditions, compared
from conformance.judge.keeper import MARK
from conformance.judge.question import Forward, Given
from weights import CAFFE, Info, InputError, Params

TINY = cases.TINY["tiny-se-resnet"]
PARAMS = cases.seeded(TINY, 1)
MEMORY = 400  # MB: NumPy and our packages take some 70

ADAPTER = """
import atexit, os, signal, sys, time
import numpy as np
from conformance.adapters import numpy as right
from conformance.adapters.numpy import build, version

NAME = "port"

def taps(model, x):
    found = right.taps(model, x)
{taps}
    return found

{more}
"""

OPEN = "numbers = [n for n in range(3, 64) if os.path.exists(f'/proc/self/fd/{n}')]\n"
"""Whatever files an adapter finds open."""

TAPS = {
    # How it ends.
    "exits": ("sys.exit(0)", "failed", "SystemExit: 0"),
    "exits_at_once": ("os._exit(0)", "failed", "ended with exit code 0"),
    "exits_after_its_answer": ("atexit.register(os._exit, 0)", "agreed", ""),
    "fails_after_its_answer": ("atexit.register(os._exit, 3)", "failed", "ended with exit code 3"),
    "crashes": ("os.kill(os.getpid(), signal.SIGSEGV)", "failed", "ended by SIGSEGV"),
    "ends_itself": ("os.kill(os.getpid(), 40)", "failed", r"ended by (signal 40|SIGRTMIN\+\d)"),
    # What it raises.
    "interrupts": ("raise KeyboardInterrupt", "failed", "KeyboardInterrupt"),
    "raises_a_base": ("raise type('Worst', (BaseException,), {})('x')", "failed", "Worst: x"),
    "recurses": ("def f(): f()\nf()", "failed", "RecursionError: maximum recursion depth exceeded.*"),
    "cannot_say": (
        "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})",
        "failed",
        "Mute, which cannot say what is wrong",
    ),
    "says_megabytes": ("raise ValueError('x' * 10**7)", "failed", r"ValueError: x{200,300}\.\.\."),
    # What it answers.
    "none": ("return None", "failed", r"TypeError: taps\(\) gave a NoneType, expected a dict of arrays by name"),
    "text": ("return 'logits'", "failed", r"TypeError: taps\(\) gave a str, expected a dict .*"),
    "a_list": ("found['logits'] = [1, [2, 3]]", "failed", r"TypeError: taps\(\) gave logits as a list, expected an .*"),
    "texts": ("found['logits'] = np.full((1, 10), 'a')", "failed", r"TypeError: .* logits as an array of <U1, .*"),
    "complex": ("found['logits'] = found['logits'] * 1j", "failed", r"TypeError: .* an array of complex128, .*"),
    "structures": ("found['logits'] = np.zeros(3, 'i4,f8')", "failed", r"TypeError: .* an array of \[\('f0', .*"),
    "numbers_as_names": (
        "found[5] = found['logits']",
        "failed",
        r"TypeError: .* a name that is a int, expected a text",
    ),
    "paths_as_names": ("found['../a\\0b'] = found['logits']", "disagreed", r"taps .* not have: \.\./a\\x00b"),
    "a_class_of_its_own": (
        "found['logits'] = (0 * found['logits']).view("
        "type('Liar', (np.ndarray,), {'astype': lambda self, *a, **k: self, '__sub__': lambda self, other: self * 0}))",
        "disagreed",
        "",
    ),
    "gigabytes": (
        "found['logits'] = np.broadcast_to(np.zeros(1), (1, 10**9))",
        "failed",
        r"answered 80\d\d MB, expected at most \d\d MB",
    ),
    "gigabytes_by_hand": (
        OPEN + "for n in numbers:\n    try: os.ftruncate(n, 10**9)\n    except OSError: pass\ntime.sleep(60)",
        "failed",
        r"answered more than \d\d MB",
    ),
    "garbage": (
        OPEN + "for n in numbers:\n    try: os.write(n, b'{garbage}')\n    except OSError: pass\nos._exit(0)",
        "failed",
        r"its answer: is no safetensors file, or cut short: .*",
    ),
    "half_an_answer": (
        "from conformance.judge import process\n"
        "write = process._write\n"
        "process._write = lambda file, answer: (write(file, answer), file.truncate(9999))",
        "failed",
        r"its answer: .*",
    ),
    "something_else": (
        "from conformance.judge import process\n"
        "process._write = lambda file, answer: process.write_tensors(file, '', {}, {'answer': '[]'})",
        "failed",
        "its answer does not say what it is",
    ),
    # What it does to others.
    "judges_itself": (
        "from conformance.judge import compare, measure\n"
        "compare.judge = measure.judge = measure.relative_error = lambda *_: 0\nfound['logits'] += 1",
        "disagreed",
        "",
    ),
    "looks_for_the_question": (
        "found['logits'] += len([n for n in os.listdir('/proc/self/fd') if n == '0'] and sys.stdin.read())",
        "agreed",
        "",
    ),
    "changes_its_surroundings": (
        "os.chdir('/')\nos.umask(0o777)\nos.environ.clear()\nsys.excepthook = None\n"
        "import warnings; warnings.simplefilter('error')",
        "agreed",
        "",
    ),
    "takes_memory": ("kept = np.ones(10**8)\ntime.sleep(60)", "failed", f"took more than {MEMORY} MB of memory"),
    "takes_memory_in_a_child": (
        "if not os.fork():\n    kept = np.ones(10**8)\n    time.sleep(60)\ntime.sleep(60)",
        "failed",
        f"took more than {MEMORY} MB of memory",
    ),
    # What it prints.
    "floods": (
        "for fd in (1, 2):\n    for _ in range(100): os.write(fd, b'\\033[31m\\n' + b'x' * 10**5)\nos._exit(3)",
        "failed",
        r"ended with exit code 3: x{200,300}\.\.\.",
    ),
    "prints_what_is_no_text": ("print('\\0\\x1b[2J'); os.write(1, b'\\xff' * 999)", "agreed", ""),
    "closes_its_output": ("os.close(0); os.close(1); os.close(2)", "agreed", ""),
    "closes_everything": ("os.closerange(0, 256)", "failed", "ended with exit code .*"),
}
MODULES = {
    "no_version": ("def version(): return None", "failed", r"TypeError: version\(\) gave a NoneType, expected a text"),
    "no_name": ("NAME = 5", "failed", "TypeError: NAME gave a int, expected a text"),
    "no_dtype": ("def dtype(*_): return ['f4']", "failed", r"TypeError: dtype\(\) gave a list, expected a text"),
    "no_taps": ("del taps", "failed", r"TypeError: port has no function taps\(\)"),
    "no_python": ("def taps(:", "failed", r"SyntaxError: .*"),
    "exits_when_imported": ("os._exit(0)", "failed", "ended with exit code 0"),
    "needs_what_is_not_there": ("import nosuch", "failed", "ModuleNotFoundError: No module named 'nosuch'"),
}
KINDS = {**TAPS, **MODULES}
HERE = [
    "exits", "raises_a_base", "recurses", "cannot_say", "says_megabytes", "none", "text", "a_list", "texts", "complex",
    "structures", "numbers_as_names", "paths_as_names", "a_class_of_its_own", *MODULES,
]  # fmt: skip
"""Those that can be caught in this process: all but what ends it, fills it or does not end."""
HERE.remove("exits_when_imported")
ALONE = [
    kind for kind in KINDS if kind not in HERE or kind in ("exits", "cannot_say", "texts", "no_version", "no_python")
]
"""Those that are tried in processes: all but some that are the same as here."""


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    """A folder of adapters, one of each kind in a package of its own name, which is on the path."""
    folder = tmp_path_factory.mktemp("ports")
    for kind in KINDS:
        taps, more = (KINDS[kind][0], "") if kind in TAPS else ("pass", KINDS[kind][0])
        _port(folder, kind, taps, more)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


def _port(folder: Path, name: str, taps: str, more: str = "") -> str:
    package = folder / f"adv_{name}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "port.py").write_text(ADAPTER.format(taps=indent(taps, "    "), more=more))
    return f"adv_{name}.port"


def _compared(names, **conditions):
    given = Given(TINY.network(), PARAMS, "float64", Forward(cases.image(1, 1, 32, 32)))
    return compared(given, names, Conditions(**conditions)).results


def _started(temporary: Path) -> list[psutil.Process]:
    """Processes for adapters, and what these have started, of a comparison with its own temporary folder."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                environment = process.environ()
                if MARK in environment and Path(environment.get("TMPDIR", "")).parent == temporary:
                    found.append(process)
    return found


@pytest.fixture(scope="module")
def rows(ports: Path):  # noqa: ARG001, they are on the path
    """One comparison of them all, with one that is right at the end."""
    return _compared([*(f"adv_{kind}.port" for kind in ALONE), "numpy"], memory=MEMORY, timeout=120)


@pytest.mark.parametrize("kind", ALONE)
def test_what_a_process_does_is_its_own_row(rows, kind):
    _, status, message = KINDS[kind]
    found = rows[f"adv_{kind}.port"]
    assert (found.status, bool(re.fullmatch(message, found.message))) == (status, True), found.message
    assert found.message.isprintable()


def test_the_others_stand(rows):
    assert rows["numpy"].status == "agreed"


@pytest.mark.parametrize("kind", HERE)
@pytest.mark.usefixtures("ports")
def test_what_an_adapter_does_in_this_process_is_its_own_row(kind):
    _, status, message = KINDS[kind]
    found = _compared([f"adv_{kind}.port"], isolated=False)[f"adv_{kind}.port"]
    assert (found.status, bool(re.fullmatch(message, found.message))) == (status, True), found.message


def test_a_process_that_has_nothing_for_some_images_is_its_own_row(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    name = _port(tmp_path, "some", "if x.shape[2] != x.shape[3]: return {}")
    question = Forward(cases.image(1, 1, 32, 32), (cases.image(2, 1, 32, 33),))
    rows = compared(Given(TINY.network(), PARAMS, "float64", question), [name, "numpy"], Conditions()).results
    assert (rows[name].status, rows["numpy"].status) == ("disagreed", "agreed")
    assert "is there for some inputs only, not for (1, 3, 32, 33)" in rows[name].message


@pytest.mark.usefixtures("ports")
def test_interrupt_in_this_process_may_be_the_users():
    with pytest.raises(KeyboardInterrupt):
        _compared(["adv_interrupts.port"], isolated=False)


def test_process_that_stops_or_does_not_listen_is_ended(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    stops = _port(tmp_path, "stops", "os.kill(os.getpid(), signal.SIGSTOP)")
    deaf = _port(tmp_path, "deaf", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)")
    found = _compared([stops, deaf], timeout=3)
    assert [(v.status, v.message) for v in found.values()] == [("failed", "no answer within 3 s")] * 2


STAYS = """
import subprocess
read, write = os.pipe()
if not os.fork():
    {leave}
    os.write(write, str(os.getpid()).encode())
    time.sleep(60)
open({path!r}, "w").write(os.read(read, 99).decode())
"""


@pytest.mark.parametrize("leave", ["pass", "os.setsid()"], ids=["in its session", "in another"])
def test_nothing_stays_that_a_process_has_started(leave, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "pid"
    port = _port(tmp_path, leave[3:9], STAYS.format(leave=leave, path=str(path)))
    assert _compared([port])[port].status == "agreed"
    with suppress(psutil.NoSuchProcess):
        assert psutil.Process(int(path.read_text())).status() == psutil.STATUS_ZOMBIE


def test_nothing_of_an_adapter_is_imported_to_find_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    port = _port(tmp_path, "package", "pass")
    Path(tmp_path, "adv_package", "__init__.py").write_text("raise SystemExit(0)")
    assert known(port) == port
    assert "adv_package" not in sys.modules
    with pytest.raises(InputError, match=r"unknown framework 'adv_package\.other'"):
        known("adv_package.other")


def test_processes_need_a_place_for_the_question(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "no"))
    with pytest.raises(InputError, match="no process can be asked: no such file or directory"):
        _compared(["numpy"])


@pytest.fixture(scope="module")
def checkpoint(ports):
    path = ports / "tiny.safetensors"
    weights.write(path, TINY, Params(PARAMS, Info(preprocessing=CAFFE, class_names=tuple("abcdefghij"))))
    return path


@pytest.mark.parametrize(
    "how",
    [signal.SIGTERM, signal.SIGINT, pytest.param(signal.SIGHUP, marks=pytest.mark.slow), signal.SIGKILL],
    ids=lambda number: number.name,
)
def test_signals_to_a_comparison_end_all_that_it_started(how, checkpoint, tmp_path):
    leaves = "import tempfile\nopen(tempfile.gettempdir() + '/left', 'w')\nopen('here', 'w')\n"
    hangs = _port(tmp_path, "hangs", f"{leaves}if not os.fork(): os.setsid()\ntime.sleep(60)")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = [sys.executable, "-m", "conformance", "compare", str(checkpoint), "--size", "32x32", "--framework", hangs]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(conformance.__file__).parents[1]), str(tmp_path)]),
        "TMPDIR": str(temporary),
    }
    with subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while not (tmp_path / "here").exists():
            assert process.poll() is None
            time.sleep(0.05)
        assert _started(temporary)
        (own,) = temporary.iterdir()  # nothing of the question or the answer, that could be found or changed
        assert sorted(file.name for file in own.iterdir()) == [".senet-lock", "left"]
        sent = time.monotonic()
        process.send_signal(how)
        assert process.wait(10) in (-how, 128 + how)
        while _started(temporary) or list(temporary.iterdir()):
            assert time.monotonic() < sent + 5
            time.sleep(0.02)
        assert b"Traceback" not in (process.stderr.read() if process.stderr else b"")
    assert list(temporary.iterdir()) == []


def test_limits_on_the_command_line(checkpoint, ports, monkeypatch):
    monkeypatch.chdir(ports)
    taking = "adv_takes_memory.port"
    args = ["compare", str(checkpoint), "--size", "32x32", "--frameworks", f"{taking},numpy"]
    done = CliRunner().invoke(main, [*args, "--memory", str(MEMORY)])
    assert (done.exit_code, done.stdout.count("agreed"), done.stderr) == (1, 1, "")
    assert f"failed: took more than {MEMORY} MB of memory" in done.stdout


def test_a_port_that_is_named_and_has_no_outputs_is_an_error(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuses = "from conformance.judge.answer import UnableError\nraise UnableError('not today')"
    name = _port(tmp_path, "refuses", refuses)
    done = CliRunner().invoke(main, ["compare", str(checkpoint), "--size", "32x32", "--frameworks", f"numpy,{name}"])
    assert (done.exit_code, done.stderr) == (2, "senet: not today\n")


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x"])
@pytest.mark.parametrize("option", ["--timeout", "--memory"])
def test_limits_are_amounts(option, value, checkpoint):
    done = CliRunner().invoke(main, ["compare", str(checkpoint), option, value])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert f"Invalid value for '{option}'" in done.stderr


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("takes_memory", ["--memory", str(MEMORY)], f"took more than {MEMORY} MB of memory"),
        ("exits_at_once", [], "ended with exit code 0"),
        ("without_logits", [], "gave no logits"),
        ("shape", [], r"logits has shape \(1, 9\) or is not finite, expected finite numbers of \(1, 10\)"),
    ],
)
def test_photograph_is_classified_by_no_process_that_misbehaves(
    kind, options, message, checkpoint, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    if kind not in KINDS:
        breaks = {"without_logits": "del found['logits']", "shape": "found['logits'] = found['logits'][:, 1:]"}
        _port(tmp_path, kind, breaks[kind])
    photo = Path(weights.__file__).parents[1] / "conformance" / "cli" / "balloon.jpg"
    args = ["classify", str(photo), "--weights", str(checkpoint), "--framework", f"adv_{kind}.port", *options]
    done = CliRunner().invoke(main, args)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
    assert re.search(rf"senet: adv_{kind}\.port: {message}\n", done.stderr), done.stderr


def test_reference_is_frozen_within_limits(tmp_path):
    golden = tmp_path / "golden.safetensors"
    args = ["freeze", "tiny-se-resnet", str(golden), "--size", "32x32"]
    done = CliRunner().invoke(main, [*args, "--memory", "20"])
    assert (done.exit_code, done.stderr) == (2, "senet: numpy: took more than 20 MB of memory\n")
    assert not golden.exists()
