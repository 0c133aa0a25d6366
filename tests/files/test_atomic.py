"""Files are written whole or not at all, and every way of failing has one clear line."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from weights.errors import InputError
from weights.storage.parts import scratch
from weights.storage.whole import reading, replacing


def replace(path: Path, error: BaseException | None = None) -> None:
    with replacing(path) as file:
        file.write(b"new")
        if error:
            raise error


def test_a_whole_file_replaces_what_stood_there(tmp_path: Path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with replacing(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_failure_leaves_what_stood_there_and_nothing_else(tmp_path: Path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        replace(target, KeyboardInterrupt())
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_no_space_is_named_and_leaves_nothing(tmp_path: Path):
    with pytest.raises(InputError, match=r"a\.bin: cannot be written: no space left on device"):
        replace(tmp_path / "a.bin", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"a\.bin: cannot be written: there is no .*nowhere"):
        replace(tmp_path / "nowhere" / "a.bin")


def test_a_folder_is_not_replaced(tmp_path: Path):
    with pytest.raises(InputError, match="it is a folder"):
        replace(tmp_path)


def test_a_link_stays_a_link(tmp_path: Path):
    (tmp_path / "a.bin").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "a.bin")
    replace(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a.bin").read_bytes() == b"new"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(InputError, match=r"no permission for .*closed"):
        replace(closed / "a.bin")


def test_no_permission_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"a\.bin: cannot be written: no permission for"):
        replace(tmp_path / "a.bin", PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


@pytest.mark.parametrize(("name", "said"), [("a.bin", "there is no"), (".", "it is a folder")])
def test_reading_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, said: str):
    with pytest.raises(InputError, match=f"cannot be read: {said}"), reading(tmp_path / name):
        pass


def test_scratch_of_a_killed_process_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code = """
import os, signal
from weights.storage.parts import scratch
with scratch() as folder:
    (folder / "left").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == -9
    assert len(os.listdir(tmp_path)) == 1
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch() as folder, scratch() as other:  # which is not taken for a leftover
        assert sorted(os.listdir(tmp_path)) == sorted((folder.name, other.name))
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "no"))
    with pytest.raises(InputError, match=r"no temporary folder can be made: .*; name a place in TMPDIR"), scratch():
        pass
