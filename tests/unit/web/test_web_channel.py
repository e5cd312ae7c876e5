from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.web.http import HTTPChannel, _ChunkedTransferDecoder

from pachgw.messages import ClientGone, RequestBody, RequestHead, Response
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


def test_private_names_of_twisted_are_there() -> None:
    channel: Any = HTTPChannel()
    for name in (
        "_send100Continue",
        "_respondToBadRequestAndDisconnect",
        "_waitingForTransport",
        "_receivedHeaderSize",
        "_receivedHeaderCount",
        "_log",
        "_transferDecoder",
        "_finishRequestBody",
        "totalHeadersSize",
        "maxHeaders",
    ):
        assert hasattr(channel, name), name
    decoder: Any = _ChunkedTransferDecoder(lambda data: None, lambda data: None)
    for name in (
        "_dataReceived_CHUNK_LENGTH",
        "_dataReceived_TRAILER",
        "_buffer",
        "_start",
        "_trailerHeaders",
        "_maxTrailerHeadersSize",
    ):
        assert hasattr(decoder, name), name
    assert channel._waitingForTransport is False


def test_handler_is_called_when_the_head_has_come(wire: Wires, result: Result) -> None:
    w = wire()
    w.send(put(6))
    assert len(w.calls) == 1
    call = w.calls[0]
    assert (call.head.method, call.head.raw_uri, call.body.content_length) == ("PUT", b"/b/k", 6)
    waiting = call.read()
    w.send(b"abc")
    assert result(waiting) == b"abc"
    w.send(b"def")
    assert result(call.read()) == b"def"
    assert result(call.read()) == b""
    call.answer.callback(ok(b"done"))
    assert w.take().endswith(b"done")


def test_expect_is_answered_by_the_first_read(wire: Wires, result: Result) -> None:
    w = wire()
    w.send(put(3, "Expect: 100-continue"))
    assert w.take() == b""
    waiting = w.calls[0].read()
    assert w.take() == CONTINUE
    w.send(b"abc")
    assert result(waiting) == b"abc"
    w.calls[0].read()
    assert w.take() == b""


@pytest.mark.parametrize("length", [3, 10**9])
def test_expect_with_an_answer_instead_gets_no_100_and_a_close(wire: Wires, length: int) -> None:
    w = wire()
    w.send(put(length, "Expect: 100-continue"))
    w.calls[0].answer.callback(Response(status=403, body=b"no"))
    sent = w.take()
    assert sent.startswith(b"HTTP/1.1 403 ")
    assert b"Connection: close" in sent
    assert b"100" not in sent
    assert w.transport.half_closed


def test_expect_with_the_body_already_there_gets_no_100(wire: Wires, result: Result) -> None:
    w = wire()
    w.send(put(6, "Expect: 100-continue") + b"abc")
    assert result(w.calls[0].read()) == b"abc"
    w.calls[0].read()
    assert w.take() == b""


def test_expect_without_a_body_gets_its_100(wire: Wires) -> None:
    w = wire()
    w.send(put(0, "Expect: 100-continue"))
    assert w.take() == CONTINUE
    w.calls[0].answer.callback(ok())
    assert w.take().startswith(b"HTTP/1.1 200 ")
    assert not w.transport.half_closed


def test_expect_from_http_1_0_gets_no_100(wire: Wires) -> None:
    w = wire()
    w.send(b"PUT /b/k HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    w.calls[0].read()
    assert w.take() == b""


def test_expect_of_one_request_is_not_taken_for_the_next(wire: Wires, result: Result) -> None:
    w = wire()
    w.send(put(3, "Expect: 100-continue") + b"abc")
    w.calls[0].answer.callback(ok())
    w.take()
    w.send(put(3))
    w.calls[1].read()
    assert w.take() == b""


def test_small_unread_rest_keeps_the_connection(wire: Wires) -> None:
    w = wire(limits=LIMITS)
    body = (b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n" * 40)[:1000]
    w.send(put(len(body)) + body[:10])
    w.calls[0].answer.callback(Response(status=403, body=b"no"))
    assert b"Connection: close" not in w.take()
    w.send(body[10:500])
    w.send(body[500:] + GET)
    assert [call.head.raw_uri for call in w.calls] == [b"/b/k", b"/next"]
    w.calls[1].answer.callback(ok(b"yes"))
    assert w.take().endswith(b"yes")
    assert not w.transport.disconnecting


def test_unread_rest_of_a_paused_body_is_read_on(wire: Wires) -> None:
    w = wire(limits=LIMITS)
    w.send(put(600) + b"x" * 300)
    assert not w.reading
    w.calls[0].answer.callback(ok())
    assert w.reading
    w.send(b"x" * 300 + GET)
    assert len(w.calls) == 2


def test_large_unread_rest_closes_after_the_client_has_read(wire: Wires) -> None:
    w = wire(limits=LIMITS)
    w.send(put(100_000) + b"x" * 300)
    w.calls[0].answer.callback(Response(status=403, body=b"no"))
    assert b"Connection: close" in w.take()
    assert w.transport.half_closed
    assert not w.transport.disconnecting
    assert w.reading
    w.send(b"x" * 4000)
    assert not w.transport.aborted
    w.clock.advance(LIMITS.linger_seconds)
    assert w.transport.aborted
    assert len(w.calls) == 1


def test_lingering_takes_a_bounded_number_of_bytes(wire: Wires) -> None:
    w = wire(limits=LIMITS)
    w.send(put(100_000))
    w.calls[0].answer.callback(Response(status=403, body=b"no"))
    for _ in range(5):
        assert not w.transport.aborted
        w.send(GET * (1000 // len(GET) + 1))
    assert w.transport.aborted
    assert len(w.calls) == 1


def test_client_that_closes_ends_the_lingering(wire: Wires) -> None:
    w = wire(limits=LIMITS)
    w.send(put(100_000))
    w.calls[0].answer.callback(Response(status=403, body=b"no"))
    w.lose()
    assert w.clock.getDelayedCalls() == []
    assert w.site.connections == set()


def test_unread_rest_of_unknown_length_closes(wire: Wires) -> None:
    w = wire()
    w.send(b"PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    w.calls[0].answer.callback(Response(status=403, body=b"no"))
    assert b"Connection: close" in w.take()
    assert w.transport.half_closed


def test_answer_during_the_parsing_of_the_head(wire: Wires) -> None:
    async def handle(head: RequestHead, body: RequestBody) -> Response:
        return ok(head.raw_uri)

    w = wire(handle)
    w.send(put(5, target="/1") + b"abc")
    w.send(b"de" + put(0, target="/2") + put(3, target="/3") + b"abc" + GET)
    assert [part[:2] for part in w.take().split(b"\r\n\r\n/")[1:]] == [b"1H", b"2H", b"3H", b"ne"]


def test_chunked_body_is_decoded(wire: Wires, result: Result) -> None:
    w = wire()
    w.send(b"PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    w.send(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
    assert w.calls[0].body.content_length is None
    assert result(w.calls[0].read()) == b"abcde"
    assert result(w.calls[0].read()) == b""


def test_bad_chunk_is_told_to_the_reader(wire: Wires, result: Result) -> None:
    w = wire()
    w.send(b"PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX")
    w.send(b"Y" + GET)
    reading = w.calls[0].read()
    with pytest.raises(ClientGone):
        result(reading)
    w.calls[0].answer.errback(ClientGone("broken"))
    sent = w.take()
    assert sent.startswith(b"HTTP/1.1 400 ")
    assert sent.endswith(b"<InvalidRequest/>")
    assert w.transport.half_closed
    assert len(w.calls) == 1


def test_bad_chunk_while_the_body_is_awaited(wire: Wires) -> None:
    async def handle(head: RequestHead, body: RequestBody) -> Response:
        while await body.read():
            pass
        return ok()

    w = wire(handle)
    w.send(b"PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert w.take().startswith(b"HTTP/1.1 400 ")
    assert w.transport.half_closed


@pytest.mark.parametrize("rest", [b"zz\r\n", b"0\r\n\r\n" + GET, b"3\r\nabc\r\n"])
def test_answer_in_the_middle_of_a_piece_ends_the_parsing(wire: Wires, rest: bytes) -> None:
    async def handle(head: RequestHead, body: RequestBody) -> Response:
        return ok(await body.read())

    w = wire(handle, limits=LIMITS)
    w.send(b"PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    # As much as a body hands on at once.
    w.send(b"64\r\n" + bytes(100) + b"\r\n" + rest)
    sent = w.take()
    assert sent.endswith(b"\r\n\r\n" + bytes(100))
    assert sent.count(b"HTTP/1.1") == 1
    assert w.transport.half_closed


def test_bad_chunk_in_an_unread_body_changes_no_answer(wire: Wires) -> None:
    w = wire()
    w.send(b"PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    w.calls[0].answer.callback(ok(b"fine"))
    sent = w.take()
    assert sent.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in sent
    assert w.transport.half_closed


HEAD = b"PUT /b/k HTTP/1.1\r\nHost: h\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n",
        b"GET /\r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET / a HTTP/1.1\r\n",
        b"G(T / HTTP/1.1\r\n",
        b"GET /\x00 HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: y\r\n\r\n",
        HEAD + b"no colon\r\n\r\n",
        HEAD + b"no colon\r\nX: y\r\n\r\n",
        HEAD + b"Content-Length : 3\r\n\r\nabc",
        HEAD + b"Content Length: 3\r\n\r\nabc",
        HEAD + b"X: a\x00b\r\n\r\n",
        HEAD + b"X: a\nContent-Length: 3\r\n\r\nabc",
        HEAD + b"Content-Length: -3\r\n\r\nabc",
        HEAD + b"Content-Length: +3\r\n\r\nabc",
        HEAD + b"Content-Length: 3_0\r\n\r\nabc",
        HEAD + b"Content-Length: 0x3\r\n\r\nabc",
        HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
        HEAD + b"Content-Length: \r\n\r\nabc",
        HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\nX: y\r\n\r\nabc",
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_malformed_request_is_refused(wire: Wires, sent: bytes, log: Any) -> None:
    w = wire()
    w.send(sent)
    w.send(GET)
    got = w.take()
    assert got.split()[1] == b"400"
    assert got.count(b"HTTP/") == 1
    assert got.endswith(b"<InvalidRequest/>")
    assert b"Connection: close" in got
    assert b"X-Amz-Request-Id: " in got
    assert w.transport.half_closed
    assert w.calls == []
    assert [line.split('" ')[1].split()[0] for line in log.lines()] == ["400"]
    w.lose()
    assert w.clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\n",
        b"GET /" + b"x" * 20000,
        HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(20)) + b"\r\n",
        HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(600)) + b"\r\n",
    ],
)
def test_too_large_head_is_refused(wire: Wires, sent: bytes) -> None:
    w = wire()
    w.send(sent)
    got = w.take()
    assert got.startswith(b"HTTP/1.1 400 ")
    assert got.endswith(b"<RequestHeaderSectionTooLarge/>")
    assert w.calls == []


def test_http_1_0_is_answered_and_closed(wire: Wires) -> None:
    w = wire()
    w.send(b"GET /b/k HTTP/1.0\r\n\r\n")
    w.calls[0].answer.callback(ok(b"abc"))
    sent = w.take()
    assert sent.split()[1] == b"200"
    assert b"Content-Length: 3" in sent
    assert w.transport.disconnecting


@pytest.mark.parametrize("value", ["close", "keep-alive, Close", "TE,close"])
def test_connection_close_is_kept(wire: Wires, value: str) -> None:
    w = wire()
    w.send(f"GET / HTTP/1.1\r\nHost: h\r\nConnection: {value}\r\n\r\n".encode())
    w.calls[0].answer.callback(ok(b"abc"))
    assert b"Connection: close" in w.take()
    assert w.transport.disconnecting


def test_over_the_mark_holds_the_client_back(wire: Wires, result: Result) -> None:
    w = wire(limits=LIMITS)
    w.send(put(1000) + b"x" * 100)
    assert w.reading
    w.send(b"x")
    assert not w.reading
    assert len(result(w.calls[0].read())) == 101
    assert w.reading


def test_room_to_send_does_not_undo_the_pause(wire: Wires, result: Result) -> None:
    w = wire(limits=LIMITS)
    w.send(put(1000) + b"x" * 200)
    w.channel.pauseProducing()
    w.channel.resumeProducing()
    assert not w.reading
    result(w.calls[0].read())
    assert w.reading


def test_body_is_not_resumed_while_the_client_takes_nothing(wire: Wires, result: Result) -> None:
    w = wire(limits=LIMITS)
    w.send(put(1000) + b"x" * 200)
    w.channel.pauseProducing()
    result(w.calls[0].read())
    assert not w.reading
    w.channel.resumeProducing()
    assert w.reading


def test_reads_are_large_for_large_bodies_only(wire: Wires) -> None:
    w = wire()
    w.send(put(100))
    assert w.transport.bufferSize == 2**16
    w.send(b"x" * 100)
    w.calls[0].answer.callback(ok())
    w.send(put(100_000))
    assert w.transport.bufferSize == w.site.limits.read_bytes
    w.send(b"x" * 100_000)
    assert w.transport.bufferSize == 2**16


def test_lost_client_cancels_the_handler(wire: Wires, log: Any) -> None:
    w = wire()
    w.send(put(10) + b"abc")
    w.lose()
    assert isinstance(w.calls[0].ended_with, CancelledError)
    assert w.take() == b""
    assert [line.split('" ')[1].split()[0] for line in log.lines()] == ["499"]
    assert w.site.live_requests == 0


def test_lost_client_cancels_a_waiting_read_before_the_body_fails(wire: Wires) -> None:
    seen: list[BaseException] = []

    async def handle(head: RequestHead, body: RequestBody) -> Response:
        for _ in range(2):
            try:
                await body.read()
            except (CancelledError, ClientGone) as error:
                seen.append(error)
        return ok()

    w = wire(handle)
    w.send(put(10))
    w.lose()
    # The handler, which took no notice of its cancelling, is told by the body.
    assert [type(error) for error in seen] == [CancelledError, ClientGone]
    assert w.take() == b""


def test_lost_client_after_the_body_cancels_the_handler(wire: Wires, result: Result) -> None:
    w = wire()
    w.send(put(3) + b"abc")
    assert result(w.calls[0].read()) == b"abc"
    assert w.reading
    w.lose()
    assert isinstance(w.calls[0].ended_with, CancelledError)
