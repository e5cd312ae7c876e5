"""The HTTP side: curl for large bodies, raw sockets for many small requests, each in a process of its own.

`python -m bench.http HOST PORT METHOD BUCKET KEY CONNECTIONS SECONDS [HEADER: VALUE ...]` prints requests per
second. Requests are anonymous, which a PFS without auth allows: what is measured is not the client's signing.
"""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.bare import rate


def put_large(url: str, source: Path) -> float:
    """Seconds to put the file with curl."""
    return _curl("--upload-file", str(source), "--header", "Expect:", url)


def get_large(url: str) -> float:
    """Seconds to get the file with curl."""
    return _curl(url)


def _curl(*words: str) -> float:
    done = subprocess.run(
        ["curl", "--silent", "--fail", "--output", "/dev/null", "--write-out", "%{time_total}", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


class Connection:
    """A keep-alive connection that sends one request after the other and reads whole answers."""

    def __init__(self, host: str, port: int, request: Callable[[], bytes]) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request

    def ask(self) -> None:
        self._socket.sendall(self._request())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(head.decode("latin-1"))
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        while len(body) < length:
            body += self._receive()

    def _receive(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise SystemExit("the gateway closed the connection")
        return data


def _requests(method: str, target: str, host: str, headers: tuple[str, ...]) -> Callable[[], bytes]:
    """The next request; each PUT has other bytes, as those of people have."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    if method != "PUT":
        request = "\r\n".join([*lines, "", ""]).encode()
        return lambda: request
    head = "\r\n".join([*lines, "Content-Length: 1024", "", ""]).encode()
    numbers = itertools.count(time.time_ns())
    return lambda: head + f"{next(numbers):01024d}".encode()


def main(
    host: str, port: str, method: str, bucket: str, key: str, connections: str, seconds: str, *headers: str
) -> None:
    open_ = [
        Connection(host, int(port), _requests(method, f"/{bucket}/{key}-{index}", f"{host}:{port}", headers))
        for index in range(int(connections))
    ]
    print(json.dumps(rate(lambda index: open_[index].ask(), threads=len(open_), seconds=float(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
