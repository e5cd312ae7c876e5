"""Properties of the web layer's body queue and of its parsing under every split of the input."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from pachgw.messages import RequestBody, RequestHead, Response
from pachgw.web.app import make_site
from pachgw.web.body import GATHER_SECONDS, Body, Pace
from pachgw.web.site import Limits

MARK = 50
READ = 30
FAST_MARK = 4 * MARK


class Flow:
    paused = False

    def pause_body(self) -> None:
        self.paused = True

    def resume_body(self) -> None:
        self.paused = False

    def body_awaited(self) -> None:
        pass

    def body_not_awaited(self) -> None:
        pass


@given(st.lists(st.one_of(st.none(), st.binary(min_size=1, max_size=READ)), max_size=60))
def test_body_never_holds_more_than_its_mark_and_one_read(steps: list[bytes | None]) -> None:
    """None is a read by the handler, bytes are what the client sends; a paused connection brings no more."""
    flow = Flow()
    body = Body(None, flow, MARK)
    sent: list[bytes] = []
    got: list[bytes] = []
    waiting: Deferred[bytes] | None = None
    late = False
    for step in steps:
        if step is None:
            if waiting is None or waiting.called:
                waiting = Deferred.fromCoroutine(body.read())
                waiting.addCallback(got.append)
        elif not flow.paused or not late:
            # After a pause, the read that was under way still comes.
            late = flow.paused
            sent.append(step)
            body.feed(step)
        assert body.buffered <= MARK + 2 * READ
        assert flow.paused == (body.buffered > MARK)
        late = late and flow.paused
    body.end()
    for _ in range(2):
        if waiting is None or waiting.called:
            Deferred.fromCoroutine(body.read()).addCallback(got.append)
    assert b"".join(got) == b"".join(sent)


@given(
    st.lists(
        st.one_of(st.none(), st.floats(0, 2 * GATHER_SECONDS), st.binary(min_size=1, max_size=READ)),
        max_size=60,
    )
)
def test_body_with_a_pace_gathers_and_loses_nothing(steps: list[bytes | float | None]) -> None:
    """Numbers are seconds that pass. A reader gets the mark, what came in its time, or all."""
    flow, clock = Flow(), Clock()
    body = Body(None, flow, MARK, pace=Pace(clock=clock, fast_bytes=FAST_MARK))
    sent: list[bytes] = []
    got: list[bytes] = []
    waiting: Deferred[bytes] | None = None
    for step in steps:
        if step is None:
            if waiting is None or waiting.called:
                waiting = Deferred.fromCoroutine(body.read())
                waiting.addCallback(got.append)
        elif isinstance(step, float):
            clock.advance(step)
        elif not flow.paused:
            sent.append(step)
            body.feed(step)
        assert body.buffered <= FAST_MARK + READ
        if waiting is not None and not waiting.called:
            assert body.buffered < FAST_MARK
            # Whoever waits for bytes that are there waits for a bounded time.
            assert bool(clock.getDelayedCalls()) == (body.buffered > 0)
    if waiting is not None and body.buffered:
        clock.advance(GATHER_SECONDS)
        assert waiting.called
    body.end()
    for _ in range(2):
        if waiting is None or waiting.called:
            Deferred.fromCoroutine(body.read()).addCallback(got.append)
    assert b"".join(got) == b"".join(sent)
    assert not clock.getDelayedCalls()


def test_a_body_that_is_read_fast_comes_in_larger_pieces() -> None:
    flow, clock = Flow(), Clock()
    body = Body(None, flow, MARK, pace=Pace(clock=clock, fast_bytes=FAST_MARK))
    got: list[bytes] = []
    for seconds in (1.0, 0.0, 0.0, 1.0, 0.0):
        clock.advance(seconds)
        reading = Deferred.fromCoroutine(body.read())
        reading.addCallback(got.append)
        while not reading.called:
            body.feed(bytes(10))
    # Fast is known after the second piece, slow after one that took long.
    assert [len(piece) for piece in got] == [MARK, MARK, FAST_MARK, FAST_MARK, MARK]


async def echo(head: RequestHead, body: RequestBody) -> Response:
    """The target and the body back; of a target with "early" nothing is read."""
    if b"early" in head.raw_uri:
        return Response(status=403, body=head.raw_uri)
    pieces = [head.raw_uri, b" "]
    while piece := await body.read():
        pieces.append(piece)
    return Response(status=200, body=b"".join(pieces))


def render_error(head: RequestHead, code: str, message: str) -> Response:
    return Response(status=500, body=code.encode())


def serve(pieces: list[bytes], limits: Limits) -> tuple[bytes, Any]:
    """What the site sends for the pieces, without what differs from run to run."""
    site = make_site(
        echo, reactor=Clock(), render_error=render_error, limits=limits, id_headers=(), server_header=None
    )
    channel: Any = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    transport = StringTransport(lenient=True)
    channel.makeConnection(transport)
    for piece in pieces:
        channel.dataReceived(piece)
    return transport.value(), site


def plain(target: str, body: bytes) -> bytes:
    return f"PUT /{target} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(target: str, body: bytes, size: int) -> bytes:
    head = f"PUT /{target} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


bodies = st.one_of(st.binary(max_size=200), st.just(b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"))
requests = st.one_of(
    st.builds(plain, st.sampled_from(["a", "b/early", "c"]), bodies),
    st.builds(chunked, st.sampled_from(["d", "e"]), bodies, st.integers(1, 60)),
)


@given(st.lists(requests, min_size=1, max_size=5), st.lists(st.integers(0, 2000), max_size=12))
def test_answers_do_not_depend_on_how_the_input_is_split(sent: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(sent)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    pieces = [stream[start:stop] for start, stop in itertools.pairwise(places)]
    limits = Limits(body_bytes=20)
    whole, _ = serve([stream], limits)
    split, site = serve(pieces, limits)
    assert split == whole
    assert whole.count(b"HTTP/1.1 200 ") + whole.count(b"HTTP/1.1 403 ") == len(sent)
    assert site.live_requests == 0


targets = st.text(alphabet=[chr(code) for code in range(0x21, 0x7F) if chr(code) != "%"], max_size=60)


@given(targets)
def test_every_printable_target_reaches_the_handler_as_it_is(rest: str) -> None:
    target = ("/" + rest).encode()
    sent, _ = serve([b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n"], Limits())
    assert sent.partition(b"\r\n\r\n")[2].strip() == target
