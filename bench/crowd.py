"""Many and slow: what a crowd of idle connections, slow downloads and slow uploads does to small requests.

`run` measures; `python -m bench.crowd ...` is the crowd, or who measures beside it, each in a process of its
own. Memory is that of the gateway's process tree, and of the PFS behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.apart import Beside, separate
from bench.book import Book, Sample
from bench.load import file_of
from bench.pace import summary
from bench.stage import Stage
from bench.subjects import S3
from pachgw.pfs.proto import pfs_pb2 as pb
from pachgw.pfs.proto import pfs_pb2_grpc

MIB = 1024 * 1024
PART = "crowd"
REPO = "crowd"
BUCKET = f"master.{REPO}"

PIECE_BYTES = 16 * 1024
"""What a slow client takes or sends in a second."""
BEGIN_BYTES = MIB + 256 * 1024
"""What a slow upload sends at once: so much that PFS hears of it."""
LARGE_BYTES = 64 * MIB
METHODS = ("HEAD", "GET", "PUT")
SETTLE_SECONDS = 10.0
"""After the crowd is complete: until the kernel has taken what it takes of each answer."""

Client = Callable[[socket.socket, int, "asyncio.Future[None]"], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many of each."""

    idle: int = 1000
    downloads: int = 500
    uploads: int = 200

    def words(self) -> list[str]:
        return [str(self.idle), str(self.downloads), str(self.uploads)]

    def __str__(self) -> str:
        return f"{self.idle} idle, {self.downloads} slow GET, {self.uploads} slow PUT"


class Crowd:
    """The clients, on one event loop."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self.answers: dict[str, int] = {}
        """How often each status came."""
        self.lost = 0
        """Connections that ended before they should."""
        self.retry_after = 0
        self.taken: list[int] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def gather(self, size: Size) -> None:
        """Have all of them under way."""
        ready: list[asyncio.Future[None]] = []
        loop = asyncio.get_running_loop()
        kinds = ((self._idle, size.idle), (self._get, size.downloads), (self._put, size.uploads))
        for kind, count in kinds:
            for number in range(count):
                future: asyncio.Future[None] = loop.create_future()
                ready.append(future)
                self._tasks.append(asyncio.create_task(self._one(kind, number, future)))
                # As they come in life: not all in the same millisecond.
                await asyncio.sleep(0.002)
        await asyncio.gather(*ready)

    async def disperse(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _one(self, client: Client, number: int, ready: asyncio.Future[None]) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, (self._host, self._port))
            await client(connection, number, ready)
        except OSError:
            self.lost += 1
        finally:
            connection.close()
            if not ready.done():
                ready.set_result(None)

    async def _head(self, connection: socket.socket) -> tuple[str, bytes]:
        """The status of an answer, and what came of its body with its head."""
        loop = asyncio.get_running_loop()
        data = b""
        while b"\r\n\r\n" not in data:
            piece = await loop.sock_recv(connection, PIECE_BYTES)
            if not piece:
                raise ConnectionError
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        status = head.split()[1].decode()
        self.answers[status] = self.answers.get(status, 0) + 1
        self.retry_after += b"\r\nretry-after:" in head.lower()
        return status, body

    async def _idle(self, connection: socket.socket, number: int, ready: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            request = f"HEAD /{BUCKET}/small-0 HTTP/1.1\r\nHost: crowd\r\n\r\n"
            await loop.sock_sendall(connection, request.encode())
            await self._head(connection)
            if not ready.done():
                ready.set_result(None)
            # Below the minute after which the gateway closes what is idle, and not all at once.
            await asyncio.sleep(28 + number * 7 % 280 / 10)

    async def _get(self, connection: socket.socket, number: int, ready: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        at = len(self.taken)
        self.taken.append(0)
        request = f"GET /{BUCKET}/large-{number % 4} HTTP/1.1\r\nHost: crowd\r\n\r\n"
        await loop.sock_sendall(connection, request.encode())
        status, body = await self._head(connection)
        self.taken[at] += len(body)
        ready.set_result(None)
        while status == "200":
            await asyncio.sleep(1)
            piece = await loop.sock_recv(connection, PIECE_BYTES)
            if not piece:
                raise ConnectionError
            self.taken[at] += len(piece)

    async def _put(self, connection: socket.socket, number: int, ready: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        head = (
            f"PUT /{BUCKET}/upload-{number} HTTP/1.1\r\nHost: crowd\r\nContent-Length: {LARGE_BYTES}\r\n\r\n"
        )
        await loop.sock_sendall(connection, head.encode())
        answer = asyncio.create_task(self._head(connection))
        sending = asyncio.create_task(self._send(connection, ready))
        try:
            await asyncio.wait((answer, sending), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                await answer
            else:
                await sending
        finally:
            sending.cancel()
            answer.cancel()
            await asyncio.gather(sending, answer, return_exceptions=True)

    async def _send(self, connection: socket.socket, ready: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        # In several pieces, with other bytes each time: nothing is stored once for two.
        for _ in range(BEGIN_BYTES // PIECE_BYTES):
            await loop.sock_sendall(connection, os.urandom(PIECE_BYTES))
        ready.set_result(None)
        while True:
            await asyncio.sleep(1)
            await loop.sock_sendall(connection, os.urandom(PIECE_BYTES))


async def crowd(host: str, port: int, size: Size) -> dict[str, Any]:
    """Have the crowd until the input ends; prints a line when it is complete."""
    clients = Crowd(host, port)
    begin = time.perf_counter()
    await clients.gather(size)
    print(
        json.dumps(
            {"seconds": time.perf_counter() - begin, "answers": clients.answers, "lost": clients.lost}
        ),
        flush=True,
    )
    before = list(clients.taken)
    start = time.perf_counter()
    await asyncio.to_thread(sys.stdin.read)
    elapsed = time.perf_counter() - start
    moved = [(now - then) / elapsed for now, then in zip(clients.taken, before, strict=True)]
    said = {
        "answers": dict(clients.answers),
        "lost": clients.lost,
        "retry_after": clients.retry_after,
        "slowest": min(moved, default=0),
        "median": statistics.median(moved or [0]),
    }
    await clients.disperse()
    return said


def measure(host: str, port: int, method: str, seconds: float) -> dict[str, float]:
    """How long small requests take, one after the other on one connection."""
    connection = socket.create_connection((host, port), timeout=120)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times: list[float] = []
    begin = before = time.perf_counter()
    while before < begin + seconds:
        connection.sendall(_request(method, len(times) % 16))
        _read_answer(connection, has_body=method != "HEAD")
        now = time.perf_counter()
        times.append(now - before)
        before = now
    connection.close()
    return summary(times, time.perf_counter() - begin)


def _request(method: str, number: int) -> bytes:
    if method != "PUT":
        return f"{method} /{BUCKET}/small-{number} HTTP/1.1\r\nHost: crowd\r\n\r\n".encode()
    head = f"PUT /{BUCKET}/put-{number} HTTP/1.1\r\nHost: crowd\r\nContent-Length: 1024\r\n\r\n"
    return f"{head}{time.time_ns():01024d}".encode()


def _read_answer(connection: socket.socket, *, has_body: bool) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _receive(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(head.decode("latin-1"))
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    left = int(found[1]) - len(body) if found and has_body else 0
    while left > 0:
        left -= len(_receive(connection))


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise SystemExit("the gateway closed the connection")
    return data


def family(pid: int) -> Iterator[int]:
    """The process and all below it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end meanwhile.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in (task / "children").read_text().split():
                yield from family(int(child))


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What processes take: bytes and threads."""

    rss: int
    pss: int
    threads: int


def taken_by(pids: Sequence[int]) -> Taken:
    """Of all these processes together."""
    rss = pss = threads = 0
    for pid in pids:
        smaps = Path(f"/proc/{pid}/smaps_rollup").read_text()
        rss += _number(smaps, "Rss") * 1024
        pss += _number(smaps, "Pss") * 1024
        threads += _number(Path(f"/proc/{pid}/status").read_text(), "Threads")
    return Taken(rss=rss, pss=pss, threads=threads)


def _number(text: str, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    if match is None:
        raise SystemExit(f"no {name}")
    return int(match[1])


def kernel_bytes() -> int:
    """What TCP holds of all connections of this machine, both their ends (proc(5), net/sockstat)."""
    (line,) = [one for one in Path("/proc/net/sockstat").read_text().splitlines() if one.startswith("TCP:")]
    return int(line.split()[-1]) * os.sysconf("SC_PAGESIZE")


def _prepare(stage: Stage) -> None:
    def messages() -> Iterator[pb.PutFileRequest]:
        for number in range(16):
            yield pb.PutFileRequest(file=file_of(REPO, f"/small-{number}"), value=os.urandom(1024))
        for number in range(4):
            yield pb.PutFileRequest(file=file_of(REPO, f"/large-{number}"))
            for _ in range(LARGE_BYTES // MIB):
                yield pb.PutFileRequest(value=os.urandom(MIB))

    with stage.channel() as channel:
        stub = pfs_pb2_grpc.APIStub(channel)
        stub.CreateRepo(pb.CreateRepoRequest(repo=pb.Repo(name=REPO)))
        stub.PutFile(messages())


def _small(subject: S3, seconds: float) -> dict[str, dict[str, float]]:
    return {
        method: separate("bench.crowd", "measure", subject.host, subject.port, method, seconds)
        for method in METHODS
    }


class _Watch:
    """What gateway and PFS take, noted in the book."""

    def __init__(self, book: Book, stage: Stage, subject: S3) -> None:
        self._book = book
        self._subject = subject
        self._pfs = stage.pfs_pids

    def note(self, when: str) -> None:
        gateway = [one for pid in self._subject.pids for one in family(pid)]
        for name, pids in (("gateway", gateway), ("PFS", self._pfs)):
            taken = taken_by(pids)
            self._one(f"{name}, RSS {when}", "MiB", taken.rss / MIB)
            self._one(f"{name}, PSS {when}", "MiB", taken.pss / MIB)
            self._one(f"{name}, threads {when}", "", taken.threads)
        self._one(f"TCP's buffers in the kernel, both ends {when}", "MiB", kernel_bytes() / MIB)

    def tell(self, begun: dict[str, Any], said: dict[str, Any]) -> None:
        """What came of the crowd."""
        self._one("the crowd is complete after", "s", begun["seconds"])
        self._one("bytes a second of the slowest GET", "", said["slowest"])
        self._one("bytes a second of the middle GET", "", said["median"])
        self._one("connections lost", "", said["lost"])
        self._one("refused with SlowDown", "", said["answers"].get("503", 0))
        self._one("of them with Retry-After", "", said["retry_after"])

    def _one(self, case: str, unit: str, value: float) -> None:
        self._book.one(PART, case, self._subject.name, unit, value)


def run(book: Book, directory: Path, *, quick: bool, options: Sequence[str] = ("--workers", "1")) -> None:
    """Measure HEAD, GET and PUT of 1 KiB alone and in the crowd, in turns, and the crowd beyond the limits.

    `options` go to the daemon.
    """
    size = Size(idle=100, downloads=50, uploads=20) if quick else Size()
    seconds, settle = (1.0, 1.0) if quick else (4.0, SETTLE_SECONDS)
    with Stage(directory, bucket=BUCKET) as stage:
        _prepare(stage)
        subject = stage.gateway("pachgw", *options)
        watch = _Watch(book, stage, subject)
        _small(subject, 1.0)
        watch.note("alone")
        found: dict[tuple[str, str], list[Sample]] = {}
        for number in range(book.rounds):
            _keep(found, "alone", subject, _small(subject, seconds))
            beside = _begin(subject, size)
            time.sleep(settle)
            _keep(found, "in the crowd", subject, _small(subject, seconds))
            if number == book.rounds - 1:
                watch.note("in the crowd")
                watch.tell(beside.begun, beside.end())
            else:
                beside.end()
        book.rows(PART, "ms", dict(sorted(found.items())))
        watch.note("afterwards")
        stage.stop(subject)
        _beyond(book, stage, Size(idle=0, downloads=20, uploads=10))


def _begin(subject: S3, size: Size) -> Beside:
    return Beside("bench.crowd", "crowd", subject.host, subject.port, *size.words())


def _keep(
    found: dict[tuple[str, str], list[Sample]], when: str, subject: S3, said: dict[str, dict[str, float]]
) -> None:
    for method, of in said.items():
        for key in ("p50", "p99"):
            found.setdefault((f"{method} 1 KiB, {key} {when}", subject.name), []).append(
                Sample(value=of[key])
            )


def _beyond(book: Book, stage: Stage, size: Size) -> None:
    """A crowd that is larger than what a gateway takes on."""
    subject = stage.gateway("pachgw, 16 requests", "--workers", "1", "--max-requests", "16")
    beside = _begin(subject, size)
    book.one(
        PART, "beyond the limit: HEAD 1 KiB, p99", subject.name, "ms", _small(subject, 1.0)["HEAD"]["p99"]
    )
    _Watch(book, stage, subject).tell(beside.begun, beside.end())


def main(work: str, host: str, port: str, *words: str) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if work == "crowd":
        idle, downloads, uploads = map(int, words)
        size = Size(idle=idle, downloads=downloads, uploads=uploads)
        print(json.dumps(asyncio.run(crowd(host, int(port), size))))
    else:
        method, seconds = words
        print(json.dumps(measure(host, int(port), method, float(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
