"""A web server in a thread whose every answer a test decides, and that remembers what it was asked."""

import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

Answer = Callable[["Asked"], None]


class Asked(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    @property
    def site(self) -> "Site":
        return cast(Site, self.server)

    def do_GET(self) -> None:
        with self.site.lock:
            self.site.asked.append((self.path, dict(self.headers)))
            answers = self.site.answers
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer(self)
        self.close_connection = True

    def send(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        """An answer with exactly these headers."""
        self.send_response_only(status)
        for name, value in {"Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, as the base class has it
        """Nothing."""


class Site(ThreadingHTTPServer):
    """Answers one after the other; the last one for ever."""

    daemon_threads = True

    def __init__(self, *answers: Answer):
        super().__init__(("127.0.0.1", 0), Asked)
        self.answers, self.asked, self.lock = list(answers), [], threading.Lock()
        self.asked: list[tuple[str, dict[str, str]]]
        self.ended = threading.Event()  # what hangs waits for it

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def ranges(self) -> list[str | None]:
        """Which part of the file each request wanted."""
        return [headers.get("Range") for _, headers in self.asked]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: that clients hang up is a part of the tests."""


@contextmanager
def served(*answers: Answer) -> Generator[Site]:
    """A site while the block runs."""
    with Site(*answers) as site:
        thread = threading.Thread(target=site.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield site
        finally:
            site.ended.set()
            site.shutdown()
            thread.join()


def file(
    data: bytes,
    *,
    tag: str = "",
    ranges: bool = True,
    cut: int | None = None,
    announced: int | None = None,
    kind: str = "application/octet-stream",
    pause: float = 0,
) -> Answer:
    """The file, or the part that was asked for.

    Args:
        data: the file.
        tag: its ETag.
        ranges: whether parts can be had.
        cut: after so many bytes of the answer the connection ends.
        announced: the length that is announced in the place of the true one; negative: none.
        kind: its Content-Type.
        pause: seconds between pieces of 16 KiB.
    """

    def answer(asked: Asked) -> None:
        headers = {"Content-Type": kind} | ({"ETag": tag} if tag else {})
        start, status = 0, 200
        same = asked.headers.get("If-Range", tag) == tag
        if ranges and same and (wanted := asked.headers.get("Range")):
            start, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        part = data[start:]
        if announced is None or announced >= 0:
            headers["Content-Length"] = str(len(part) if announced is None else announced)
        asked.send(status, headers)
        sent = part[:cut]
        for begin in range(0, len(sent), 1 << 14):
            asked.wfile.write(sent[begin : begin + (1 << 14)])
            asked.wfile.flush()
            asked.site.ended.wait(pause)

    return answer


def status(code: int, **headers: str) -> Answer:
    """A status without a file; underscores in names stand for hyphens."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda asked: asked.send(code, {"Content-Length": "0", **sent})


def page(text: bytes, kind: str = "text/html; charset=utf-8") -> Answer:
    """A page for people."""
    return lambda asked: asked.send(200, {"Content-Type": kind, "Content-Length": str(len(text))}, text)


def hanging(asked: Asked) -> None:
    """No answer until the test is over."""
    asked.site.ended.wait(30)
