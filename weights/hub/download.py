"""Files over HTTP: continued where they broke off, tried again while that may help, never taken for more than they are.

Pooch makes the requests (https://www.fatiando.org/pooch). What has come stands beside a note of where it came from, so
that the next attempt, or the next process, asks for the rest of it only; the checksum decides in the end.
"""

import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from weights import limits
from weights.errors import InputError
from weights.hub.bar import Told
from weights.storage import json_text
from weights.storage.contents import contents

_PIECE = 1 << 16  # bytes at a time
_REDIRECTS = 10
_LATER = (408, 425, 429, 500, 502, 503, 504)
"""Answers that may be another one in a while."""

_PAGE = re.compile(rb"\s*(<!doctype html|<html|<head|<script)", re.IGNORECASE)
_LENGTH = re.compile(r"\d{1,18}")
_RANGE = re.compile(r"bytes (\d{1,18})-\d+/(\d{1,18}|\*)")
_NOTE = 10_000  # bytes of a note; one has 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a server is waited for, in seconds, and how often it is asked."""

    timeout: float = 30  # without a byte
    attempts: int = 5
    first_wait: float = 0.5  # before the second attempt; then twice as long each time
    longest_wait: float = 60  # that a server may ask for


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is known of a file before it comes."""

    address: str
    size: int | None  # bytes
    sha256: str  # the first hexadecimal digits, or all, or none

    @property
    def place(self) -> str:
        """The address as people may read it."""
        return without_user(self.address)


class WebPageError(InputError):
    """In the place of a file came a page for people."""


class _RedirectedError(Exception):
    """The file is at another address."""

    def __init__(self, to: str):
        super().__init__(to)
        self.to = to


class _PassingError(Exception):
    """It may go better next time; ``wait`` is how long the server asks to wait, if it does."""

    def __init__(self, words: str, wait: float | None = None):
        super().__init__(words)
        self.wait = wait


def without_user(address: str) -> str:
    """An address without the name and the password that it may hold: files and messages go further than they should."""
    return re.sub("^([a-z]+://)[^/?#]*@", r"\1", address, flags=re.IGNORECASE)


def download(wanted: Wanted, target: Path, told: Told, patience: Patience) -> None:
    """Gets a file, or the rest of it if a part of it is at ``target`` already.

    Args:
        wanted: where it is, and what is known of it.
        target: where it comes to; beside it stands a note while it is not whole. What is here when an error is raised
            is a part of the file, from its beginning on.
        told: of the bytes that have come and that there are.
        patience: with the server.

    Raises:
        WebPageError: a page for people came, which is not kept.
        InputError: it cannot be had, is too large, or has another size or checksum, and is not kept then.
        OSError: ``target`` cannot be written.
    """
    from pooch import file_hash

    for first in (True, False):
        transfer = _Transfer(wanted, target, told, patience.timeout)
        try:
            _attempts(transfer, patience)
        except BaseException:
            if not transfer.kept():
                transfer.forget()
            raise
        found = file_hash(str(target), alg="sha256")
        if found.startswith(wanted.sha256):
            _note(target).unlink()
            return
        transfer.forget()
        if not (first and transfer.continued):  # what was there before may have been of another file
            digits = f"begins {wanted.sha256}" if len(wanted.sha256) < len(found) else wanted.sha256
            raise InputError(
                f"{wanted.place}: the file there is damaged, or another one: its sha256 is {found}, expected "
                f"{digits}; it was not kept"
            )


def _attempts(transfer: "_Transfer", patience: Patience) -> None:
    wait = patience.first_wait
    for left in reversed(range(patience.attempts)):
        try:
            transfer.run()
            return
        except _PassingError as error:
            kept = transfer.kept()
            has = f"; {kept:,} bytes have come and are kept, the next run asks for the rest" if kept else ""
            if error.wait is not None and error.wait > patience.longest_wait:
                raise InputError(
                    f"{transfer.wanted.place}: {error}, and asks to wait {error.wait:,.0f} seconds{has}"
                ) from None
            if not left:
                times = f", {patience.attempts} times" if patience.attempts > 1 else ""
                raise InputError(f"{transfer.wanted.place}: {error}{times}{has}") from None
            time.sleep(max(wait, error.wait or 0))
            wait *= 2


class _Transfer:
    """One file coming, in as many requests as that takes; it is what pooch writes into.

    Attributes:
        continued: whether a part of it was there before, from another process.
    """

    def __init__(self, wanted: Wanted, target: Path, told: Told, timeout: float):
        self.wanted, self.continued = wanted, False
        self._target, self._told, self._timeout = target, told, timeout
        self._validator = ""  # by which the server tells whether its file is still the same
        self._size = wanted.size
        self._ours = False  # whether what is there came in this transfer
        self._misfit = ""  # what is wrong with the answer that is coming
        self._response: Any = None
        self._at = 0  # bytes that are there

    def run(self) -> None:
        """Asks for all that is missing.

        Raises:
            _PassingError: not all of it has come.
            InputError: it will not come.
        """
        import requests.exceptions as broken

        self._at, self._misfit, self._response = self._part(), "", None
        if self._size is not None and self._at == self._size:
            return
        try:
            with self._target.open("ab") as self._file:
                self._get()
        except InputError:
            raise
        except ValueError as error:  # of requests and of urllib3
            said = str(error).replace(self.wanted.address, self.wanted.place)
            raise InputError(f"{self.wanted.place}: is no address that can be fetched: {said}") from None
        except broken.SSLError as error:
            raise InputError(f"{self.wanted.place}: cannot be trusted: {_innermost(error)}") from None
        except broken.Timeout:
            raise _PassingError(f"no answer within {self._timeout:g} seconds") from None
        except broken.RequestException as error:
            if self._size is None or self._at < self._size:
                words = "cannot be reached" if self._response is None else "the connection broke"
                raise _PassingError(f"{words} ({_innermost(error)})") from None
        finally:
            if self._response is not None:
                self._response.close()
        if self._size is not None and self._at < self._size:
            raise _PassingError(f"the answer ended after {self._at:,} of {self._size:,} bytes")

    def _get(self) -> None:
        """Lets pooch get what is missing, from wherever the address leads to."""
        from pooch import HTTPDownloader

        asked = {"Accept-Encoding": "identity"}
        if self._at:
            asked["Range"] = f"bytes={self._at}-"
            if self._validator:
                asked["If-Range"] = self._validator
        get = HTTPDownloader(
            chunk_size=_PIECE,
            headers=asked,
            timeout=self._timeout,
            hooks={"response": self._answered},
            allow_redirects=False,  # each is looked at, and none of their bodies is read
        )
        address = self.wanted.address
        for _ in range(_REDIRECTS + 1):
            try:
                get(address, self, None)
                return
            except _RedirectedError as error:
                address = error.to
        raise InputError(f"{self.wanted.place}: is redirected more than {_REDIRECTS} times")

    def kept(self) -> int:
        """Bytes that are there."""
        return self._target.stat().st_size if self._target.exists() else 0

    def forget(self) -> None:
        """Removes what is there."""
        self._target.unlink(missing_ok=True)
        _note(self._target).unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Takes the next bytes from pooch."""
        if not self._at and _PAGE.match(data):
            raise self._page()
        if self._misfit:
            raise InputError(f"{self.wanted.place}: {self._misfit}")
        if self._at + len(data) > (limits.DOWNLOAD if self._size is None else self._size):
            self._file.close()
            self.forget()
            raise InputError(f"{self.wanted.place}: sends more than {self._most()}; it was not kept")
        self._file.write(data)
        self._at += len(data)
        self._told(self._at, self._size)

    def flush(self) -> None:
        """Does nothing: the file is written when it is closed."""

    def _most(self) -> str:
        if self._size is None:
            return f"{limits.DOWNLOAD:,} bytes, which is all that is fetched of a file of unknown size"
        return f"the {self._size:,} bytes that the file has"

    def _part(self) -> int:
        """How much of the file is there already, that can be continued."""
        if self._ours:
            return self.kept()
        note = _read_note(self._target)
        part = self.kept()
        fits = note.get("address") == self.wanted.place and (self._size is None or part <= self._size)
        self._validator = str(note.get("validator", ""))
        if not part or not fits or not (self._validator or self.wanted.sha256):
            self.forget()
            return 0
        self.continued = self._ours = True
        return part

    def _answered(self, response: Any, *_args: object, **_options: object) -> None:  # noqa: ANN401, of requests
        """Looks at an answer before its bytes are read."""
        self._response = response
        if response.is_redirect:
            response.close()
            raise _RedirectedError(self._followed(response))
        status, headers = response.status_code, response.headers
        if status in _LATER:
            raise _PassingError(_said(response), _asked_to_wait(headers))
        if status == 416:  # what is there is not the beginning of what is there now
            self.forget()
            self._ours = False
            raise _PassingError(_said(response))
        if status not in (200, 206):
            raise InputError(f"{self.wanted.place}: {_said(response)}")
        announced = headers.get("Content-Length", "0")
        if not _LENGTH.fullmatch(announced):
            raise InputError(f"{self.wanted.place}: announces a length that is no number: {announced[:80]!r}")
        if headers.get("Content-Type", "").lower().startswith("text/html"):
            raise self._page()
        if status == 206:
            self._goes_on(headers)
        else:
            self._begins(headers)

    def _goes_on(self, headers: Mapping[str, str]) -> None:
        match = _RANGE.match(headers.get("Content-Range", ""))
        whole = self._size if match is None or match[2] == "*" else int(match[2])
        if match is None or int(match[1]) != self._at or (self._size is not None and whole != self._size):
            self._restart()
            raise _PassingError("answers with another part of the file than was asked for")
        self._size = whole

    def _begins(self, headers: Mapping[str, str]) -> None:
        """The whole file comes, whether or not a part was asked for."""
        self._restart()
        size = int(headers["Content-Length"]) if "Content-Length" in headers else None
        if self.wanted.size is not None and size is not None and size != self.wanted.size:
            # Said once the first bytes are there, which may be those of a web page.
            self._misfit = f"announces a file of {size:,} bytes, expected {self.wanted.size:,}: it is another one"
        if self.wanted.size is None and size is not None and size > limits.DOWNLOAD:
            raise InputError(f"{self.wanted.place}: announces more than {self._most()}")
        self._size = self.wanted.size or size
        tag = headers.get("ETag", "")
        self._validator = tag if tag.startswith('"') else headers.get("Last-Modified", "")  # weak ones prove nothing
        note = {"address": self.wanted.place, "validator": self._validator}
        _note(self._target).write_text(json.dumps(note), encoding="utf-8")
        self._ours = True

    def _restart(self) -> None:
        self._file.truncate(0)
        self._at, self._size, self._ours, self.continued = 0, self.wanted.size, False, False
        _note(self._target).unlink(missing_ok=True)

    def _followed(self, response: Any) -> str:  # noqa: ANN401, of requests
        """Where a redirection leads to, if that may be asked."""
        to = response.headers["Location"]
        try:
            to = urljoin(response.url, to)
            before, after = urlsplit(response.url).scheme, urlsplit(to).scheme
        except ValueError:
            raise InputError(f"{self.wanted.place}: is redirected to {to[:200]!r}, which is no address") from None
        if after not in ("http", "https") or (before == "https" and after == "http"):
            raise InputError(f"{self.wanted.place}: is redirected from {before} to {to[:200]}, which is not followed")
        return to

    def _page(self) -> WebPageError:
        self._file.close()
        self.forget()
        return WebPageError(f"{self.wanted.place}: answers with a web page in the place of the file")


def _note(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _read_note(target: Path) -> dict[str, Any]:
    with suppress(InputError):
        note = json_text.parse(contents(_note(target), _NOTE))
        return note if isinstance(note, dict) else {}
    return {}


def _said(response: Any) -> str:  # noqa: ANN401, of requests
    reason = str(response.reason or "")[:80]
    return f"answers {response.status_code} {reason}".rstrip()


def _asked_to_wait(headers: Mapping[str, str]) -> float | None:
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    with suppress(InvalidHeader, OverflowError, ValueError):
        value = headers.get("Retry-After")
        return None if value is None else Retry().parse_retry_after(value)
    return None


def _innermost(error: BaseException) -> str:
    """What an error of the connection says at its root, in few words."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said[:200].lower() or type(error).__name__
