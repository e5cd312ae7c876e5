from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from pachgw.messages import ClientGone
from pachgw.web.body import Body, BrokenBody
from pachgw.web.refusal import Refusal

Result = Callable[[Deferred[Any]], Any]


class Recorder:
    """A Flow that remembers what it was asked."""

    def __init__(self) -> None:
        self.paused = False
        self.awaited = False

    def pause_body(self) -> None:
        self.paused = True

    def resume_body(self) -> None:
        self.paused = False

    def body_awaited(self) -> None:
        self.awaited = True

    def body_not_awaited(self) -> None:
        self.awaited = False


def make(length: int | None = None, mark: int = 10) -> tuple[Body, Recorder]:
    flow = Recorder()
    return Body(length, flow, mark), flow


def read(body: Body) -> Deferred[bytes]:
    return Deferred.fromCoroutine(body.read())


def test_read_takes_all_that_came(result: Result) -> None:
    body, flow = make(6)
    body.feed(b"abc")
    body.feed(b"def")
    assert result(read(body)) == b"abcdef"
    assert not flow.awaited
    body.end()
    assert [result(read(body)), result(read(body))] == [b"", b""]


def test_read_waits_for_bytes(result: Result) -> None:
    body, flow = make()
    waiting = read(body)
    assert flow.awaited
    body.feed(b"abc")
    assert result(waiting) == b"abc"
    assert not flow.awaited


def test_read_waits_for_the_end(result: Result) -> None:
    body, _ = make()
    waiting = read(body)
    body.end()
    assert result(waiting) == b""


def test_empty_body_is_complete(result: Result) -> None:
    body, _ = make(0)
    assert body.complete
    assert body.rest == 0
    assert result(read(body)) == b""


def test_over_the_mark_pauses_and_read_resumes(result: Result) -> None:
    body, flow = make(mark=10)
    body.feed(b"x" * 10)
    assert not flow.paused
    body.feed(b"y")
    assert flow.paused
    assert result(read(body)) == b"x" * 10 + b"y"
    assert not flow.paused


def test_large_piece_for_a_waiting_reader_does_not_pause(result: Result) -> None:
    body, flow = make(mark=10)
    waiting = read(body)
    body.feed(b"x" * 100)
    assert len(result(waiting)) == 100
    assert not flow.paused


def test_rest_counts_what_the_client_has_to_send() -> None:
    body, _ = make(10)
    body.feed(b"abc")
    assert (body.rest, body.received) == (7, 3)
    chunked, _ = make(None)
    chunked.feed(b"abc")
    assert chunked.rest is None
    chunked.end()
    assert chunked.rest == 0


def test_failure_drops_what_was_not_read(result: Result) -> None:
    body, flow = make(mark=1)
    body.feed(b"abc")
    body.fail(ClientGone("lost"))
    assert not flow.paused
    assert body.buffered == 0
    with pytest.raises(ClientGone):
        result(read(body))
    body.end()
    assert not body.complete


def test_failure_reaches_a_waiting_reader(result: Result) -> None:
    body, flow = make()
    waiting = read(body)
    body.fail(BrokenBody(Refusal.TIMED_OUT))
    with pytest.raises(BrokenBody):
        result(waiting)
    assert not flow.awaited


def test_failure_after_the_end_loses_nothing(result: Result) -> None:
    body, _ = make(3)
    body.feed(b"abc")
    body.end()
    body.fail(ClientGone("lost"))
    assert result(read(body)) == b"abc"
    assert result(read(body)) == b""


def test_second_reader_is_refused(result: Result) -> None:
    body, _ = make()
    first = read(body)
    with pytest.raises(RuntimeError):
        result(read(body))
    body.end()
    assert result(first) == b""


def test_cancelled_read_loses_no_bytes(result: Result) -> None:
    body, flow = make()
    waiting = read(body)
    waiting.cancel()
    with pytest.raises(CancelledError):
        result(waiting)
    assert not flow.awaited
    body.feed(b"abc")
    assert result(read(body)) == b"abc"


def test_closed_body_drops_and_never_looks_complete(result: Result) -> None:
    body, flow = make(mark=2)
    body.feed(b"abc")
    result(Deferred.fromCoroutine(body.aclose()))
    assert not flow.paused
    body.feed(b"defgh")
    assert (body.buffered, body.received, flow.paused) == (0, 8, False)
    with pytest.raises(RuntimeError):
        result(read(body))


def test_close_fails_a_waiting_reader(result: Result) -> None:
    body, _ = make()
    waiting = read(body)
    body.discard()
    with pytest.raises(ClientGone):
        result(waiting)
