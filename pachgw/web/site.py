"""The site: its limits, its live requests and connections, its access log, and how it stops.

What happens on one connection is the channel's, what a request means is for the handler.
"""

# Most methods of Twisted that are called here have no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource

from pachgw.metrics import Metrics
from pachgw.web.accesslog import AccessLog
from pachgw.web.admission import Admission, Capacity
from pachgw.web.body import Pace
from pachgw.web.channel import Channel
from pachgw.web.refusal import Refusal
from pachgw.web.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from pachgw.messages import RequestHead, Tracing

CLIENT_CLOSED_REQUEST = 499
"""The status that the log has for a request whose client went away (after nginx); it is never sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one connection, in bytes and seconds."""

    idle_seconds: float = 60
    """Between two requests."""
    head_seconds: float = 30
    """From a request's first byte to the end of its head; and for a TLS handshake."""
    head_bytes: int = 16 * 1024
    """Of a request's line and headers, so also of each of them."""
    headers: int = 500
    body_seconds: float = 60
    """Without a byte while the handler waits for the body."""
    body_rate: float = 256
    """Bytes a second of a body, beyond `body_seconds` of waiting for them; 0: however few."""
    write_seconds: float = 300
    """Without a byte that the client takes of what lies ready to be sent."""
    linger_seconds: float = 30
    """After an answer that closes, for the client to read it and to stop sending."""
    linger_bytes: int = 512 * 1024 * 1024
    """What the client may still send in that time; it is dropped."""
    drain_bytes: int = 1024 * 1024
    """The largest unread rest of a body that is dropped to keep the connection."""
    body_bytes: int = 256 * 1024
    """What a body holds before its connection is told to wait."""
    fast_body_bytes: int = 1024 * 1024
    """The same while it is read fast: fewer, larger pieces. A PUT of aws-chunked bytes takes a fifth less of
    a processor with them."""
    read_bytes: int = 256 * 1024
    """One read of the connection while a large body arrives. With 256 KiB, 200 MB take 0.6 of the time that
    they take with Twisted's 64 KiB; with 1 MiB no less."""
    unsent_bytes: int = 256 * 1024
    """What the kernel takes of an answer beyond what is under way to the client. Left to itself it takes
    megabytes for each client, however slow."""


class Boundary(Protocol):
    """Where a request that is not answered by its handler is answered."""

    def refuse(self, request: Request, refusal: Refusal) -> None:
        """Answer that the request is not handled."""

    def failed(self, request: Request, failure: Failure) -> None:
        """Log an error that nobody expected, and answer as far as that is still possible."""


class Site(server.Site):
    """Takes connections and knows what is alive on them."""

    protocol: Any = Channel
    requestFactory = Request
    noisy = False

    def __init__(
        self,
        resource: IResource,
        *,
        reactor: IReactorTime,
        boundary: Boundary,
        limits: Limits,
        capacity: Capacity,
        server_header: str | None,
        id_headers: tuple[str, ...],
        access_log: AccessLog,
        metrics: Metrics,
        is_probe: Callable[[RequestHead], bool],
        tracing: Tracing | None = None,
    ) -> None:
        super().__init__(resource, timeout=limits.idle_seconds, reactor=reactor)
        self.boundary = boundary
        self.limits = limits
        self.server_header = server_header
        self.id_headers = id_headers
        self.access_log = access_log
        self.metrics = metrics
        self.tracing = tracing
        self.is_probe = is_probe
        """Whether a request only asks how the process is: it is never too many, nor logged or counted."""
        self.admission: Admission[Channel, Request] = Admission(capacity)
        self.connections_changed: Callable[[], None] = lambda: None
        """Called when a connection has ended."""
        self.closing = False
        self._emptied: list[Deferred[None]] = []
        self.pace = Pace(clock=reactor, fast_bytes=limits.fast_body_bytes)
        self._date = (-1, b"")

    @property
    def connections(self) -> set[Channel]:
        """Those that are open."""
        return self.admission.connections

    @property
    def requests(self) -> set[Request]:
        """Those being handled or answered."""
        return self.admission.requests

    @property
    def live_requests(self) -> int:
        """How many requests are being handled or answered."""
        return len(self.requests)

    def admits(self, request: Request) -> bool:
        """Whether the request may be handled, as much as there is to do already."""
        if request.channel.is_spare:
            self.metrics.refused.labels("connections").inc()
            return False
        body = getattr(request, "body", None)
        if self.admission.admit(request, body_bytes=0 if body is None else body.content_length):
            return True
        over = len(self.requests) > self.admission.capacity.requests
        self.metrics.refused.labels("requests" if over else "uploads").inc()
        return False

    async def drain(self, timeout_seconds: float) -> int:
        """Let every live request end, and close every connection; call it when no new ones are accepted.

        Idle connections are closed at once, new ones soon, others after their answer, those that are left
        after the time are aborted. Returns how many requests were cut off by that.
        """
        self.closing = True
        for connection in tuple(self.connections):
            connection.close_soon()
        if not self.connections:
            return 0
        emptied: Deferred[None] = Deferred()
        self._emptied.append(emptied)
        cut = 0

        def abort_all() -> None:
            nonlocal cut
            cut = self.live_requests
            for connection in tuple(self.connections):
                connection.abort()

        timer = self.reactor.callLater(timeout_seconds, abort_all)
        await emptied
        if timer.active():
            timer.cancel()
        return cut

    def http_date(self) -> bytes:
        """Now as RFC 9110 §5.6.7 writes it."""
        now = int(self.reactor.seconds())
        if self._date[0] != now:
            self._date = (now, datetimeToString(now))
        return self._date[1]

    # What channels and requests tell.

    def connection_ended(self, connection: Channel) -> None:
        self.admission.disconnected(connection)
        self.connections_changed()
        if not self.connections:
            emptied, self._emptied = self._emptied, []
            for waiter in emptied:
                waiter.callback(None)

    def request_begun(self, request: Request) -> None:
        self.admission.begun(request)

    def request_ended(self, request: Request) -> None:
        """Count the request, and log it."""
        self.admission.ended(request)
        if request.is_probe:
            return
        if request.gone and not request.cut:
            status, outcome = CLIENT_CLOSED_REQUEST, "client gone"
        else:
            status, outcome = request.code, "cut" if request.cut else ""
        seconds = self.reactor.seconds() - request.started_seconds
        self.metrics.request_ended(
            request.head.notes.action,
            status,
            seconds=seconds,
            received=request.received_bytes,
            sent=request.sentLength,
        )
        self.access_log.ended(request, status, seconds, outcome)
        notes = request.head.notes
        if notes.trace is not None:
            notes.trace.end(notes, status)

    def log(self, request: Any) -> None:
        # The base calls it at the end of each answer; its own line would have the raw target.
        self.request_ended(request)

    def startFactory(self) -> None:
        """No log file, so no clock for its lines."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def acceptableProtocols(self) -> list[bytes]:
        # The channel speaks no HTTP/2.
        return [b"http/1.1"]
