"""What no test has the time for: kills at random moments, full disks, crowds, sources that change. ``make torture``.

    python -m tests.torture [--kills 200] [--seed 0] [--only SCENARIO]

Prints a line for each scenario, what failed below it, and ends with 1 if anything did.
"""

import argparse
import io
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, replace
from itertools import cycle, islice, product
from pathlib import Path

import numpy as np

import weights
from conformance import cases
from conformance.golden import file as golden
from weights import Info, InputError, Params
from weights.errors import InputWarning
from weights.files import onnx
from weights.storage.whole import replacing

SPEC = replace(cases.TINY["tiny-se-resnet"], classes=1000)
VALUES = {
    "old": Params(cases.seeded(SPEC, 1), Info(labels="devkit", history=("old",))),
    "new": Params(cases.seeded(SPEC, 2), Info(labels="sorted", history=("new",))),
}
FILES = (".caffemodel", ".safetensors", ".pth", ".keras", ".weights.h5", ".onnx", ".html", ".golden")
"""What is written by a process that is forked; Orbax has threads, and gets processes of its own."""

NOBODY = 65534
REFUSED = "refused"
"""What is read of a pair between the moments in which its halves appear."""


def write(path: Path, what: str) -> None:
    """One of the two contents."""
    if path.suffix == ".html":
        with replacing(path) as file:
            for line in range(200):
                file.write(f"{what} {line}\n".encode())
    elif path.suffix == ".golden":
        with redirect_stderr(io.StringIO()):
            golden._write(path, KEPT[what])
    else:
        weights.write(path, SPEC, VALUES[what])


KEPT: dict[str, golden.Golden] = {}


def freeze(folder: Path) -> None:
    """The contents of the golden files, which take long to compute and not to write."""
    for what, seed in (("old", 1), ("new", 2)):
        KEPT[what] = golden.freeze("tiny-se-resnet", folder / "golden.safetensors", seed=seed, size=(33, 32))
    (folder / "golden.safetensors").unlink()


def read(path: Path) -> str:
    """Which of the two it is, with what travels with it; otherwise what is wrong."""
    try:
        if path.suffix == ".html":
            text = path.read_text()
            return next((w for w in VALUES if text == "".join(f"{w} {i}\n" for i in range(200))), "torn")
        if path.suffix == ".golden":
            found = golden.read(path)
            return next((w for w, kept in KEPT.items() if (found.x == kept.x).all()), "torn")
        params = weights.read(path).params
    except InputError as error:
        return REFUSED if "belongs to other weights" in str(error) else str(error)
    for what, expected in VALUES.items():
        if all(np.array_equal(params[name], expected[name].astype(params[name].dtype)) for name in expected):
            right = (params.info.labels, params.info.history[:1]) == (expected.info.labels, expected.info.history)
            return what if right else f"the numbers of {what} with the labels of another"
    return "torn"


@dataclass
class Found:
    """What a scenario saw."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def expect(self, right: bool, what: str) -> None:
        """Notes what is wrong."""
        if not right:
            self.wrong.append(what)


def forked(work: Callable[[], None]) -> int:
    """The process that does it, and ends with 0, with 2 for bad input, 4 without a reader, 3 for anything else."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except InputError:
        os._exit(2)
    except BrokenPipeError:
        os._exit(4)
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(3)


def ended(child: int) -> int:
    """The exit code of a process, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def beside(path: Path) -> list[str]:
    """What is in the folder and is not the target."""
    mine = {path.name, path.with_suffix(".prototxt").name}
    return [name for name in os.listdir(path.parent) if name not in mine]


def alternating(path: Path) -> None:
    """Writes one content after the other, until it is killed."""
    while True:
        write(path, "new")
        write(path, "old")


@contextmanager
def folder() -> Generator[Path]:
    """A folder of its own, that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def targets(suffixes: Iterable[str]) -> Generator[Path]:
    """A file of each format with the old contents, in a folder of its own."""
    for suffix in suffixes:
        with folder() as place:
            path = place / f"net{suffix}"
            write(path, "old")
            yield path


def kills(count: int, rng: random.Random) -> Found:
    """Kills a writer at a random moment: then one whole content is there, and the next run leaves nothing else."""
    found = Found()
    for path in targets(islice(cycle(FILES), count)):
        child = forked(lambda path=path: alternating(path))
        time.sleep(rng.uniform(0, 0.12))
        os.kill(child, signal.SIGKILL)
        found.expect(ended(child) == -signal.SIGKILL, f"{path.name}: ended by itself")
        state = read(path)
        found.counts[state] += 1
        right = state in VALUES or (state == REFUSED and path.suffix == ".caffemodel")
        found.expect(right, f"{path.name}: {state}")
        found.counts["leftovers"] += len(beside(path))
        write(path, "old")
        found.expect(read(path) == "old" and not beside(path), f"{path.name}: next run left {beside(path)}")
    return found


ORBAX = "import sys; from pathlib import Path; from tests.torture import alternating; alternating(Path(sys.argv[1]))"


def kills_of_orbax(count: int, rng: random.Random) -> Found:
    """The same for folders."""
    found = Found()
    with folder() as place:
        path = place / "net.orbax"
        write(path, "old")
        for _ in range(count):
            before = path.stat().st_ino
            child = subprocess.Popen([sys.executable, "-c", ORBAX, path], stderr=subprocess.DEVNULL)
            while path.stat().st_ino == before:  # its first checkpoint takes seconds; the others do not
                found.expect(child.poll() is None, "ended by itself")
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.5))
            child.kill()
            child.wait()
            state = read(path)
            found.counts[state] += 1
            found.expect(state in VALUES, f"{path.name}: {state}")
            found.counts["leftovers"] += len(beside(path))
            write(path, "old")
            found.expect(read(path) == "old" and not beside(path), f"{path.name}: next run left {beside(path)}")
    return found


def full(_count: int, rng: random.Random) -> Found:
    """Writes where there is no room, by a limit of the size of files: what stood there stays, in one line."""
    found = Found()
    for path in targets(FILES * 3):
        most = rng.randrange(0, path.stat().st_size)

        def work(path: Path = path, most: int = most) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            write(path, "new")

        code = ended(forked(work))
        found.counts["refused" if code == 2 else f"code {code}"] += 1
        found.expect(code == 2, f"{path.name}, room for {most} bytes: ended with {code}")
        found.expect(read(path) == "old", f"{path.name}: {read(path)}")
        found.expect(not beside(path), f"{path.name}: left {beside(path)}")
    with folder() as place:
        _full_of_orbax(place, found)
    return found


def _full_of_orbax(place: Path, found: Found) -> None:
    """The same for a folder, by the command: its threads have words of their own."""
    write(place / "net.pth", "new")
    write(place / "net.orbax", "old")
    convert = ["-m", "conformance", "convert", place / "net.pth", place / "net.orbax"]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh", sys.executable, *convert], capture_output=True, text=True
    )
    found.counts["refused" if done.returncode == 2 else f"code {done.returncode}"] += 1
    found.expect(done.returncode == 2 and done.stderr.count("\n") == 1, f"net.orbax: {done.stderr[-1000:]}")
    state, left = read(place / "net.orbax"), sorted(os.listdir(place))
    found.expect(state == "old" and left == ["net.orbax", "net.pth"], f"net.orbax: {state}, {left}")


def closed(_count: int, _rng: random.Random) -> Found:
    """Writes into a folder that may not be written, as an ordinary user."""
    found = Found()
    for path in targets(FILES):
        path.parent.chmod(0o555)

        def work(path: Path = path) -> None:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            write(path, "new")

        code = ended(forked(work))
        found.counts["refused" if code == 2 else f"code {code}"] += 1
        found.expect(code == 2, f"{path.name}: ended with {code}")
        path.parent.chmod(0o755)
        found.expect(read(path) == "old" and not beside(path), f"{path.name}: {read(path)}, {beside(path)}")
    return found


def crowd(_count: int, _rng: random.Random) -> Found:
    """Four writers of one target and a reader: it never reads half a file, and in the end one of them has won."""
    found = Found()
    for path in targets(FILES):

        def work(first: str, path: Path = path) -> None:
            for _ in range(8):
                write(path, first)
                write(path, "old" if first == "new" else "new")

        children = [forked(lambda first=first: work(first)) for first in ("old", "new") * 2]
        while children:
            state = read(path)
            found.counts[state] += 1
            right = state in VALUES or (state == REFUSED and path.suffix == ".caffemodel")
            found.expect(right, f"{path.name}: {state}")
            done, status = os.waitpid(-1, os.WNOHANG)
            if done:
                children.remove(done)
                found.expect(status == 0, f"{path.name}: a writer ended with {os.waitstatus_to_exitcode(status)}")
        found.expect(read(path) in VALUES, f"{path.name}: in the end {read(path)}")
        found.expect(not beside(path), f"{path.name}: left {beside(path)}")
    return found


def changing(_count: int, rng: random.Random) -> Found:
    """Reads a source that is cut off, overwritten or replaced meanwhile: whole or refused, and never killed."""
    found = Found()
    for path in targets(suffix for suffix in FILES if suffix != ".html"):  # which is only written
        whole = path.read_bytes()

        def work(path: Path = path) -> None:
            end = time.monotonic() + 1
            while time.monotonic() < end:
                with warnings.catch_warnings(action="ignore"):
                    state = read(path)
                if state == "torn":
                    raise AssertionError(f"{path.name}: {state}")

        child = forked(work)
        while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            found.counts["changes"] += 1
            match rng.randrange(3):
                case 0:
                    os.truncate(path, rng.randrange(len(whole)))
                case 1:
                    path.write_bytes(whole)
                case _:
                    write(path, "new")
            time.sleep(0.002)
        code = ended(child)
        found.counts["read on" if code == 0 else "killed" if code < 0 else f"code {code}"] += 1
        found.expect(code == 0, f"{path.name}: the reader ended with {code}")
    return found


def streams(_count: int, _rng: random.Random) -> Found:
    """Writes through FIFOs, to a reader that takes all and to one that goes away."""
    found = Found()
    for suffix, takes in product(FILES, (-1, 100)):
        with folder() as place:
            path = place / f"net{suffix}"
            os.mkfifo(path)
            child = forked(lambda path=path: write(path, "new"))
            with path.open("rb") as reader:
                got = len(reader.read(takes))
            code = ended(child)
            found.expect(stat.S_ISFIFO(path.stat().st_mode), f"{path.name}: was replaced")
            whole = takes < 0 or code == 0  # what is small enough is in the pipe before its reader goes
            found.counts["written" if whole else "ended early"] += 1
            found.expect(got > 0 and (code == 0 if takes < 0 else code in (0, 4)), f"{path.name}: code {code}")
    return found


SCENARIOS: dict[str, tuple[str, Callable[[int, random.Random], Found]]] = {
    "kills": ("kills at random moments", kills),
    "closed": ("a folder that may not be written", closed),
    "crowd": ("four writers and a reader", crowd),
    "changing": ("sources that change", changing),
    "streams": ("FIFOs", streams),
    "full": ("no room", full),  # this and the next with Orbax, which starts threads, at their ends
    "orbax": ("kills of Orbax", kills_of_orbax),
}


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=SCENARIOS)
    asked = parser.parse_args()
    warnings.simplefilter("ignore", InputWarning)
    onnx.onnx_ir_module()
    rng, failed = random.Random(asked.seed), False
    with folder() as place:
        freeze(place)
        for suffix in FILES:  # imports, before anything is forked
            write(place / f"net{suffix}", "old")
    for name, (title, scenario) in SCENARIOS.items():
        if asked.only not in (None, name):
            continue
        of_orbax = asked.kills // 20
        count = of_orbax if name == "orbax" else asked.kills - of_orbax
        start = time.monotonic()
        found = scenario(count, rng)
        seen = ", ".join(f"{n} {what}" for what, n in sorted(found.counts.items()))
        verdict = f"{len(found.wrong)} WRONG" if found.wrong else "right"
        print(f"{title:33} {verdict:9} {seen}; {time.monotonic() - start:.0f} s", flush=True)
        for what in found.wrong[:10]:
            print(f"    {what}")
        failed = failed or bool(found.wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
