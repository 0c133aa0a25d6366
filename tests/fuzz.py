"""Looks for files that a reader neither reads nor refuses: ``python tests/fuzz.py [--seconds 300] [READER...]``.

Guided by coverage with Atheris where it is installed; otherwise Hypothesis damages sound files. A crash is any
exception but ``InputError``, a process that dies, or a cost beyond what ``docs/robustness.md`` promises; its file is
kept in ``tests/corpus``, whose files every test run reads again.
"""

import argparse
import hashlib
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

GUIDED = find_spec("atheris") is not None
LARGEST = 300_000  # bytes of a damaged file
ALONE = 4  # seconds of the processor that one file may take: 2, and some for measuring
GROWTH = 300_000  # KB of memory above those before


@dataclass(slots=True)
class Tally:
    """What became of the files of one reader."""

    tried: int = 0
    read: int = 0
    refused: int = 0
    crashes: int = 0


def main() -> None:
    """Gives each reader its share of the time, in a process of its own, which is started again if it dies."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=300, help="for all readers together")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)  # in a process of its own
    parser.add_argument("readers", nargs="*")
    asked = parser.parse_args()
    if asked.one:
        reader, folder = asked.readers
        _fuzz(reader, folder, asked.seconds)
        return
    from crafted import READERS

    if unknown := set(asked.readers) - set(READERS):
        parser.error(f"unknown readers {', '.join(unknown)}; known are {', '.join(READERS)}")
    readers = asked.readers or list(READERS)
    print(f"{'Atheris' if GUIDED else 'Hypothesis'}, {asked.seconds:.0f} s")
    print(f"{'reader':14}{'tried':>10}{'read':>10}{'refused':>10}{'crashes':>10}", flush=True)
    crashes = 0
    for reader in readers:
        tally = _shared_out(reader, asked.seconds / len(readers))
        crashes += tally.crashes
        print(f"{reader:14}{tally.tried:10,}{tally.read:10,}{tally.refused:10,}{tally.crashes:10,}", flush=True)
    sys.exit(1 if crashes else 0)


def _shared_out(reader: str, seconds: float) -> Tally:
    from corpus import CORPUS

    end, total = time.monotonic() + seconds, Tally()
    while (left := end - time.monotonic()) > 1:
        with tempfile.TemporaryDirectory() as folder:
            said = Path(folder, "tally")
            command = [sys.executable, __file__, "--one", "--seconds", str(left), reader, folder]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=left + 120, check=False)
                died = "" if done.returncode == 0 else f"died of {done.returncode}"
                words = done.stderr
            except subprocess.TimeoutExpired:
                died, words = "never ends", ""
            tally = Tally(**json.loads(said.read_text())) if said.exists() else Tally()
            total = Tally(**{name: value + getattr(tally, name) for name, value in asdict(total).items()})
            if died and (data := Path(folder, "current")).exists():
                total.crashes += 1
                _keep(CORPUS / reader, died, data.read_bytes())
                print(f"{reader}: {died}\n{words[-2000:]}", file=sys.stderr, flush=True)
            elif died:
                raise RuntimeError(words[-4000:])
    return total


def _keep(folder: Path, what: str, data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "-", what)[:60].strip("-").lower()
    (folder / f"{name}-{hashlib.sha256(data).hexdigest()[:8]}").write_bytes(data)


# One reader, in this process.


def _fuzz(reader: str, folder: str, seconds: float) -> None:
    atheris: Any = None
    if GUIDED:
        atheris = import_module("atheris")

        with atheris.instrument_imports(include=["weights", "conformance.golden", "zipfile"]):
            import crafted
    else:
        import crafted
    from corpus import CORPUS, files, parts_of_folder, placed, zipped

    warnings.simplefilter("ignore")
    place, tally, found = Path(folder), Tally(), set[str]()
    read = crafted.READERS[reader].read
    sound = place / f"sound{crafted.READERS[reader].suffix}"
    crafted.READERS[reader].sound(sound)
    read(sound)
    seeds = [zipped(parts_of_folder(sound)) if sound.is_dir() else sound.read_bytes(), *_small(reader, place)]
    seeds += [file.read_bytes() for file in files(reader)]
    end = time.monotonic() + seconds
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def attempt(data: bytes) -> None:
        nonlocal peak
        if time.monotonic() > end:
            (place / "tally").write_text(json.dumps(asdict(tally)))
            os._exit(0)
        data = bytes(data)
        path = placed(reader, data, place)
        (place / "current").write_bytes(data)
        tally.tried += 1
        if tally.tried % 50 == 0:
            (place / "tally").write_text(json.dumps(asdict(tally)))
        start, what = time.process_time(), ""
        try:
            read(path)
            tally.read += 1
        except crafted.weights.InputError:
            tally.refused += 1
        except BaseException as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__} {Path(at.filename).stem} {at.name}"
        seconds = time.process_time() - start
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
        if not what and seconds > ALONE:
            what = f"takes {seconds:.0f} s"
        if not what and grown > GROWTH:
            what = f"takes {grown // 1000} MB"
        peak = max(peak, peak + grown)
        if what and what not in found:
            found.add(what)
            tally.crashes += 1
            _keep(CORPUS / reader, what, data)

    # Looked up when it is called: Fuzz() puts another function there.
    damage = _damage(reader, seeds, (lambda data, most: atheris.Mutate(data, most)) if GUIDED else None)
    if not GUIDED:
        _with_hypothesis(seeds, damage, attempt)
    start = place / "seeds"
    start.mkdir()
    for i, seed in enumerate(seeds):
        (start / str(i)).write_bytes(seed)
    limits = [f"-max_len={LARGEST}", "-rss_limit_mb=0", "-timeout=100", f"-artifact_prefix={place}/", "-verbosity=0"]
    atheris.Setup(
        [sys.argv[0], *limits, str(start)],
        attempt,
        custom_mutator=lambda data, most, seed: damage(data, random.Random(seed), most),
    )
    atheris.Fuzz()


def _small(reader: str, place: Path) -> list[bytes]:
    """The smallest network as a file, which is damaged where it counts more often than a large one."""
    import crafted
    from corpus import parts_of_folder, zipped

    suffix = crafted.READERS[reader].suffix
    if reader in ("caffe-hdf5", "definition", "golden", "record", "photograph"):
        return []
    ones = (1, 1, 1, 1)
    spec = replace(
        crafted.SPEC, depths=ones, stem=((1, 3),), reduce=ones, width=ones, out_channels=(4, 4, 4, 4), classes=2
    )
    path = place / f"small{suffix}"
    crafted.weights.write(path, spec, crafted.weights.Params(crafted.seeded(spec, 1), crafted.Info()))
    return [zipped(parts_of_folder(path)) if path.is_dir() else path.read_bytes()]


Damage = Callable[[bytes, random.Random, int], bytes]


def _damage(reader: str, seeds: list[bytes], mutate: Callable[[bytes, int], bytes] | None) -> Damage:
    """Damage to a part of a file, behind its lengths and checksums as often as to the file as it is."""
    from corpus import parts_of_safetensors, parts_of_zip, safetensors, with_checksums, zipped

    def some(data: bytes, chance: random.Random, most: int) -> bytes:
        if mutate is not None and chance.random() < 0.7:
            return mutate(data, max(most, len(data) + 1))
        return _changed(data, chance, seeds)

    def whole(data: bytes, chance: random.Random, most: int) -> bytes:
        if chance.random() < 0.5:
            return some(data, chance, most)
        if reader in ("safetensors", "golden"):
            header, values = parts_of_safetensors(data)
            return safetensors(some(header, chance, most - 8), values)
        if (parts := parts_of_zip(data)) and reader in ("pytorch", "keras", "orbax"):
            names = [name for name, _ in parts]
            telling = [i for i, name in enumerate(names) if not re.search(r"data/\d+$", name)]
            i = chance.choice(telling or range(len(parts)))
            parts[i] = names[i], some(parts[i][1], chance, most)
            return zipped(parts)
        changed = some(data, chance, most)
        return with_checksums(changed) if changed[:4] == b"\x89PNG" else changed

    return lambda data, chance, most: whole(data, chance, most)[: max(most, 1)]


_WORDS = (
    b"\0",
    b"\xff",
    b"\xff" * 4,
    b"\xff" * 8,
    b"\x7f\xff\xff\xff",
    b"-1",
    b"1e999",
    b"NaN",
    b"[" * 40,
    b'"',
    b"{",
    b"\n",
)


def _changed(data: bytes, chance: random.Random, seeds: list[bytes]) -> bytes:
    """Bytes with a few places changed: a bit, a word, a number; taken out, doubled, moved, or of another file."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(out) + 1)
        end = min(len(out), at + chance.choice((1, 2, 4, 8, 30, 200)))
        match chance.randrange(7):
            case 0 if at < len(out):
                out[at] ^= 1 << chance.randrange(8)
            case 1:
                out[at:end] = chance.choice(_WORDS)
            case 2:
                out[at:end] = chance.randrange(2**32).to_bytes(4, chance.choice(("little", "big")))
            case 3:
                del out[at:end]
            case 4:
                out[at:at] = out[at:end] * chance.choice((1, 2, 20))
            case 5:
                other = chance.choice(seeds)
                start = chance.randrange(len(other) + 1)
                out[at:end] = other[start : start + end - at + chance.randrange(20)]
            case _:
                digits = [m.span() for m in re.finditer(rb"\d+", bytes(out[at : at + 4000]))]
                if digits:
                    begin, stop = chance.choice(digits)
                    out[at + begin : at + stop] = str(chance.choice((0, 1, 2**31, 2**63, 10**40, 999, 4096))).encode()
    return bytes(out)


def _with_hypothesis(seeds: list[bytes], damage: Damage, attempt: Callable[[bytes], None]) -> None:
    """Runs until ``attempt`` ends the process."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    checks: Any = list(HealthCheck)  # its types say that it is empty
    for seed in seeds:
        attempt(seed)
    while True:
        chosen = settings(
            max_examples=500,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=checks,
        )
        chosen(
            given(st.sampled_from(seeds), st.randoms(use_true_random=True))(
                lambda seed, chance: attempt(damage(seed, chance, LARGEST))
            )
        )()


if __name__ == "__main__":
    main()
