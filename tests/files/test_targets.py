"""What stands at a target decides how it is written; what killed runs leave is removed by the next."""

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import weights
from conformance import cases
from weights import Info, Params
from weights.errors import InputError
from weights.files import FORMATS
from weights.storage import folders, parts
from weights.storage.parts import part_file
from weights.storage.whole import is_stdout, replacing, together

SPEC = cases.TINY["tiny-se-resnet"]
PARAMS = Params(cases.seeded(SPEC, 1), Info(labels=None, history=("drawn",)))
FILES = sorted({f.suffixes[0] for f in FORMATS if f.is_read and f.name != "orbax"} | {".weights.h5"})


def write(path: str | Path, content: bytes = b"new") -> None:
    with replacing(path) as file:
        file.write(content)


def test_a_file_that_is_replaced_keeps_its_mode_and_owner(tmp_path: Path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    target.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(target, 1234, 4321)
    before = target.stat()
    with replacing(target) as file:
        (part,) = tmp_path.glob(".*.part")
        assert stat.S_IMODE(part.stat().st_mode) == 0o640  # what is secret is so from the beginning
        file.write(b"new")
    after = target.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


def test_a_new_file_has_the_usual_mode(tmp_path: Path):
    write(tmp_path / "a.bin")
    (tmp_path / "b.bin").write_bytes(b"")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "b.bin").stat().st_mode


def as_a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        before = Path.cwd()
        os.chdir(path.parent)  # names of sockets are short
        made.bind(path.name)
        os.chdir(before)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Path.mkdir, "it is a folder; name a file"),
        (as_a_socket, "it is a socket; name a file"),
        (lambda path: path.symlink_to("nowhere"), "it is a link to nowhere, which is not there"),
        (lambda path: path.symlink_to(path), "too many levels of symbolic links"),
    ],
    ids=["folder", "socket", "dangling link", "loop"],
)
def test_what_is_no_file_is_refused_in_one_line(make: Callable[[Path], None], said: str, tmp_path: Path):
    target = tmp_path / "a"
    make(target)
    before = target.lstat()
    with pytest.raises(InputError, match=rf"a: cannot be written: {said}") as caught:
        write(target)
    assert "\n" not in str(caught.value)
    assert target.lstat() == before
    assert os.listdir(tmp_path) == ["a"]


def test_a_parent_that_is_a_file_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/a: cannot be written: .*not a directory"):
        write(tmp_path / "file" / "a")


def read_from(fifo: Path) -> tuple[threading.Thread, list[bytes]]:
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(fifo.read_bytes()), daemon=True)
    reader.start()
    return reader, found


@pytest.mark.filterwarnings("ignore::weights.errors.InputWarning")  # digits that a format does not hold
@pytest.mark.parametrize("suffix", FILES)
def test_every_format_is_written_through_a_fifo(suffix: str, tmp_path: Path):
    fifo, plain = tmp_path / f"fifo{suffix}", tmp_path / f"plain{suffix}"
    os.mkfifo(fifo)
    reader, found = read_from(fifo)
    weights.write(fifo, SPEC, PARAMS)
    reader.join(10)
    weights.write(plain, SPEC, PARAMS)
    assert found == [plain.read_bytes()]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_nothing_goes_through_a_fifo_when_writing_fails(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")

    def fail() -> None:
        with replacing(tmp_path / "fifo") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # and it does not wait for a reader
        fail()


WRITE = "import sys; from weights.storage.whole import replacing\nwith replacing(sys.argv[1]) as f: f.write(b'a' * 9)\n"
ENV = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="there is none")
@pytest.mark.parametrize(("where", "to"), [("/dev/stdout", "pipe"), ("/dev/fd/1", "file"), ("link", "file")])
def test_stdout_is_written_through_and_stays(where: str, to: str, tmp_path: Path):
    if where == "link":
        (tmp_path / "link").symlink_to("/dev/stdout")
    place = where if where.startswith("/") else str(tmp_path / where)
    code = f"{WRITE}print('told')"
    with (tmp_path / "out").open("wb") as file:
        shown = subprocess.PIPE if to == "pipe" else file
        done = subprocess.run([sys.executable, "-c", code, place], env=ENV, stdout=shown, check=True)
    assert (done.stdout if to == "pipe" else (tmp_path / "out").read_bytes()) == b"aaaaaaaaatold\n"


def test_stdout_is_not_replaced_under_another_name(tmp_path: Path):
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-c", WRITE, str(tmp_path / "out")], env=ENV, stdout=out, stderr=subprocess.PIPE, text=True
        )
    assert "out: cannot be written: standard output goes there already" in done.stderr
    assert not is_stdout(tmp_path / "out")
    assert is_stdout("/dev/stdout")


NAMES = ["spaces in it", "new\nline", "\x1b[31mred", "caf\udce9", "ä" * 122, "x" * 244, "'\"$(x)"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_any_name_is_written_and_read(name: str, tmp_path: Path):
    for suffix in (".caffemodel", ".pth"):
        path = tmp_path / f"{name}{suffix}"
        weights.write(path, SPEC, PARAMS)
        assert weights.read(path).spec == SPEC
    assert len(os.listdir(tmp_path)) == 3


def left_by_a_killed_process(target: Path) -> Path:
    part, file = part_file(target)
    file.close()  # the lock ends with the process
    return part


@pytest.mark.parametrize("name", ["a.bin", "ä" * 127, "x" * 255])
def test_what_a_killed_process_left_is_removed_by_the_next(name: str, tmp_path: Path):
    left = left_by_a_killed_process(tmp_path / name)
    other = left_by_a_killed_process(tmp_path / "other.bin")
    write(tmp_path / name)
    assert not left.exists()
    assert other.exists()  # another target's
    assert len(os.fsencode(left.name)) <= 255


def test_a_part_that_is_being_written_is_not_removed(tmp_path: Path):
    with replacing(tmp_path / "a.bin") as first:
        first.write(b"first")
        write(tmp_path / "a.bin", b"second")
        assert (tmp_path / "a.bin").read_bytes() == b"second"
    assert (tmp_path / "a.bin").read_bytes() == b"first"  # the last one to end
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_part_that_was_taken_for_a_leftover_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    locked = parts._lock
    taken: list[Path] = []

    def lock(descriptor: int, patience: float) -> bool:
        if not taken:
            taken.extend(tmp_path.glob(".*.part"))
            taken[0].unlink()
        return locked(descriptor, patience)

    monkeypatch.setattr(parts, "_lock", lock)
    write(tmp_path / "a.bin")
    assert taken
    assert (tmp_path / "a.bin").read_bytes() == b"new"


def test_files_of_others_are_no_leftovers(tmp_path: Path):
    for name in (".a.bin.part", ".a.bin.0123456789abcdeg.part", "a.bin.0123456789abcdef.part"):
        (tmp_path / name).touch()
    (tmp_path / ".a.bin.0123456789abcdef.part").symlink_to(tmp_path / ".a.bin.part")
    write(tmp_path / "a.bin")
    assert len(os.listdir(tmp_path)) == 5


def test_what_is_left_of_a_folder_is_removed_and_what_is_in_use_is_not(tmp_path: Path):
    target = tmp_path / "x.orbax"
    left, lock = parts._folder(tmp_path, *parts._around(target))
    lock.close()
    (left / "values").touch()
    (tmp_path / ".x.orbax.0123456789abcdef.part").mkdir()  # killed before it was locked
    (tmp_path / ".x.orbax.mine.part").mkdir()  # a user's
    with parts.part_folder(target) as used, parts.part_folder(target) as other:
        assert {*os.listdir(tmp_path)} == {".x.orbax.mine.part", used.name, other.name}
    assert os.listdir(tmp_path) == [".x.orbax.mine.part"]


def test_pairs_of_two_writers_are_not_mixed(tmp_path: Path):
    """The commit of one waits for that of the other; what is written together is then of one writer."""

    def both(content: bytes) -> None:
        for _ in range(40):
            with together(tmp_path / "a", tmp_path / "b") as files:
                for file in files:
                    file.write(content)
            with parts.alone_in(tmp_path):
                seen.append((tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes())

    seen: list[bool] = []
    writers = [threading.Thread(target=both, args=(bytes([i]),)) for i in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert seen == [True] * 160
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("exchanges", [True, False], ids=["exchanged", "moved aside"])
def test_a_folder_takes_the_place_of_another(exchanges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if not exchanges:
        monkeypatch.setattr(folders, "_exchanged", lambda *_: False)
    new, target = tmp_path / "new", tmp_path / "target"
    for content in (b"first", b"second"):
        new.mkdir()
        (new / "values").write_bytes(content)
        folders.put(new, target, tmp_path / "aside")
        assert (target / "values").read_bytes() == content
        target.chmod(0o750)
    assert stat.S_IMODE(target.stat().st_mode) == 0o750


def test_a_folder_that_was_moved_aside_is_put_back_by_the_next_run(tmp_path: Path):
    target = tmp_path / "x.orbax"
    left, lock = parts._folder(tmp_path, *parts._around(target))
    (left / target.name).mkdir()
    lock.close()
    with parts.part_folder(target):
        assert target.is_dir()
    assert os.listdir(tmp_path) == ["x.orbax"]


def test_orbax_leaves_nothing_beside_its_checkpoint(tmp_path: Path):
    pytest.importorskip("orbax.checkpoint")
    target = tmp_path / "x.orbax"
    left, lock = parts._folder(tmp_path, *parts._around(target))
    (left / "new.orbax-checkpoint-tmp-0").mkdir()
    lock.close()
    for seed in (1, 2):
        weights.write(target, SPEC, Params(cases.seeded(SPEC, seed), Info()))
        assert os.listdir(tmp_path) == ["x.orbax"]
    assert np.array_equal(weights.read(target).params["fc.weight"], cases.seeded(SPEC, 2)["fc.weight"])


def test_a_folder_that_was_moved_aside_is_put_back_when_the_new_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(folders, "_exchanged", lambda *_: False)
    target = tmp_path / "x.orbax"
    target.mkdir()
    (target / "values").write_bytes(b"old")

    def fail() -> None:
        with parts.part_folder(target) as part:
            folders.put(part / "absent", target, part / target.name)

    with monkeypatch.context() as patched:
        patched.setattr(folders.shutil, "copymode", lambda *_: None)
        patched.setattr(Path, "rename", after_the_first(Path.rename))
        with pytest.raises(FileNotFoundError):
            fail()
    assert (target / "values").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.orbax"]


def after_the_first(rename: Callable[[Path, Path], object]) -> Callable[[Path, Path], object]:
    """The first time says that a folder stands in the way, as it would if there were a new one."""
    asked: list[Path] = []

    def renamed(path: Path, target: Path) -> object:
        asked.append(path)
        if len(asked) == 1:
            raise OSError(errno.ENOTEMPTY, "not empty")
        return rename(path, target)

    return renamed
