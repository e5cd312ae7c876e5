from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pachgw.messages import RequestHead, Response
from pachgw.streams import BytesSource

Wires = Callable[..., Any]


class Tap:
    """A Source whose pieces the test gives out; counts reads."""

    def __init__(self, *ready: bytes | Exception) -> None:
        self.ready = list(ready)
        self.reads = 0
        self.closed = 0
        self.cancelled = False
        self._waiting: Deferred[bytes] | None = None

    async def read(self) -> bytes:
        self.reads += 1
        if not self.ready:
            self._waiting = Deferred(self._cancel)
            return await self._waiting
        piece = self.ready.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def _cancel(self, _: Deferred[bytes]) -> None:
        self.cancelled = True

    def give(self, piece: bytes | Exception) -> None:
        assert self._waiting is not None
        if isinstance(piece, Exception):
            self._waiting.errback(piece)
        else:
            self._waiting.callback(piece)

    async def aclose(self) -> None:
        self.closed += 1


class Trouble(Exception):
    pass


def start(w: Any, response: Response, method: str = "GET", version: str = "1.1") -> None:
    w.send(f"{method} /b/k HTTP/{version}\r\nHost: h\r\n\r\n".encode())
    w.calls[-1].answer.callback(response)


def split(sent: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    head, _, body = sent.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    return status, dict(line.lower().split(b": ", 1) for line in lines), body


def test_bytes_have_their_length(wire: Wires) -> None:
    w = wire()
    start(w, Response(status=200, headers=(("ETag", '"é"'), ("x-amz-meta-a", "1")), body=b"abc"))
    status, headers, body = split(w.take())
    assert (status, body) == (b"HTTP/1.1 200 OK", b"abc")
    assert headers[b"content-length"] == b"3"
    assert headers[b"etag"] == '"é"'.encode()
    assert headers[b"server"] == b"pachgw"
    assert headers[b"date"] == b"thu, 01 jan 1970 00:00:00 gmt"
    assert b"content-type" not in headers
    assert headers[b"x-amz-request-id"] == headers[b"x-amz-id-2"]
    assert headers[b"x-amz-request-id"].upper().decode() == w.calls[0].head.request_id


def test_empty_answer_has_length_0(wire: Wires) -> None:
    w = wire()
    start(w, Response(status=200))
    _, headers, body = split(w.take())
    assert (headers[b"content-length"], body) == (b"0", b"")
    assert b"transfer-encoding" not in headers


@pytest.mark.parametrize("status", [204, 304])
def test_answer_without_content(wire: Wires, status: int) -> None:
    w = wire()
    start(w, Response(status=status, headers=(("ETag", '"1"'),), body=b"", content_length=5))
    _, headers, body = split(w.take())
    assert b"content-length" not in headers
    assert b"transfer-encoding" not in headers
    assert (body, headers[b"etag"]) == (b"", b'"1"')
    w.send(b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert len(w.calls) == 2


def test_head_tells_the_length_of_get(wire: Wires) -> None:
    w = wire()
    start(w, Response(status=200, content_length=10**12), "HEAD")
    _, headers, body = split(w.take())
    assert (headers[b"content-length"], body) == (b"1000000000000", b"")
    assert not w.transport.disconnecting


def test_head_of_an_error_sends_no_body(wire: Wires) -> None:
    w = wire()
    start(w, Response(status=404, body=b"<Error/>"), "HEAD")
    status, headers, body = split(w.take())
    assert (status[:12], headers[b"content-length"], body) == (b"HTTP/1.1 404", b"8", b"")


def test_head_closes_a_source_unread(wire: Wires) -> None:
    w = wire()
    tap = Tap()
    start(w, Response(status=200, body=tap, content_length=7), "HEAD")
    _, headers, body = split(w.take())
    assert (headers[b"content-length"], body, tap.reads, tap.closed) == (b"7", b"", 0, 1)


def test_source_is_sent_and_closed(wire: Wires) -> None:
    w = wire()
    tap = Tap(b"abc", b"def", b"")
    start(w, Response(status=200, body=tap, content_length=6))
    _, headers, body = split(w.take())
    assert (headers[b"content-length"], body, tap.closed) == (b"6", b"abcdef", 1)
    w.send(b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert len(w.calls) == 2


def test_source_of_unknown_length_is_chunked(wire: Wires) -> None:
    w = wire()
    start(w, Response(status=200, body=Tap(b"abc", b"")))
    _, headers, body = split(w.take())
    assert headers[b"transfer-encoding"] == b"chunked"
    assert body == b"3\r\nabc\r\n0\r\n\r\n"


def test_source_of_unknown_length_ends_with_the_connection_in_http_1_0(wire: Wires) -> None:
    w = wire()
    start(w, Response(status=200, body=Tap(b"abc", b"")), version="1.0")
    _, headers, body = split(w.take())
    assert b"transfer-encoding" not in headers
    assert body == b"abc"
    assert w.transport.disconnecting


def test_empty_source(wire: Wires) -> None:
    w = wire()
    start(w, Response(status=200, body=BytesSource(b""), content_length=0))
    _, headers, body = split(w.take())
    assert (headers[b"content-length"], body) == (b"0", b"")


def test_last_piece_waits_for_the_end_of_the_source(wire: Wires) -> None:
    w = wire()
    tap = Tap(b"abc", b"def")
    start(w, Response(status=200, body=tap, content_length=6))
    assert split(w.take())[2] == b"abc"
    tap.give(b"")
    assert w.take() == b"def"


@pytest.mark.parametrize(
    ("length", "pieces"),
    [
        (6, [b"abc", b""]),
        (6, [b"abc", b"defg"]),
        (6, [b"abc", b"def", b"g"]),
        (6, [b"abc", Trouble()]),
        (6, [b"abc", b"def", Trouble()]),
        (None, [b"abc", Trouble()]),
    ],
)
def test_late_failure_cuts_the_connection(
    wire: Wires, log: Any, length: int | None, pieces: list[bytes | Exception]
) -> None:
    w = wire()
    tap = Tap(*pieces)
    start(w, Response(status=200, body=tap, content_length=length))
    body = split(w.take())[2]
    assert body == (b"3\r\nabc\r\n" if length is None else b"abc")
    assert w.transport.aborted
    assert tap.closed == 1
    assert len(log.failures()) == 1
    w.lose()
    assert w.take() == b""
    (line,) = log.lines()
    assert line.split('" ')[1].startswith("200 3 ")
    assert line.endswith(" cut")
    assert w.calls[0].head.request_id in line
    assert w.site.live_requests == 0
    assert w.clock.getDelayedCalls() == []


@pytest.mark.parametrize("pieces", [[Trouble()], [b"abcd"], [b"abc", b"d"], [b"abc", Trouble()], [b""]])
def test_early_failure_is_answered(wire: Wires, log: Any, pieces: list[bytes | Exception]) -> None:
    w = wire()
    tap = Tap(*pieces)
    start(w, Response(status=200, headers=(("ETag", '"1"'),), body=tap, content_length=3))
    status, headers, body = split(w.take())
    assert (status[:12], body) == (b"HTTP/1.1 500", b"<InternalError/>")
    assert b"etag" not in headers
    assert headers[b"content-length"] == b"16"
    assert tap.closed == 1
    assert len(log.failures()) == 1
    w.send(b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert len(w.calls) == 2


def test_early_failure_may_be_expected(wire: Wires) -> None:
    def on_error(head: RequestHead, error: Exception) -> Response | None:
        return Response(status=503, body=b"away") if isinstance(error, Trouble) else None

    w = wire(on_error=on_error)
    start(w, Response(status=200, body=Tap(Trouble()), content_length=3))
    status, _, body = split(w.take())
    assert (status[:12], body) == (b"HTTP/1.1 503", b"away")


def test_slow_client_holds_two_pieces(wire: Wires) -> None:
    w = wire()
    w.transport.full = True
    tap = Tap(*[b"x" * 10] * 50, b"")
    start(w, Response(status=200, body=tap, content_length=500))
    for taken in range(49):
        # One written and not taken, one in hand.
        assert tap.reads == taken + 2
        w.transport.take_all()
    w.transport.take_all()
    assert split(w.take())[2] == b"x" * 500
    assert w.site.live_requests == 0


def test_lost_client_cancels_the_read_and_closes(wire: Wires) -> None:
    w = wire()
    tap = Tap(b"abc")
    start(w, Response(status=200, body=tap, content_length=6))
    w.take()
    w.lose()
    assert (tap.cancelled, tap.closed) == (True, 1)
    assert w.take() == b""


def test_lost_client_before_the_first_byte_closes(wire: Wires) -> None:
    w = wire()
    tap = Tap()
    start(w, Response(status=200, body=tap, content_length=6))
    w.lose()
    assert (tap.cancelled, tap.closed) == (True, 1)


def test_lost_client_while_nothing_can_be_sent_closes(wire: Wires, log: Any) -> None:
    w = wire()
    w.transport.full = True
    tap = Tap(b"abc")
    start(w, Response(status=200, body=tap, content_length=6))
    w.channel.stopProducing()
    w.lose()
    assert (tap.cancelled, tap.closed) == (True, 1)
    assert [line.split('" ')[1].split()[0] for line in log.lines()] == ["499"]


def test_source_that_does_not_close_is_logged(wire: Wires, log: Any) -> None:
    class Stuck(Tap):
        async def aclose(self) -> None:
            raise Trouble

    w = wire()
    start(w, Response(status=200, body=Stuck(b"abc", b""), content_length=3))
    assert split(w.take())[2] == b"abc"
    assert [failure.type for failure in log.failures()] == [Trouble]
