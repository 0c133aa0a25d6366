"""Every reader keeps to ``docs/robustness.md``, whatever the file: a result or one line, in bounded time and memory."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import bounded
import corpus
import numpy as np
import pytest
from crafted import CRAFTED, READERS, SPEC

import weights
from conformance.cases import seeded
from weights import InputError, limits
from weights.storage.contents import contents

TESTS = Path(bounded.__file__).parent
QUICK = {
    "caffemodel": ("million_layers", "values_in_million_pieces"),
    "caffe-hdf5": ("gzip_bomb", "groups_in_a_circle", "declared_and_absent", "link_of_a_user", "virtual_dataset"),
    "definition": ("text_in_pieces", "comments", "million_layers_of_text"),
    "safetensors": ("header_of_empty_lists", "as_many_tensors_as_are_read", "as_many_blocks_as_a_record_may_have"),
    "pytorch": ("million_lists", "reference_of_a_kind_that_doubles", "tensors_in_the_same_numbers", "old_tar"),
    "keras": ("directory_of_a_million_members", "members_within_each_other", "nested_configuration"),
    "record": ("many_keys", "quotes_without_end", "endless_number", "not_a_number"),
    "photograph": (
        *("passes_without_end", "billions_of_pixels", "strip", "format_of_others", "text_that_unpacks"),
        *("million_segments", "million_strips", "levels_that_are_no_bytes", "comments_between_pixels"),
    ),
}
"""What the quick test tries: the kinds that hurt most where a limit is missing."""


def _costs(folder: Path, files: Mapping[str, Iterable[Path]]) -> list[bounded.Cost]:
    """What files cost, by reader, in a process of its own; a sound file of each reader comes first."""
    asked: list[str] = []
    for reader, some in files.items():
        sound = folder / reader / f"sound{READERS[reader].suffix}"
        sound.parent.mkdir(exist_ok=True)
        READERS[reader].sound(sound)
        asked += [f"{reader}={path}" for path in (sound, *some)]
    done = subprocess.run(
        [sys.executable, str(TESTS / "bounded.py"), *asked], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    costs = [bounded.Cost(**json.loads(line)) for line in done.stdout.splitlines()]
    assert len(costs) == len(asked)
    return costs


def _crafted(folder: Path, reader: str, names: Iterable[str]) -> list[Path]:
    """Files made to hurt a reader."""
    (folder / reader).mkdir()
    paths = [folder / reader / f"{name}{READERS[reader].suffix}" for name in names]
    for name, path in zip(names, paths, strict=True):
        CRAFTED[reader][name](path)
    return paths


def _beyond(costs: list[bounded.Cost]) -> list[bounded.Cost]:
    """Those that break what is promised: what is sound is read, too."""
    return [cost for cost in costs if not cost.within or (Path(cost.path).stem == "sound" and cost.message)]


def test_what_hurts_most_is_read_or_refused_within_the_bounds(tmp_path: Path) -> None:
    files = {reader: _crafted(tmp_path, reader, names) for reader, names in QUICK.items()}
    assert _beyond(_costs(tmp_path, files)) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::weights.errors.InputWarning")
@pytest.mark.parametrize("reader", READERS)
def test_every_crafted_file_is_read_or_refused_within_the_bounds(tmp_path: Path, reader: str) -> None:
    assert _beyond(_costs(tmp_path, {reader: _crafted(tmp_path, reader, CRAFTED[reader])})) == []


@pytest.mark.filterwarnings("ignore::weights.errors.InputWarning")
def test_files_of_the_corpus_are_read_or_refused_within_the_bounds(tmp_path: Path) -> None:
    found: dict[str, list[Path]] = {}
    for reader in READERS:
        for file in corpus.files(reader):
            folder = tmp_path / reader / file.name
            folder.mkdir(parents=True)
            found.setdefault(reader, []).append(corpus.placed(reader, file.read_bytes(), folder))
    costs = _costs(tmp_path, found)
    assert _beyond(costs) == []
    assert [cost for cost in costs if cost.message and not cost.message.startswith(cost.path)] == []


def test_corpus_is_small() -> None:
    sizes = [file.stat().st_size for file in corpus.CORPUS.rglob("*") if file.is_file()]
    assert sum(sizes) < 300_000
    assert max(sizes) < corpus.LARGEST


# What is no file.


def _fifo(path: Path) -> object:
    return os.mkfifo(path)


def _socket(path: Path) -> object:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    return listening


def _linked_fifo(path: Path) -> object:
    os.mkfifo(path.with_name("fifo"))
    return path.symlink_to(path.with_name("fifo"))


def _folder(path: Path) -> object:
    return path.mkdir()


NO_FILES: dict[Callable[[Path], object], str] = {
    _fifo: "a FIFO",
    _socket: "a socket",
    _linked_fifo: "a FIFO",
    _folder: "a folder",
}


@pytest.mark.parametrize("make", NO_FILES, ids=NO_FILES.values())
@pytest.mark.parametrize("reader", [name for name in READERS if name != "orbax"])
def test_what_is_no_file_is_one_line_and_never_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, make: Callable[[Path], object]
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    path = Path(f"x{READERS[reader].suffix}")
    kept = make(path)
    with pytest.raises(InputError, match=f"^x\\S+: cannot be read: it is {NO_FILES[make]}; name a file$"):
        READERS[reader].read(path)
    if isinstance(kept, socket.socket):
        kept.close()


def test_name_with_a_zero_byte_is_one_line() -> None:
    with pytest.raises(InputError, match="embedded null byte"):
        weights.read("x\0y.safetensors")


@pytest.mark.parametrize("make", [_fifo, _linked_fifo])
def test_orbax_folder_holds_files_of_its_own_only(tmp_path: Path, make: Callable[[Path], object]) -> None:
    folder = tmp_path / "x.orbax"
    folder.mkdir()
    (folder / "_CHECKPOINT_METADATA").write_text("{}")
    make(folder / "_METADATA")
    with pytest.raises(InputError, match=r"'(_METADATA|fifo)' in it is a link or no file; a checkpoint is one folder"):
        weights.read(folder)


# A source that changes.


def test_values_stay_what_was_read_when_the_file_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    params = seeded(SPEC, 1)
    weights.write(path, SPEC, weights.Params(params, weights.Info()))
    found = weights.read(path).params
    os.truncate(path, 8)  # a map of the file would end the process here
    assert all(np.array_equal(found[name], array) for name, array in params.items())


def _read_again_and_again(path: Path) -> None:
    for _ in range(1000):
        contents(path)


def test_file_that_grows_or_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(8 << 20))
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            os.truncate(path, 1 << 20)
            os.truncate(path, 8 << 20)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        with pytest.raises(InputError, match="x: was changed while it was read; wait until it is whole"):
            _read_again_and_again(path)
    finally:
        stop.set()
        thread.join()


# Limits are where they are said to be.


def test_honest_files_are_far_below_the_limits() -> None:
    spec = weights.MODELS["senet-154"]
    from weights.caffe.layers import layers
    from weights.caffe.net import Net
    from weights.caffe.text import dump
    from weights.networks.parameters import schema

    definition = dump(Net("senet", tuple(d.layer for d in layers(spec.network(), (224, 224)))))
    assert len(definition) < limits.TEXT / 20
    assert definition.count(":") + definition.count("{") < limits.FIELDS / 5
    assert len(schema(spec)) < limits.TENSORS / 5


def test_photograph_of_more_pixels_is_read_when_that_is_stated(tmp_path: Path) -> None:
    from PIL import Image

    from weights.images import prepare

    Image.new("RGB", (300, 200)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match="has 200x300 pixels of PNG in RGB, more than the 59,999 that are read"):
        prepare(tmp_path / "x.png", weights.CAFFE, max_pixels=59_999)
    assert prepare(tmp_path / "x.png", weights.CAFFE, max_pixels=60_000).shape == (1, 3, 224, 224)
