"""Files are written whole or not at all, and every way of failing has one clear line."""

import errno
import os
from pathlib import Path

import pytest

from weights.atomic import reading, replacing
from weights.errors import InputError


def test_a_whole_file_replaces_what_stood_there(tmp_path: Path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    target.chmod(0o640)
    with replacing(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_failure_leaves_what_stood_there_and_nothing_else(tmp_path: Path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(target) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_no_space_is_named_and_leaves_nothing(tmp_path: Path):
    with (
        pytest.raises(InputError, match=r"a\.bin: cannot be written: no space left on device"),
        replacing(tmp_path / "a.bin") as file,
    ):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path: Path):
    with (
        pytest.raises(InputError, match=r"a\.bin: cannot be written: there is no .*nowhere"),
        replacing(tmp_path / "nowhere" / "a.bin"),
    ):
        pass


def test_a_folder_is_not_replaced(tmp_path: Path):
    with pytest.raises(InputError, match="it is a folder"), replacing(tmp_path):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(InputError, match="no permission for .*closed"), replacing(closed / "a.bin"):
        pass


def test_reading_what_is_not_there_is_one_line(tmp_path: Path):
    with pytest.raises(InputError, match=r"a\.bin: cannot be read: there is no"), reading(tmp_path / "a.bin"):
        pass


def test_reading_a_folder_is_one_line(tmp_path: Path):
    with pytest.raises(InputError, match="it is a folder"), reading(tmp_path):
        pass
