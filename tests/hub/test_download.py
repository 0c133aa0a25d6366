"""Files over HTTP from servers that break off, lie, redirect, refuse and hang."""

import hashlib
import re
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from web import Answer, Asked, file, hanging, page, served, status

from weights import InputError, limits
from weights.hub.download import Patience, Wanted, WebPageError, _Transfer, download

DATA = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
PIECE = 1 << 16  # bytes at a time: of what breaks off, whole pieces are kept
SHA256 = hashlib.sha256(DATA).hexdigest()
QUICK = Patience(timeout=5, attempts=3, first_wait=0.001, longest_wait=1)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "net.caffemodel"


def get(
    address: str, target: Path, patience: Patience = QUICK, size: int | None = len(DATA), sha256: str = SHA256
) -> list[tuple[int, int | None]]:
    """Downloads, and returns what was told meanwhile."""
    said: list[tuple[int, int | None]] = []
    wanted = Wanted(address=address, size=size, sha256=sha256)
    download(wanted, target, lambda done, total: said.append((done, total)), patience)
    return said


def refused(answer: Answer, target: Path, **known: object) -> str:
    """The error of a download of which nothing may stay."""
    with served(answer) as site, pytest.raises(InputError) as error:
        get(f"{site.address}/net", target, **known)  # type: ignore[arg-type]
    assert list(target.parent.iterdir()) == []
    assert "\n" not in str(error.value)
    return str(error.value)


def broken_off(target: Path, data: bytes, tag: str = "", after: int = PIECE, sha256: str = SHA256) -> str:
    """Leaves a part of a file, as a connection does that breaks; returns the port that it came from."""
    with served(file(data, tag=tag, cut=after)) as site, pytest.raises(InputError, match="are kept, the next run"):
        get(f"{site.address}/net", target, Patience(attempts=1), sha256=sha256)
    assert target.read_bytes() == data[:after]
    return site.address


def moved(target: Path, before: str, after: str) -> None:
    """Lets the note beside a part say that it comes from another server, which has another port in each test."""
    note = target.with_name(f"{target.name}.json")
    note.write_text(note.read_text().replace(before, after))


def test_file_comes_whole_and_progress_is_told(target):
    with served(file(DATA)) as site:
        said = get(f"{site.address}/net", target)
    assert target.read_bytes() == DATA
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert said[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in said] == sorted(done for done, _ in said)
    assert site.asked[0][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("tag", ['"v1"', ""])
def test_broken_connection_is_continued_where_it_broke(target, tag):
    with served(file(DATA, tag=tag, cut=PIECE), file(DATA, tag=tag, cut=PIECE), file(DATA, tag=tag)) as site:
        get(f"{site.address}/net", target)
    assert target.read_bytes() == DATA
    assert site.ranges == [None, "bytes=65536-", "bytes=131072-"]
    assert [headers.get("If-Range", "") for _, headers in site.asked] == ["", tag, tag]


def test_next_run_continues_what_an_earlier_one_left(target):
    before = broken_off(target, DATA, '"v1"')
    with served(file(DATA, tag='"v1"')) as site:
        moved(target, before, site.address)
        get(f"{site.address}/net", target)
    assert target.read_bytes() == DATA
    assert site.ranges == ["bytes=65536-"]


def test_part_from_another_address_is_not_continued(target):
    broken_off(target, DATA)
    with served(file(DATA)) as site:
        get(f"{site.address}/net", target)
    assert site.ranges == [None]


def test_file_that_changed_on_the_server_is_fetched_anew(target):
    before = broken_off(target, OTHER, '"v1"')
    with served(file(DATA, tag='"v2"')) as site:
        moved(target, before, site.address)
        get(f"{site.address}/net", target)
    assert target.read_bytes() == DATA
    assert site.ranges == ["bytes=65536-"]  # and the answer was the whole file


def test_part_of_another_file_is_found_by_the_checksum_and_the_whole_is_fetched(target):
    before = broken_off(target, OTHER)
    with served(file(DATA)) as site:
        moved(target, before, site.address)
        get(f"{site.address}/net", target)
    assert target.read_bytes() == DATA
    assert site.ranges == ["bytes=65536-", None]


def test_without_tag_and_checksum_nothing_is_continued_by_another_run(target):
    before = broken_off(target, DATA, sha256="")
    with served(file(DATA)) as site:
        moved(target, before, site.address)
        get(f"{site.address}/net", target, sha256="")
    assert site.ranges == [None]


def test_part_that_is_whole_already_needs_no_request(target):
    before = broken_off(target, DATA)
    target.write_bytes(DATA)
    get(f"{before}/net", target)  # where nobody listens any more
    assert target.read_bytes() == DATA


def test_server_that_ignores_the_range_starts_again(target):
    with served(file(DATA, cut=PIECE), file(DATA, ranges=False)) as site:
        get(f"{site.address}/net", target)
    assert target.read_bytes() == DATA
    assert site.ranges == [None, "bytes=65536-"]


def test_server_that_sends_another_part_is_asked_for_the_whole(target):
    def elsewhere(asked: Asked) -> None:
        asked.send(206, {"Content-Range": "bytes 5-9/300000", "Content-Length": "5"}, DATA[5:10])

    with served(file(DATA, cut=PIECE), elsewhere, file(DATA)) as site:
        get(f"{site.address}/net", target)
    assert target.read_bytes() == DATA
    assert site.ranges == [None, "bytes=65536-", None]


def test_range_beyond_the_end_starts_again(target):
    with served(file(DATA, cut=PIECE), status(416), file(DATA)) as site:
        get(f"{site.address}/net", target)
    assert target.read_bytes() == DATA
    assert site.ranges == [None, "bytes=65536-", None]


@pytest.mark.parametrize("announced", ["many", "-1", "9" * 5000, "5, 5"])
def test_length_that_is_no_number_is_one_line(target, announced):
    said = refused(lambda asked: asked.send(200, {"Content-Length": announced}, b"x"), target)
    assert "announces a length that is no number" in said


@pytest.mark.parametrize("announced", [len(DATA) + 7, len(DATA) - 7])
def test_file_of_another_length_than_known_is_refused_before_it_comes(target, announced):
    said = refused(file(DATA, announced=announced), target)
    assert f"announces a file of {announced:,} bytes, expected 300,000" in said


def test_length_that_is_never_reached_is_no_whole_file(target):
    with served(file(DATA, announced=len(DATA) + 7, ranges=False)) as site, pytest.raises(InputError, match="3 times"):
        get(f"{site.address}/net", target, size=None)
    assert len(site.asked) == 3


def test_connection_that_breaks_after_the_last_byte_has_brought_the_file(target):
    with served(file(DATA, announced=-1)) as site:
        get(f"{site.address}/net", target, size=None)
    assert target.read_bytes() == DATA


def test_more_than_there_should_be_is_cut_short(target):
    assert "sends more than the 300,000 bytes" in refused(file(DATA + b"more", announced=-1), target)


def test_file_of_unknown_size_has_a_limit(target, monkeypatch):
    monkeypatch.setattr(limits, "DOWNLOAD", 200_000)
    assert "announces more than 200,000 bytes" in refused(file(DATA), target, size=None, sha256="")
    assert "sends more than 200,000 bytes" in refused(file(DATA, announced=-1), target, size=None, sha256="")


def test_wrong_bytes_are_refused_and_not_kept(target):
    said = refused(file(OTHER), target)
    assert f"its sha256 is {hashlib.sha256(OTHER).hexdigest()}, expected {SHA256}; it was not kept" in said
    assert "expected begins 00000000;" in refused(file(OTHER), target, sha256="00000000")


def test_beginning_of_a_checksum_is_compared(target):
    with served(file(DATA)) as site:
        get(f"{site.address}/net", target, size=None, sha256=SHA256[:8])
    assert target.read_bytes() == DATA


def test_redirection_is_followed(target):
    with served(status(302, Location="/there"), file(DATA)) as site:
        get(f"{site.address}/net", target)
    assert target.read_bytes() == DATA
    assert [path for path, _ in site.asked] == ["/net", "/there"]


def test_redirection_in_a_circle_ends(target):
    assert "redirected more than 10 times" in refused(status(302, Location="/net"), target)


@pytest.mark.parametrize("place", ["file:///etc/hostname", "ftp://127.0.0.1/net"])
def test_redirection_out_of_the_web_is_refused(target, place):
    assert f"is redirected from http to {place}, which is not followed" in refused(status(302, Location=place), target)


@pytest.mark.parametrize(
    "place", ["http://[", "http://127.0.0.1:99999999/net", "http:///net", "http://\u00e9\u00e9.../"]
)
def test_redirection_to_no_address_is_one_line(target, place):
    refused(status(302, Location=place), target)


def test_redirection_to_an_unprotected_address_is_refused(target):
    transfer = _Transfer(Wanted(address="https://a/net", size=None, sha256=""), target, lambda *_: None, 1)
    answer = SimpleNamespace(url="https://a/net", headers={"Location": "http://a/net"})
    with pytest.raises(InputError, match="is redirected from https to http://a/net"):
        transfer._followed(answer)


def test_missing_file_is_not_asked_for_again(target):
    with served(status(404)) as site, pytest.raises(InputError, match="/net: answers 404 Not Found"):
        get(f"{site.address}/net", target)
    assert len(site.asked) == 1


@pytest.mark.parametrize("code", [429, 500, 503])
def test_busy_server_is_asked_again(target, code):
    with served(status(code), status(code, Retry_After="0"), file(DATA)) as site:
        get(f"{site.address}/net", target)
    assert target.read_bytes() == DATA
    assert len(site.asked) == 3


def test_server_is_given_the_time_that_it_asks_for(target):
    with served(status(429, Retry_After="1"), file(DATA)) as site:
        began = time.monotonic()
        get(f"{site.address}/net", target)
    assert time.monotonic() - began >= 1


def test_server_that_asks_for_too_much_time_is_not_waited_for(target):
    said = refused(status(429, Retry_After="3600"), target)
    assert "answers 429 Too Many Requests, and asks to wait 3,600 seconds" in said


@pytest.mark.parametrize("wait", ["soon", "9" * 5000, "Thu, 99 Nov 2026"])
def test_time_that_makes_no_sense_is_not_waited_for(target, wait):
    with served(status(503, Retry_After=wait), file(DATA)) as site:
        get(f"{site.address}/net", target)
    assert len(site.asked) == 2


@pytest.mark.parametrize(
    "answer",
    [
        page(b"<html><body>Sign in</body></html>"),
        page(b"<html>", "application/octet-stream"),
        page(b"\n <!DOCTYPE html><title>Virus scan</title>", "application/octet-stream"),
    ],
)
def test_web_page_in_the_place_of_the_file_is_told(target, answer):
    assert "answers with a web page in the place of the file" in refused(answer, target)
    with served(answer) as site, pytest.raises(WebPageError):
        get(f"{site.address}/net", target, size=None, sha256="")


def test_server_that_hangs_is_given_up(target):
    said = refused(hanging, target, patience=Patience(timeout=0.2, attempts=2, first_wait=0.001))
    assert "no answer within 0.2 seconds, 2 times" in said


def test_server_that_stops_midway_is_given_up_and_its_part_is_kept(target):
    def stops(asked: Asked) -> None:
        asked.send(200, {"Content-Length": str(len(DATA))}, DATA[:PIECE])
        asked.wfile.flush()
        asked.site.ended.wait(30)

    with served(stops) as site, pytest.raises(InputError, match=r"the connection broke \(.*; [\d,]+ bytes have come"):
        get(f"{site.address}/net", target, Patience(timeout=0.2, attempts=1))
    assert DATA.startswith(target.read_bytes())


def test_nobody_listening_is_one_line(target):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(InputError, match=re.escape(f"{address}/net: cannot be reached (connection refused), 3 times")):
        get(f"{address}/net", target)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/net", "net", "http://"])
def test_address_of_another_kind_is_one_line(target, address):
    with pytest.raises(InputError, match="is no address that can be fetched"):
        get(address, target)


def test_server_that_cannot_be_trusted_is_not_asked_again(target):
    with served(file(DATA)) as site, pytest.raises(InputError, match="cannot be trusted: "):
        get(f"https://127.0.0.1:{site.server_port}/net", target)  # which speaks no TLS at all
    assert site.asked == []


@pytest.mark.parametrize("note", ["", "[]", "{", '{"address": 1}'])
def test_part_whose_note_is_damaged_is_not_continued(target, note):
    target.write_bytes(OTHER[:1000])
    target.with_name(f"{target.name}.json").write_text(note)
    with served(file(DATA)) as site:
        get(f"{site.address}/net", target)
    assert target.read_bytes() == DATA
    assert site.ranges == [None]
