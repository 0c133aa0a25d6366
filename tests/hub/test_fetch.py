"""Weights by name: fetched once, checked, converted, kept; and files that somebody has, told by their checksums."""

import hashlib
import json
import os
import pickle
import signal
import time
from base64 import b64encode
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hub_of_tests import NAME, elsewhere, published
from web import Answer, Site, file, hanging, page, served, status

import weights
from conformance import cases, cli
from weights import InputError, hub
from weights.caffe.released import CHECKSUMS
from weights.errors import InputWarning
from weights.files.state_dict import from_state, to_state
from weights.hub import Source, cache, fetching, table
from weights.hub.download import Patience
from weights.networks.models import MODELS
from weights.storage import parts

QUICK = Patience(timeout=5, attempts=2, first_wait=0.001)
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """An empty cache of the test's own."""
    monkeypatch.setenv("SENET_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SENET_OFFLINE", raising=False)
    monkeypatch.delenv("SENET_MIRROR", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "published").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def known(monkeypatch):
    """Lets some sources of small networks be all that are known."""

    def know(*sources: Source) -> None:
        for module in (table, hub):
            monkeypatch.setattr(module, "sources", lambda: sources)
        for name, spec in cases.TINY.items():
            monkeypatch.setitem(MODELS, name, spec)

    return know


@pytest.fixture
def site(tmp_path, known):
    """A server of the small network's file, which is known by its checksum."""

    @contextmanager
    def serve(*answers: Answer, suffix: str = ".caffemodel", **changes: object):
        with served(*answers, status(500)) as made:
            source, data = published(tmp_path / "published", suffix, made.address, **changes)
            if not answers:
                made.answers[:] = [file(data)]
            known(source)
            yield made

    return serve


def left(home: Path) -> list[str]:
    """The files in the cache."""
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())


def senet(*args: object) -> Result:
    return CliRunner().invoke(cli.main, list(map(str, args)))


KEPT = [f"{NAME}/{name}" for name in ("Tiny-SE-ResNet.caffemodel", f"{NAME}.safetensors", f"{NAME}.safetensors.sha256")]


def test_fetched_weights_are_those_that_were_published_with_their_origin(site, home):
    with site() as made:
        path = hub.fetch(NAME)
    assert path == home / NAME / f"{NAME}.safetensors"
    assert left(home) == KEPT
    spec, params = weights.read(path)
    assert spec == cases.TINY[NAME]
    for name, array in cases.seeded(spec, 1).items():
        np.testing.assert_array_equal(params[name], array, name)
    info = params.info
    assert (info.source, info.sha256) == ("Tiny-SE-ResNet.caffemodel", hub.find(NAME).sha256)
    assert info.history[-1] == f"fetched from {made.address}/there/Tiny-SE-ResNet.caffemodel; known by its sha256"


def test_second_call_needs_neither_network_nor_conversion(site, monkeypatch):
    with site() as made:
        first = hub.fetch(NAME)
    monkeypatch.setattr(fetching, "read", None)
    assert hub.fetch(NAME, offline=True) == first
    assert len(made.asked) == 1


def test_without_the_converted_file_the_original_is_converted_again(site):
    with site() as made:
        path = hub.fetch(NAME)
        whole = weights.read(path).params
        for damage in (
            lambda: path.unlink(),
            lambda: path.write_bytes(path.read_bytes()[:-1]),
            lambda: path.write_bytes(b""),
            lambda: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
            lambda: path.with_name(f"{NAME}.safetensors.sha256").unlink(),
        ):
            damage()
            again = weights.read(hub.fetch(NAME, offline=True)).params
            assert all(np.array_equal(again[name], whole[name]) for name in whole)
            assert again.info.sha256 == whole.info.sha256
    assert len(made.asked) == 1


def test_damaged_original_is_fetched_again(site, home):
    with site() as made:
        path = hub.fetch(NAME)
        path.unlink()
        (home / KEPT[0]).write_bytes(b"half")
        assert hub.fetch(NAME) == path
    assert len(made.asked) == 2


def test_weights_made_of_another_file_than_is_known_now_are_fetched_again(site, known, tmp_path):
    with site() as made:
        path = hub.fetch(NAME)
        source = hub.find(NAME)
        other = tmp_path / "published" / "Tiny-SE-ResNet.caffemodel"
        weights.write(other, cases.TINY[NAME], cases.seeded(cases.TINY[NAME], 2))
        data = other.read_bytes()
        made.answers[:] = [file(data)]
        known(replace(source, sha256=hashlib.sha256(data).hexdigest(), size=len(data)))
        assert hub.fetch(NAME) == path
    assert weights.read(path).info.sha256 == hub.find(NAME).sha256


@pytest.mark.parametrize("how", ["argument", "SENET_OFFLINE", "option"])
def test_offline_nothing_is_asked_for(site, monkeypatch, home, how):
    with site() as made:
        if how == "SENET_OFFLINE":
            monkeypatch.setenv("SENET_OFFLINE", "1")
        if how == "option":
            said = senet("fetch", NAME, "--offline").stderr
        else:
            with pytest.raises(InputError) as error:
                hub.fetch(NAME, offline=how == "argument")
            said = str(error.value)
    assert f"{NAME}: is not in the cache, {home}, and the network is not to be used" in said
    assert made.asked == []


@pytest.mark.parametrize("how", ["argument", "SENET_MIRROR", "option"])
def test_mirror_has_the_same_file_names_under_another_base(site, monkeypatch, how):
    with site(address=f"{NOWHERE}/x") as made:
        mirror = f"{made.address}/copies/"
        if how == "SENET_MIRROR":
            monkeypatch.setenv("SENET_MIRROR", mirror)
        if how == "option":
            assert senet("fetch", NAME, "--mirror", mirror).exit_code == 0
        else:
            hub.fetch(NAME, mirror=mirror if how == "argument" else None)
    assert [path for path, _ in made.asked] == ["/copies/Tiny-SE-ResNet.caffemodel"]


def test_password_of_a_mirror_is_used_and_not_kept(site):
    with site() as made:
        path = hub.fetch(NAME, mirror=made.address.replace("//", "//me:secret@"))
        asked = made.asked[0][1]["Authorization"]
    assert asked == f"Basic {b64encode(b'me:secret').decode()}"
    assert f"fetched from {made.address}/" in weights.read(path).info.history[-1]
    assert not [file for file in hub.home().rglob("*") if file.is_file() and b"secret" in file.read_bytes()]


@pytest.mark.parametrize("address", ["http://me:secret@[::1", "http://me:secret@/", "ftp://me:secret@x"])
def test_password_of_a_mirror_is_in_no_message(address, site):
    with site(), pytest.raises(InputError) as raised:
        hub.fetch(NAME, mirror=address)
    assert "secret" not in str(raised.value)


def test_mirror_that_is_no_address_is_one_line(site):
    with site(), pytest.raises(InputError, match="mirror 'file:///srv': is no address of http or https"):
        hub.fetch(NAME, mirror="file:///srv")


def test_other_weights_than_published_are_refused_and_not_kept(site, home):
    with (
        site(file(b"x" * 99), size=99) as made,
        pytest.raises(InputError, match=r"its sha256 is .*; or download it by"),
    ):
        hub.fetch(NAME, patience=QUICK)
    assert len(made.asked) == 1
    assert left(home) == []


def test_web_page_says_what_to_do_by_hand(site, home):
    with site(page(b"<html>")):
        done = senet("fetch", NAME)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert (
        "answers with a web page in the place of the file; download it by hand from https://example.org/by-hand"
        in done.stderr
    )
    assert f"senet fetch --from FILE {NAME}" in done.stderr
    assert left(home) == []


def test_what_is_published_on_a_web_page_only_is_not_asked_for():
    with pytest.raises(InputError) as error:
        hub.fetch("senet-154")
    assert "senet-154: is published on a web page only: download it by hand from https://drive.google.com/" in str(
        error.value
    )
    assert "senet fetch --from FILE senet-154; or take senet-154@timm, converted by others" in str(error.value)


@pytest.mark.parametrize(
    ("digits", "by"), [(0, "by its structure alone"), (8, "by its structure and how its sha256 begins")]
)
def test_what_is_not_proven_is_taken_by_its_structure_and_that_is_said(site, tmp_path, digits, by):
    sha256 = published(tmp_path / "published", ".pth", "")[0].sha256[:digits]
    with site(suffix=".pth", sha256=sha256, size=None), pytest.warns(InputWarning, match=by):
        path = hub.fetch(NAME)
    assert by in weights.read(path).info.history[-1]
    said = senet("fetch", NAME).stderr
    assert said == ""  # once is enough


@pytest.mark.parametrize("suffix", [".caffemodel", ".pth"])
def test_what_is_not_proven_and_of_another_structure_is_refused(site, home, suffix):
    with site(suffix=suffix, sha256="", size=None, network="tiny-resnet"), pytest.raises(InputError) as error:
        hub.fetch("tiny-resnet", patience=QUICK)
    assert "is not tiny-resnet, and was not kept: it holds tiny-se-resnet" in str(error.value)
    with (
        site(file(b"no network at all"), suffix=suffix, sha256="", size=None),
        pytest.raises(InputError, match="was not kept"),
    ):
        hub.fetch(NAME, patience=QUICK)
    assert left(home) == []


def test_what_would_run_code_is_not_run(site, home, tmp_path):
    class Opens:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    data = pickle.dumps({"fc.weight": Opens()})
    with site(file(data), suffix=".pth", sha256="", size=None), pytest.raises(InputError, match="was not kept"):
        hub.fetch(NAME, patience=QUICK)
    assert not (tmp_path / "run").exists()
    assert left(home) == []


def test_unknown_names_and_networks_without_weights_are_one_line():
    with pytest.raises(InputError, match="unknown network 'se-resnet-51': did you mean"):
        hub.fetch("se-resnet-51")
    with pytest.raises(
        InputError, match=r"resnet-50: no trained weights of this network are known .* there are of se-resnet-50, "
    ):
        hub.fetch("resnet-50")
    with pytest.raises(InputError, match="se-resnet-50@me: there are weights of se-resnet-50 by authors, timm"):
        hub.fetch("se-resnet-50@me")


@pytest.mark.parametrize("wrong", ["a file", "no permission", "read only"])
def test_cache_that_cannot_be_written_is_one_line(site, home, monkeypatch, wrong):
    if wrong == "a file":
        home.write_text("")
        said = "not a directory|file exists"
    else:
        number, said = (13, "no permission") if wrong == "no permission" else (30, "read-only file system")

        def refuse(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number), str(home))

        monkeypatch.setattr(Path, "mkdir", refuse)
    one_line = rf"cache: the cache cannot be written: ({said}).*SENET_HOME names another"
    with site() as made, pytest.raises(InputError, match=one_line):
        hub.fetch(NAME)
    assert made.asked == []


def test_cache_that_cannot_be_written_is_read(site, monkeypatch):
    with site():
        path = hub.fetch(NAME)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "read-only")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert hub.fetch(NAME) == path


def test_full_disk_is_one_line(site, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("weights.hub.download._Transfer.write", full)
    with site(), pytest.raises(InputError, match="the cache cannot be written: no space left on device"):
        hub.fetch(NAME)


def test_default_cache_is_where_the_system_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.delenv("SENET_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.home() == tmp_path / "senet"


def test_where_folders_have_no_locks_a_process_has_a_part_of_its_own(site, home, monkeypatch):
    monkeypatch.setattr(parts, "_lock", lambda *_: False)
    with site():
        hub.fetch(NAME)
    assert left(home) == KEPT
    assert [path.name for path in (home / NAME).iterdir() if path.is_dir()] == []


def started(made: Site, count: int = 1) -> None:
    """Waits until the server has been asked."""
    end = time.monotonic() + 20
    while len(made.asked) < count and time.monotonic() < end:
        time.sleep(0.01)
    assert len(made.asked) == count


def test_of_two_processes_one_downloads_and_the_other_waits(site, home, tmp_path):
    with site() as made:
        data = (tmp_path / "published" / "Tiny-SE-ResNet.caffemodel").read_bytes()
        made.answers[:] = [file(data, pause=0.1)]
        both = [elsewhere(home, NAME, hub.find(NAME)) for _ in range(2)]
        printed = [process.communicate(timeout=60) for process in both]
    assert printed == [(f"{home / KEPT[1]}\n", "")] * 2
    assert len(made.asked) == 1
    assert left(home) == KEPT


def test_killed_download_is_continued_by_the_next_call(site, home, tmp_path):
    with site() as made:
        data = (tmp_path / "published" / "Tiny-SE-ResNet.caffemodel").read_bytes()

        def stops(asked):
            asked.send(200, {"Content-Length": str(len(data)), "ETag": '"v1"'}, data[: 1 << 16])
            asked.wfile.flush()
            hanging(asked)

        made.answers[:] = [stops, file(data, tag='"v1"')]
        process = elsewhere(home, NAME, hub.find(NAME))
        started(made)
        part = home / NAME / "partial" / "Tiny-SE-ResNet.caffemodel"
        end = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size) and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
        kept = part.stat().st_size
        hub.fetch(NAME)
    assert 0 < kept < len(data)
    assert made.ranges == [None, f"bytes={kept}-"]
    assert left(home) == KEPT


# Files that somebody has


@pytest.fixture
def own(site, tmp_path):
    """The published file under another name, where no server has it."""
    with site():
        data = (tmp_path / "published" / "Tiny-SE-ResNet.caffemodel").read_bytes()
    path = tmp_path / "from-the-web (1).bin"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", [None, NAME, f"{NAME}@authors"])
def test_file_at_hand_is_told_by_its_checksum_whatever_its_name(own, home, name):
    source, path = hub.take(own, name)
    assert source.name == NAME
    assert left(home) == KEPT
    said = f"taken from a file at hand, published at {source.address}; known by its sha256"
    assert weights.read(path).info.history[-1] == said
    assert hub.fetch(NAME, offline=True) == path
    assert hub.take(own) == (source, path)


def test_command_says_what_a_file_is(own, home):
    done = senet("fetch", "--from", own)
    assert done.stdout == f"{home / KEPT[1]}\n"
    assert done.stderr.endswith(
        "from-the-web (1).bin: is Tiny-SE-ResNet.caffemodel, the weights of tiny-se-resnet by authors (Apache-2.0); "
        "known by its sha256\n"
    )


def test_unknown_file_is_said_to_be_unknown(own, home):
    own.write_bytes(own.read_bytes() + b"x")
    with pytest.raises(
        InputError, match=r"bin: is unknown: its sha256, [0-9a-f]{64}, is that of no file in the table$"
    ):
        hub.take(own)
    with pytest.raises(InputError, match=r"is not Tiny-SE-ResNet.caffemodel of tiny-se-resnet, whose sha256 is"):
        hub.take(own, NAME)
    assert left(home) == []


def test_file_of_another_network_than_named_is_refused(own, known):
    other, _ = published(own.parent, ".caffemodel", "", network="tiny-resnet", sha256="0" * 64)
    known(hub.find(NAME), other)
    with pytest.raises(InputError, match="is not tiny-resnet but tiny-se-resnet, by its sha256"):
        hub.take(own, "tiny-resnet")


def test_file_whose_checksum_nobody_knows_is_taken_when_named_and_of_that_structure(own, home, known):
    known(replace(hub.find(NAME), sha256="", size=None))
    with pytest.raises(
        InputError, match=r"is unknown: .*; if it is tiny-se-resnet, whose checksum is published nowhere, name"
    ):
        hub.take(own)
    with pytest.warns(InputWarning, match="tiny-se-resnet: is known by its structure alone"):
        path = hub.take(own, NAME)[1]
    first = weights.read(path).info.sha256
    weights.write(own.with_suffix(".caffemodel"), cases.TINY[NAME], cases.seeded(cases.TINY[NAME], 2))
    with pytest.warns(InputWarning):
        hub.take(own.with_suffix(".caffemodel"), NAME)
    assert weights.read(path).info.sha256 != first
    own.write_bytes(b"no network")
    with pytest.raises(InputError, match=r"\(1\).bin: is not tiny-se-resnet, and was not kept"):
        hub.take(own, NAME)
    assert left(home) == KEPT


# Names in the place of paths


def test_commands_take_names_in_the_place_of_files(site, tmp_path):
    with site():
        assert "tiny-se-resnet" in senet("inspect", NAME).stdout
    assert senet("convert", NAME, tmp_path / "x.pth").exit_code == 0
    same = senet("diff", NAME, tmp_path / "x.pth")
    assert (same.exit_code, same.stderr) == (0, "")
    done = senet("compare", NAME, "--framework", "numpy", "--size", "33x34", "--in-process")
    assert (done.exit_code, done.stderr) == (0, "")


def test_weights_of_commands_about_photographs_are_named_too(site):
    with site():
        done = senet("classify", "balloon.jpg", "--weights", NAME)
    assert f"{NAME}.safetensors: does not say how images are prepared" in done.stderr
    assert f"{NAME}.safetensors" in senet("excite", "balloon.jpg", "--weights", NAME).stderr


def test_file_of_the_name_comes_first(site, tmp_path):
    with site() as made:
        (tmp_path / NAME).mkdir()
        assert hub.located(NAME) == NAME
        assert "the suffix names no known format" in senet("inspect", NAME).stderr
    assert made.asked == []


def test_other_paths_stay_as_they_are():
    for path in ("net.pth", "./se-resnet-50", Path("x/se-resnet-50"), "nothing", "se-resnet-50.safetensors"):
        assert hub.located(path) == path


@pytest.mark.parametrize(
    "framework",
    ["se_torch", pytest.param("se_jax", marks=pytest.mark.slow), pytest.param("se_tf", marks=pytest.mark.slow)],
)
def test_frameworks_take_names(site, framework):
    with site():
        model = import_module(framework).from_pretrained(NAME, classes=3)
    assert model.info.source == "Tiny-SE-ResNet.caffemodel"
    assert model.spec.classes == 3


# The table


def test_table_lists_what_is_known(site, home):
    with site():
        assert json.loads(senet("fetch", "--json").stdout)[0]["cached"] is None
        found = json.loads(senet("fetch", NAME, "--json").stdout)
    assert (found["name"], found["proven"], found["cached"]) == (NAME, "yes", str(home / KEPT[1]))
    row = next(line for line in senet("fetch").stdout.splitlines() if line.startswith(NAME)).split()
    assert (row[0], row[1], row[-2:]) == (NAME, "Tiny-SE-ResNet.caffemodel", ["yes", "yes"])


def test_table_is_about_networks_that_there_are_by_names_of_their_own():
    assert {source.network for source in hub.sources()} <= MODELS.keys()
    assert len({source.name for source in hub.sources()}) == len(hub.sources())
    assert len({source.file for source in hub.sources()}) == len(hub.sources())  # so that a mirror is one folder
    assert [hub.find(source.name) for source in hub.sources()] == list(hub.sources())
    assert {source.address.partition("/")[0] for source in hub.sources()} == {"https:", ""}


@pytest.mark.parametrize("source", [s for s in hub.sources() if s.origin == "timm"], ids=lambda source: source.name)
def test_files_under_the_names_of_timm_are_recognised_as_the_networks_of_the_table(source):
    spec = MODELS[source.network]
    params = {p.name: np.broadcast_to(np.float32(1), p.shape) for p in weights.schema(spec)}
    assert fetching._same(from_state(source.file, to_state(spec, params, "timm")).spec, spec)
    assert not fetching._same(replace(spec, classes=10), spec)
    assert not fetching._same(replace(spec, eps=1e-3), spec)


def test_table_has_the_checksums_by_which_caffe_files_are_known_as_released():
    assert {s.sha256: s.network for s in hub.sources() if s.origin == "authors" and s.sha256} == CHECKSUMS


def test_errors_of_the_released_networks_are_what_their_authors_published():
    accuracy = {"se-resnet-50": (77.63, 93.64), "se-resnet-101": (78.25, 94.28), "se-resnet-152": (78.66, 94.46)}
    accuracy |= {"se-resnext-50": (79.03, 94.46), "se-resnext-101": (80.19, 95.04)}
    accuracy |= {"se-bn-inception": (76.38, 92.96), "senet-154": (81.32, 95.53)}
    for name, expected in accuracy.items():
        source = hub.find(name)
        assert source.top1_error is not None
        assert source.top5_error is not None
        assert (100 - source.top1_error, 100 - source.top5_error) == pytest.approx(expected)
