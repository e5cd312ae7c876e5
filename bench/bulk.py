"""One large object in or out over a raw socket: seconds, and what this process took of the processors.

`python -m bench.bulk` reads what to do as JSON: `endpoint`, `method`, `key`, and `source` of a PUT.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

from bench.http import answer_ends, plain_connection
from bench.pace import own_cpu
from bench.signing import Keys, Signer, path_of

READ_BYTES = 1 << 20


def _head(opened: socket.socket) -> tuple[int, bytes]:
    """The status, and what came of the answer so far, its head whole."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = opened.recv(65536)
        if not more:
            raise SystemExit("the endpoint closed the connection")
        data += more
    return int(data[9:12]), data


def put(opened: socket.socket, head: bytes, source: Path) -> None:
    """Send the file, without a copy where the connection is plain; SystemExit unless it is taken."""
    opened.sendall(head)
    with source.open("rb") as file:
        opened.sendfile(file)
    status, data = _head(opened)
    while not answer_ends(data, bodiless=False):
        data += opened.recv(65536)
    if status != 200:
        raise SystemExit(data.decode("utf-8", "replace"))


def get(opened: socket.socket, head: bytes) -> int:
    """Receive all of the object into one buffer; its size."""
    opened.sendall(head)
    status, data = _head(opened)
    start, _, body = data.partition(b"\r\n\r\n")
    if status != 200:
        raise SystemExit(data.decode("utf-8", "replace"))
    lines = (line.split(b":", 1) for line in start.split(b"\r\n")[1:])
    size = next(int(value) for name, value in lines if name.lower() == b"content-length")
    left = size - len(body)
    buffer = bytearray(READ_BYTES)
    while left > 0:
        count = opened.recv_into(buffer)
        if not count:
            raise SystemExit(f"{left} bytes of {size} are missing")
        left -= count
    return size


def main(told: dict[str, Any]) -> dict[str, float]:
    endpoint = told["endpoint"]
    port, tls = endpoint["ports"][0], endpoint["tls"]
    host = endpoint["host"] if port == (443 if tls else 80) else f"{endpoint['host']}:{port}"
    keys = Keys(access=endpoint["access"], secret=endpoint["secret"], region=endpoint["region"])
    source = Path(told["source"]) if told["method"] == "PUT" else None
    size = source.stat().st_size if source else None
    head = Signer(keys, host).head(told["method"], path_of(endpoint["bucket"], told["key"]), length=size)
    opened = plain_connection(endpoint["host"], port, tls=tls)
    opened.settimeout(600)
    cpu, begin = own_cpu(), time.perf_counter()
    if source:
        put(opened, head, source)
    else:
        size = get(opened, head)
    said = {"seconds": time.perf_counter() - begin, "cpu": own_cpu() - cpu, "bytes": size or 0}
    opened.close()
    return said


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
