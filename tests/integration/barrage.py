"""Many raw requests at a time, each on a connection of its own; what came of each, and of the daemon."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from daemons import Daemon
from wire import Wire

QUIET_SECONDS = 0.05
"""When nothing has come for so long, those that are left may be waiting for more."""
PATIENCE = 40
"""After so many of these, with a request answered in between each, this side ends what it sends."""
HANG_SECONDS = 60
"""Only a test that is about to fail waits so long."""
REST = b"\r\n\r\n" + b"x" * 2048
"""What ends most requests that lack an end, one way or the other."""
DECLARED = {501, 503}
"""The statuses of 500 and more that a request may get for what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One request as it is sent."""

    kind: str
    data: bytes


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    shot: Shot
    status: int = 0
    """Of the first answer; 0: the connection was closed without one."""
    head: bytes = b""
    body: bytes = b""
    closed: bool = False
    """Whether the server has closed the connection, which is only waited for where it said so."""
    gone: bool = False
    """Whether this side had ended what it sends, which takes the answer away as well."""
    hung: bool = False

    def fault(self) -> str:
        """What must not be; empty where all is well."""
        if self.hung:
            return "neither answered nor closed"
        if not self.status:
            return "" if self.gone else "closed without an answer"
        if self.status >= 500 and self.status not in DECLARED:
            return f"status {self.status}"
        if b"x-amz-request-id" not in self.head.lower():
            return "an answer without an id"
        if self.status >= 400 and self.body and b"<Code>" not in self.body:
            return "an error that is not S3's"
        if b"\r\nconnection: close" in self.head.lower() and not self.closed:
            return "a connection that is not closed"
        return ""


@dataclass(slots=True)
class _Client:
    outcome: Outcome
    socket: socket.socket
    unsent: bytes
    received: bytes = b""
    stage: int = 0
    done: bool = False


class Barrage:
    """Sends to one daemon, and counts."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._url = url
        self.counts: Counter[tuple[str, int]] = Counter()
        self.notes: list[str] = []

    def fire(self, shots: Sequence[Shot], *, good: bytes) -> list[Outcome]:
        """Send all at once; returns when each is answered or closed, or hangs.

        `good` is a request that is answered 200 in between, and once more at the end.
        """
        with selectors.DefaultSelector() as selector, Wire(self._url) as wire:
            clients = [self._connect(shot, selector) for shot in shots]
            try:
                self._run(selector, wire, good)
            finally:
                for client in clients:
                    client.socket.close()
            self._is_well(wire, good)
        outcomes = [client.outcome for client in clients]
        self.counts.update((one.shot.kind, one.status) for one in outcomes)
        return outcomes

    def _connect(self, shot: Shot, selector: selectors.BaseSelector) -> _Client:
        made = socket.create_connection(self._address, timeout=HANG_SECONDS)
        made.setblocking(False)
        client = _Client(Outcome(shot=shot), made, shot.data)
        selector.register(made, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
        return client

    def _run(self, selector: selectors.BaseSelector, wire: Wire, good: bytes) -> None:
        last = time.monotonic()
        while selector.get_map():
            ready = selector.select(QUIET_SECONDS)
            for key, events in ready:
                last = time.monotonic()
                if events & selectors.EVENT_WRITE:
                    _write(key.data, selector)
                if events & selectors.EVENT_READ and not key.data.done:
                    _read(key.data, selector)
            if not ready:
                self._is_well(wire, good)
                for key in list(selector.get_map().values()):
                    _urge(key.data, selector, hangs=time.monotonic() - last > HANG_SECONDS)

    @staticmethod
    def _is_well(wire: Wire, good: bytes) -> None:
        wire.send(good)
        answer = wire.answer()
        assert answer.status == 200, answer

    def lines(self) -> Iterator[str]:
        """The counts, by kind, and what else was noted."""
        for kind in sorted({kind for kind, _ in self.counts}):
            of_kind = sorted(
                (status, count) for (other, status), count in self.counts.items() if other == kind
            )
            told = ", ".join(f"{status or 'closed'}: {count}" for status, count in of_kind)
            yield f"{sum(count for _, count in of_kind):6} {kind}: {told}"
        yield f"{self.counts.total():6} in all"
        yield from self.notes


def _write(client: _Client, selector: selectors.BaseSelector) -> None:
    try:
        client.unsent = client.unsent[client.socket.send(client.unsent) :] if client.unsent else b""
    except BlockingIOError:
        return
    except OSError:
        client.unsent = b""  # What the server has to say is still there to be read.
    if not client.unsent:
        selector.modify(client.socket, selectors.EVENT_READ, client)


def _read(client: _Client, selector: selectors.BaseSelector) -> None:
    try:
        data = client.socket.recv(1 << 18)
    except BlockingIOError:
        return
    except OSError:
        data = b""
    client.received += data
    outcome = client.outcome
    outcome.closed = not data
    is_whole = _parse(client)
    if outcome.closed or (is_whole and b"\r\nconnection: close" not in outcome.head.lower()):
        _end(client, selector)


def _parse(client: _Client) -> bool:
    """Whether an answer that is not 100 Continue is there as a whole; what there is goes to the outcome."""
    rest = client.received
    while (found := re.match(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n", rest)) is not None:
        rest = rest[found.end() :]
        if found[1] == b"100":
            continue
        outcome = client.outcome
        outcome.status, outcome.head = int(found[1]), found[0]
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", found[0])
        is_head = outcome.shot.data.lstrip(b"\r\n").startswith(b"HEAD ")
        if outcome.status in {204, 304} or (is_head and not rest.startswith(b"<")):
            return True
        outcome.body = rest[: int(length[1])] if length else rest
        return length is not None and len(rest) >= int(length[1])
    return False


def _urge(client: _Client, selector: selectors.BaseSelector, *, hangs: bool) -> None:
    """Nothing has come: send what may be waited for, then no more."""
    client.stage += 1
    if client.stage == 1:
        client.unsent += REST
        selector.modify(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
    elif client.stage == PATIENCE:
        client.outcome.gone = True
        try:
            client.socket.shutdown(socket.SHUT_WR)
        except OSError:
            client.outcome.closed = True
            _end(client, selector)
    elif hangs:
        client.outcome.hung = True
        _end(client, selector)


def _end(client: _Client, selector: selectors.BaseSelector) -> None:
    client.done = True
    selector.unregister(client.socket)
    client.socket.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a process has of the machine."""

    memory_kib: int
    threads: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> Footprint:
        status = Path(f"/proc/{pid}/status").read_text()
        values = {name: int(value) for name, value in re.findall(r"(VmRSS|Threads):\s+(\d+)", status)}
        return cls(
            memory_kib=values["VmRSS"],
            threads=values["Threads"],
            descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        )

    def is_within(self, other: Footprint, more: int) -> bool:
        """Whether it has no more threads and descriptors than the other, and so many."""
        return self.threads <= other.threads + more and self.descriptors <= other.descriptors + more


@dataclass(slots=True, kw_only=True)
class Footprints:
    """Those of a daemon's processes, before and after."""

    daemon: Daemon
    before: dict[int, Footprint] = field(default_factory=dict)

    def take(self) -> None:
        self.before = {pid: Footprint.of(pid) for pid in (self.daemon.pid, self.daemon.pfs_pid)}

    def now(self) -> dict[int, Footprint]:
        return {pid: Footprint.of(pid) for pid in self.before}
