"""Where an answer ends, and what the load asks for, of a server that keeps what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bench.http import Told, answer_ends, run
from bench.signing import Keys
from bench.subjects import S3

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
TO_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "bodiless"), [(PLAIN, False), (CHUNKED, False), (EMPTY, False), (TO_HEAD, True)]
)
def test_an_answer_ends_with_its_last_byte(answer: bytes, bodiless: bool) -> None:
    assert answer_ends(answer, bodiless=bodiless) == len(answer)
    for length in range(len(answer)):
        assert answer_ends(answer[:length], bodiless=bodiless) == 0


def test_a_length_in_the_body_is_none() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\r\nContent-Length: 9\r\n"
    assert answer_ends(answer, bodiless=False) == answer.index(b"\r\n\r\n") + 6


class _Server(ThreadingHTTPServer):
    """Answers each request, and keeps what it was asked; the first `refuse` are refused."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []
        self.refuse = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _answer(self) -> None:
        self.server.asked.append((self.command, self.path))
        self.server.bodies.append(self.rfile.read(int(self.headers.get("content-length", 0))))
        refused = self.server.refuse > 0
        self.server.refuse -= refused
        self.send_response(503 if refused else 200)
        if refused:
            self.send_header("Connection", "close")
        self.send_header("Content-Length", "5")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"hello")

    do_GET = do_HEAD = do_PUT = _answer  # the base's names

    def log_message(self, *_: object) -> None:
        """Nothing: it would go into the tests' output."""


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _told(server: _Server, method: str, **told: Any) -> Told:
    subject = S3(
        name="it",
        host="127.0.0.1",
        port=server.server_address[1],
        tls=False,
        bucket="master.b",
        keys=Keys(access="k", secret="k"),
    )
    return Told(
        **{**subject.told(), "method": method, "connections": 3, "seconds": 60.0, "limit": 30, **told}
    )


def test_a_walk_asks_for_each_key_once(server: _Server) -> None:
    said = run(_told(server, "GET", keys="many/%02d", walk=30, start=7))
    assert said["count"] == 30
    assert sorted(server.asked) == [("GET", f"/master.b/many/{number:02d}") for number in range(30)]


def test_each_connection_has_its_key_and_each_body_is_new(server: _Server) -> None:
    run(_told(server, "PUT", keys="put-%d", body=64))
    assert {path for _, path in server.asked} == {f"/master.b/put-{number}" for number in range(3)}
    assert len(set(server.bodies)) == 30
    assert {len(body) for body in server.bodies} == {64}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_refused_is_counted_apart_and_the_connection_opened_anew(
    server: _Server, method: str
) -> None:
    server.refuse = 4
    said = run(_told(server, method, keys="small-%d"))
    assert (said["count"], said["refused"]) == (26, {"503": 4})
