"""The application: one Klein route for every request, and the one boundary where errors end.

Knows no S3: how a refusal looks, and which headers carry the request id, is handed in.
"""

# Most methods of Twisted that are called here have no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from klein import Klein
from klein.resource import KleinResource
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET
from werkzeug.routing import BaseConverter

from pachgw.messages import ClientGone, RequestBody, RequestHead, Response, Tracing
from pachgw.metrics import Metrics
from pachgw.web import respond
from pachgw.web.accesslog import AccessLog
from pachgw.web.admission import Capacity
from pachgw.web.body import BrokenBody
from pachgw.web.refusal import Refusal
from pachgw.web.request import Request
from pachgw.web.site import Limits, Site

Handler = Callable[[RequestHead, RequestBody], Awaitable[Response]]
RenderError = Callable[[RequestHead, str, str], Response]
OnError = Callable[[RequestHead, Exception], Response | None]

ROUTE = "every_request"
ID_HEADERS = ("x-amz-request-id", "x-amz-id-2")
SECRET_PARAMETERS = frozenset(
    {b"x-amz-signature", b"x-amz-credential", b"x-amz-security-token", b"signature", b"awsaccesskeyid"}
)


class EveryRequest(KleinResource):
    """Klein's resource for an app with one route that takes everything: it is not looked for.

    What Klein does to find it and to render what it returns takes 70 µs.
    """

    def render(self, request: Any) -> Any:
        answering: Any = self._app.execute_endpoint(ROUTE, request, target="")
        # Nobody but a lost client cancels a request.
        request.notifyFinish().addErrback(lambda _: answering.cancel())
        return NOT_DONE_YET


class AnyTarget(BaseConverter):
    """Matches every path whole, with empty segments, at its beginning too."""

    regex = "(?s:.*)"
    part_isolating = False


class ErrorBoundary:
    """Runs the handler for a request; whatever it raises ends here."""

    def __init__(self, handle: Handler, render_error: RenderError, on_error: OnError | None) -> None:
        self._handle = handle
        self._render_error = render_error
        self._on_error = on_error
        self._log = Logger("pachgw.web")

    async def answer(self, request: Request) -> None:
        """Handle the request and send the answer; returns when it is ended, or cut off."""
        try:
            await respond.send(request, await self._handle(request.head, request.body))
        except (CancelledError, ClientGone):
            if request.gone:
                return  # Logged as such by its connectionLost.
            failure = request.body.failure
            if isinstance(failure, BrokenBody):
                self.refuse(request, failure.refusal)
            else:
                # Nobody but a lost client cancels a request.
                self.failed(request, Failure())
        except Exception as error:
            rendered = self._on_error(request.head, error) if self._on_error is not None else None
            if rendered is None:
                self.failed(request, Failure())
            elif request.startedWriting:
                self._log.warn(
                    "answer {request_id} is cut off: {error}", request_id=request.request_id, error=error
                )
                request.cut_connection()
            elif not request.gone:
                self._send_now(request, rendered)

    def refuse(self, request: Request, refusal: Refusal) -> None:
        """Answer with the refusal, or cut the connection where an answer is under way."""
        if request.gone:
            return
        if request.startedWriting:
            request.cut_connection()
            return
        if refusal not in (Refusal.SLOW_DOWN, Refusal.INTERNAL):
            # Of the one the site tells which limit it was, the other is no refusal.
            request.site.metrics.refused.labels(refusal.name.lower()).inc()
        if request.head.notes.error == "-":
            request.head.notes.error = refusal.code
        try:
            response = self._render_error(request.head, refusal.code, refusal.message)
            self._send_now(request, replace(response, headers=response.headers + refusal.headers))
        except Exception:
            self._log.failure("no answer could be made for {request_id}", request_id=request.request_id)
            request.cut_connection()

    def failed(self, request: Request, failure: Failure) -> None:
        """Log the failure with its traceback and the request's id, and answer InternalError or cut."""
        self._log.failure("request {request_id} failed", failure, request_id=request.request_id)
        self.refuse(request, Refusal.INTERNAL)

    def _send_now(self, request: Request, response: Response) -> None:
        respond.clear(request)
        respond.send_bytes(request, response)


def _no_probe(_: RequestHead) -> bool:
    return False


def make_site(
    handle: Handler,
    *,
    reactor: IReactorTime,
    render_error: RenderError,
    on_error: OnError | None = None,
    server_header: str | None = "pachgw",
    id_headers: tuple[str, ...] = ID_HEADERS,
    secret_parameters: frozenset[bytes] = SECRET_PARAMETERS,
    limits: Limits | None = None,
    capacity: Capacity | None = None,
    access_log: AccessLog | None = None,
    metrics: Metrics | None = None,
    is_probe: Callable[[RequestHead], bool] = _no_probe,
    tracing: Tracing | None = None,
) -> Site:
    """A site that has `handle` answer every request, whatever its method and target.

    `handle` is called when a request's head has come, is cancelled when its client goes away, and raises
    nothing that is expected: anything else is logged and becomes `render_error(head, "InternalError", …)`.
    The same renders what the web layer refuses itself (the codes of refusal.Refusal), always with bytes; the
    head it gets may lack what was not understood: an empty method, "/" for the target, no headers.
    `on_error` may render an exception of a body: it is sent if no byte of the body has left, else the
    connection is cut, and the log has a line. None means that it was not expected.

    Each answer carries the request's id in each of `id_headers` that it does not set itself. The values of
    `secret_parameters` (names in lower case) in a query are not logged. A request that `is_probe` is handled
    however many there are, and neither logged nor counted.
    """
    boundary = ErrorBoundary(handle, render_error, on_error)
    app = Klein()
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    app.url_map.converters["any"] = AnyTarget

    @app.route("/<any:target>", endpoint=ROUTE)
    async def every_request(request: Request, target: str) -> None:
        await boundary.answer(request)

    @app.handle_errors(Exception)
    def not_routed(request: Any, failure: Failure) -> None:
        boundary.failed(request, failure)

    return Site(
        EveryRequest(app),
        reactor=reactor,
        boundary=boundary,
        limits=limits or Limits(),
        capacity=capacity or Capacity(),
        server_header=server_header,
        id_headers=id_headers,
        access_log=access_log or AccessLog(secret_parameters=secret_parameters),
        metrics=metrics or Metrics(),
        is_probe=is_probe,
        tracing=tracing,
    )
