"""Response values onto the wire: status, headers, and a body at the client's pace.

What a response says is not decided here. A body that fails after the headers ends the connection, so that no
client takes a part for the whole, whatever the framing.
"""

# Most methods of Twisted that are called here have no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.web.http import NO_BODY_CODES
from zope.interface import implementer

from pachgw.messages import Response
from pachgw.streams import Source

if TYPE_CHECKING:
    from pachgw.web.request import Request


class WrongLength(Exception):
    """A body has more or fewer bytes than its response announced."""


@implementer(IPushProducer)
class Gate:
    """Open while the connection has room to send; one waiter at a time."""

    def __init__(self) -> None:
        self._open = True
        self._waiter: Deferred[None] | None = None

    async def opened(self) -> None:
        """Returns when there is room; never, once the connection is lost: the waiter is cancelled then."""
        if not self._open:
            self._waiter = Deferred(self._forget)
            await self._waiter

    def pauseProducing(self) -> None:
        self._open = False

    def resumeProducing(self) -> None:
        self._open = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)

    def stopProducing(self) -> None:
        # The connection is lost; what follows from it comes from Request.connectionLost alone.
        self._open = False

    def _forget(self, _: Deferred[Any]) -> None:
        self._waiter = None


async def send(request: Request, response: Response) -> None:
    """Send the response and end the request; a Source is closed in any case, without waiting for it.

    Holds two pieces of a Source at the most: one that the connection has not taken yet, one read ahead; only
    one of a Source whose `reads_ahead` is false. The
    last piece of a known length leaves when the Source has confirmed its end. Raises what the Source raises,
    and WrongLength: request.startedWriting then tells whether something has left already.
    """
    if isinstance(response.body, bytes):
        send_bytes(request, response)
        return
    source = response.body
    if has_no_body(request, response):
        close(source)
        _set_head(request, response, response.content_length)
        request.finish()
        return
    gate = Gate()
    request.registerProducer(gate, True)
    try:
        await _pump(request, response, source, gate)
    finally:
        close(source)
        if not request.gone:
            request.unregisterProducer()
    request.finish()


def send_bytes(request: Request, response: Response) -> None:
    """Send a response whose body is bytes, and end the request."""
    body = response.body
    if not isinstance(body, bytes):
        raise TypeError("the body of the response is a stream")
    length: int | None = len(body)
    if request.method == b"HEAD" and not body:
        length = response.content_length
    _set_head(request, response, length)
    request.write(body)
    request.finish()


def clear(request: Request) -> None:
    """Forget the headers of an answer that was not begun, but whether the connection stays."""
    headers = request.responseHeaders
    for name, _ in list(headers.getAllRawHeaders()):
        if name != b"Connection":
            headers.removeHeader(name)


def has_no_body(request: Request, response: Response) -> bool:
    """Whether the answer ends with its headers (RFC 9110 §9.3.2, §15.3.5, §15.4.5)."""
    return request.method == b"HEAD" or response.status in NO_BODY_CODES


def close(source: Source) -> None:
    """Let go of the source; its failure to do so is logged, and nobody waits."""
    _start(source.aclose()).addErrback(lambda failure: Logger().failure("a source did not close", failure))


async def _pump(request: Request, response: Response, source: Source, gate: Gate) -> None:
    length = response.content_length
    sent = 0
    reading = _start(source.read())
    try:
        piece = await reading
        _set_head(request, response, length)
        while piece:
            sent += len(piece)
            if length is not None and sent > length:
                raise WrongLength(f"{sent} bytes or more, {length} announced")
            ahead = sent == length or getattr(source, "reads_ahead", True)
            if ahead:
                reading = _start(source.read())
            if sent == length and await reading:
                raise WrongLength(f"more than the {length} bytes announced")
            request.write(piece)
            piece = b""  # the connection has it now
            await gate.opened()
            if not ahead:
                reading = _start(source.read())
            piece = await reading
        if length is not None and sent < length:
            raise WrongLength(f"{sent} bytes, {length} announced")
    finally:
        _drop(reading)


def _start(work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    return Deferred.fromCoroutine(work)


def _drop(reading: Deferred[Any]) -> None:
    reading.cancel()
    reading.addErrback(lambda _: None)


def _set_head(request: Request, response: Response, length: int | None) -> None:
    site = request.site
    request.setResponseCode(response.status)
    headers = request.responseHeaders
    for name, value in response.headers:
        # What came as other bytes than UTF-8 goes out as it came.
        headers.add_spelled(name.encode("ascii"), value.encode("utf-8", "surrogateescape"))
    for name in site.id_headers:
        if not headers.hasHeader(name):
            headers.setRawHeaders(name, [request.request_id])
    if site.server_header and not headers.hasHeader("Server"):
        headers.setRawHeaders("Server", [site.server_header])
    headers.setRawHeaders("Date", [site.http_date()])
    headers.removeHeader("Content-Length")
    if length is not None and response.status not in NO_BODY_CODES:
        headers.setRawHeaders("Content-Length", [b"%d" % length])
