"""One HTTP request on a connection: its head as a value, its body as a stream, its end told once.

No parsing of HTTP (the channel's), no answers (respond), no S3 words.
"""

# Most methods of Twisted that are called here have no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web import server

from pachgw.messages import ClientGone, RequestHead
from pachgw.web.body import Body
from pachgw.web.refusal import Refusal
from pachgw.web.spelling import SpelledHeaders

if TYPE_CHECKING:
    from pachgw.web.channel import Channel
    from pachgw.web.site import Site

ABSOLUTE_FORMS = (b"http://", b"https://")


def origin_form(target: bytes) -> bytes:
    """The request target without scheme and authority (RFC 9112 §3.2.2); any other form as it is."""
    if not target.lower().startswith(ABSOLUTE_FORMS):
        return target
    rest = target.split(b"//", 1)[1]
    start = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    rest = rest[start:]
    return rest if rest.startswith(b"/") else b"/" + rest


def is_routable(raw_uri: bytes) -> bool:
    """Whether it is an absolute path that is UTF-8 once its escapes are decoded."""
    path = raw_uri.partition(b"?")[0]
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return path.startswith(b"/")


def peer_name(address: IAddress) -> str:
    """The client's host, "unix" on a socket without one."""
    return address.host if isinstance(address, IPv4Address | IPv6Address) else "unix"


class Request(server.Request):
    """A request that is handled when its head has come, while its body arrives."""

    defaultContentType = None
    channel: Channel
    head: RequestHead
    body: Body
    responseHeaders: SpelledHeaders

    def __init__(self, channel: Channel, *args: Any, **kwargs: Any) -> None:
        super().__init__(channel, *args, **kwargs)
        self.site: Site = channel.site
        self.responseHeaders = SpelledHeaders()
        self.request_id = secrets.token_hex(8).upper()
        self.begun = False
        """Whether it is being handled; before, it is a head that is still arriving."""
        self.gone = False
        """Whether its connection is lost, or cut by us: nothing can be answered any more."""
        self.is_probe = False
        """Whether it only asks how the process is."""
        self.cut = False
        """Whether we cut the connection in mid-answer."""
        self.started_seconds = self.site.reactor.seconds()
        channel.head_begun()

    @property
    def received_bytes(self) -> int:
        """Of the body, so far."""
        return self.body.received if hasattr(self, "body") else 0

    # What the channel calls, in this order.

    def gotLength(self, length: int | None) -> None:
        site = self.site
        # A small one is soon whole.
        is_small = length is not None and length <= site.limits.body_bytes
        self.body = Body(length, self.channel, site.limits.body_bytes, pace=None if is_small else site.pace)

    def handleContentChunk(self, data: bytes) -> None:
        self.body.feed(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self.body.end()
        if not self.begun:
            self.begin(command, path, version)

    def begin(self, command: bytes, target: bytes, version: bytes) -> None:
        """Handle the request, whose head is whole; its body may be still to come."""
        self._open(command, origin_form(target), version)
        self.is_probe = self.site.is_probe(self.head)
        if self.site.tracing is not None and not self.is_probe:
            self.head.notes.trace = self.site.tracing.begin(self.head)
        if not self.is_probe and not self.site.admits(self):
            self.site.boundary.refuse(self, Refusal.SLOW_DOWN)
        elif is_routable(self.uri):
            self.process()
        else:
            self.site.boundary.refuse(self, Refusal.INVALID_URI)

    def refuse(self, command: bytes, target: bytes, version: bytes, refusal: Refusal) -> None:
        """Answer a request of which only so much was understood; b"" for what was not."""
        self._open(command, origin_form(target) or b"/", version or b"HTTP/1.1")
        self.site.boundary.refuse(self, refusal)

    def _open(self, method: bytes, raw_uri: bytes, version: bytes) -> None:
        self.begun = True
        self.method, self.uri, self.clientproto = method, raw_uri, version
        self.path = raw_uri.partition(b"?")[0]
        self.args = {}
        self.head = RequestHead(
            method=method.decode("latin-1"),
            raw_uri=raw_uri,
            headers=tuple(
                (name.lower(), value)
                for name, values in self.requestHeaders.getAllRawHeaders()
                for value in values
            ),
            peer=peer_name(self.client),
            request_id=self.request_id,
            secure=self.isSecure(),
        )
        self.site.request_begun(self)

    def process(self) -> None:
        try:
            self.render(self.site.resource)
        except Exception:
            self.processingFailed(Failure())

    def processingFailed(self, reason: Failure) -> Failure:
        self.site.boundary.failed(self, reason)
        return reason

    def getRequestHostname(self) -> bytes:
        # For the router only, which fails on names that are not valid; who needs Host reads the head.
        return b"localhost"

    # The answer.

    def write(self, data: bytes) -> None:
        if not self.startedWriting and not self.gone:
            self.channel.answer_begins(self)
        super().write(data)

    def finish(self) -> None:
        if not self.gone:
            super().finish()

    def cut_connection(self) -> None:
        """End the connection in mid-answer, so that no client takes what it has for the whole."""
        if not self.gone and not self.finished:
            self.gone = self.cut = True
            self.channel.abort()

    def connectionLost(self, reason: Failure) -> None:
        self.gone = True
        # First the cancelling of the handler: one that a failed read woke would answer a dead channel.
        super().connectionLost(reason)
        if self.begun:
            if hasattr(self, "body"):
                self.body.fail(ClientGone("the connection was lost before the body was complete"))
            if not self.finished:
                self.site.request_ended(self)

    def __repr__(self) -> str:
        # Without the target, which can hold a signature or a token.
        return f"<Request {self.request_id} {self.method.decode('latin-1')}>"
