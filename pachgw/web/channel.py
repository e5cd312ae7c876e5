"""The server's side of one HTTP/1.1 connection: when a request is handled, read on, timed out and closed.

The only user of Twisted's private names, which tests/unit/web/test_channel.py pins; no answers, no S3 words.
The base parses and frames. It runs a request when its body is whole; here it is run when its head is.
"""

# Most methods of Twisted that are called here have no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import contextlib
import fcntl
import socket
import sys
import termios
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall, IHandshakeListener
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers
from zope.interface import implementer

from pachgw.web.body import BrokenBody
from pachgw.web.framing import ChunkDecoder, is_coding, is_host, is_length, is_target
from pachgw.web.refusal import Refusal

if TYPE_CHECKING:
    from pachgw.web.request import Request
    from pachgw.web.site import Site

LARGE_BODY_BYTES = 64 * 1024
NEW_SECONDS = 1.0
"""So long a new connection may take to ask something, once the daemon stops."""


class Wait(Enum):
    """What the connection's one timer is running for."""

    NOTHING = auto()
    HANDSHAKE = auto()
    REQUEST = auto()
    HEAD = auto()
    BODY = auto()
    DRAIN = auto()
    FLUSH = auto()
    LINGER = auto()


UNUSED = frozenset({Wait.HANDSHAKE, Wait.REQUEST, Wait.HEAD})
"""Nothing is handled: the connection may be closed where others need its place."""


@implementer(IHandshakeListener)
class Channel(HTTPChannel):
    """One connection. One request at a time is handled; the next one waits in the base's buffer."""

    site: Site
    requests: list[Request]
    requestFactory: type[Request]
    transport: Any
    _networkProducer: Any

    def __init__(self) -> None:
        super().__init__()
        self._wait = Wait.REQUEST
        self._expecting = False
        self._body_paused = False
        self._awaited_since: float | None = None
        self._awaited_seconds = 0.0
        self._draining: Request | None = None
        self._discarding = False
        self._discarded = 0
        self._write_stall: IDelayedCall | None = None
        self._small_reads: int | None = None
        self._untaken = 0
        self._was_asked = False
        self.is_spare = False
        """Whether it is one too many, and only waits to be told so."""

    def connectionMade(self) -> None:
        limits = self.site.limits
        self.MAX_LENGTH = self.totalHeadersSize = limits.head_bytes
        self.maxHeaders = limits.headers
        super().connectionMade()
        if self.site.admission.is_full:
            # Not even told so.
            self.site.metrics.refused.labels("all_connections").inc()
            self.abort()
            return
        self._keep_little_unsent()
        if not self.isSecure() and hasattr(self._bare, "SEND_LIMIT"):
            # What the kernel takes is bounded by that: it may be asked with more than Twisted's 128 KiB.
            self._bare.SEND_LIMIT = 2 * limits.unsent_bytes
        self.is_spare = not self.site.admission.connected(self)
        if self.isSecure():
            self._start_wait(Wait.HANDSHAKE)

    def handshakeCompleted(self) -> None:
        if self._wait is Wait.HANDSHAKE:
            self._start_wait(Wait.REQUEST)

    @property
    def _bare(self) -> Any:
        """The transport of the socket, without TLS and what a proxy says of its client around it."""
        transport = self.transport
        while isinstance(transport, ProtocolWrapper):
            transport = transport.transport
        return transport

    def _keep_little_unsent(self) -> None:
        """Bound what the kernel takes of an answer, so that a slow client is seen early, and costs little."""
        handle = self._bare.getHandle() if hasattr(self._bare, "getHandle") else None
        if isinstance(handle, socket.socket) and handle.family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(AttributeError, OSError):  # where the system has no such option
                handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, self.site.limits.unsent_bytes)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_write_stall()
        super().connectionLost(reason)
        self.site.connection_ended(self)

    # Parsing: what the base gets too late, too lax or too loud.

    def dataReceived(self, data: bytes) -> None:
        if self._wait in (Wait.REQUEST, Wait.HANDSHAKE) and data.strip(b"\r\n"):
            self.head_begun()
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        if line[:1] in (b" ", b"\t"):
            # RFC 9112 §5.2 lets a folded line be refused or unfolded, and §2.2 forbids one that comes first.
            self._refuse(Refusal.BAD_REQUEST)
            return
        super().lineReceived(line)

    def headerReceived(self, line: bytes) -> bool:
        if len(line.translate(None, b"\x00\r\n")) != len(line):
            # RFC 9110 §5.5; older releases of the base pass them on.
            return self._refuse(Refusal.BAD_REQUEST)
        name, _, value = line.partition(b":")
        match name.lower(), value.strip(b" \t"):
            case b"content-length", length if not is_length(length):
                return self._refuse(Refusal.BAD_REQUEST)
            case b"transfer-encoding", coding if not is_coding(coding):
                return self._refuse(Refusal.BAD_REQUEST)
        return bool(super().headerReceived(line))

    def allHeadersReceived(self) -> None:
        request = self.requests[-1]
        headers = request.requestHeaders
        self.persistent = self.checkPersistence(request, self._version)
        hosts = headers.getRawHeaders(b"Host") or ()
        is_11 = self._version == b"HTTP/1.1"
        if (
            len(hosts) > 1
            or (is_11 and not hosts)
            or not all(map(is_host, hosts))
            or (not is_11 and headers.hasHeader(b"Transfer-Encoding"))
            or not is_target(self._path)
        ):
            # RFC 9112 §3.2 and §6.1.
            self._refuse(Refusal.BAD_REQUEST)
            return
        if self.length is None:
            self._transferDecoder = ChunkDecoder(
                request.handleContentChunk,
                self._finishRequestBody,
                trailer_bytes=self.site.limits.head_bytes,
            )
        request.gotLength(self.length)
        self._awaited_seconds = 0.0
        expectation = headers.getRawHeaders(b"Expect") or ()
        expecting = is_11 and any(value.lower() == b"100-continue" for value in expectation)
        if self.length == 0:
            if expecting:
                # RFC 9110 §10.1.1 lets it be left out, but botocore, which asks for empty bodies too, then
                # misreads the next answer on the connection and waits for its end.
                self._send100Continue()
            return  # The base goes on to allContentReceived, which begins it.
        self._start_wait(Wait.NOTHING)
        self._expecting = expecting
        if self.length is None or self.length > LARGE_BODY_BYTES:
            self._read_largely(True)
        request.begin(self._command, self._path, self._version)

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        values = request.requestHeaders.getRawHeaders(b"Connection") or ()
        tokens = {token.strip().lower() for value in values for token in value.split(b",")}
        if version == b"HTTP/1.1" and b"close" not in tokens:
            return True
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False

    def rawDataReceived(self, data: bytes) -> None:
        if self._discarding:
            self._discarded += len(data)
            if self._discarded > self.site.limits.linger_bytes:
                self.abort()
            return
        super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        if self._discarding:
            return  # The head was refused, or the request answered in the middle of this very piece.
        request = self.requests[-1]
        self._start_wait(Wait.NOTHING)
        self._expecting = False
        self._read_largely(False)
        super().allContentReceived()
        if self._draining is request:
            self._draining = None
            self._go_on(request)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse(Refusal.HEAD_TOO_LARGE)

    def _respondToBadRequestAndDisconnect(self) -> None:
        too_large = (
            self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders
        )
        self._refuse(Refusal.HEAD_TOO_LARGE if too_large else Refusal.BAD_REQUEST)

    def _refuse(self, refusal: Refusal) -> bool:
        """What the client sends from here on means nothing: answer, if that is still possible, and close."""
        if self._discarding:
            return False
        self._stop_parsing()
        if not self.requests:
            self.requests.append(self.requestFactory(self, 0))
        request = self.requests[-1]
        if request.begun:
            # Its handler answers, or has begun to.
            request.body.fail(BrokenBody(refusal))
        else:
            known = vars(self)
            request.refuse(
                known.get("_command", b""), known.get("_path", b""), known.get("_version", b""), refusal
            )
        return False

    def _stop_parsing(self) -> None:
        self._discarding = True
        self.persistent = False
        self.clearLineBuffer()
        self.setRawMode()

    # The body: what its reader asks for (body.Flow), and the pace of the connection.

    def pause_body(self) -> None:
        self._body_paused = True
        self._networkProducer.pauseProducing()

    def resume_body(self) -> None:
        self._body_paused = False
        if not self._waitingForTransport:
            self._networkProducer.resumeProducing()

    def body_awaited(self) -> None:
        request = self.requests[-1]
        if self._is_expecting(request):
            self._expecting = False
            if not request.startedWriting:
                self._send100Continue()
        # Time runs only while somebody waits for the client: a slow backend costs it nothing.
        self._awaited_since = self.site.reactor.seconds()
        self._start_wait(Wait.BODY)

    def body_not_awaited(self) -> None:
        if self._awaited_since is not None:
            self._awaited_seconds += self.site.reactor.seconds() - self._awaited_since
            self._awaited_since = None
        if self._wait is Wait.BODY:
            self._start_wait(Wait.NOTHING)

    def _is_expecting(self, request: Request) -> bool:
        return self._expecting and not request.body.received

    def _read_largely(self, large: bool) -> None:
        """Fewer and larger reads for a large body; small ones, and the mark for writes, for the rest."""
        transport = self._bare
        if large and self._small_reads is None and not self.isSecure() and hasattr(transport, "bufferSize"):
            self._small_reads = transport.bufferSize
            transport.bufferSize = self.site.limits.read_bytes
        elif not large and self._small_reads is not None:
            transport.bufferSize = self._small_reads
            self._small_reads = None

    def pauseProducing(self) -> None:
        super().pauseProducing()
        if self._write_stall is None:
            self._watch_writes()

    def resumeProducing(self) -> None:
        self._stop_write_stall()
        super().resumeProducing()
        if self._body_paused:
            # The base only knows that there is room to send.
            self._networkProducer.pauseProducing()

    def _watch_writes(self) -> None:
        self._untaken = self._count_untaken()
        self._write_stall = self.callLater(self.site.limits.write_seconds, self._write_stalled)

    def _count_untaken(self) -> int:
        """Bytes that lie in the transport and in the kernel for the client; 0 where that is not known."""
        transport = self._bare
        if not hasattr(transport, "_tempDataLen"):
            return 0
        waiting = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        try:
            queued = fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, bytes(4))
        except OSError:
            return int(waiting)
        return int(waiting) + int.from_bytes(queued, sys.byteorder)

    def _goes_on(self) -> bool:
        """Whether the client has taken anything since this was last asked."""
        before, self._untaken = self._untaken, self._count_untaken()
        return self._untaken < before

    def _write_stalled(self) -> None:
        self._write_stall = None
        if self._goes_on():
            # Slow, but moving.
            self._watch_writes()
            return
        self._log.info("A client took nothing for too long: {peer}", peer=str(self.getPeer()))
        self.abort()

    def _stop_write_stall(self) -> None:
        if self._write_stall is not None:
            self._write_stall.cancel()
            self._write_stall = None

    # The answer, and what comes after it.

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        # In one piece: the transport looks at each of the fifty that the base makes.
        lines = [b" ".join((version, code, reason))]
        for name, values in headers.getAllRawHeaders():
            lines += [name + b": " + value for value in values]
        lines += (b"", b"")
        self.transport.write(b"\r\n".join(lines))

    def answer_begins(self, request: Request) -> None:
        """Settle, before the headers leave, whether the connection stays; says so in them."""
        rest = request.body.rest if hasattr(request, "body") else None
        unread = rest is None or rest > self.site.limits.drain_bytes or (rest and self._is_expecting(request))
        if self.site.closing or unread or self.is_spare:
            self.persistent = False
        if not self.persistent:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])

    def requestDone(self, request: Request) -> None:
        if self.site.closing:
            self.persistent = False
        if not self._discarding and request.body.complete:
            self._go_on(request)
        elif self.persistent:
            # The base would take the rest of the body for a request.
            self._draining = request
            self._start_wait(Wait.DRAIN)
            request.body.discard()
        else:
            self._linger()

    def _go_on(self, request: Request) -> None:
        self._body_paused = False
        if self.site.closing:
            self.persistent = False
        self._start_wait(Wait.REQUEST if self.persistent else Wait.FLUSH)
        super().requestDone(request)

    def _linger(self) -> None:
        """Half-close and drop what the client still sends: a plain close would reset, and lose the answer."""
        self._stop_parsing()
        self._draining = None
        self._body_paused = False
        del self.requests[:]
        self._start_wait(Wait.LINGER)
        self._stop_write_stall()
        self._networkProducer.unregisterProducer()
        self._networkProducer.resumeProducing()
        # A TLS transport hands the call on to the bare socket, below its own buffers.
        half_close = None if self.isSecure() else getattr(self.transport, "loseWriteConnection", None)
        if half_close is not None:
            half_close()

    def abort(self) -> None:
        """Drop the connection with whatever was not sent; the client sees a reset."""
        self.transport.abortConnection()

    def close_idle(self) -> None:
        """Close the connection if it is between two requests."""
        if self._wait in (Wait.HANDSHAKE, Wait.REQUEST):
            self._close()

    def give_way(self) -> None:
        """Close the connection if no request of it is handled, so that others have its place."""
        if self._wait in UNUSED:
            self._close()

    def close_soon(self) -> None:
        """The same, but a connection that is new may still ask something: nobody else will answer it."""
        if self._was_asked:
            self.close_idle()
        elif self._wait in (Wait.HANDSHAKE, Wait.REQUEST):
            self.setTimeout(NEW_SECONDS)

    def _close(self) -> None:
        self._start_wait(Wait.FLUSH)
        self.loseConnection()

    def loseConnection(self) -> None:
        super().loseConnection()
        # TLS would wait for the client to close too, which many a client does when it next wants to send.
        # RFC 8446 §6.1: nobody has to wait. What lies ready is still sent.
        if self.isSecure() and hasattr(self.transport, "transport"):
            self.transport.transport.loseConnection()

    # Time.

    def head_begun(self) -> None:
        """A request's first bytes have come; its head is to be whole in a bounded time from now on."""
        self._was_asked = True
        if self._wait is not Wait.HEAD:
            self._start_wait(Wait.HEAD)

    def _start_wait(self, wait: Wait) -> None:
        limits = self.site.limits
        if wait in UNUSED:
            self.site.admission.idle(self)
        elif self._wait in UNUSED:
            self.site.admission.busy(self)
        self._wait = wait
        match wait:
            case Wait.NOTHING:
                self.setTimeout(None)
            case Wait.REQUEST:
                self.setTimeout(NEW_SECONDS if self.site.closing else limits.idle_seconds)
            case Wait.HEAD | Wait.HANDSHAKE:
                self.setTimeout(limits.head_seconds)
            case Wait.BODY:
                self.setTimeout(self._body_seconds())
            case Wait.DRAIN:
                self.setTimeout(limits.body_seconds)
            case Wait.FLUSH:
                self._untaken = self._count_untaken()
                self.setTimeout(limits.write_seconds)
            case Wait.LINGER:
                self.setTimeout(limits.linger_seconds)

    def resetTimeout(self) -> None:
        # A head that comes in drops does not win time with each, nor what nobody wants of a body.
        if self._wait is Wait.BODY:
            self.setTimeout(self._body_seconds())

    def _body_seconds(self) -> float:
        """How long the next byte of the body may take: less where so far they came too slowly."""
        limits = self.site.limits
        if not limits.body_rate:
            return limits.body_seconds
        since = self._awaited_since
        awaited = self._awaited_seconds + (0 if since is None else self.site.reactor.seconds() - since)
        left = limits.body_seconds + self.requests[-1].body.received / limits.body_rate - awaited
        return max(0.0, min(left, limits.body_seconds))

    def timeoutConnection(self) -> None:
        wait, self._wait = self._wait, Wait.NOTHING
        match wait:
            case Wait.HEAD | Wait.BODY:
                self._refuse(Refusal.TIMED_OUT)
            case Wait.REQUEST if self._waitingForTransport:
                # The last answer is still on its way; the clock for writes is running.
                self._start_wait(Wait.REQUEST)
            case Wait.FLUSH if self._goes_on():
                self._start_wait(Wait.FLUSH)
            case Wait.FLUSH | Wait.LINGER:
                self.abort()
            case _:
                self._close()
