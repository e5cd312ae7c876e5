"""A connection to the site in memory: bytes in, bytes out, a clock, and a handler that waits for the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from pachgw.messages import RequestBody, RequestHead, Response
from pachgw.web.app import Handler, make_site


class Log:
    """What was logged; a failure that the test did not take makes it fail."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def failures(self) -> list[Failure]:
        """The failures logged so far, taken."""
        taken = [event for event in self.events if "log_failure" in event]
        self.events = [event for event in self.events if event not in taken]
        return [event["log_failure"] for event in taken]

    def lines(self) -> list[str]:
        """The access log."""
        return [
            event["log_format"].format(**event)
            for event in self.events
            if event["log_namespace"] == "pachgw.web.access"
        ]


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    taken = Log()

    def observe(event: dict[str, Any]) -> None:
        taken.events.append(event)

    globalLogPublisher.addObserver(observe)
    yield taken
    globalLogPublisher.removeObserver(observe)
    assert [failure.getTraceback() for failure in taken.failures()] == []


class Call:
    """One call of the handler; `answer` is what it waits for."""

    def __init__(self, head: RequestHead, body: RequestBody) -> None:
        self.head = head
        self.body = body
        self.answer: Deferred[Response] = Deferred()
        self.ended_with: BaseException | None = None

    def read(self) -> Deferred[bytes]:
        return Deferred.fromCoroutine(self.body.read())


class Waiting:
    """A handler whose calls are answered by the test."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def __call__(self, head: RequestHead, body: RequestBody) -> Response:
        call = Call(head, body)
        self.calls.append(call)
        try:
            return await call.answer
        except BaseException as error:
            call.ended_with = error
            raise


class Transport(StringTransport):
    """Remembers a half-close and an abort; `full` makes each write fill it, until `take_all`."""

    half_closed = False
    aborted = False
    full = False

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.full and self.producer is not None:
            self.producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def take_all(self) -> None:
        self.producer.resumeProducing()

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


def render_error(head: RequestHead, code: str, message: str) -> Response:
    return Response(status=500 if code == "InternalError" else 400, body=f"<{code}/>".encode())


class Wire:
    """The client's end of one connection."""

    def __init__(self, handle: Handler | None = None, **options: Any) -> None:
        self.clock = Clock()
        self.handler = Waiting()
        options = {"render_error": render_error, **options}
        self.site = make_site(handle or self.handler, reactor=self.clock, **options)
        self.connect()

    def connect(self) -> None:
        self.channel: Any = self.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 4711))
        self.transport = Transport(peerAddress=IPv4Address("TCP", "192.0.2.1", 4711))
        self.transport.bufferSize = 2**16  # type: ignore[attr-defined]
        self.channel.makeConnection(self.transport)

    @property
    def calls(self) -> list[Call]:
        return self.handler.calls

    def send(self, data: bytes) -> None:
        self.channel.dataReceived(data)

    def take(self) -> bytes:
        """What the server has sent since the last call."""
        data = self.transport.value()
        self.transport.clear()
        return data

    def lose(self) -> None:
        self.channel.connectionLost(Failure(ConnectionLost()))

    @property
    def reading(self) -> bool:
        """Whether the server takes bytes from the connection."""
        return bool(self.transport.producerState == "producing")


@pytest.fixture
def wire() -> Callable[..., Wire]:
    return Wire


def get(deferred: Deferred[Any]) -> Any:
    """The result of a Deferred that has one."""
    results: list[Any] = []
    deferred.addBoth(results.append)
    assert results, "no result yet"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


@pytest.fixture
def result() -> Callable[[Deferred[Any]], Any]:
    return get
