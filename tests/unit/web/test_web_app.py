from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from pachgw.messages import RequestBody, RequestHead, Response
from pachgw.streams import BytesSource
from pachgw.web.app import make_site
from pachgw.web.channel import NEW_SECONDS
from pachgw.web.request import is_routable, origin_form
from pachgw.web.site import Limits

Wires = Callable[..., Any]
Result = Callable[[Deferred[Any]], Any]


def get(target: bytes, *headers: bytes, method: bytes = b"GET") -> bytes:
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", b"Host: h", *headers, b"", b""])


@pytest.mark.parametrize(
    ("target", "origin"),
    [
        (b"/b/k?x=y", b"/b/k?x=y"),
        (b"//b//k", b"//b//k"),
        (b"http://h:80/b/k?x=http://z/", b"/b/k?x=http://z/"),
        (b"HTTP://h", b"/"),
        (b"https://h?acl", b"/?acl"),
        (b"http://h?x=/y", b"/?x=/y"),
        (b"http://h//b", b"//b"),
        (b"*", b"*"),
        (b"h:80", b"h:80"),
        (b"/http://h/b", b"/http://h/b"),
    ],
)
def test_origin_form(target: bytes, origin: bytes) -> None:
    assert origin_form(target) == origin


@pytest.mark.parametrize(
    ("raw_uri", "routable"),
    [
        (b"/", True),
        (b"/%C3%A9", True),
        (b"/%zz", True),
        (b"/?x=%FF", True),
        (b"/%FF", False),
        (b"/%C3", False),
        (b"/%ED%A0%80", False),
        (b"*", False),
        (b"h:80", False),
        (b"?x", False),
    ],
)
def test_is_routable(raw_uri: bytes, routable: bool) -> None:
    assert is_routable(raw_uri) is routable


@pytest.mark.parametrize("target", [b"/%FF", b"*", b"h:80", b"/a/%C3/b?acl"])
def test_target_that_is_no_path_is_refused(wire: Wires, target: bytes) -> None:
    w = wire()
    w.send(get(target))
    assert w.take().endswith(b"<InvalidURI/>")
    assert w.calls == []
    w.send(get(b"/b"))
    assert len(w.calls) == 1


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"//",
        b"//k",
        b"/b//k/",
        b"/b/./../k",
        b"/b%2Fk",
        b"/%2e%2e/",
        b"/b%0Ak",
        b"/b%0A",
        b"/%00",
        b"/b/k;v=1?acl",
        b"/b?x=1&x=2&y;z",
        b"/b?uploads=",
        b"/?",
        b"/b#f",
        b"/<int:x>",
        b"/b|k",
        b"/a" * 1500,
    ],
)
def test_every_target_reaches_the_handler_as_it_is(wire: Wires, target: bytes) -> None:
    w = wire()
    w.send(get(target))
    assert [call.head.raw_uri for call in w.calls] == [target]
    assert w.take() == b""


@pytest.mark.parametrize(
    "method", [b"GET", b"HEAD", b"PUT", b"OPTIONS", b"PATCH", b"PROPFIND", b"get", b"X-1!"]
)
def test_every_method_reaches_the_handler(wire: Wires, method: bytes) -> None:
    w = wire()
    w.send(get(b"/b", method=method))
    assert [call.head.method for call in w.calls] == [method.decode()]


@pytest.mark.parametrize("host", [b"a..b", b"x" * 300, b"", b"[::1]:80", b"h:", b"x_1.%41:80"])
def test_every_host_reaches_the_handler(wire: Wires, host: bytes) -> None:
    w = wire()
    w.send(b"GET /b HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert [call.head.values(b"host") for call in w.calls] == [[host]]


@pytest.mark.parametrize(
    "host", [b"\xff\xfe", b"[::1", b"h:80:90", b"\xc3\xa9", b"a b", b"a/b", b"u@h", b"a,b", b'"', b"h:x"]
)
def test_what_is_no_host_is_refused(wire: Wires, host: bytes) -> None:
    w = wire()
    w.send(b"GET /b HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert w.take().startswith(b"HTTP/1.1 400 ")
    assert w.calls == []


def test_head_is_what_was_sent(wire: Wires) -> None:
    w = wire()
    w.send(get(b"http://h/b?acl", b"X-Amz-Date:  now \t", b"x-a: 1", b"X-A: 2", b"Cookie: c=d"))
    head = w.calls[0].head
    assert head.raw_uri == b"/b?acl"
    assert head.header("x-amz-date") == "now"
    assert head.values(b"x-a") == [b"1", b"2"]
    assert (head.peer, head.secure) == ("192.0.2.1", False)
    assert len(head.request_id) == 16
    assert int(head.request_id, 16) >= 0


def test_each_request_has_an_id_of_its_own(wire: Wires) -> None:
    w = wire()
    w.send(get(b"/1"))
    w.calls[0].answer.callback(Response(status=200))
    w.send(get(b"/2"))
    assert w.calls[0].head.request_id != w.calls[1].head.request_id


def test_answer_may_name_its_id_headers(wire: Wires) -> None:
    w = wire()
    w.send(get(b"/1"))
    w.calls[0].answer.callback(Response(status=200, headers=(("x-amz-id-2", "mine"), ("Server", "own"))))
    sent = w.take()
    assert b"x-amz-id-2: mine\r\n" in sent
    assert sent.count(b"x-amz-id-2") == 1
    assert sent.count(b"Server") == 1


class Trouble(Exception):
    pass


def test_unexpected_error_is_logged_once_and_hidden(wire: Wires, log: Any) -> None:
    w = wire()
    w.send(get(b"/1"))
    w.calls[0].answer.errback(Trouble("secret"))
    sent = w.take()
    assert sent.startswith(b"HTTP/1.1 500 ")
    assert sent.endswith(b"<InternalError/>")
    events = [event for event in log.events if "log_failure" in event]
    assert [event["request_id"] for event in events] == [w.calls[0].head.request_id]
    assert [failure.type for failure in log.failures()] == [Trouble]
    w.send(get(b"/2"))
    assert len(w.calls) == 2


def test_handler_that_fails_at_once(wire: Wires, log: Any) -> None:
    def handle(head: RequestHead, body: RequestBody) -> Any:
        raise Trouble

    w = wire(handle)
    w.send(get(b"/1"))
    assert w.take().startswith(b"HTTP/1.1 500 ")
    assert [failure.type for failure in log.failures()] == [Trouble]


def test_cancelling_without_a_lost_client_is_an_error(wire: Wires, log: Any) -> None:
    w = wire()
    w.send(get(b"/1"))
    w.calls[0].answer.errback(CancelledError())
    assert w.take().startswith(b"HTTP/1.1 500 ")
    assert [failure.type for failure in log.failures()] == [CancelledError]


def test_error_after_the_client_left_is_logged(wire: Wires, log: Any) -> None:
    async def handle(head: RequestHead, body: RequestBody) -> Response:
        try:
            await body.read()
        finally:
            raise Trouble

    w = wire(handle)
    w.send(b"PUT /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n")
    w.lose()
    assert [failure.type for failure in log.failures()] == [Trouble]
    assert w.take() == b""


def test_failing_router_is_an_error_as_any(wire: Wires, log: Any) -> None:
    class Failing(Resource):
        isLeaf = True

        def render(self, request: Any) -> bytes:
            raise Trouble

    w = wire()
    w.site.resource = Failing()
    w.send(get(b"/1"))
    assert w.take().endswith(b"<InternalError/>")
    assert [failure.type for failure in log.failures()] == [Trouble]


def test_error_that_is_rendered_as_a_stream_cuts(wire: Wires, log: Any) -> None:
    w = wire(render_error=lambda *_: Response(status=400, body=BytesSource(b"x")))
    w.send(get(b"/%FF"))
    assert w.transport.aborted
    assert [failure.type for failure in log.failures()] == [TypeError]


def test_error_that_cannot_be_rendered_cuts(wire: Wires, log: Any) -> None:
    def render_error(head: RequestHead, code: str, message: str) -> Response:
        raise Trouble

    w = wire(render_error=render_error)
    w.send(get(b"/%FF"))
    assert w.transport.aborted
    assert [failure.type for failure in log.failures()] == [Trouble]


def test_refused_head_is_handed_to_render_error(wire: Wires) -> None:
    seen: list[tuple[RequestHead, str]] = []

    def render_error(head: RequestHead, code: str, message: str) -> Response:
        seen.append((head, code))
        return Response(status=400)

    for sent in (b"junk\r\n", b"GET /b?acl HTTP/1.1\r\nHost: a\r\nX y\r\n\r\n"):
        wire(render_error=render_error).send(sent)
    assert [(head.method, head.raw_uri) for head, _ in seen] == [("", b"/"), ("GET", b"/b?acl")]
    assert seen[1][0].header("host") == "a"
    assert all(head.request_id for head, _ in seen)


def test_repr_of_a_request_has_no_target(wire: Wires) -> None:
    w = wire()
    w.send(get(b"/b?X-Amz-Signature=hush"))
    (request,) = w.site.requests
    assert "hush" not in repr(request)
    assert request.request_id in repr(request)


def test_live_requests_are_counted(wire: Wires) -> None:
    w = wire()
    assert w.site.live_requests == 0
    w.send(get(b"/1"))
    assert w.site.live_requests == 1
    w.calls[0].answer.callback(Response(status=200))
    assert w.site.live_requests == 0


def drain(w: Any, seconds: float = 10) -> Deferred[int]:
    return Deferred.fromCoroutine(w.site.drain(seconds))


def test_drain_without_connections_is_done(wire: Wires, result: Result) -> None:
    w = wire()
    w.lose()
    assert result(drain(w)) == 0


def test_drain_closes_idle_connections(wire: Wires, result: Result) -> None:
    w = wire()
    w.send(get(b"/1"))
    w.calls[0].answer.callback(Response(status=200))
    draining = drain(w)
    assert w.transport.disconnecting
    assert not draining.called
    w.lose()
    assert result(draining) == 0
    assert w.clock.getDelayedCalls() == []


def test_drain_answers_who_has_just_connected(wire: Wires, result: Result) -> None:
    w = wire()
    draining = drain(w)
    assert not w.transport.disconnecting
    w.clock.advance(NEW_SECONDS / 2)
    w.send(get(b"/1"))
    w.clock.advance(NEW_SECONDS)
    w.calls[0].answer.callback(Response(status=200, body=b"done"))
    sent = w.take()
    assert sent.endswith(b"done")
    assert b"Connection: close" in sent
    assert w.transport.disconnecting
    w.lose()
    assert result(draining) == 0


def test_drain_closes_new_connections_on_which_nothing_comes(wire: Wires, result: Result) -> None:
    w = wire()
    draining = drain(w)
    w.clock.advance(NEW_SECONDS)
    assert w.transport.disconnecting
    w.lose()
    assert result(draining) == 0
    assert w.clock.getDelayedCalls() == []


def test_drain_lets_requests_end(wire: Wires, result: Result) -> None:
    w = wire()
    w.send(get(b"/1"))
    draining = drain(w)
    assert not w.transport.disconnecting
    w.calls[0].answer.callback(Response(status=200, body=b"done"))
    sent = w.take()
    assert sent.endswith(b"done")
    assert b"Connection: close" in sent
    assert w.transport.disconnecting
    assert not draining.called
    w.lose()
    assert result(draining) == 0


def test_drain_of_an_answer_that_has_begun_closes_after_it(wire: Wires) -> None:
    class Endless:
        waiting: Deferred[bytes]

        async def read(self) -> bytes:
            self.waiting = Deferred()
            return await self.waiting

        async def aclose(self) -> None:
            pass

    source = Endless()
    w = wire()
    w.send(get(b"/1"))
    w.calls[0].answer.callback(Response(status=200, body=source))
    source.waiting.callback(b"abc")
    drain(w)
    source.waiting.callback(b"")
    assert w.take().endswith(b"0\r\n\r\n")
    assert w.transport.disconnecting


def test_drain_cuts_what_takes_too_long(wire: Wires, result: Result) -> None:
    w = wire()
    w.send(get(b"/1"))
    draining = drain(w, 10)
    w.clock.advance(9)
    assert not w.transport.aborted
    w.clock.advance(1)
    assert w.transport.aborted
    w.lose()
    assert result(draining) == 1
    assert isinstance(w.calls[0].ended_with, CancelledError)


def test_two_sites_share_nothing() -> None:
    async def handle(head: RequestHead, body: RequestBody) -> Response:
        return Response(status=200)

    def render(head: RequestHead, code: str, message: str) -> Response:
        return Response(status=400)

    one, two = (make_site(handle, reactor=Clock(), render_error=render, limits=Limits()) for _ in range(2))
    assert one.resource != two.resource
    assert one.acceptableProtocols() == [b"http/1.1"]
