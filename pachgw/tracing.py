"""Spans of OpenTelemetry: one for each request, with one below it for each call to PFS.

Imported only where `--traces` asks for it, by each process that serves; nothing else here knows the library.
The SDK's own variables (OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_HEADERS, OTEL_BSP_…) hold.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pachgw.messages import Notes, Pairs, RequestHead

CLOSE_SECONDS = 3.0
"""For what was not sent yet, at the end."""
TOLD_SECONDS = 60.0
"""At most one line of the log in this time says that the collector takes nothing."""

_CONTEXT = TraceContextTextMapPropagator()


class Traces:
    """Makes spans, and sends them from a thread of its own. What the collector does not take is lost."""

    def __init__(
        self,
        endpoint: str,
        *,
        version: str,
        from_clients: bool,
        clock: Callable[[], float],
        complain: Callable[[str], None],
    ) -> None:
        """`endpoint` takes OTLP over HTTP; `from_clients`: a request's own traceparent is gone on with.

        `clock` in seconds; `complain` is called from any thread.
        """
        name = os.environ.get("OTEL_SERVICE_NAME") or "pachgw"
        resource = Resource.create({"service.name": name, "service.version": version})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        self._tracer = self._provider.get_tracer("pachgw", version)
        self._from_clients = from_clients
        library = logging.getLogger("opentelemetry")
        library.propagate = False
        library.handlers = [_Complaints(clock, complain)]

    def begin(self, head: RequestHead) -> RequestTrace:
        """The span of a request whose head has come."""
        context = None
        if self._from_clients:
            names = ("traceparent", "tracestate")
            context = _CONTEXT.extract({name: value for name in names if (value := head.header(name))})
        attributes = {
            "http.request.method": head.method,
            "client.address": head.peer,
            "pachgw.request_id": head.request_id,
        }
        span = self._tracer.start_span("-", context=context, kind=SpanKind.SERVER, attributes=attributes)
        return RequestTrace(self._tracer, span)

    def close(self) -> None:
        """Send what is left, for a bounded time. Blocks."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


class RequestTrace:
    """The span of one request."""

    def __init__(self, tracer: Any, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span)

    def call(self, method: str) -> tuple[Pairs, Callable[[str], None]]:
        """The span of a call to PFS: what tells PFS of it, and what to call with the code at its end.

        From any thread.
        """
        attributes = {"rpc.system": "grpc", "rpc.method": method}
        span = self._tracer.start_span(
            method, context=self._context, kind=SpanKind.CLIENT, attributes=attributes
        )
        told: dict[str, str] = {}
        _CONTEXT.inject(told, context=set_span_in_context(span))

        def ended(code: str) -> None:
            span.set_attribute("rpc.grpc.status_code", code)
            if code != "OK":
                span.set_status(StatusCode.ERROR, code)
            span.end()

        return tuple(told.items()), ended

    def end(self, notes: Notes, status: int) -> None:
        """The request has ended."""
        span = self._span
        span.update_name(notes.action)
        span.set_attribute("http.response.status_code", status)
        for name, value in notes.about.items():
            span.set_attribute(f"aws.s3.{name}", value)
        if notes.error != "-":
            span.set_attribute("error.type", notes.error)
        if status >= 500:
            span.set_status(StatusCode.ERROR, notes.error)
        span.end()


class _Complaints(logging.Handler):
    """What the library has to say, which is mostly that the collector is away."""

    def __init__(self, clock: Callable[[], float], complain: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._clock = clock
        self._complain = complain
        self._told = float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        now = self._clock()
        if now - self._told >= TOLD_SECONDS:
            self._told = now
            self._complain(record.getMessage().partition("\n")[0])
