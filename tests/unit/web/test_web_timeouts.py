"""How long a connection may be idle, slow or stalled, by a clock that the test turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pachgw.messages import RequestBody, RequestHead, Response
from pachgw.web.site import Limits

Wires = Callable[..., Any]
Result = Callable[[Deferred[Any]], Any]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LIMITS = Limits(drain_bytes=1000, linger_bytes=5000, body_bytes=100)


def put(length: int, *headers: str, target: str = "/b/k") -> bytes:
    lines = [f"PUT {target} HTTP/1.1", "Host: h", f"Content-Length: {length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


GET = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"


def ok(body: bytes = b"") -> Response:
    return Response(status=200, body=body)


def test_idle_connection_is_closed(wire: Wires) -> None:
    w = wire()
    w.clock.advance(59)
    assert not w.transport.disconnecting
    w.clock.advance(1)
    assert w.transport.disconnecting
    assert w.take() == b""


def test_idle_time_starts_again_after_an_answer(wire: Wires) -> None:
    w = wire()
    w.clock.advance(59)
    w.send(GET)
    w.clock.advance(1000)
    w.calls[0].answer.callback(ok())
    w.clock.advance(59)
    assert not w.transport.disconnecting
    w.clock.advance(1)
    assert w.transport.disconnecting


def test_head_in_drops_wins_no_time(wire: Wires) -> None:
    w = wire()
    w.clock.advance(50)
    w.send(b"G")
    for byte in b"ET / HTTP/1.1\r\nHost: h\r\nX: yz":
        w.clock.advance(1)
        w.send(bytes([byte]))
    assert w.take() == b""
    w.clock.advance(1)
    assert w.take().endswith(b"<RequestTimeout/>")
    assert w.transport.half_closed
    assert w.calls == []


def test_part_of_a_line_is_a_head_that_was_begun(wire: Wires) -> None:
    w = wire()
    w.send(b"\r\n")
    w.clock.advance(59)
    w.send(b"GE")
    w.clock.advance(29)
    assert w.take() == b""
    w.clock.advance(1)
    assert w.take().endswith(b"<RequestTimeout/>")


def test_empty_lines_are_idleness(wire: Wires) -> None:
    w = wire()
    w.send(b"\r\n")
    w.clock.advance(60)
    assert w.transport.disconnecting
    assert w.take() == b""


async def swallow(head: RequestHead, body: RequestBody) -> Response:
    while await body.read():
        pass
    return ok(b"swallowed")


@pytest.mark.parametrize(("rate", "size"), [(256, 100_000), (10, 5000)])
def test_a_body_in_drops_is_too_slow(wire: Wires, rate: int, size: int) -> None:
    w = wire(swallow, limits=Limits(body_rate=rate))
    w.send(put(size))
    # As fast as it has to be, for twice as long as it may wait; and then at half that rate.
    for _ in range(120):
        w.clock.advance(0.5)
        w.send(bytes(rate // 2))
    assert w.take() == b""
    seconds = 0
    while not w.take():
        assert seconds < 200
        w.clock.advance(2)
        w.send(bytes(rate // 2))
        seconds += 2
    assert seconds > 60
    assert w.transport.half_closed


def test_a_body_that_is_just_fast_enough_is_taken(wire: Wires) -> None:
    w = wire(swallow, limits=Limits(body_rate=10))
    w.send(put(10_000))
    for _ in range(1000):
        w.clock.advance(1)
        w.send(bytes(10))
    assert w.take().endswith(b"swallowed")


def test_waiting_for_the_backend_is_no_slowness(wire: Wires, result: Result) -> None:
    w = wire(limits=Limits(body_rate=1000))
    w.send(put(60))
    for _ in range(6):
        w.clock.advance(1000)
        waiting = w.calls[0].read()
        w.clock.advance(9)
        w.send(b"x" * 10)
        assert len(result(waiting)) == 10
    w.calls[0].answer.callback(ok(b"done"))
    assert w.take().endswith(b"done")


def test_stalled_body_is_answered_with_a_timeout(wire: Wires) -> None:
    w = wire(swallow, limits=Limits(body_rate=0))
    w.send(put(1000))
    for _ in range(3):
        w.clock.advance(59)
        w.send(b"x")
    assert w.take() == b""
    w.clock.advance(60)
    sent = w.take()
    assert sent.startswith(b"HTTP/1.1 400 ")
    assert sent.endswith(b"<RequestTimeout/>")
    assert w.transport.half_closed


def test_stalled_backend_does_not_time_out_the_client(wire: Wires, result: Result) -> None:
    w = wire(limits=LIMITS)
    w.send(put(1000) + b"x" * 200)
    w.clock.advance(10_000)
    assert len(result(w.calls[0].read())) == 200
    waiting = w.calls[0].read()
    w.clock.advance(59)
    w.send(b"x" * 800)
    assert len(result(waiting)) == 800
    w.clock.advance(10_000)
    w.calls[0].answer.callback(ok(b"done"))
    assert w.take().endswith(b"done")


@pytest.mark.parametrize("drops", [0, 59])
def test_stalled_rest_of_an_answered_body_closes(wire: Wires, drops: int) -> None:
    w = wire(limits=LIMITS)
    w.send(put(500))
    w.calls[0].answer.callback(ok())
    for _ in range(drops):
        w.clock.advance(1)
        w.send(b"x")
    assert not w.transport.disconnecting
    w.clock.advance(60 - drops)
    assert w.transport.disconnecting


def test_client_that_takes_nothing_is_dropped(wire: Wires) -> None:
    w = wire()
    w.send(GET)
    w.channel.pauseProducing()
    w.clock.advance(299)
    assert not w.transport.aborted
    w.clock.advance(1)
    assert w.transport.aborted


def test_client_that_takes_something_is_not_dropped(wire: Wires) -> None:
    w = wire()
    w.send(GET)
    for _ in range(5):
        w.channel.pauseProducing()
        w.clock.advance(200)
        w.channel.resumeProducing()
    assert not w.transport.aborted


def test_slow_end_of_an_answer_is_not_idleness(wire: Wires) -> None:
    w = wire()
    w.send(GET)
    w.channel.pauseProducing()
    w.calls[0].answer.callback(ok())
    w.clock.advance(60)
    assert not w.transport.disconnecting
    w.channel.resumeProducing()
    w.clock.advance(60)
    assert w.transport.disconnecting
