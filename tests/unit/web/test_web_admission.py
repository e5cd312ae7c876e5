"""Limits on a process: who is refused, who is closed, and that room comes back."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pachgw.messages import Response
from pachgw.web.admission import LARGE_BODY_BYTES, Capacity
from pachgw.web.site import Limits

GET = b"GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n"
OK = Response(status=200, body=b"fine")
Make = Callable[..., Any]


def put(length: int) -> bytes:
    return b"PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % length


def is_refused(answer: bytes) -> bool:
    return b"<SlowDown/>" in answer and b"\r\nRetry-After: 1\r\n" in answer


class Crowd:
    """Several connections to one site."""

    def __init__(self, make: Make, **options: Any) -> None:
        self.wire = make(**options)
        self.all: list[tuple[Any, Any]] = [(self.wire.channel, self.wire.transport)]

    def connect(self) -> int:
        self.wire.connect()
        self.all.append((self.wire.channel, self.wire.transport))
        return len(self.all) - 1

    def send(self, number: int, data: bytes) -> None:
        self.all[number][0].dataReceived(data)

    def take(self, number: int) -> bytes:
        transport = self.all[number][1]
        data: bytes = transport.value()
        transport.clear()
        return data

    def is_closed(self, number: int) -> bool:
        transport = self.all[number][1]
        return bool(transport.disconnecting or transport.aborted)


def test_request_beyond_the_limit_is_refused_and_the_connection_stays(wire: Make) -> None:
    crowd = Crowd(wire, capacity=Capacity(requests=2))
    for number in (0, crowd.connect()):
        crowd.send(number, GET)
    third = crowd.connect()
    crowd.send(third, GET)
    assert len(crowd.wire.calls) == 2
    answer = crowd.take(third)
    assert is_refused(answer)
    assert b"Connection: close" not in answer
    crowd.wire.calls[0].answer.callback(OK)
    assert crowd.take(0).endswith(b"fine")
    crowd.send(third, GET)
    assert len(crowd.wire.calls) == 3
    crowd.wire.calls[2].answer.callback(OK)
    assert crowd.take(third).endswith(b"fine")


def test_lost_client_gives_its_place_back(wire: Make) -> None:
    crowd = Crowd(wire, capacity=Capacity(requests=1))
    crowd.send(0, GET)
    crowd.wire.lose()
    second = crowd.connect()
    crowd.send(second, GET)
    assert len(crowd.wire.calls) == 2


CHUNKED = b"PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("head", [put(LARGE_BODY_BYTES + 1), CHUNKED], ids=["long", "unknown"])
def test_upload_beyond_their_part_is_refused_before_its_body(wire: Make, head: bytes) -> None:
    crowd = Crowd(wire, capacity=Capacity(requests=4))
    crowd.send(0, put(LARGE_BODY_BYTES + 1))
    second = crowd.connect()
    crowd.send(second, head)
    assert len(crowd.wire.calls) == 1
    assert is_refused(crowd.take(second))
    # Small bodies, and none, are no uploads.
    for data in (put(LARGE_BODY_BYTES), GET):
        crowd.send(crowd.connect(), data)
    assert len(crowd.wire.calls) == 3


def test_refused_body_that_is_short_is_dropped_and_the_connection_serves_on(wire: Make) -> None:
    crowd = Crowd(wire, capacity=Capacity(requests=1))
    crowd.send(0, GET)
    second = crowd.connect()
    crowd.send(second, put(100_000))
    assert is_refused(crowd.take(second))
    crowd.send(second, bytes(100_000))
    crowd.wire.calls[0].answer.callback(OK)
    crowd.send(second, GET)
    crowd.wire.calls[1].answer.callback(OK)
    assert crowd.take(second).endswith(b"fine")


def test_idle_connections_are_closed_oldest_first(wire: Make) -> None:
    crowd = Crowd(wire, capacity=Capacity(connections=3))
    second, third = crowd.connect(), crowd.connect()
    # The first has been idle for less long than the second.
    crowd.send(0, GET)
    crowd.wire.calls[0].answer.callback(OK)
    fourth = crowd.connect()
    assert [crowd.is_closed(one) for one in (0, second, third, fourth)] == [False, True, False, False]
    crowd.connect()
    assert [crowd.is_closed(one) for one in (0, third, fourth)] == [False, True, False]


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\nHost: h\r\n"])
def test_half_heads_keep_nobody_out(wire: Make, begun: bytes) -> None:
    crowd = Crowd(wire, capacity=Capacity(connections=3))
    second, third = crowd.connect(), crowd.connect()
    for number in (third, 0, second):
        crowd.send(number, begun)
    late = crowd.connect()
    assert [crowd.is_closed(one) for one in (0, second, third, late)] == [False, False, True, False]
    crowd.send(late, GET)
    crowd.wire.calls[0].answer.callback(OK)
    assert crowd.take(late).endswith(b"fine")


def test_connection_beyond_busy_ones_is_told_and_closed(wire: Make) -> None:
    crowd = Crowd(wire, capacity=Capacity(connections=2))
    for number in (0, crowd.connect()):
        crowd.send(number, GET)
    third = crowd.connect()
    assert not crowd.is_closed(third)
    crowd.send(third, GET)
    answer = crowd.take(third)
    assert is_refused(answer)
    assert b"Connection: close" in answer
    assert len(crowd.wire.calls) == 2


def test_far_too_many_connections_are_closed_without_a_word(wire: Make) -> None:
    capacity = Capacity(connections=2)
    crowd = Crowd(wire, capacity=capacity)
    crowd.send(0, GET)
    while len(crowd.wire.site.connections) < capacity.all_connections:
        crowd.send(crowd.connect(), GET)
    last = crowd.connect()
    assert crowd.is_closed(last)
    assert crowd.take(last) == b""
    assert len(crowd.wire.site.connections) == capacity.all_connections


class Pipe:
    """A TCP connection to ourselves whose far end reads when the test has it so."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.far = socket.create_connection(listening.getsockname())
            self.near, _ = listening.accept()

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def test_client_that_takes_little_but_something_is_not_cut(wire: Make, pipe: Pipe) -> None:
    crowd = Crowd(wire, limits=Limits(write_seconds=10))
    _, transport = crowd.all[0]
    transport.full = True
    # What the transport has of a socket: bytes of its own, and those of the kernel.
    transport.dataBuffer, transport.offset, transport._tempDataLen = bytes(1000), 0, 0
    transport.fileno = pipe.near.fileno
    crowd.send(0, GET)

    class Endless:
        reads_ahead = True

        async def read(self) -> bytes:
            return bytes(1000)

        async def aclose(self) -> None:
            pass

    crowd.wire.calls[0].answer.callback(Response(status=200, body=Endless()))
    for _ in range(5):
        transport.offset += 1
        crowd.wire.clock.advance(10)
        assert not transport.aborted
    crowd.wire.clock.advance(10)
    assert transport.aborted


def test_source_that_does_not_read_ahead_is_read_when_the_last_piece_is_taken(wire: Make) -> None:
    crowd = Crowd(wire)
    _, transport = crowd.all[0]
    transport.full = True

    class Patient:
        reads_ahead = False

        def __init__(self) -> None:
            self.reads: list[Deferred[bytes]] = []

        async def read(self) -> bytes:
            self.reads.append(Deferred())
            return await self.reads[-1]

        async def aclose(self) -> None:
            pass

    source = Patient()
    crowd.send(0, GET)
    crowd.wire.calls[0].answer.callback(Response(status=200, body=source, content_length=4))
    source.reads[0].callback(b"ab")
    assert len(source.reads) == 1
    transport.take_all()
    source.reads[1].callback(b"cd")
    # The end is confirmed before the last piece leaves.
    assert not crowd.take(0).endswith(b"cd")
    source.reads[2].callback(b"")
    assert crowd.take(0).endswith(b"cd")
