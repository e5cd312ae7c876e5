"""Many and slow clients at a daemon with small limits: who is refused, who is served, and exact bytes."""

from __future__ import annotations

import hashlib
import random
import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from daemons import Daemon
from raw import ask

REQUESTS = 8
DOWNLOADS = REQUESTS * 5 // 8
UPLOADS = REQUESTS // 4
CONNECTIONS = 24
MIB = 1024 * 1024
SMALL = b"small"
LARGE = random.Random(6).randbytes(24 * MIB)
BUCKET = "master.crowd"
MARK = "x-id=crowd"
"""Tells requests apart in the log; SDKs send such a parameter."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    limits = ("--max-requests", str(REQUESTS), "--max-connections", str(CONNECTIONS))
    memory = ("--transfer-memory", "16")
    with Daemon(tmp_path_factory.mktemp("crowd"), "--workers", "1", *limits, *memory) as running:
        assert ask(running.s3_url, "PUT", f"/{BUCKET}", body=b"").status == 200
        for key, body in (("small", SMALL), ("large", LARGE)):
            assert ask(running.s3_url, "PUT", f"/{BUCKET}/{key}", body=body).status == 200
        yield running
    assert not running.tracebacks


class Client:
    """One connection, read and written when the test has it so."""

    def __init__(self, daemon: Daemon) -> None:
        parts = urlsplit(daemon.s3_url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=60)
        self._data = b""
        self.asked = 0

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def request(self, method: str, key: str, *headers: str) -> None:
        self.asked += 1
        lines = [f"{method} /{BUCKET}/{key}?{MARK} HTTP/1.1", "Host: h", *headers, "", ""]
        self.send("\r\n".join(lines).encode())

    def head(self) -> tuple[int, str]:
        """Status and headers of the answer that comes next."""
        while b"\r\n\r\n" not in self._data:
            data = self._socket.recv(4096)
            assert data, "the connection was closed"
            self._data += data
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode()

    def body(self, head: str) -> bytes:
        found = re.search(r"(?i)content-length: (\d+)", head)
        assert found
        size = int(found[1])
        pieces = [self._data]
        left = size - len(self._data)
        while left > 0:
            pieces.append(self._socket.recv(min(left, MIB)))
            assert pieces[-1]
            left -= len(pieces[-1])
        self._data = b""
        return b"".join(pieces)

    def is_closed(self) -> bool:
        """Waits for the connection's end, or for a byte."""
        return not self._socket.recv(1)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def clients(daemon: Daemon) -> Iterator[list[Client]]:
    """Closed at the end, when the daemon has ended all that they asked for."""
    made: list[Client] = []
    line = len(daemon.log)
    yield made
    for client in made:
        client.close()
    for _ in range(sum(client.asked for client in made)):
        daemon.wait_for(MARK, after=line)
        line = next(at for at in range(line, len(daemon.log)) if MARK in daemon.log[at]) + 1


def connect(daemon: Daemon, clients: list[Client]) -> Client:
    clients.append(Client(daemon))
    return clients[-1]


def refusal(client: Client) -> None:
    status, head = client.head()
    assert status == 503
    assert "\r\nRetry-After: 1" in head
    assert b"<Code>SlowDown</Code>" in client.body(head)


def small_is_served(daemon: Daemon) -> None:
    answer = ask(daemon.s3_url, "GET", f"/{BUCKET}/small")
    assert (answer.status, answer.body) == (200, SMALL)


def test_downloads_beyond_the_limit(daemon: Daemon, clients: list[Client]) -> None:
    slow = [connect(daemon, clients) for _ in range(DOWNLOADS)]
    heads = []
    for client in slow:
        client.request("GET", "large")
        status, head = client.head()
        assert status == 200
        heads.append(head)
    one_more = connect(daemon, clients)
    one_more.request("GET", "large")
    refusal(one_more)
    small_is_served(daemon)
    before = len(daemon.log)
    slow.pop().close()
    daemon.wait_for(r'"GET /master\.crowd/large\?.* 499', after=before)
    # The same connection, refused a moment ago.
    one_more.request("GET", "large")
    status, head = one_more.head()
    assert status == 200
    heads[-1] = head
    for client, head in zip([*slow, one_more], heads, strict=True):
        assert hashlib.sha256(client.body(head)).digest() == hashlib.sha256(LARGE).digest()


def test_uploads_beyond_the_limit(daemon: Daemon, clients: list[Client]) -> None:
    size = 2 * MIB
    slow = [connect(daemon, clients) for _ in range(UPLOADS)]
    for number, client in enumerate(slow):
        client.request("PUT", f"up-{number}", f"Content-Length: {size}", "Expect: 100-continue")
        assert client.head()[0] == 100
        client.send(LARGE[: size // 2])
    one_more = connect(daemon, clients)
    one_more.request("PUT", "more", f"Content-Length: {size}", "Expect: 100-continue")
    # No 100 before it: nothing is sent in vain.
    refusal(one_more)
    one_more = connect(daemon, clients)
    one_more.request("PUT", "more", "Content-Length: 100000")
    one_more.send(LARGE[:100_000])
    refusal(one_more)
    small_is_served(daemon)
    slow[0].send(LARGE[size // 2 : size])
    assert slow[0].head()[0] == 200
    assert ask(daemon.s3_url, "GET", f"/{BUCKET}/up-0").body == LARGE[:size]
    versions = ask(daemon.s3_url, "GET", f"/{BUCKET}?versions")
    assert "more" not in versions.all("Key")
    # The body was dropped, so the connection is in step; and there is a place again.
    one_more.request("PUT", "more", "Content-Length: 100000")
    one_more.send(LARGE[:100_000])
    status, head = one_more.head()
    assert status == 200
    assert one_more.body(head) == b""
    before = len(daemon.log)
    slow[1].close()
    daemon.wait_for(r'"PUT /master\.crowd/up-1\?.* 499', after=before)
    assert ask(daemon.s3_url, "HEAD", f"/{BUCKET}/up-1").status == 404


def test_requests_beyond_the_limit(daemon: Daemon, clients: list[Client]) -> None:
    # Bodies that are small do not come: each holds a place, and none is an upload.
    for number in range(REQUESTS):
        connect(daemon, clients).request(
            "PUT", f"held-{number}", "Content-Length: 10", "Expect: 100-continue"
        )
        assert clients[-1].head()[0] == 100
    one_more = connect(daemon, clients)
    one_more.request("GET", "small")
    refusal(one_more)
    clients[0].send(b"0123456789")
    assert clients[0].head()[0] == 200
    one_more.request("GET", "small")
    status, head = one_more.head()
    assert (status, one_more.body(head)) == (200, SMALL)


def test_idle_connections_beyond_the_limit_are_closed_oldest_first(
    daemon: Daemon, clients: list[Client]
) -> None:
    idle = []
    for _ in range(CONNECTIONS):
        idle.append(connect(daemon, clients))
        idle[-1].request("HEAD", "small")
        assert idle[-1].head()[0] == 200
    for client in idle[:3]:
        newer = connect(daemon, clients)
        newer.request("HEAD", "small")
        assert newer.head()[0] == 200
        assert client.is_closed()
    for client in idle[3:]:
        client.request("HEAD", "small")
        assert client.head()[0] == 200
