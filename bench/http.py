"""Small S3 requests as fast as answers come, over raw sockets and one epoll: light beside what is measured.

`python -m bench.http` reads what to do as JSON (see `Told`) and prints requests per second and their times.
Requests are signed before the clock runs. Large bodies are bench.bulk's.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import selectors
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench.pace import own_cpu, summary
from bench.signing import Keys, Signer, path_of

AHEAD = 20_000
"""Requests of a walk that are signed before the clock runs; those beyond are signed when they are sent."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.I)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What to do. `subjects.S3.told` makes the half of the endpoint."""

    host: str
    ports: list[int]
    """Connections are spread over them."""
    tls: bool
    bucket: str
    access: str
    secret: str
    region: str
    method: str
    connections: int
    seconds: float
    keys: str = ""
    """With a `%d`: of the connection's number, or of the next of a walk. Empty: the bucket itself."""
    walk: int = 0
    """So many keys are walked through by all connections together, from `start` on; 0: one for each."""
    start: int = 0
    query: str = ""
    """As it is signed."""
    headers: dict[str, str] | None = None
    body: int = 0
    """Bytes of each PUT's body, which are other ones each time."""
    limit: int = 0
    """So many requests in all and no more; 0: as many as the time allows."""


def plain_connection(host: str, port: int, *, tls: bool) -> socket.socket:
    """Connected, and through the handshake; certificates are the system's to judge."""
    opened = socket.create_connection((host, port), timeout=60)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not tls:
        return opened
    return ssl.create_default_context().wrap_socket(opened, server_hostname=host)


def answer_ends(data: bytes | bytearray, *, bodiless: bool) -> int:
    """How long the answer is that `data` begins with; 0 while not all of it is there."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return 0
    if bodiless:
        return head + 4
    if found := _LENGTH.search(data, 0, head + 2):
        end = head + 4 + int(found[1])
        return end if len(data) >= end else 0
    if _CHUNKED.search(data, 0, head + 2):
        # The load never has two answers on their way, so the last chunk is the end of what is there.
        return len(data) if data.endswith(b"\r\n0\r\n\r\n") else 0
    return head + 4


class Connection:
    """A blocking keep-alive connection that sends one request after the other and reads whole answers."""

    def __init__(self, host: str, port: int, request: Callable[[], bytes]) -> None:
        self._socket = plain_connection(host, port, tls=False)
        self._request = request

    def ask(self, *, with_body: bool = True) -> None:
        """Raises SystemExit unless the answer is a 200; one to HEAD comes without a body."""
        self._socket.sendall(self._request())
        data = b""
        while not answer_ends(data, bodiless=not with_body):
            more = self._socket.recv(65536)
            if not more:
                raise SystemExit("the endpoint closed the connection")
            data += more
        if not data.startswith(b"HTTP/1.1 200"):
            raise SystemExit(data.decode("latin-1"))


class _Connection:
    """One keep-alive connection: a request, its answer, the next request."""

    def __init__(self, told: Told, index: int, next_request: Callable[[], bytes]) -> None:
        self._told = told
        self._port = told.ports[index % len(told.ports)]
        self._next = next_request
        self._data = bytearray()
        self._began = 0.0
        self.socket = self._open()

    def _open(self) -> socket.socket:
        opened = plain_connection(self._told.host, self._port, tls=self._told.tls)
        opened.setblocking(False)
        return opened

    def ask(self) -> None:
        self._began = time.perf_counter()
        # A request is smaller than any socket's buffer, and nothing else is on its way.
        self.socket.sendall(self._next())

    def read(self) -> tuple[int, float, bool] | None:
        """Status, seconds, whether to open the connection anew; None while not all of the answer is there.

        Raises SystemExit where the other side has closed in the middle.
        """
        while True:
            try:
                data = self.socket.recv(262144)
            except (BlockingIOError, ssl.SSLWantReadError):
                return None
            if not data:
                raise SystemExit("the endpoint closed the connection")
            self._data += data
            if answer_ends(self._data, bodiless=self._told.method == "HEAD"):
                break
        answer = bytes(self._data)
        self._data.clear()
        status = int(answer[9:12])
        return status, time.perf_counter() - self._began, _CLOSES.search(answer) is not None

    def reopen(self) -> None:
        self.socket.close()
        self.socket = self._open()


class _Requests:
    """The next request of a connection, signed."""

    def __init__(self, told: Told) -> None:
        self._told = told
        host = told.host if told.ports[0] in {80, 443} else f"{told.host}:{{}}"
        keys = Keys(access=told.access, secret=told.secret, region=told.region)
        # One signer for each port: the Host header is signed.
        self._signers = {port: Signer(keys, host.format(port)) for port in told.ports}
        self._numbers = itertools.count(told.start)
        self._random = random.Random()

    def _head(self, port: int, number: int) -> bytes:
        told = self._told
        key = told.keys % number if "%" in told.keys else told.keys
        return self._signers[port].head(
            told.method,
            path_of(told.bucket, key),
            told.query,
            length=told.body if told.method == "PUT" else None,
            headers=told.headers,
        )

    def of(self, index: int) -> Callable[[], bytes]:
        told = self._told
        port = told.ports[index % len(told.ports)]
        if told.walk:
            return self._walk(port).__next__
        head = self._head(port, index)
        if told.method != "PUT":
            return lambda: head
        return lambda: head + self._random.randbytes(told.body)

    def _walk(self, port: int) -> Iterator[bytes]:
        told = self._told
        share = min(told.walk, AHEAD) // told.connections
        ready = [self._head(port, next(self._numbers) % told.walk) for _ in range(share)]
        body = told.body if told.method == "PUT" else 0

        def requests() -> Iterator[bytes]:
            for head in ready:
                yield head + self._random.randbytes(body) if body else head
            while True:
                head = self._head(port, next(self._numbers) % told.walk)
                yield head + self._random.randbytes(body) if body else head

        return requests()


def run(told: Told) -> dict[str, Any]:
    """pace.summary of the answers of 200 to 299, `cpu` of this process, in `refused` others by status."""
    requests = _Requests(told)
    connections = [_Connection(told, index, requests.of(index)) for index in range(told.connections)]
    times: list[float] = []
    refused: dict[str, int] = {}
    with selectors.DefaultSelector() as selector:
        for one in connections:
            selector.register(one.socket, selectors.EVENT_READ, one)
        cpu, begin = own_cpu(), time.perf_counter()
        stop = begin + told.seconds
        waiting = asked = len(connections)
        for one in connections:
            one.ask()
        while waiting:
            for event, _ in selector.select():
                one = event.data
                answer = one.read()
                if answer is None:
                    continue
                status, seconds, closes = answer
                if 200 <= status < 300:
                    times.append(seconds)
                else:
                    refused[str(status)] = refused.get(str(status), 0) + 1
                if time.perf_counter() >= stop or asked == told.limit:
                    waiting -= 1
                    continue
                asked += 1
                if closes:
                    selector.unregister(one.socket)
                    one.reopen()
                    selector.register(one.socket, selectors.EVENT_READ, one)
                one.ask()
        elapsed = time.perf_counter() - begin
        used = own_cpu() - cpu
    for one in connections:
        one.socket.close()
    if not times:
        raise SystemExit(f"{told.method} {told.bucket}/{told.keys}?{told.query}: only {refused}")
    return {**summary(times, elapsed), "cpu": used, "refused": refused}


if __name__ == "__main__":
    print(json.dumps(run(Told(**json.load(sys.stdin)))))
