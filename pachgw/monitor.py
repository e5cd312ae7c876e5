"""The endpoint of whoever watches the daemon: metrics of all its processes, and how they are.

What is told there comes from who serves; nothing of S3 is known here.
"""

# Most methods of Twisted that are called here have no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from pachgw.metrics import CONTENT_TYPE_LATEST, Report, render

IDLE_SECONDS = 60
TEXT = "text/plain; charset=utf-8"

Ask = Callable[[], Awaitable[Report]]


class Monitor:
    """Serves /metrics, /~/healthy and /~/ready on an endpoint, in clear and to anybody who reaches it."""

    def __init__(self, description: str, ask: Ask, *, reactor: Any) -> None:
        """`description` is one of Twisted's; `ask` gets what all processes tell."""
        self._description = description
        self._reactor = reactor
        root = Resource()
        root.putChild(b"metrics", _Answer(ask, _metrics))
        probes = Resource()
        probes.putChild(b"healthy", _Answer(None, _healthy))
        probes.putChild(b"ready", _Answer(ask, _ready))
        root.putChild(b"~", probes)
        self._site = _QuietSite(root, timeout=IDLE_SECONDS, reactor=reactor)
        self._port: Any = None

    async def start(self) -> str:
        """Listen. The URL of the metrics, the description where it is no TCP port. Raises as listen does."""
        self._port = await serverFromString(self._reactor, self._description).listen(self._site)
        address = self._port.getHost()
        if not hasattr(address, "port"):
            return self._description
        host = "127.0.0.1" if address.host in ("0.0.0.0", "::", "") else address.host
        return f"http://{f'[{host}]' if ':' in host else host}:{address.port}/metrics"

    async def stop(self) -> None:
        """Listen no more, and close what is open."""
        if self._port is not None:
            port, self._port = self._port, None
            await port.stopListening()
        for connection in tuple(self._site.open):
            connection.abort()


class _Channel(HTTPChannel):
    """A connection that the site knows."""

    site: _QuietSite

    def connectionMade(self) -> None:
        super().connectionMade()
        self.site.open.add(self)

    def abort(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.site.open.discard(self)
        super().connectionLost(reason)


class _QuietSite(Site):
    """Logs no requests; knows its connections."""

    protocol: Any = _Channel
    noisy = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.open: set[_Channel] = set()

    def log(self, request: Any) -> None:
        """Scrapes come all the time."""

    def startFactory(self) -> None:
        """No log file, so no clock for its lines."""

    def stopFactory(self) -> None:
        """Nothing was started."""


class _Answer(Resource):
    """One page, made of a report; without somebody to ask, of nothing."""

    isLeaf = True
    _log = Logger("pachgw.monitor")

    def __init__(self, ask: Ask | None, render_report: Callable[[Report], tuple[int, str, bytes]]) -> None:
        super().__init__()
        self._ask = ask
        self._render_report = render_report

    def render_GET(self, request: Request) -> Any:
        answering = Deferred.fromCoroutine(self._answer(request))
        answering.addErrback(self._failed, request)
        request.notifyFinish().addErrback(lambda _: answering.cancel())
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        report = Report(processes={}) if self._ask is None else await self._ask()
        self._send(request, *self._render_report(report))

    def _failed(self, failure: Failure, request: Request) -> None:
        if not request._disconnected:
            self._log.failure("{path} failed", failure, path=request.path.decode("latin-1"))
            self._send(request, 500, TEXT, b"see the log\n")

    def _send(self, request: Request, status: int, content_type: str, body: bytes) -> None:
        request.setResponseCode(status)
        request.setHeader("Server", "pachgw")
        request.setHeader("Content-Type", content_type)
        request.setHeader("Cache-Control", "no-store")
        request.setHeader("Content-Length", str(len(body)))
        request.write(body)
        request.finish()


def _metrics(report: Report) -> tuple[int, str, bytes]:
    return 200, CONTENT_TYPE_LATEST, render(report.processes, report.ended)


def _healthy(_: Report) -> tuple[int, str, bytes]:
    return 200, TEXT, b"ok\n"


def _ready(report: Report) -> tuple[int, str, bytes]:
    return 503 if report.not_ready else 200, TEXT, f"{report.not_ready or 'ok'}\n".encode()
